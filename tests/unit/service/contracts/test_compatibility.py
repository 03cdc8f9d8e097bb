"""What would break a reader of the last release is found, each kind of it; what would not passes."""

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from service.contracts.asyncapi import document
from service.contracts.compatibility import breaks_of_asyncapi, breaks_of_schema
from service.contracts.schemas import SCHEMAS, schema_of
from tools import contracts

Schema = dict[str, Any]
Change = Callable[[Schema], object]


def in_place(schema: Schema) -> None:
    """Write out what was a reference."""
    outcome = field("outcome")(schema)
    outcome.update(copy.deepcopy(schema["$defs"]["Outcome"]))
    del outcome["$ref"]


def data(schema: Schema) -> Schema:
    """Return the part about ``data``."""
    found: Schema = schema["$defs"]["PaymentData"]
    return found


def field(name: str) -> Callable[[Schema], Schema]:
    def find(schema: Schema) -> Schema:
        found: Schema = data(schema)["properties"][name]
        return found

    return find


def changed(change: Change) -> Schema:
    schema = copy.deepcopy(schema_of("payment-event", 1))
    change(schema)
    return schema


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda s: data(s)["properties"].pop("irregular"), "data.irregular: is gone"),
        (lambda s: s["properties"].pop("partitionkey"), "partitionkey: is gone"),
        (lambda s: data(s)["required"].remove("amount"), "data.amount: is no longer always there"),
        (lambda s: s["required"].remove("id"), "id: is no longer always there"),
        (lambda s: s["$defs"]["Money"]["required"].remove("currency"), "currency: is no longer always there"),
        (
            lambda s: field("irregular")(s).update(type="string"),
            "data.irregular: type was boolean, is string",
        ),
        (
            lambda s: field("channel")(s)["anyOf"].pop(),
            "data.channel.anyOf[1]: was {'type': 'null'}, is None",
        ),
        (
            lambda s: field("merchant")(s).update(type=["string", "null"]),
            "data.merchant: type was string, is",
        ),
        (lambda s: s["$defs"]["Money"]["properties"]["value"].update(type="number"), "type was string"),
        (lambda s: s["$defs"]["Money"]["properties"]["value"].update(pattern="^[0-9]+$"), "pattern was"),
        (lambda s: field("merchant")(s).update(maxLength=5), "data.merchant: maxLength was None, is 5"),
        (
            lambda s: field("confirmed_at")(s).pop("format"),
            "data.confirmed_at: format was date-time, is None",
        ),
        (lambda s: s["$defs"]["PaymentStatus"]["enum"].remove("settled"), "'settled' comes no more"),
        (lambda s: s["$defs"]["PaymentStatus"]["enum"].append("lost"), "'lost' may come now"),
        (
            lambda s: s["properties"]["type"]["enum"].pop(),
            "'midtrans.payment.refund_confirmed' comes no more",
        ),
        (lambda s: s["$defs"]["PaymentStatus"].pop("enum"), "data.status: enum was"),
        (
            lambda s: field("refunds")(s)["items"].update({"$ref": "#/$defs/Money"}),
            "data.refunds[].id: is gone",
        ),
        (lambda s: s["$defs"]["Refund"]["properties"].pop("reason"), "data.refunds[].reason: is gone"),
        (lambda s: field("custom_fields")(s).update(minItems=0), "data.custom_fields: minItems was 3, is 0"),
        (lambda s: field("metadata")(s).update(additionalProperties=False), "additionalProperties was True"),
        (lambda s: data(s).update(additionalProperties=False), "data: additionalProperties was None"),
        (lambda s: s["properties"]["specversion"].update(const="2.0"), "specversion: const was 1.0, is 2.0"),
        (lambda s: s.update({"$id": "urn:other"}), "$id: was"),
    ],
)
def test_every_kind_of_break_is_told(change: Change, told: str) -> None:
    found = breaks_of_schema(schema_of("payment-event", 1), changed(change))
    assert any(told in one for one in found), found


@pytest.mark.parametrize(
    "change",
    [
        lambda s: data(s)["properties"].update(fee={"type": "string"}),
        lambda s: (data(s)["properties"].update(fee={"type": "string"}), data(s)["required"].append("fee")),
        lambda s: s["properties"].update(traceparent={"type": "string"}),
        lambda s: s["$defs"]["Refund"]["properties"].update(bank={"anyOf": [{"type": "null"}]}),
        lambda s: field("amount")(s).update(description="another text", examples=["1.00"]),
        lambda s: s["$defs"].update(Unused={"type": "string"}),
        in_place,
    ],
    ids=["optional", "always-there", "envelope", "deep", "words", "unused", "written-in-place"],
)
def test_what_breaks_nobody_passes(change: Change) -> None:
    assert breaks_of_schema(schema_of("payment-event", 1), changed(change)) == []


def places(schema: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the place of every field of a schema."""
    if isinstance(schema, dict):
        if "properties" in schema:
            yield from ((*path, "properties", name) for name in schema["properties"])
        for key, value in schema.items():
            yield from places(value, (*path, key))


@pytest.mark.parametrize("which", list(SCHEMAS))
def test_no_field_can_go_unnoticed(which: tuple[str, int]) -> None:
    old = schema_of(*which)
    found = list(places(old))
    assert len(found) > 25
    for *path, name in found:
        new = copy.deepcopy(old)
        part: Any = new
        for key in path:
            part = part[key]
        del part[name]
        assert any(f"{name}: is gone" in one for one in breaks_of_schema(old, new)), (path, name)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda d: d["channels"].pop("stream"), "channels.stream: is gone"),
        (lambda d: d["operations"].pop("push_events"), "operations.push_events: is gone"),
        (
            lambda d: d["channels"]["kafka"].update(address="events"),
            "channels.kafka.address: was midtrans.events",
        ),
        (
            lambda d: d["channels"]["rabbitmq"]["bindings"]["amqp"].update({"is": "queue"}),
            "rabbitmq.bindings: was",
        ),
        (
            lambda d: d["channels"]["nats"]["messages"].pop("midtrans.payment.settled"),
            "channels.nats: message midtrans.payment.settled is gone",
        ),
        (lambda d: d["components"]["messages"].pop("lease_answer"), "messages.lease_answer: is gone"),
        (
            lambda d: d["components"]["messages"]["midtrans.payment.denied"].update(contentType="text/plain"),
            "messages.midtrans.payment.denied.contentType: was",
        ),
        (
            lambda d: d["components"]["schemas"]["PaymentData"]["properties"].pop("order"),
            "data.order: is gone",
        ),
        (
            lambda d: d["components"]["messages"]["lease_answer"]["payload"]["required"].remove("acked"),
            "acked: is no longer always there",
        ),
    ],
)
def test_every_break_of_the_asyncapi_document_is_told(change: Change, told: str) -> None:
    new = copy.deepcopy(document("1.0.0"))
    change(new)
    found = breaks_of_asyncapi(document("1.0.0"), new)
    assert any(told in one for one in found), found


def test_a_new_channel_message_or_version_breaks_nobody() -> None:
    new = copy.deepcopy(document("1.0.0"))
    new["info"]["version"] = "2.0.0"
    new["channels"]["pulsar"] = copy.deepcopy(new["channels"]["kafka"])
    new["components"]["messages"]["midtrans.payout.done"] = {"payload": {"type": "object"}}
    assert breaks_of_asyncapi(document("1.0.0"), new) == []


def test_nothing_breaks_a_reader_of_the_last_release() -> None:
    assert list(contracts.breaks()) == []


def test_the_released_contracts_are_there_and_a_lost_one_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert {path.name for path in contracts.RELEASED.glob("*.json")} >= {"payment-1.json", "asyncapi.json"}
    monkeypatch.setattr(contracts, "RELEASED", tmp_path / "released")
    contracts.release()
    assert list(contracts.breaks()) == []
    old = json.loads((tmp_path / "released" / "payment-1.json").read_text())
    old["properties"]["lost"] = {"type": "string"}
    (tmp_path / "released" / "payment-1.json").write_text(json.dumps(old))
    (tmp_path / "released" / "payout-1.json").write_text(json.dumps(old))
    assert list(contracts.breaks()) == [
        "schemas/payment-1.json: lost: is gone",
        "schemas/payout-1.json: is gone",
    ]

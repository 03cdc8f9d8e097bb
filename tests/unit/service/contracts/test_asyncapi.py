"""The AsyncAPI document: every way out, every type, no reference into nothing."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator

from service.contracts.asyncapi import document
from service.contracts.payment import TYPES

DOCUMENT = document("1.2.3")


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def at(reference: str) -> Any:
    found: Any = DOCUMENT
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


def with_references_resolved(node: Any) -> Any:
    if isinstance(node, dict):
        return (
            with_references_resolved(at(node["$ref"]))
            if "$ref" in node
            else {key: with_references_resolved(value) for key, value in node.items()}
        )
    return [with_references_resolved(value) for value in node] if isinstance(node, list) else node


def test_every_reference_leads_somewhere() -> None:
    found = set(references(DOCUMENT))
    assert len(found) > 30
    for reference in found:
        assert at(reference) is not None, reference


def test_every_way_out_has_a_channel_and_an_operation_with_every_type() -> None:
    assert list(DOCUMENT["channels"]) == ["lease", "push", "stream", "nats", "redis", "rabbitmq", "kafka"]
    by_channel = {one["channel"]["$ref"].rpartition("/")[2]: one for one in DOCUMENT["operations"].values()}
    assert by_channel.keys() == DOCUMENT["channels"].keys()
    for name, channel in DOCUMENT["channels"].items():
        if name == "lease":
            continue
        assert by_channel[name]["action"] == "send"
        assert list(channel["messages"]) == list(TYPES)
        for server in channel.get("servers", []):
            at(server["$ref"])
    lease = by_channel["lease"]
    assert (lease["action"], lease["reply"]["channel"]) == ("receive", lease["channel"])


def test_every_parameter_of_an_address_is_described() -> None:
    for channel in DOCUMENT["channels"].values():
        named = {part.partition("}")[0] for part in (channel["address"] or "").split("{")[1:]}
        assert named == channel.get("parameters", {}).keys()


@pytest.mark.parametrize("name", list(DOCUMENT["components"]["messages"]))
def test_every_payload_is_a_schema(name: str) -> None:
    payload = with_references_resolved(DOCUMENT["components"]["messages"][name]["payload"])
    Draft7Validator.check_schema(payload)
    if name in TYPES:
        refused = [error.message for error in Draft7Validator(payload).iter_errors({"type": "other"})]
        assert any(repr(name) in message for message in refused)


def test_calls_over_http_need_a_token() -> None:
    for name in ("lease_events", "stream_events"):
        (needed,) = DOCUMENT["operations"][name]["security"]
        assert at(needed["$ref"])["scheme"] == "bearer"


def test_it_is_valid_by_asyncapis_own_schema() -> None:
    """With ASYNCAPI_SCHEMA naming schemas/3.0.0.json of the npm package @asyncapi/specs, as `.ci/run` does."""
    path = os.environ.get("ASYNCAPI_SCHEMA")
    if path is None:
        pytest.skip("ASYNCAPI_SCHEMA names no copy of AsyncAPI's JSON Schema")
    validator = Draft7Validator(json.loads(Path(path).read_text(encoding="utf-8")))
    assert [error.message for error in validator.iter_errors(DOCUMENT)] == []
    assert not validator.is_valid({**DOCUMENT, "channels": {"x": {"adress": "y"}}})

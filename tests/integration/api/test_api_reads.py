"""What can be read: the log, payments, health, and the document that describes all of it."""

import json
import uuid
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import insert
from support.api import Api

from service.api.app import create_api
from service.api.context import ApiContext
from service.api.notifications_openapi import notification_paths
from service.db.payment_reads import PaymentReads, PaymentRow
from service.db.store import Store
from service.db.tables import confirmations, payments, receipts, transitions
from service.db.unit import Unit
from service.domain.records import Role


async def read(api: Api, role: Role = Role.OPERATOR, /, **query: Any) -> dict[str, Any]:
    answer = await api.client.get("/v1/events", params=query, headers=api.auth(role))
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def numbers(answer: dict[str, Any]) -> list[int]:
    return [one["event"]["data"]["n"] for one in answer["events"]]


async def test_the_log_is_read_page_by_page_and_goes_on_behind_its_end(api: Api) -> None:
    api.append("a", "b", "c")
    first = await read(api, limit=2)
    second = await read(api, limit=2, after=first["next"])
    third = await read(api, limit=2, after=second["next"])
    assert [numbers(page) for page in (first, second, third)] == [[1, 2], [3], []]
    api.append("d")
    assert numbers(await read(api, after=third["next"])) == [4]


async def test_positions_are_epoch_and_number(api: Api) -> None:
    api.append("a")
    assert (await read(api))["events"][0]["position"] == f"{api.store.epoch}-1"


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"type": "midtrans.payment.settled"}, [1, 3]),
        ({"type": "midtrans.payment.*"}, [1, 2, 3]),
        ({"type": "midtrans.payment.SETTLED"}, []),
        ({"merchant": "other"}, [3]),
        ({"order_id": "order-b"}, [2]),
        ({"after": "now"}, []),
        ({"merchant": "nobody"}, []),
    ],
)
async def test_the_log_is_filtered(api: Api, query: dict[str, Any], found: list[int]) -> None:
    api.append("a")
    api.append("b", type_="midtrans.payment.pending")
    api.append("c", merchant="other")
    assert numbers(await read(api, **query)) == found


async def test_an_empty_answer_goes_on_behind_all_it_has_looked_at(api: Api) -> None:
    api.append("a", "b")
    empty = await read(api, order_id="none")
    assert empty == {"events": [], "next": f"{api.store.epoch}-2"}


async def test_a_consumers_token_reads_within_its_consumers_filters(api: Api) -> None:
    await api.make("shipping", types=["midtrans.payment.settled"], merchants=["default"])
    api.append("a")
    api.append("b", type_="midtrans.payment.pending")
    api.append("c", merchant="other")
    assert numbers(await read(api, Role.CONSUMER)) == [1]
    for number, status in ((1, 200), (2, 404), (3, 404)):
        path = f"/v1/events/{uuid.UUID(int=number)}"
        assert (await api.client.get(path, headers=api.auth(Role.CONSUMER))).status_code == status


async def test_a_token_of_a_consumer_that_is_not_there_sees_nothing(api: Api) -> None:
    api.append("a")
    assert (await read(api, Role.CONSUMER))["events"] == []


async def test_an_event_is_found_by_its_id(api: Api) -> None:
    api.append("a")
    found = (await api.client.get(f"/v1/events/{uuid.UUID(int=1)}")).json()
    assert (found["position"], found["event"]["subject"]) == (f"{api.store.epoch}-1", "order-a")
    for unknown in (str(uuid.UUID(int=9)), "nonsense", "a%2Fb"):
        assert (await api.client.get(f"/v1/events/{unknown}")).status_code == 404


def add_payment(api: Api, transaction_id: str, *, merchant: str = "default", status: str = "settled") -> None:
    api.clock.forward(60)

    def work(unit: Unit) -> None:
        key = {"merchant": merchant, "transaction_id": transaction_id}
        at = unit.now
        unit.connection.execute(
            insert(payments).values(
                **key,
                order_id=f"order-{transaction_id}",
                bound_by="answer_names_order",
                version=1,
                confirmations=1,
                status=status,
                outcome="paid",
                payment_type="qris",
                state=json.dumps({"status": status, "amount": "150000.00"}),
                created_at=at,
                updated_at=at,
            )
        )
        unit.connection.execute(
            insert(confirmations).values(
                **key,
                order_id=f"order-{transaction_id}",
                ordinal=1,
                cause="notification",
                fence=1,
                asked=transaction_id,
                asked_at=at,
                answered_at=at + timedelta(seconds=1),
                http_status=200,
                answer=b'{"raw":"kept"}',
                verdict="next",
            )
        )
        unit.connection.execute(
            insert(transitions).values(
                **key,
                sequence=1,
                confirmation_id=1,
                previous_status=None,
                status=status,
                irregular=False,
                event_id=uuid.uuid4(),
                made_at=at + timedelta(seconds=2),
            )
        )
        unit.connection.execute(
            insert(receipts).values(
                **key,
                id=uuid.uuid4(),
                kind="payment",
                digest=uuid.uuid4().bytes * 2,
                order_id=f"order-{transaction_id}",
                transaction_status="settlement",
                payment_type="qris",
                received_at=at,
                source_address="127.0.0.1",
                path="/notifications",
                headers="{}",
                key_fingerprint="0" * 12,
                amount_form="text",
                answer=200,
                state="applied",
            )
        )

    api.store.write(work).result(10)


async def test_a_payment_shows_its_state_and_timeline_without_raw_answers(api: Api) -> None:
    add_payment(api, "t-1")
    answer = await api.client.get("/v1/payments/default/t-1")
    found = answer.json()
    assert found["state"] == {"status": "settled", "amount": "150000.00"}
    assert [step["what"] for step in found["timeline"]] == ["receipt", "confirmation", "transition"]
    assert found["timeline"][1]["facts"]["verdict"] == "next"
    assert "kept" not in answer.text


async def test_a_transaction_id_may_hold_a_slash(api: Api) -> None:
    add_payment(api, "t/1 ?#")
    found = await api.client.get("/v1/payments/default/t%2F1%20%3F%23")
    assert found.json()["transaction_id"] == "t/1 ?#"


async def test_payments_are_listed_the_latest_change_first_page_by_page(api: Api) -> None:
    for name in ("a", "b", "c", "d", "e"):
        add_payment(api, name)
    seen: list[str] = []
    after: dict[str, str] = {}
    while True:
        page = (await api.client.get("/v1/payments", params={"limit": 2, **after})).json()
        seen += [one["transaction_id"] for one in page["payments"]]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert seen == ["e", "d", "c", "b", "a"]


async def test_payments_of_several_merchants_are_one_list(api: Api) -> None:
    for name, merchant in (("a", "m"), ("b", "n"), ("c", "m"), ("d", "other"), ("e", "n"), ("f", "m")):
        add_payment(api, name, merchant=merchant)

    def page(unit: Unit) -> tuple[list[PaymentRow], str | None]:
        return PaymentReads(unit).page(merchants=("m", "n"), order_id=None, status=None, limit=2, after=after)

    seen: list[str] = []
    after: str | None = None
    while not seen or after is not None:
        rows, after = api.store.read(page)
        seen += [row.transaction_id for row in rows]
    assert seen == ["f", "e", "c", "b", "a"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"merchant": "other"}, ["b"]),
        ({"order_id": "order-a"}, ["a"]),
        ({"status": "pending"}, ["b"]),
        ({"status": "refunded"}, []),
    ],
)
async def test_payments_are_filtered(api: Api, query: dict[str, str], found: list[str]) -> None:
    add_payment(api, "a")
    add_payment(api, "b", merchant="other", status="pending")
    answer = (await api.client.get("/v1/payments", params=query)).json()
    assert [one["transaction_id"] for one in answer["payments"]] == found


async def test_a_shop_sees_its_own_payments_alone(api: Api) -> None:
    add_payment(api, "a")
    add_payment(api, "b", merchant="other")
    answer = await api.client.get("/v1/payments", headers=api.auth(Role.SHOP))
    assert [one["transaction_id"] for one in answer.json()["payments"]] == ["a"]
    other = await api.client.get("/v1/payments/other/b", headers=api.auth(Role.SHOP))
    assert other.status_code == 403


async def test_a_failing_worker_degrades_and_a_failing_store_does_not_let_in(
    context: ApiContext, store: Store
) -> None:
    parts: dict[str, str | None] = {"worker": None}
    app = create_api(
        ApiContext(store=store, metrics=context.metrics, alarms=context.alarms, parts=lambda: parts)
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as client:
        ready = await client.get("/readyz")
        assert (ready.status_code, ready.json()["status"]) == (200, "ready")
        parts["worker"] = "three threads died"
        degraded = await client.get("/readyz")
        assert (degraded.status_code, degraded.json()["status"]) == (200, "degraded")
        store.close()
        store._probed_at = 0.0  # as if a second had passed
        unready = await client.get("/readyz")
        assert (unready.status_code, unready.json()["status"]) == (503, "unready")
        assert (await client.get("/healthz")).status_code == 200


def test_openapi_describes_every_operation_with_examples_errors_and_security(context: ApiContext) -> None:
    app = create_api(
        ApiContext(
            store=context.store,
            metrics=context.metrics,
            alarms=context.alarms,
            more_paths=notification_paths,
            version="1.2.3",
        )
    )
    document = app.openapi()
    assert document["info"]["version"] == "1.2.3"
    assert "/notifications/{merchant}" in document["paths"]
    assert "HTTPValidationError" not in json.dumps(document)
    for path, item in document["paths"].items():
        for method, operation in item.items():
            assert operation["summary"], (path, method)
            assert operation["description"], (path, method)
            assert operation["responses"], (path, method)
            if path.startswith("/v1"):
                assert operation["security"], (path, method)
                assert {"401", "403", "422"} <= set(operation["responses"]), (path, method)
    assert all("path" not in path.partition("{")[2].partition("}")[0] for path in document["paths"])


def test_every_reference_in_openapi_leads_somewhere(api: Api) -> None:
    document = api.app.openapi()
    schemas = document["components"]["schemas"]

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            if "$ref" in node:
                assert node["$ref"].removeprefix("#/components/schemas/") in schemas
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(document)

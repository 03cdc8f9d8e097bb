"""What did not fit, and setting it going again: through HTTP, with Midtrans in memory and its clock."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import delete, event, update
from support.databases import migrated
from support.desk import Desk, make_desk

from django_midtrans.signature import expected_signature
from service.app import Service, build
from service.db import receipt_reads
from service.db.receipt_reads import ReceiptFilter, ReceiptReads
from service.db.tables import bodies, receipts
from service.domain.merchant import Merchant
from service.domain.records import MerchantState, ReceiptState
from service.flow import retry
from service.settings import Configuration

RETRY = "/v1/receipts/retry"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with make_desk(tmp_path) as made:
        yield made


def lose(desk: Desk, *orders: str) -> list[dict[str, Any]]:
    """Have Midtrans lose the payments of *orders* until their receipts are parked; return what was notified."""
    said = []
    for order_id in orders:
        transaction_id = desk.charge(order_id)
        desk.world.gateway.answers |= {order_id: None, transaction_id: None}
        said.append(desk.world.account.pay(order_id))
        desk.world.notify(said[-1])
    desk.world.run_for(hours=30)
    return said


def find(desk: Desk) -> None:
    """Have Midtrans find all again."""
    desk.world.gateway.answers.clear()


def states(desk: Desk) -> list[str]:
    return [receipt["state"] for receipt in desk.receipts()]


def kind_unknown(order_id: str, key: str) -> bytes:
    signature = expected_signature(order_id, "200", "1.00", key)
    fields = {"order_id": order_id, "status_code": "200", "gross_amount": "1.00", "signature_key": signature}
    return json.dumps(fields).encode()


def test_retry_by_filter_counts_first_and_then_sets_going(desk: Desk) -> None:
    lose(desk, "A-1", "A-2")
    find(desk)
    counted = desk.call("POST", RETRY, {"filter": {"state": "parked"}}).json()
    assert (counted["matching"], counted["retried"], states(desk)) == (2, None, ["parked", "parked"])
    done = desk.call("POST", RETRY, {"filter": {"state": "parked"}, "count": 2}).json()
    assert (done["matching"], done["retried"]) == (2, 2)
    assert [(one["state"], one["answers"], one["failures"]) for one in desk.receipts()] == [
        ("waiting", 0, 0)
    ] * 2
    desk.world.confirm_due()
    assert (states(desk), desk.world.types()) == (["applied", "applied"], ["settled", "settled"])


def test_another_number_than_counted_changes_nothing_and_is_named(desk: Desk) -> None:
    lose(desk, "A-1", "A-2")
    answer = desk.call("POST", RETRY, {"filter": {}, "count": 1})
    assert (answer.status_code, answer.json()["matching"]) == (409, 2)
    assert states(desk) == ["parked", "parked"]


@pytest.mark.parametrize(
    ("which", "matching"),
    [
        ({}, 2),
        ({"state": "parked"}, 2),
        ({"state": "anomaly"}, 0),
        ({"merchant": "other"}, 0),
        ({"order_id": "A-1", "merchant": "default"}, 1),
        ({"reason": "another"}, 0),
    ],
)
def test_a_filter_matches_what_it_says(desk: Desk, which: dict[str, str], matching: int) -> None:
    lose(desk, "A-1", "A-2")
    assert desk.call("POST", RETRY, {"filter": which}).json()["matching"] == matching


def test_retry_by_ids_tells_which_were_left_alone_and_why(desk: Desk) -> None:
    lose(desk, "A-1")
    desk.world.notify(kind_unknown("K-1", "SB-Mid-server-world"))
    desk.charge("W-1")
    desk.world.notify(desk.world.account.notification("W-1"))
    waiting, kind, parked = (receipt["id"] for receipt in desk.receipts())
    stranger = "019aaa2c-5c00-7000-8000-000000000001"
    answer = desk.call("POST", RETRY, {"ids": [waiting, kind, parked, parked, stranger]}).json()
    assert (answer["matching"], answer["retried"]) == (1, 1)
    assert {one["id"]: one["why"] for one in answer["left"]} == {
        waiting: "waiting",
        kind: "cannot_be_asked",
        stranger: "unknown",
    }
    assert states(desk) == ["waiting", "parked", "waiting"]


def test_an_ended_receipt_may_be_retried_by_its_id(desk: Desk) -> None:
    desk.charge("A-1")
    desk.world.notify(desk.world.account.pay("A-1"))
    desk.world.confirm_due()
    (receipt,) = desk.receipts()
    assert desk.call("POST", RETRY, {"ids": [receipt["id"]]}).json()["retried"] == 1
    desk.world.confirm_due()
    assert (states(desk), desk.world.types()) == (["unchanged"], ["settled"])


def test_what_is_never_confirmed_is_counted_apart_and_stays(desk: Desk) -> None:
    desk.world.notify(kind_unknown("K-1", "SB-Mid-server-world"))
    answer = desk.call("POST", RETRY, {"filter": {}, "count": 0}).json()
    assert (answer["matching"], answer["retried"], answer["cannot_be_asked"]) == (0, 0, 1)
    assert states(desk) == ["parked"]


def test_a_receipt_whose_body_is_no_longer_kept_cannot_be_retried(desk: Desk) -> None:
    lose(desk, "A-1")
    desk.world.store.write(lambda unit: unit.connection.execute(delete(bodies)).rowcount).result()
    answer = desk.call("POST", RETRY, {"filter": {}}).json()
    assert (answer["matching"], answer["cannot_be_asked"]) == (0, 1)
    (receipt,) = desk.receipts()
    assert desk.get(f"/v1/receipts/{receipt['id']}")["body"] is None


def test_many_are_set_going_in_cuts(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    lose(desk, *(f"A-{number}" for number in range(5)))
    monkeypatch.setattr(retry, "CUT", 2)
    cuts: list[int] = []

    def noted(unit: Any, ids: list[Any]) -> int:
        cuts.append(len(ids))
        return retry.retry(unit, ids)

    monkeypatch.setattr("service.api.receipts.retry", noted)
    assert desk.call("POST", RETRY, {"filter": {}, "count": 5}).json()["retried"] == 5
    assert cuts == [2, 2, 1]


def test_the_same_notification_again_sets_a_held_receipt_going(desk: Desk) -> None:
    (said,) = lose(desk, "A-1")
    find(desk)
    desk.world.notify(said)
    (receipt,) = desk.receipts()
    assert (receipt["state"], receipt["duplicates"]) == ("waiting", 1)
    desk.world.confirm_due()
    assert desk.order("A-1")["outcome"] == "paid"


def test_receipts_are_listed_the_newest_first_page_by_page(desk: Desk) -> None:
    for number in range(5):
        desk.charge(f"A-{number}")
        desk.world.notify(desk.world.account.notification(f"A-{number}"))
    seen: list[str] = []
    page: dict[str, Any] = {"next": ""}
    while page["next"] is not None:
        page = desk.get(f"/v1/receipts?limit=2{page['next'] and '&after=' + page['next']}")
        assert len(page["receipts"]) <= 2
        seen += [receipt["order_id"] for receipt in page["receipts"]]
    assert seen == ["A-4", "A-3", "A-2", "A-1", "A-0"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", ["K-1", "A-2", "A-1"]),
        ("state=parked", ["K-1"]),
        ("state=waiting", ["A-2"]),
        ("state=applied", ["A-1"]),
        ("state=stale", []),
        ("order_id=A-2", ["A-2"]),
        ("order_id=A-2&state=parked", []),
        ("merchant=default&order_id=A-1", ["A-1"]),
        ("merchant=other", []),
        ("reason=kind_unknown", ["K-1"]),
    ],
)
def test_receipts_are_filtered(desk: Desk, query: str, found: list[str]) -> None:
    for number in (1, 2):
        desk.charge(f"A-{number}")
        desk.world.notify(desk.world.account.notification(f"A-{number}"))
        if number == 1:
            desk.world.confirm_due()
    desk.world.notify(kind_unknown("K-1", "SB-Mid-server-world"))
    assert [receipt["order_id"] for receipt in desk.receipts(query)] == found


def test_a_page_that_finds_nothing_within_its_bound_goes_on(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receipt_reads, "LOOKED_AT", 2)
    for number in range(5):
        desk.charge(f"A-{number}")
        desk.world.notify(desk.world.account.notification(f"A-{number}"))
        desk.world.confirm_due()
    desk.world.store.write(
        lambda unit: (
            unit.connection.execute(
                update(receipts).where(receipts.c.order_id == "A-0").values(reason="rare")
            ).rowcount
        )
    ).result()
    page = desk.get("/v1/receipts?reason=rare")
    pages = [page["receipts"]]
    while page["next"] is not None:
        page = desk.get(f"/v1/receipts?reason=rare&after={page['next']}")
        pages.append(page["receipts"])
    assert [len(found) for found in pages] == [0, 0, 1]


def test_a_receipt_shows_what_came_without_signature_and_card_number(desk: Desk) -> None:
    desk.charge("A-1")
    said = desk.world.account.notification("A-1") | {"note": "4811 1111 1111 1114", "customer": "Budi"}
    desk.world.notify(said)
    (receipt,) = desk.receipts()
    detail = desk.get(f"/v1/receipts/{receipt['id']}")
    assert said["signature_key"] not in json.dumps(detail)
    assert json.loads(detail["body"]) == said | {"signature_key": "[masked]", "note": "[masked]"}
    assert {name: detail[name] for name in receipt} == receipt


def test_a_merchant_shows_how_it_fares_and_never_a_key(desk: Desk) -> None:
    lose(desk, "A-1")
    desk.charge("A-2")
    desk.world.notify(desk.world.account.notification("A-2"))
    desk.world.clock.pass_time(seconds=90)
    answer = desk.call("GET", "/v1/merchants")
    (merchant,) = answer.json()["merchants"]
    assert "SB-Mid" not in answer.text
    assert (merchant["name"], merchant["environment"], merchant["breaker"]) == (
        "default",
        "sandbox",
        "closed",
    )
    assert (merchant["waiting"], merchant["parked"], merchant["anomaly"]) == (1, 1, 0)
    assert merchant["oldest_waiting_seconds"] == 90
    assert [len(fingerprint) for fingerprint in merchant["server_keys"]] == [12]
    assert (merchant["confirmed"], merchant["paused"]) == (False, None)


def looked_at_by(desk: Desk, which: ReceiptFilter) -> str:
    """Return how SQLite goes about a page of receipts."""
    plans: list[str] = []

    def explain(connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if not statement.startswith("EXPLAIN"):
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.extend(row[3] for row in rows)

    engine = desk.world.store._readers
    event.listen(engine, "before_cursor_execute", explain)
    desk.world.store.read(lambda unit: ReceiptReads(unit).page(which, limit=10, after=None))
    event.remove(engine, "before_cursor_execute", explain)
    return "\n".join(plans)


@pytest.mark.parametrize(
    ("which", "index"),
    [
        (ReceiptFilter(ReceiptState.PARKED, "default"), "ix_receipts_notable (state=?"),
        (ReceiptFilter(ReceiptState.CONTRADICTED), "ix_receipts_notable (state=?"),
        (ReceiptFilter(ReceiptState.WAITING), "ix_receipts_"),
        (ReceiptFilter(merchant="default", order_id="A-1"), "ix_receipts_order_id_merchant (order_id=?"),
        (ReceiptFilter(), "sqlite_autoindex_receipts_1"),
    ],
)
def test_every_list_is_led_by_an_index(desk: Desk, which: ReceiptFilter, index: str) -> None:
    assert f"USING INDEX {index}" in looked_at_by(desk, which)


def service_with(folder: Path, *keys: str) -> Service:
    configuration = Configuration(
        data_dir=folder,
        database_url=f"sqlite:///{folder / 'midtrans.db'}",
        merchants=(Merchant("default", keys),),
        worker_threads=0,
        operator_token="operator-of-the-tests",
    )
    service = build(configuration)
    service.start()
    return service


def ask(service: Service, method: str, path: str, content: bytes | None = None) -> Any:
    async def call() -> httpx.Response:
        headers = {"Authorization": "Bearer operator-of-the-tests"}
        transport = httpx.ASGITransport(service.asgi)
        async with httpx.AsyncClient(transport=transport, base_url="http://api", headers=headers) as client:
            return await client.request(method, path, content=content)

    return asyncio.run(call()).json()


def test_what_was_refused_for_want_of_a_key_is_taken_in_once_it_is_there(tmp_path: Path) -> None:
    migrated(tmp_path / "midtrans.db")
    signature = expected_signature("A-1", "200", "1.00", "the-new-key")
    said = {"order_id": "A-1", "transaction_id": "t-1", "transaction_status": "settlement"}
    said |= {"payment_type": "qris", "status_code": "200", "gross_amount": "1.00", "signature_key": signature}
    service = service_with(tmp_path, "the-old-key")
    assert ask(service, "POST", "/notifications", json.dumps(said).encode())["error"] == "signature"
    service.stop()

    service = service_with(tmp_path, "the-old-key")
    (merchant,) = ask(service, "GET", "/v1/merchants")["merchants"]
    assert [(one["reason"], one["count"]) for one in merchant["oddities"]] == [("signature", 1)]
    assert (merchant["breaker"], ask(service, "GET", "/v1/receipts")["receipts"]) == (None, [])
    (oddity,) = ask(service, "GET", "/v1/merchants/default/oddities?reason=signature")["oddities"]
    assert json.loads(oddity["body"]) == said | {"signature_key": "[masked]"}
    service.stop()

    service = service_with(tmp_path, "the-new-key", "the-old-key")
    (receipt,) = ask(service, "GET", "/v1/receipts")["receipts"]
    assert (receipt["order_id"], receipt["state"], receipt["answer"]) == ("A-1", "waiting", 403)
    assert ask(service, "GET", "/v1/merchants")["merchants"][0]["oddities"] == []
    service.stop()


def test_a_dashboard_test_and_strangers_are_shown(tmp_path: Path) -> None:
    migrated(tmp_path / "midtrans.db")
    service = service_with(tmp_path, "a-key")
    order_id = "payment_notif_test_G1_1"
    signature = expected_signature(order_id, "200", "1.00", "a-key")
    said = {"order_id": order_id, "transaction_id": "t-1", "transaction_status": "settlement"}
    said |= {"payment_type": "qris", "status_code": "200", "gross_amount": "1.00", "signature_key": signature}
    assert ask(service, "POST", "/notifications", json.dumps(said).encode())["status"] == "test"
    assert ask(service, "POST", "/notifications/nobody", b"{}")["error"] == "unknown_merchant"
    service.stop()
    service = service_with(tmp_path, "a-key")
    answer = ask(service, "GET", "/v1/merchants")
    (merchant,) = answer["merchants"]
    assert (merchant["dashboard_test"]["signature"], merchant["oddities"]) == ("good", [])
    assert [(one["reason"], one["count"]) for one in answer["unknown"]] == [("unknown_merchant", 1)]
    (stranger,) = ask(service, "GET", "/v1/merchants/unknown/oddities")["oddities"]
    assert (stranger["reason"], stranger["path"]) == ("unknown_merchant", "/notifications/nobody")
    service.stop()


def test_a_paused_merchant_says_why_since_when_and_what_to_do(tmp_path: Path) -> None:
    migrated(tmp_path / "midtrans.db")
    service = service_with(tmp_path, "a-key")
    merchant = service.configuration.merchants[0]
    state = MerchantState("default", merchant.access_fingerprint, pause_reason="keys_refused")
    service.store.write(lambda unit: unit.merchants.put(state)).result()
    paused = ask(service, "GET", "/v1/merchants")["merchants"][0]["paused"]
    assert (paused["reason"], paused["since"][-1]) == ("keys_refused", "Z")
    assert "right key" in paused["to_do"]
    service.stop()
    service = service_with(tmp_path, "another-key")
    assert ask(service, "GET", "/v1/merchants")["merchants"][0]["paused"] is None
    service.stop()

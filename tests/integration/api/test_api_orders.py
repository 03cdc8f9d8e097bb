"""What a shop says it charged, and the whole order as known now: through HTTP, Midtrans in memory, its clock moved."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from support.desk import SHOP, Desk, make_desk

DOCS = Path(__file__).resolve().parents[3] / "docs"
PATH = "/v1/expectations/default/"


@pytest.fixture
def desk(tmp_path: Path) -> Any:
    with make_desk(tmp_path) as made:
        yield made


def test_an_expectation_makes_a_lost_notifications_payment_appear(desk: Desk) -> None:
    desk.charge("A-1")
    answer = desk.call("PUT", PATH + "A-1", {"gross_amount": "10000.00"}, role=SHOP)
    assert (answer.status_code, answer.json()["next_check_at"]) == (201, "2026-11-22T03:15:00Z")
    desk.world.account.pay("A-1")  # and what Midtrans posts is lost
    desk.world.run_for(minutes=14)
    assert desk.order("A-1")["payments"] == []
    desk.world.run_for(minutes=2)
    order = desk.order("A-1")
    assert (order["outcome"], order["paid_payments"], order["amount_matches"]) == ("paid", 1, True)
    assert (order["receipts"], order["next_check_at"]) == ([], None)
    assert [question["cause"] for question in order["questions"]] == ["reconcile"]
    (event,) = desk.world.events()
    assert (event.confirmed_by, event.order.amount_matches) == ("reconcile", True)


def test_the_same_expectation_again_changes_nothing(desk: Desk) -> None:
    first = desk.call("PUT", PATH + "A-1", {"gross_amount": 10_000})
    again = desk.call("PUT", PATH + "A-1", {"gross_amount": "10000.00"})
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()


def test_a_changed_expectation_takes_the_place_of_the_first(desk: Desk) -> None:
    desk.call("PUT", PATH + "A-1", {"gross_amount": 10_000, "transaction_id": "t-1"})
    desk.world.clock.pass_time(minutes=1)
    expires_at = "2026-11-22T12:00:00+07:00"
    changed = desk.call("PUT", PATH + "A-1", {"gross_amount": "9000.5", "expires_at": expires_at}).json()
    assert (changed["gross_amount"], changed["transaction_id"]) == ("9000.50", None)
    assert (changed["created_at"], changed["expires_at"]) == ("2026-11-22T03:00:00Z", "2026-11-22T05:00:00Z")
    expectation = desk.order("A-1")["expectation"]
    assert expectation == {name: changed[name] for name in expectation}


NO_AMOUNTS: list[Any] = [
    "0",
    0,
    "-1",
    -1,
    "1.000",
    1.5,
    "1e3",
    "NaN",
    "",
    None,
    True,
    [],
    "٣",
    "1 000",
    10**19,
]
NO_TIMES = [
    "2026-11-22",
    "2026-11-22T10:00:00",
    "soon",
    0,
    "",
    "9999-12-31T23:59:59-10:00",
    "2026-13-22T10:00:00Z",
    "0001-01-01T00:00:00+10:00",
]
NO_IDS = ["", 7, "x" * 256, "a\0b", "\ud800"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(pytest.param("gross_amount", value, id=f"amount {value!r}") for value in NO_AMOUNTS),
        *(pytest.param("expires_at", value, id=f"time {value!r}") for value in NO_TIMES),
        *(pytest.param("transaction_id", value, id=f"id {number}") for number, value in enumerate(NO_IDS)),
    ],
)
def test_what_is_no_amount_time_or_id_is_refused_and_named(desk: Desk, field: str, value: Any) -> None:
    answer = desk.call("PUT", PATH + "A-1", {"gross_amount": "1.00", field: value})
    assert answer.status_code == 422, answer.text
    assert [one["field"] for one in answer.json()["errors"]] == [field]


def test_an_order_id_may_hold_a_slash_and_more(desk: Desk) -> None:
    path = "a%2Fb%20%3F%23%25%C3%A9"
    assert desk.call("PUT", PATH + path, {"gross_amount": 1}).json()["order_id"] == "a/b ?#%é"
    assert desk.call("GET", "/v1/orders/default/" + path).json()["order_id"] == "a/b ?#%é"


def test_a_receipt_held_for_want_of_proof_goes_on_once_the_shop_names_the_pair(desk: Desk) -> None:
    transaction_id = desk.charge("A-1")
    desk.charge("B-1")
    other = desk.world.account.notification("B-1") | {"transaction_id": transaction_id}
    desk.world.notify(other)
    desk.world.confirm_due()
    assert [one["state"] for one in desk.order("B-1")["receipts"]] == ["anomaly"]
    desk.call("PUT", PATH + "B-1", {"gross_amount": 10_000})
    assert [one["state"] for one in desk.order("B-1")["receipts"]] == ["waiting"]


def test_an_order_shows_its_payments_and_what_was_notified_of_it(desk: Desk) -> None:
    transaction_id = desk.charge("A-1")
    desk.world.notify(desk.world.account.notification("A-1"))
    order = desk.order("A-1")
    assert (order["outcome"], order["expected"], order["amount_matches"]) == (None, None, None)
    assert [one["state"] for one in order["receipts"]] == ["waiting"]
    desk.world.confirm_due()
    desk.call("PUT", PATH + "A-1", {"gross_amount": "9999.99"})
    order = desk.order("A-1")
    assert (order["outcome"], order["paid_payments"], order["amount_matches"]) == ("open", 0, False)
    assert order["expected"] == {"value": "9999.99", "currency": "IDR"}
    assert [one["transaction_id"] for one in order["payments"]] == [transaction_id]
    assert order["payments"] == desk.call("GET", "/v1/payments?order_id=A-1").json()["payments"]
    assert [(one["state"], one["due_at"]) for one in order["receipts"]] == [("applied", None)]
    assert order["next_check_at"] == "2026-11-22T03:15:00Z"


@pytest.mark.parametrize("page", ["expectations.md", "operating.md"])
def test_the_calls_in_the_docs_work_as_they_stand(desk: Desk, page: str) -> None:
    lines = [
        line for line in (DOCS / page).read_text(encoding="utf-8").splitlines() if line.startswith("curl ")
    ]
    desk.call("PUT", PATH + "order-1001", {"gross_amount": 1})
    assert len(lines) > 2
    for line in lines:
        curl = shlex.split(line)
        url, data = next(part for part in curl if part.startswith("$API")), curl[-1] if "-d" in curl else None
        method = "PUT" if "PUT" in curl else "POST" if data else "GET"
        answer = desk.call(method, "/v1" + url.removeprefix("$API"), json.loads(data) if data else None)
        assert answer.status_code == 200, f"{line}: {answer.text}"

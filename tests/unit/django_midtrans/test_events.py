"""What a consumer reads: shape, ids, times, finality and the order."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_midtrans.events import (
    NAMESPACE,
    OrderView,
    PaymentEvent,
    change,
    event_id,
    make_event,
    order_view,
)
from django_midtrans.payment import PaymentState, merge, read_facts
from django_midtrans.status import Outcome, PaymentStatus

DOC = Path(__file__).parents[3] / "docs" / "events.md"
CONFIRMED = datetime(2026, 3, 2, 3, 5, 6, 789_000, tzinfo=UTC)
PAID, OPEN, UNPAID, RETURNED = Outcome.PAID, Outcome.OPEN, Outcome.UNPAID, Outcome.RETURNED
ORDER = OrderView(outcome=PAID, paid_payments=1, expected=None, amount_matches=None)
TIMES = {
    "transaction_time": "2026-03-02 10:00:00",
    "settlement_time": "2026-03-02 10:04:30",
    "expiry_time": "2026-03-03 10:00:00",
}


def step(previous: PaymentState | None, status: str, **changes: Any) -> PaymentState:
    """Return the state after Midtrans said *status*, counted as one event."""
    said = {"transaction_status": status, "gross_amount": "150000.00", "payment_type": "gopay"} | changes
    state = merge(previous, read_facts(said))
    return replace(state, sequence=state.sequence + 1)


def event(previous: PaymentState | None, state: PaymentState, **changes: Any) -> PaymentEvent:
    given_: dict[str, Any] = {
        "merchant": "shop",
        "order_id": "order-1",
        "transaction_id": "tx-1",
        "order": ORDER,
        "irregular": False,
        "confirmed_at": CONFIRMED,
        "confirmed_by": "notification",
    }
    return make_event(previous=previous, state=state, **given_ | changes)


def refund(number: int = 1, **changes: Any) -> dict[str, Any]:
    return {"refund_chargeback_id": number, "refund_amount": "50000.00"} | changes


# shape


def test_the_event_is_the_cloudevent_of_the_design_key_by_key() -> None:
    state = step(step(None, "pending"), "settlement", fraud_status="accept", status_code="200", **TIMES)
    state = replace(
        state, channel="bca", payment_type="bank_transfer", custom_fields=("Jalan Ö", None, None), sequence=3
    )
    made = event(step(None, "pending"), state)
    assert made.to_json() == json.dumps(
        {
            "specversion": "1.0",
            "id": made.id,
            "source": "/midtrans/shop",
            "type": "midtrans.payment.settled",
            "subject": "order-1",
            "time": "2026-03-02T03:04:30Z",
            "datacontenttype": "application/json",
            "dataschema": "urn:midtrans-service:schema:payment:1",
            "partitionkey": "shop/tx-1",
            "sequence": "0000000003",
            "data": {
                "merchant": "shop",
                "order_id": "order-1",
                "transaction_id": "tx-1",
                "payment_type": "bank_transfer",
                "channel": "bca",
                "status": "settled",
                "previous_status": "pending",
                "outcome": "paid",
                "outcome_changed": True,
                "finality": "firm",
                "reversible_until": None,
                "irregular": False,
                "amount": {"value": "150000.00", "currency": "IDR"},
                "amount_before_fee": None,
                "refunded": {"value": "0.00", "currency": "IDR"},
                "refunds": [],
                "charged_back": {"value": "0.00", "currency": "IDR"},
                "order": {"outcome": "paid", "paid_payments": 1, "expected": None, "amount_matches": None},
                "occurred_at": "2026-03-02T03:04:30Z",
                "confirmed_at": "2026-03-02T03:05:06Z",
                "confirmed_by": "notification",
                "midtrans": {
                    "transaction_status": "settlement",
                    "fraud_status": "accept",
                    "status_code": "200",
                },
                "custom_fields": ["Jalan Ö", None, None],
                "metadata": {},
            },
        },
        ensure_ascii=False,
        separators=(",", ":"),
    )


def test_refunds_and_expectations_are_money_with_a_currency() -> None:
    sent = refund(refund_key="k", refund_method="online", reason="r", created_at="2026-03-02 11:00:00")
    order = order_view([PAID], expected=Decimal("140000.00"), amount=Decimal("1.00"), amount_before_fee=None)
    data = event(None, step(None, "partial_refund", refunds=[sent]), order=order).to_dict()["data"]
    assert data["refunds"] == [
        {
            "id": "1",
            "key": "k",
            "amount": {"value": "50000.00", "currency": "IDR"},
            "method": "online",
            "reason": "r",
            "created_at": "2026-03-02T04:00:00Z",
            "bank_confirmed_at": None,
        }
    ]
    assert data["order"]["expected"] == {"value": "140000.00", "currency": "IDR"}
    assert data["order"]["amount_matches"] is False


@given(
    status=st.sampled_from(
        ["pending", "capture", "settlement", "partial_refund", "refund", "deny", "chargeback"]
    ),
    text=st.text(max_size=5),
    expected=st.none() | st.decimals("0", "1000000", places=2),
    irregular=st.booleans(),
    fee=st.booleans(),
)
def test_an_event_is_read_back_from_its_json(
    *, status: str, text: str, expected: Decimal | None, irregular: bool, fee: bool
) -> None:
    info = {"extra_info": {"gross_amount_info": {"original_amount": "9.00"}}} if fee else {}
    state = step(
        None, status, refunds=[refund(reason=text)], custom_field2=text, metadata=info | {"t": text}, **TIMES
    )
    order = order_view([PAID, UNPAID], expected=expected, amount=state.amount, amount_before_fee=None)
    made = event(None, state, order=order, irregular=irregular)
    assert PaymentEvent.from_dict(json.loads(made.to_json())) == made


def test_fields_added_later_do_not_hinder_reading() -> None:
    made = event(None, step(None, "pending"))
    later = made.to_dict() | {"traceparent": "x"}
    later["data"] |= {"new": 1}
    assert PaymentEvent.from_dict(later) == made


@pytest.mark.parametrize("broken", [{}, {"data": {}}, {"data": None}])
def test_what_is_no_payment_event_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        PaymentEvent.from_dict(broken)


# which event a step makes


def test_the_first_status_makes_an_event() -> None:
    assert change(None, step(None, "refund")) == "refunded"


def test_a_repeat_and_late_detail_make_none() -> None:
    state = step(None, "refund", refunds=[refund()])
    assert change(state, step(state, "refund", refunds=[refund(refund_key="k", reason="r")])) is None
    with pytest.raises(ValueError, match="nothing changed"):
        event(state, step(state, "refund", refunds=[refund()]))


def test_only_bank_confirmations_make_refund_confirmed() -> None:
    before = step(None, "partial_refund", refunds=[refund()])
    confirmed = refund(bank_confirmed_at="2026-03-04 10:00:00")
    assert change(before, step(before, "partial_refund", refunds=[confirmed])) == "refund_confirmed"
    assert (
        change(before, step(before, "partial_refund", refunds=[confirmed, refund(2)])) == "partially_refunded"
    )
    assert change(before, step(before, "refund", refunds=[confirmed])) == "refunded"


def test_grown_amounts_make_an_event_of_the_same_status() -> None:
    before = step(None, "partial_refund", refund_amount="1.00")
    assert change(before, step(before, "partial_refund", refund_amount="2.00")) == "partially_refunded"
    before = step(None, "partial_chargeback")
    assert (
        change(before, step(before, "partial_chargeback", chargeback_amount="2.00"))
        == "partially_charged_back"
    )
    before = step(None, "settlement")
    assert change(before, step(before, "settlement", gross_amount="1.00")) == "settled"


# ids


def vector_rows() -> list[list[str]]:
    """Return the cells of the table of test vectors in the docs."""
    part = DOC.read_text().split("### Test vectors", 1)[1]
    rows = [
        [cell.strip().strip("`") for cell in line.strip("|").split("|")]
        for line in part.splitlines()
        if line[:3] == "| `"
    ]
    assert len(rows) >= 6
    return rows


@pytest.mark.parametrize("row", vector_rows(), ids=lambda row: row[-1])
def test_the_ids_in_the_docs_are_the_codes(row: list[str]) -> None:
    merchant, transaction_id, type_, status, amount, refunded, charged_back, confirmed, entry, expected = row
    made = event_id(
        merchant=merchant,
        transaction_id=transaction_id,
        type=type_,
        status=PaymentStatus(status),
        amount=Decimal(amount),
        refunded=Decimal(refunded),
        charged_back=Decimal(charged_back),
        confirmed_refunds=int(confirmed) if confirmed else None,
        entry=int(entry),
    )
    assert made == expected


def test_the_docs_name_the_namespace() -> None:
    assert UUID("cb3a6b1c-3121-5743-b62e-fa966fa5de6d") == NAMESPACE
    assert str(NAMESPACE) in DOC.read_text()


def test_the_id_says_what_happened_and_not_when_or_how_often_we_looked() -> None:
    once = event(None, step(None, "settlement", **TIMES))
    again = event(
        step(None, "pending"),
        replace(step(step(None, "pending"), "settlement", settlement_time="2026-03-09 10:00:00"), sequence=9),
        confirmed_at=CONFIRMED + timedelta(days=9),
        confirmed_by="reconcile",
        order=replace(ORDER, paid_payments=2),
        irregular=True,
    )
    assert once.id == again.id


def history_ids(words: Sequence[tuple[str, dict[str, Any]]]) -> list[str]:
    ids: list[str] = []
    state: PaymentState | None = None
    for word, changes in words:
        previous, state = state, step(state, word, **changes)
        ids.append(event(previous, state).id)
    return ids


def test_each_step_has_an_id_of_its_own_also_when_a_status_comes_back() -> None:
    confirmed = {"bank_confirmed_at": "2026-03-04 10:00:00"}
    ids = history_ids(
        [
            ("pending", {}),
            ("expire", {}),
            ("settlement", {}),
            ("expire", {}),
            ("settlement", {}),
            ("partial_refund", {"refunds": [refund(1)]}),
            ("partial_refund", {"refunds": [refund(1, **confirmed)]}),
            ("partial_refund", {"refunds": [refund(1), refund(2)]}),
            ("partial_refund", {"refunds": [refund(1), refund(2, **confirmed)]}),
            ("refund", {}),
        ]
    )
    assert len(set(ids)) == len(ids)


def test_another_merchant_or_payment_has_other_ids() -> None:
    state = step(None, "settlement")
    made = event(None, state).id
    assert event(None, state, merchant="shop-b").id != made
    assert event(None, state, transaction_id="tx-2").id != made


@given(st.text(min_size=1), st.text(min_size=1))
def test_any_text_has_an_id(merchant: str, transaction_id: str) -> None:
    made = event(None, step(None, "pending"), merchant=merchant, transaction_id=transaction_id).id
    assert UUID(made).version == 5


# times


@pytest.mark.parametrize(
    ("status", "changes", "occurred"),
    [
        ("pending", TIMES, "2026-03-02T03:00:00Z"),
        ("authorize", TIMES, "2026-03-02T03:00:00Z"),
        ("capture", TIMES, "2026-03-02T03:00:00Z"),
        ("settlement", TIMES, "2026-03-02T03:04:30Z"),
        ("expire", TIMES, "2026-03-03T03:00:00Z"),
        (
            "refund",
            TIMES | {"refunds": [refund(1, created_at="2026-03-05 10:00:00"), refund(2)]},
            "2026-03-05T03:00:00Z",
        ),
        ("refund", TIMES, None),
        ("capture", TIMES | {"fraud_status": "challenge"}, None),
        ("deny", TIMES, None),
        ("cancel", TIMES, None),
        ("failure", TIMES, None),
        ("chargeback", TIMES, None),
        ("settlement", {"transaction_time": "2026-03-02 10:00:00"}, None),
    ],
)
def test_it_occurred_when_midtrans_says_this_change_happened(
    status: str, changes: dict[str, Any], occurred: str | None
) -> None:
    made = event(None, step(None, status, **changes)).to_dict()
    assert made["data"]["occurred_at"] == occurred
    assert made["time"] == (occurred or "2026-03-02T03:05:06Z")


def test_a_refund_is_confirmed_at_the_banks_latest_time() -> None:
    confirmed = [
        refund(n, bank_confirmed_at=f"2026-03-0{n} 10:00:00", created_at="2026-03-09 10:00:00")
        for n in (1, 2)
    ]
    before = step(None, "refund", refunds=[confirmed[0], refund(2)])
    made = event(before, step(before, "refund", refunds=confirmed))
    assert made.type == "midtrans.payment.refund_confirmed"
    assert made.occurred_at == datetime(2026, 3, 2, 3, tzinfo=UTC)


def test_a_settlement_that_is_refunded_in_place_did_not_occur_at_the_settlement() -> None:
    before = step(None, "settlement", **TIMES)
    after = step(before, "settlement", refunds=[refund(created_at="2026-03-05 10:00:00")], **TIMES)
    assert event(before, after).occurred_at == datetime(2026, 3, 5, 3, tzinfo=UTC)


def test_a_time_without_a_zone_never_becomes_an_event() -> None:
    with pytest.raises(ValueError, match="zone"):
        event(None, step(None, "deny"), confirmed_at=CONFIRMED.replace(tzinfo=None))


# finality


REVERSIBLE: list[dict[str, Any]] = [
    {"payment_type": "bank_transfer", "permata_va_number": "1"},
    {"payment_type": "echannel"},
    {"payment_type": "cstore", "store": "indomaret"},
]


@pytest.mark.parametrize("channel", REVERSIBLE)
def test_a_settlement_that_may_be_reversed_is_provisional_for_15_minutes(channel: dict[str, Any]) -> None:
    data = event(None, step(None, "settlement", **TIMES, **channel)).to_dict()["data"]
    assert (data["finality"], data["reversible_until"]) == ("provisional", "2026-03-02T03:19:30Z")


@pytest.mark.parametrize("channel", REVERSIBLE)
def test_it_is_firm_when_it_is_confirmed_after_that(channel: dict[str, Any]) -> None:
    late = datetime(2026, 3, 2, 3, 19, 30, tzinfo=UTC)
    data = event(None, step(None, "settlement", **TIMES, **channel), confirmed_at=late).to_dict()["data"]
    assert (data["finality"], data["reversible_until"]) == ("firm", None)


def test_without_a_settlement_time_the_15_minutes_count_from_the_confirmation() -> None:
    """The transaction_time is the charge's: it would be over before the customer has paid."""
    state = step(None, "settlement", transaction_time="2026-03-01 10:00:00", **REVERSIBLE[2])
    assert event(None, state).reversible_until == datetime(2026, 3, 2, 3, 20, 6, tzinfo=UTC)


@pytest.mark.parametrize(
    "changes",
    [
        {"payment_type": "bank_transfer", "va_numbers": [{"bank": "bca"}]},
        {"payment_type": "cstore", "store": "alfamart"},
        {"payment_type": "qris", "acquirer": "gopay"},
    ],
)
def test_other_settlements_are_firm(changes: dict[str, Any]) -> None:
    assert event(None, step(None, "settlement", **TIMES, **changes)).reversible_until is None


def test_only_a_settlement_is_provisional() -> None:
    for status in ("pending", "deny", "expire"):
        assert event(None, step(None, status, **TIMES, **REVERSIBLE[1])).reversible_until is None


# outcomes and the order


def test_the_outcome_changes_with_the_first_event_and_when_it_differs() -> None:
    pending = step(None, "pending")
    captured = step(pending, "capture")
    settled = step(captured, "settlement")
    assert event(None, pending).outcome_changed
    assert event(pending, captured).outcome_changed
    assert not event(captured, settled).outcome_changed
    assert event(None, settled).outcome_changed


@pytest.mark.parametrize(
    ("outcomes", "outcome", "paid"),
    [
        ([PAID], PAID, 1),
        ([UNPAID, PAID, OPEN, PAID], PAID, 2),
        ([UNPAID, OPEN, RETURNED], OPEN, 0),
        ([UNPAID, RETURNED], RETURNED, 0),
        ([UNPAID, UNPAID], UNPAID, 0),
    ],
)
def test_an_order_is_what_its_payments_come_to(outcomes: list[Outcome], outcome: Outcome, paid: int) -> None:
    view = order_view(outcomes, expected=None, amount=Decimal(1), amount_before_fee=None)
    assert (view.outcome, view.paid_payments, view.amount_matches) == (outcome, paid, None)


def test_an_order_without_payments_is_no_order() -> None:
    with pytest.raises(ValueError, match="without payments"):
        order_view([], expected=None, amount=Decimal(1), amount_before_fee=None)


@pytest.mark.parametrize(
    ("expected", "amount", "before_fee", "matches"),
    [
        ("150000", "150000.00", None, True),
        ("150000.00", "154000.00", None, False),
        ("150000.00", "154000.00", "150000.00", True),
        ("154000.00", "154000.00", "150000.00", False),
    ],
)
def test_the_expected_amount_is_compared_as_a_number_before_fees(
    *, expected: str, amount: str, before_fee: str | None, matches: bool
) -> None:
    view = order_view(
        [PAID],
        expected=Decimal(expected),
        amount=Decimal(amount),
        amount_before_fee=None if before_fee is None else Decimal(before_fee),
    )
    assert view.amount_matches is matches


@pytest.mark.parametrize(
    ("before", "status", "order", "ships"),
    [
        ("pending", "settlement", ORDER, True),
        (None, "settlement", ORDER, True),
        ("capture", "settlement", ORDER, False),
        ("pending", "expire", ORDER, False),
        ("pending", "settlement", replace(ORDER, paid_payments=2), False),
        ("pending", "settlement", replace(ORDER, amount_matches=True), True),
        ("pending", "settlement", replace(ORDER, amount_matches=False), False),
    ],
)
def test_one_event_of_an_order_says_ship(
    *, before: str | None, status: str, order: OrderView, ships: bool
) -> None:
    previous = None if before is None else step(None, before)
    assert event(previous, step(previous, status), order=order).should_ship is ships


def test_the_docs_describe_every_field() -> None:
    text = DOC.read_text()
    made = event(None, step(None, "pending")).to_dict()
    for name in [*made, *made["data"], *made["data"]["order"], *made["data"]["midtrans"]]:
        assert re.search(rf"`(?:data\.|order\.|midtrans\.)?{name}`", text), name

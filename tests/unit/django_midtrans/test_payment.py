"""What one body says, what is known, and how the two stand to each other."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_midtrans.payment import (
    FactsUnreadable,
    PaymentFacts,
    PaymentState,
    alarms_of,
    compare,
    merge,
    problem_of,
    read_facts,
)
from django_midtrans.status import PaymentStatus, Relation
from django_midtrans.values import JsonNumber, money_text, parse_time_text, plain_json, read_money, time_text

FULL = Decimal("150000.00")


def body(status: str = "settlement", **changes: Any) -> dict[str, Any]:
    """Return what Midtrans says; a change to ... leaves the field out."""
    said = {"transaction_status": status, "gross_amount": "150000.00", "payment_type": "gopay"} | changes
    return {name: value for name, value in said.items() if value is not ...}


def facts(status: str = "settlement", **changes: Any) -> PaymentFacts:
    return read_facts(body(status, **changes))


def known(status: str = "settlement", **changes: Any) -> PaymentState:
    return merge(None, facts(status, **changes))


def refund(number: int = 1, amount: str = "50000.00", **changes: Any) -> dict[str, Any]:
    return {"refund_chargeback_id": number, "refund_amount": amount} | changes


def confirmed(number: int = 1, amount: str = "50000.00") -> dict[str, Any]:
    return refund(number, amount, bank_confirmed_at="2026-03-04 10:00:00")


# money and times


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("150000.00", "150000.00"),
        ("2700", "2700.00"),
        ("0.5", "0.50"),
        ("0", "0.00"),
        ("999999999999999999.99", "999999999999999999.99"),
        (JsonNumber("10000"), "10000.00"),
        (JsonNumber("10000.10"), "10000.10"),
        (10000, "10000.00"),
        (10000.5, "10000.50"),
    ],
)
def test_money_is_exact(value: object, expected: str) -> None:
    amount = read_money(value)
    assert amount is not None
    assert money_text(amount) == str(amount) == expected


@pytest.mark.parametrize(
    "value",
    [
        *(
            "",
            " 1",
            "1 ",
            "1\n",
            "-1",
            "+1",
            "1.",
            ".5",
            "1.234",
            "100.000",
            "1,000",
            "1_000",
            "1e4",
            "NaN",
            "Infinity",
        ),
        *(
            "٣",
            "1" * 19,
            "Rp1000",
            JsonNumber("1e4"),
            JsonNumber("-5"),
            1e300,
            float("nan"),
            float("inf"),
            -1,
        ),
        *(True, False, None, [], {}, b"1"),
    ],
)
def test_what_is_not_plainly_an_amount_is_none(value: object) -> None:
    assert read_money(value) is None


def test_midtrans_times_are_seven_hours_ahead_of_utc() -> None:
    assert facts(transaction_time="2026-03-02 06:30:00").transaction_time == datetime(
        2026, 3, 1, 23, 30, tzinfo=UTC
    )


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "2026-03-02",
            "2026-03-02T10:00:00",
            "2026-13-01 10:00:00",
            "2026-02-30 10:00:00",
            "2026-W10-1 10:00:00",
        ),
        *("2026-03-02 24:00:01", "0001-01-01 00:00:00", "2026-03-02 10:00:00 ", 1772420400, None, []),
    ],
)
def test_an_odd_time_is_not_said(text: object) -> None:
    read = facts(transaction_time=text, settlement_time=text, expiry_time=text)
    assert (read.transaction_time, read.settlement_time, read.expiry_time) == (None, None, None)


@given(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC)))  # noqa: DTZ001
def test_written_times_are_read_back_to_the_second(moment: datetime) -> None:
    assert parse_time_text(time_text(moment)) == moment.replace(microsecond=0)


@pytest.mark.parametrize(
    "text", ["2026-03-02T10:00:00", "2026-03-02 10:00:00Z", "2026-03-02T10:00:00+00:00", ""]
)
def test_a_time_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="UTC"):
        parse_time_text(text)


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="zone"):
        time_text(datetime(2026, 1, 1))  # noqa: DTZ001


# reading


@pytest.mark.parametrize("status", [..., None, "", 5, [], JsonNumber("5")])
def test_a_body_without_a_status_is_unreadable(status: Any) -> None:
    with pytest.raises(FactsUnreadable) as unreadable:
        read_facts(body(status))
    assert unreadable.value.field == "transaction_status"


@pytest.mark.parametrize("amount", ["", "abc", "100.000", "-1", [], True, "1e4"])
def test_an_unreadable_amount_is_said_so(amount: object) -> None:
    with pytest.raises(FactsUnreadable) as unreadable:
        facts(gross_amount=amount)
    assert unreadable.value.field == "gross_amount"


ODD: tuple[object, ...] = (None, True, 12, [], {}, [None, 3, {}, {"refund_amount": []}])


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize(
    "name",
    [
        *("order_id", "transaction_id", "merchant_id", "payment_type", "currency"),
        *("fraud_status", "signature_key", "transaction_time", "expiry_time"),
    ],
)
def test_an_odd_type_in_an_optional_field_counts_as_not_said(name: str, odd: object) -> None:
    changes: dict[str, Any] = {name: odd}
    said = facts(**changes)
    assert getattr(said, name) is None
    assert said.status is PaymentStatus.SETTLED


@pytest.mark.parametrize("odd", ODD)
def test_odd_refunds_metadata_and_custom_fields_count_as_not_said(odd: object) -> None:
    said = facts(refunds=odd, metadata=odd, custom_field1=odd, custom_field3=odd)
    assert (said.refunds, said.refund_amount, said.refund_confirmations) == ((), None, 0)
    assert said.metadata == {}
    assert said.custom_fields == (None, None, None)


@given(
    st.dictionaries(
        st.sampled_from(
            [
                *(
                    "order_id",
                    "payment_type",
                    "fraud_status",
                    "gross_amount",
                    "refunds",
                    "refund_amount",
                    "metadata",
                ),
                *(
                    "va_numbers",
                    "permata_va_number",
                    "store",
                    "bank",
                    "acquirer",
                    "status_code",
                    "settlement_time",
                ),
                *("custom_field1", "currency", "chargeback_amount", "transaction_status", "x"),
            ]
        ),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats()
            | st.text()
            | st.sampled_from(["deny", "1.00"]),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["bank", "refund_amount", "extra_info", "a"]), inner, max_size=3
                )
            ),
            max_leaves=8,
        ),
    )
)
def test_whatever_is_sent_it_reads_or_is_unreadable_and_can_be_stored(sent: dict[str, Any]) -> None:
    try:
        read = read_facts(sent)
    except FactsUnreadable:
        return
    if problem_of(read) is None:
        state = merge(None, read)
        text = state.to_json()
        text.encode()  # no lone surrogate is left
        assert "\x00" not in text
        assert "\\u0000" not in text
        assert PaymentState.from_json(text) == state


@pytest.mark.parametrize(
    ("changes", "channel"),
    [
        ({"payment_type": "bank_transfer", "va_numbers": [{"bank": "BCA", "va_number": "1"}]}, "bca"),
        ({"payment_type": "bank_transfer", "permata_va_number": "1"}, "permata"),
        ({"payment_type": "bank_transfer", "va_numbers": []}, None),
        ({"payment_type": "bank_transfer", "va_numbers": ["x"]}, None),
        ({"payment_type": "bank_transfer", "va_numbers": {"bank": "bca"}}, None),
        ({"payment_type": "echannel"}, "mandiri"),
        ({"payment_type": "cstore", "store": "Indomaret"}, "indomaret"),
        ({"payment_type": "cstore"}, None),
        ({"payment_type": "qris", "acquirer": "airpay shopee", "issuer": "bca"}, "airpay shopee"),
        ({"payment_type": "credit_card", "bank": "bni", "channel": "dragon"}, "bni"),
        ({"payment_type": "GOPAY"}, "gopay"),
        ({"payment_type": "bca_klikbca"}, "bca"),
        ({"payment_type": "brand_new", "bank": "cimb"}, "cimb"),
        ({"payment_type": "brand_new", "va_numbers": [{"bank": "bsi"}]}, "bsi"),
        ({"payment_type": "brand_new"}, None),
        ({"payment_type": ...}, None),
    ],
)
def test_the_channel_is_the_bank_store_wallet_or_acquirer(
    changes: dict[str, Any], channel: str | None
) -> None:
    assert facts(**changes).channel == channel


def test_words_are_kept_as_sent() -> None:
    read = facts(
        "PENDING", fraud_status="ACCEPT", status_code=JsonNumber("201"), gross_amount=JsonNumber("10000")
    )
    assert (read.transaction_status, read.fraud_status) == ("PENDING", "ACCEPT")
    assert (read.status_code, read.gross_amount, read.amount) == ("201", "10000", Decimal("10000.00"))


def test_what_no_database_takes_is_replaced() -> None:
    read = facts(custom_field1="a\x00b", metadata={"k\ud800": ["\udfff"]})
    assert read.custom_fields[0] == "a�b"
    assert read.metadata == {"k�": ["�"]}


def test_metadata_numbers_become_plain_and_finite() -> None:
    sent = {
        "a": JsonNumber("1"),
        "b": JsonNumber("1.5"),
        "c": JsonNumber("1e999"),
        "d": JsonNumber("9" * 5000),
    }
    read = facts(metadata=sent | {"e": float("nan"), "f": True, "g": None}).metadata
    assert read == {"a": 1, "b": 1.5, "c": "1e999", "d": "9" * 5000, "e": None, "f": True, "g": None}


def test_metadata_is_cut_where_it_is_too_deep_to_be_written() -> None:
    deep: Any = "end"
    for _ in range(5000):
        deep = [deep]
    assert json.dumps(plain_json({"a": deep}))


def test_the_amount_before_a_fee_is_found() -> None:
    info = {
        "extra_info": {"gross_amount_info": {"original_amount": "100000.00", "gross_amount": "104000.00"}}
    }
    assert facts(metadata=info).amount_before_fee == Decimal("100000.00")
    assert facts(metadata={"extra_info": "text"}).amount_before_fee is None
    assert facts().amount_before_fee is None


# denials and reversals


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, "denied"),
        ({"settlement_time": "2026-03-02 10:00:00"}, "reversed"),
        ({"settlement_time": "odd"}, "denied"),
        ({"payment_type": "bank_transfer", "permata_va_number": "1"}, "reversed"),
        ({"payment_type": "bank_transfer", "va_numbers": [{"bank": "permata"}]}, "reversed"),
        ({"payment_type": "bank_transfer", "va_numbers": [{"bank": "bca"}]}, "denied"),
        ({"payment_type": "echannel"}, "reversed"),
        ({"payment_type": "cstore", "store": "indomaret"}, "reversed"),
        ({"payment_type": "cstore", "store": "alfamart"}, "denied"),
    ],
)
def test_a_denial_is_a_reversal_where_it_can_be_nothing_else(changes: dict[str, Any], status: str) -> None:
    assert facts("deny", **changes).status == status


@pytest.mark.parametrize("before", ["settlement", "refund", "chargeback"])
def test_who_was_settled_is_reversed_and_not_denied(before: str) -> None:
    state = known(before)
    assert state.settled_before
    assert merge(state, facts("deny")).status is PaymentStatus.REVERSED


def test_a_settlement_then_a_denial_is_next() -> None:
    assert compare(known("settlement"), facts("deny")) is Relation.NEXT
    assert compare(known("deny", settlement_time="2026-03-02 10:00:00"), facts("deny")) is Relation.SAME


def test_a_denial_by_the_fraud_check_is_read_like_the_word() -> None:
    assert facts("settlement", fraud_status="deny").status is PaymentStatus.DENIED
    assert (
        facts("settlement", fraud_status="deny", settlement_time="2026-03-02 10:00:00").status == "reversed"
    )
    assert merge(known("settlement"), facts("settlement", fraud_status="deny")).status == "reversed"


def test_who_was_not_settled_is_denied() -> None:
    assert compare(known("capture"), facts("deny")) is Relation.CONTRADICTION
    assert merge(known("pending"), facts("deny")).status is PaymentStatus.DENIED


def test_a_denial_that_leaves_its_channel_out_is_read_by_the_known_one() -> None:
    state = known("pending", payment_type="bank_transfer", permata_va_number="1")
    assert merge(state, facts("deny", payment_type="bank_transfer")).status is PaymentStatus.REVERSED


# refunds and chargebacks


@pytest.mark.parametrize(
    ("status", "changes", "amount"),
    [
        ("refund", {}, "150000.00"),
        ("refund", {"refund_amount": "140000.00"}, "140000.00"),
        ("partial_refund", {"refund_amount": "5.00", "refunds": [refund(amount="7.00")]}, "5.00"),
        ("partial_refund", {"refunds": [refund(1, "7.00"), refund(2, "8.00")]}, "15.00"),
        ("partial_refund", {"refund_amount": "odd", "refunds": [refund(1, "7.00")]}, "7.00"),
        ("partial_refund", {"refunds": [refund(1, "7.00"), refund(2, "odd")]}, None),
        ("partial_refund", {"refunds": []}, None),
        ("settlement", {}, None),
    ],
)
def test_refunded_is_what_is_named_or_the_sum_or_all(
    status: str, changes: dict[str, Any], amount: str | None
) -> None:
    assert facts(status, **changes).refund_amount == (None if amount is None else Decimal(amount))


def test_a_refunds_number_beyond_53_bits_is_exact() -> None:
    for number in (202502070943231235, JsonNumber("202502070943231235"), "202502070943231235"):
        read = facts("refund", refunds=[refund() | {"refund_chargeback_id": number}])
        assert read.refunds[0].id == "202502070943231235"


def test_charged_back_is_all_or_what_is_named() -> None:
    assert facts("chargeback").charged_back == FULL
    assert facts("partial_chargeback").charged_back is None
    assert facts("partial_chargeback", chargeback_amount="5000.00").charged_back == Decimal("5000.00")
    assert known("partial_chargeback").charged_back == Decimal("0.00")


@pytest.mark.parametrize(
    ("status", "changes", "problem"),
    [
        ("settlement", {}, None),
        ("escheat", {}, "status_unknown"),
        ("capture", {"fraud_status": "undecided"}, "status_unknown"),
        ("settlement", {"gross_amount": ...}, "amount_missing"),
        ("settlement", {"gross_amount": None}, "amount_missing"),
        ("partial_refund", {}, "partial_refund_without_amount"),
        ("partial_refund", {"refund_amount": "0.00"}, "partial_refund_without_amount"),
        ("partial_refund", {"refund_amount": "1.00"}, None),
        ("partial_chargeback", {}, None),
    ],
)
def test_problems(status: str, changes: dict[str, Any], problem: str | None) -> None:
    assert problem_of(facts(status, **changes)) == problem


@pytest.mark.parametrize(
    ("status", "changes", "alarms"),
    [
        ("settlement", {"currency": "IDR"}, ()),
        ("partial_chargeback", {}, ("partial_chargeback_without_amount",)),
        ("partial_chargeback", {"chargeback_amount": "1.00"}, ()),
        ("refund", {"refund_amount": "150000.01"}, ("refunded_more_than_paid",)),
        ("settlement", {"currency": "USD"}, ("currency_not_idr",)),
    ],
)
def test_alarms(status: str, changes: dict[str, Any], alarms: tuple[str, ...]) -> None:
    assert alarms_of(facts(status, **changes)) == alarms


# compare


def test_the_first_that_is_seen_may_be_anything() -> None:
    for status in ("pending", "settlement", "refund", "deny"):
        assert compare(None, facts(status)) is Relation.NEXT


def test_an_unknown_status_cannot_be_compared_or_merged() -> None:
    for state in (None, known()):
        with pytest.raises(ValueError, match="status"):
            compare(state, facts("escheat"))
        with pytest.raises(ValueError, match="status"):
            merge(state, facts("escheat"))


PARTLY = {"refund_amount": "50000.00", "refunds": [refund()]}


@pytest.mark.parametrize(
    ("state", "seen", "expected"),
    [
        pytest.param({}, {}, "same", id="midtrans-repeats-itself"),
        pytest.param(PARTLY, PARTLY, "same", id="the-refund-is-repeated"),
        pytest.param(PARTLY, {"refund_amount": "60000.00"}, "next", id="more-was-refunded"),
        pytest.param(PARTLY, {"refund_amount": "40000.00"}, "behind", id="less-was-refunded"),
        pytest.param(PARTLY, {}, "same", id="what-is-left-out-takes-nothing-away"),
        pytest.param(PARTLY, {"refunds": [confirmed()]}, "next", id="the-bank-confirmed"),
        pytest.param({"refunds": [confirmed()]}, {"refunds": [refund()]}, "behind", id="not-yet-confirmed"),
        pytest.param(
            {"refunds": [confirmed()]}, {"refund_amount": "50000.00"}, "same", id="refunds-left-out"
        ),
        pytest.param({"refunds": [confirmed()]}, {"refunds": [confirmed()]}, "same", id="confirmed-again"),
        pytest.param(
            {"refunds": [confirmed(1), refund(2)]},
            {"refund_amount": "100000.00", "refunds": [confirmed(2)]},
            "next",
            id="another-one-confirmed-the-first-left-out",
        ),
        pytest.param({}, {"gross_amount": "150001.00"}, "contradiction", id="the-amount-differs"),
        pytest.param({}, {"gross_amount": "150000"}, "same", id="the-same-amount-written-otherwise"),
        pytest.param({}, {"gross_amount": ...}, "same", id="the-amount-is-left-out"),
        pytest.param(
            PARTLY,
            {"gross_amount": "1.00", "refund_amount": "60000.00"},
            "next",
            id="growth-before-the-amount",
        ),
        pytest.param(
            PARTLY,
            {"gross_amount": "1.00", "refund_amount": "40000.00"},
            "behind",
            id="less-before-the-amount",
        ),
        pytest.param(
            {"refund_amount": "50000.00", "refunds": [confirmed()]},
            {"refund_amount": "60000.00", "refunds": [refund()]},
            "next",
            id="any-growth-is-next",
        ),
        pytest.param({}, {"refunds": [refund(reason="late detail")]}, "next", id="a-refund-appears"),
        pytest.param(PARTLY, {"refunds": [refund(refund_method="online")]}, "same", id="detail-is-no-change"),
    ],
)
def test_with_equal_status_the_amounts_decide(
    state: dict[str, Any], seen: dict[str, Any], expected: str
) -> None:
    """The status is settled throughout: only what is named beside it counts."""
    assert compare(known(**state), facts(**seen)) is Relation(expected)


def test_charged_back_only_grows_too() -> None:
    state = known("partial_chargeback", chargeback_amount="5000.00")
    for amount, expected in (("6000.00", "next"), ("5000.00", "same"), ("4000.00", "behind"), (..., "same")):
        assert compare(state, facts("partial_chargeback", chargeback_amount=amount)) is Relation(expected)


def test_with_another_status_the_table_decides_and_not_the_amount() -> None:
    """A pre-authorisation is captured for less."""
    assert compare(known("authorize"), facts("capture", gross_amount="1.00")) is Relation.NEXT
    assert compare(known("settlement"), facts("pending", gross_amount="1.00")) is Relation.BEHIND
    assert compare(known("expire"), facts("settlement")) is Relation.CONTRADICTION


# merge


def test_what_a_later_answer_leaves_out_stays() -> None:
    state = known(
        "settlement",
        payment_type="bank_transfer",
        va_numbers=[{"bank": "bca"}],
        merchant_id="G1",
        currency="IDR",
        custom_field1="a",
        custom_field2="b",
        metadata={"k": 1},
        **dict.fromkeys(("transaction_time", "settlement_time", "expiry_time"), "2026-03-02 10:00:00"),
    )
    bare = merge(
        state, read_facts({"transaction_status": "settlement", "custom_field2": "c", "metadata": {"l": 2}})
    )
    assert bare == replace(state, custom_fields=("a", "c", None), metadata={"k": 1, "l": 2})


def test_amounts_keep_their_maximum_even_through_a_forced_contradiction() -> None:
    state = known("refund", refunds=[confirmed(amount="150000.00")])
    forced = merge(state, facts("expire", refund_amount="1.00"))
    assert (forced.status, forced.refunded, forced.refund_confirmations) == (PaymentStatus.EXPIRED, FULL, 1)
    assert forced.refunds == state.refunds


def test_a_confirmation_and_late_detail_are_kept_with_their_refund() -> None:
    state = known("refund", refunds=[confirmed(1) | {"refund_key": "k", "reason": "r"}])
    merged = merge(state, facts("refund", refunds=[refund(1, refund_method="offline"), refund(2)]))
    first, second = merged.refunds
    assert (first.key, first.reason, first.method) == ("k", "r", "offline")
    assert first.bank_confirmed_at is not None
    assert second.id == "2"


def test_refunds_without_a_number_are_known_by_key_and_those_without_either_by_time_and_amount() -> None:
    by_key = {"refund_amount": "5.00", "refund_key": "k"}
    by_time = {"refund_amount": "6.00", "created_at": "2026-03-02 10:00:00"}
    state = known("partial_refund", refunds=[by_key, by_time])
    again = merge(
        state, facts("partial_refund", refunds=[by_time | {"reason": "r"}, refund(9, "5.00", refund_key="k")])
    )
    assert [(one.id, one.key, one.reason) for one in again.refunds] == [("9", "k", None), (None, None, "r")]


def test_two_refunds_that_look_alike_are_two() -> None:
    alike = {"refund_amount": "5.00", "created_at": "2026-03-02 10:00:00"}
    state = known("partial_refund", refunds=[alike, alike])
    assert len(state.refunds) == 2
    told_apart = merge(state, facts("partial_refund", refunds=[alike, alike | {"reason": "r"}]))
    assert [one.reason for one in told_apart.refunds] == [None, "r"]


def test_refunds_with_different_numbers_are_two_even_under_one_key() -> None:
    state = known("partial_refund", refunds=[refund(1, refund_key="k")])
    assert len(merge(state, facts("partial_refund", refunds=[refund(2, refund_key="k")])).refunds) == 2


def test_entries_count_how_often_a_status_was_entered() -> None:
    state = known("expire")
    assert state.entries == {PaymentStatus.EXPIRED: 1}
    for status in ("expire", "settlement", "settlement", "expire"):
        state = merge(state, facts(status))
    assert state.entries == {PaymentStatus.EXPIRED: 2, PaymentStatus.SETTLED: 1}
    assert state.sequence == 0  # who makes an event counts it


def test_the_words_are_those_of_the_last_answer() -> None:
    state = merge(known("capture", fraud_status="challenge"), facts("capture", status_code="200"))
    assert (state.fraud_status, state.status_code) == (None, "200")


def test_the_first_facts_must_name_an_amount() -> None:
    with pytest.raises(ValueError, match="amount"):
        merge(None, facts(gross_amount=...))
    assert merge(known(), facts(gross_amount=...)).amount == FULL


AMOUNTS = ["1.00", "50000.00", "150000.00"]
sent_refunds = st.lists(
    st.builds(
        lambda number, amount, at: refund(number, amount) | ({"bank_confirmed_at": at} if at else {}),
        st.integers(1, 4),
        st.sampled_from(AMOUNTS),
        st.sampled_from([None, "2026-03-02 10:00:00"]),
    ),
    max_size=3,
    unique_by=lambda entry: entry["refund_chargeback_id"],
)
some_facts = st.builds(
    lambda status, changes: facts(status, **changes),
    st.sampled_from(
        [
            *("pending", "authorize", "capture", "settlement", "deny", "cancel", "expire", "failure"),
            *("refund", "partial_refund", "chargeback", "partial_chargeback"),
        ]
    ),
    st.fixed_dictionaries(
        {"gross_amount": st.sampled_from(AMOUNTS)},
        optional={
            "refund_amount": st.sampled_from(AMOUNTS),
            "refunds": sent_refunds,
            "chargeback_amount": st.sampled_from(AMOUNTS),
            "fraud_status": st.sampled_from(["accept", "challenge", "deny"]),
            "settlement_time": st.just("2026-03-02 10:00:00"),
            "payment_type": st.sampled_from(["echannel", "cstore", "gopay"]),
            "store": st.sampled_from(["indomaret", "alfamart"]),
            "metadata": st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
            "custom_field1": st.text(max_size=3),
        },
    ),
)


def state_of(history: list[PaymentFacts]) -> PaymentState:
    state: PaymentState | None = None
    for seen in history:
        state = merge(state, seen)
    assert state is not None
    return state


@given(st.lists(some_facts, min_size=1, max_size=5), some_facts)
def test_amounts_never_shrink_whatever_is_merged(history: list[PaymentFacts], seen: PaymentFacts) -> None:
    before = state_of(history)
    after = merge(before, seen)
    assert after.refunded >= before.refunded
    assert after.charged_back >= before.charged_back
    assert after.refund_confirmations >= before.refund_confirmations
    assert len(after.refunds) >= len(before.refunds)
    assert not (before.settled_before and not after.settled_before)
    assert sum(after.entries.values()) - sum(before.entries.values()) == (after.status is not before.status)


@given(st.lists(some_facts, min_size=1, max_size=5))
def test_what_was_just_merged_is_no_news(history: list[PaymentFacts]) -> None:
    """Asked again, the same answer makes no second event; behind, where an earlier one had said more."""
    assert compare(state_of(history), history[-1]) in {Relation.SAME, Relation.BEHIND}


@given(some_facts)
def test_the_first_answer_repeated_is_the_same(seen: PaymentFacts) -> None:
    assert compare(merge(None, seen), seen) is Relation.SAME


@given(st.lists(some_facts, min_size=1, max_size=5))
def test_merging_twice_is_merging_once(history: list[PaymentFacts]) -> None:
    state = state_of(history)
    assert merge(state, history[-1]) == state


@given(st.lists(some_facts, min_size=1, max_size=5), st.integers(0, 9))
def test_a_state_is_read_back_from_its_json(history: list[PaymentFacts], sequence: int) -> None:
    state = replace(state_of(history), sequence=sequence)
    text = state.to_json()
    assert PaymentState.from_json(text) == state
    assert ", " not in json.dumps(
        json.loads(text) | {"metadata": {}, "custom_fields": []}, separators=(",", ":")
    )


def test_a_states_json_is_compact_and_money_is_text() -> None:
    written: Mapping[str, Any] = json.loads(known("refund", refunds=[confirmed()]).to_json())
    assert written["amount"] == "150000.00"
    assert written["refunds"][0]["amount"] == {"value": "50000.00", "currency": "IDR"}
    assert written["refunds"][0]["bank_confirmed_at"] == "2026-03-04T03:00:00Z"
    assert " " not in known().to_json()

"""The rest of the world: which steps there are, that each is notified and signed, whatever the order."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_midtrans.testing import Account, ImpossibleStep, InMemoryMidtrans, Step, signature

KEY = "SB-Mid-server-test"
START = datetime(2026, 11, 22, tzinfo=UTC)
PAYLOADS: Mapping[str, dict[str, Any]] = {
    "permata": {"payment_type": "bank_transfer", "bank_transfer": {"bank": "permata"}},
    "bca": {"payment_type": "bank_transfer", "bank_transfer": {"bank": "bca"}},
    "echannel": {"payment_type": "echannel"},
    "indomaret": {"payment_type": "cstore", "cstore": {"store": "indomaret"}},
    "alfamart": {"payment_type": "cstore", "cstore": {"store": "alfamart"}},
    "gopay": {"payment_type": "gopay"},
    "qris": {"payment_type": "qris"},
    "dana": {"payment_type": "dana"},
    "ovo": {"payment_type": "ovo"},
    "card": {"payment_type": "credit_card", "credit_card": {"token_id": "48111111-1114-x"}},
    "3ds": {
        "payment_type": "credit_card",
        "credit_card": {"token_id": "45111111-1117-x", "authentication": True},
    },
    "reserved": {
        "payment_type": "credit_card",
        "credit_card": {"token_id": "52111111-1117-x", "type": "authorize"},
    },
}
FOLLOWS: Mapping[str, str] = {  # Midtrans' documented graph, the reversal included
    "pending": "settlement capture authorize deny cancel expire failure",
    "authorize": "capture deny cancel expire",
    "capture": "capture settlement cancel deny",
    "settlement": "refund partial_refund chargeback partial_chargeback deny",
    "partial_refund": "partial_refund refund",
    "partial_chargeback": "partial_chargeback chargeback",
}


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def account(clock: Clock) -> Account:
    return InMemoryMidtrans(clock).account(KEY)


def make(account: Account, kind: str, order_id: str = "o-1") -> str:
    details = {"order_id": order_id, "gross_amount": 90_000}
    transaction_id = account.charge({**PAYLOADS[kind], "transaction_details": details})["transaction_id"]
    assert isinstance(transaction_id, str)
    return transaction_id


def test_a_payment_settles_at_the_clocks_time(account: Account, clock: Clock) -> None:
    make(account, "bca")
    clock.now += timedelta(minutes=5)
    body = account.pay("o-1")
    assert (body["transaction_status"], body["settlement_time"]) == ("settlement", "2026-11-22 07:05:00")
    with pytest.raises(ImpossibleStep):
        account.pay("o-1")


def test_paying_more_is_a_fee_and_less_is_impossible(account: Account) -> None:
    make(account, "bca")
    with pytest.raises(ImpossibleStep):
        account.pay("o-1", amount_paid=1)
    assert account.find("o-1").status == "pending"
    body = account.pay("o-1", amount_paid=94_000)
    assert body["gross_amount"] == "94000.00"
    assert body["metadata"]["extra_info"]["gross_amount_info"]["customer_imposed_payment_fee"] == "4000.00"
    assert body["signature_key"] == signature("o-1", "200", "94000.00", KEY)


def test_an_expired_payment_is_paid_only_when_asked_for(account: Account) -> None:
    make(account, "bca")
    account.expire("o-1")
    with pytest.raises(ImpossibleStep):
        account.pay("o-1")
    assert account.pay("o-1", after_expiry=True)["transaction_status"] == "settlement"


@pytest.mark.parametrize(("success", "status"), [(True, "capture"), (False, "deny")])
def test_3ds_ends_in_what_the_card_stands_for_or_a_denial(
    account: Account, success: bool, status: str
) -> None:
    make(account, "3ds")
    assert account.status("o-1")["transaction_status"] == "pending"
    body = account.complete_3ds("o-1", success=success)
    assert body["transaction_status"] == status
    assert (body["fraud_status"] == "challenge") == success


def test_a_challenge_left_open_is_cancelled_by_the_batch(account: Account) -> None:
    make(account, "3ds")
    account.complete_3ds("o-1")
    assert account.settle("o-1")["transaction_status"] == "cancel"


@pytest.mark.parametrize("kind", ["permata", "echannel", "indomaret"])
def test_some_channels_reverse_and_keep_their_settlement_time(account: Account, kind: str) -> None:
    make(account, kind)
    account.pay("o-1")
    body = account.reverse("o-1")
    assert (body["transaction_status"], body["status_code"]) == ("deny", "202")
    assert body["settlement_time"] == account.status("o-1")["settlement_time"]


@pytest.mark.parametrize("kind", ["bca", "alfamart", "gopay"])
def test_other_channels_do_not_reverse(account: Account, kind: str) -> None:
    make(account, kind)
    account.pay("o-1")
    with pytest.raises(ImpossibleStep):
        account.reverse("o-1")


def test_chargebacks_grow_to_the_whole(account: Account) -> None:
    make(account, "card")
    account.settle("o-1")
    assert account.partial_chargeback("o-1", 30_000)["transaction_status"] == "partial_chargeback"
    with pytest.raises(ImpossibleStep):
        account.partial_chargeback("o-1", 60_000)
    assert account.chargeback("o-1")["transaction_status"] == "chargeback"


def test_only_what_is_due_expires(account: Account, clock: Clock) -> None:
    make(account, "qris", "short")
    make(account, "bca", "long")
    make(account, "gopay", "paid")
    account.pay("paid")
    assert account.expire_due() == []
    clock.now += timedelta(minutes=15)
    assert [body["order_id"] for body in account.expire_due()] == ["short"]
    assert account.expire_due() == []
    clock.now += timedelta(days=1)
    assert [body["order_id"] for body in account.expire_due()] == ["long"]


def test_an_authorisation_expires_after_eight_days(account: Account, clock: Clock) -> None:
    make(account, "reserved")
    clock.now += timedelta(days=8)
    assert [body["transaction_status"] for body in account.expire_due()] == ["expire"]


def test_a_repeat_is_the_body_of_the_present_state(account: Account) -> None:
    make(account, "gopay")
    paid = account.pay("o-1")
    assert account.notification("o-1") == paid
    assert len(account.notifications) == 2


def test_a_refund_that_was_never_asked_for_is_not_confirmed(account: Account) -> None:
    make(account, "gopay")
    account.pay("o-1")
    account.refund("o-1", {"refund_key": "k"})
    with pytest.raises(ImpossibleStep):
        account.confirm_refund("o-1", "other")
    account.confirm_refund("o-1", "k")
    with pytest.raises(ImpossibleStep):
        account.confirm_refund("o-1", "k")


def test_an_unknown_id_is_impossible(account: Account) -> None:
    with pytest.raises(ImpossibleStep, match="ghost"):
        account.pay("ghost")


def take(account: Account, transaction_id: str, step: Step) -> None:
    """Take *step*, or raise ImpossibleStep."""
    payment = account.find(transaction_id)
    match step:
        case Step.REFUND:
            left = payment.gross_amount - payment.refunded
            whole = payment.payment_type == "ovo" or left < 30_000
            refuse(account.refund(transaction_id, {"amount": str(left if whole else Decimal(30_000))}))
        case Step.CONFIRM_REFUND:
            keys = [refund.key for refund in payment.refunds if refund.bank_confirmed_at is None]
            account.confirm_refund(transaction_id, (keys or [""])[0])
        case Step.PARTIAL_CHARGEBACK:
            account.partial_chargeback(transaction_id, 20_000)
        case Step.CAPTURE:
            refuse(account.capture({"transaction_id": transaction_id}))
        case Step.CANCEL | Step.EXPIRE | Step.APPROVE | Step.DENY:
            refuse(getattr(account, step.value)(transaction_id))
        case _:
            getattr(account, step.value)(transaction_id)


def refuse(answer: dict[str, Any]) -> None:
    if answer["status_code"] == "412":
        raise ImpossibleStep
    assert answer["status_code"] in {"200", "407"}


@given(kind=st.sampled_from(sorted(PAYLOADS)), steps=st.lists(st.sampled_from(list(Step)), max_size=8))
def test_whatever_happens_follows_the_documented_graph_and_is_signed(kind: str, steps: list[Step]) -> None:
    account = InMemoryMidtrans(lambda: START).account(KEY)
    transaction_id = make(account, kind)
    for step in steps:
        is_open = step in account.steps(transaction_id)
        before, status = len(account.notifications), account.find(transaction_id).status
        if step is Step.PARTIAL_CHARGEBACK and account.find(transaction_id).charged_back > 60_000:
            continue  # nothing partial is left
        if is_open:
            take(account, transaction_id, step)
        else:
            with pytest.raises(ImpossibleStep):
                take(account, transaction_id, step)
            assert account.find(transaction_id).status == status
        assert len(account.notifications) == before + is_open
        same = step is Step.CONFIRM_REFUND and account.notifications[-1]["transaction_status"] == status
        assert (
            not is_open or same or account.notifications[-1]["transaction_status"] in FOLLOWS[status].split()
        )
    for body in account.notifications:
        made = signature(body["order_id"], body["status_code"], body["gross_amount"], KEY)
        assert body["signature_key"] == made
        assert Decimal(body.get("refund_amount", "0")) <= Decimal(body["gross_amount"])
    answer = account.status(transaction_id)
    assert answer["transaction_status"].lower() == account.notifications[-1]["transaction_status"]

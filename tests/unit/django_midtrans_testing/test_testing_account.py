"""The shop's calls against the in-memory Midtrans: answers, refusals, and who may do what when."""

from datetime import UTC, datetime
from typing import Any

import pytest

from django_midtrans.testing import Account, InMemoryMidtrans

NOW = datetime(2026, 11, 22, 3, 4, 5, tzinfo=UTC)
ACCEPTED, CHALLENGED, DENIED, FRAUD = (
    "48111111-1114-x",
    "45111111-1117-x",
    "49111111-1113-x",
    "46111111-1116-x",
)


@pytest.fixture
def account() -> Account:
    return InMemoryMidtrans(lambda: NOW).account("SB-Mid-server-test")


def payload(order_id: str = "o-1", payment_type: str = "gopay", **more: Any) -> dict[str, Any]:
    details = {"order_id": order_id, "gross_amount": 100_000}
    return {"payment_type": payment_type, "transaction_details": details, **more}


def card(token: str = ACCEPTED, order_id: str = "o-1", **more: Any) -> dict[str, Any]:
    return payload(order_id, "credit_card", credit_card={"token_id": token, **more})


def settled(account: Account, **more: Any) -> None:
    account.charge(payload(**more))
    account.pay("o-1")


def code(body: dict[str, Any]) -> str:
    text = body["status_code"]
    assert isinstance(text, str)
    return text


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"payment_type": "cowrie"}, id="unknown-type"),
        pytest.param({"payment_type": "bank_transfer"}, id="no-bank"),
        pytest.param({"payment_type": "bank_transfer", "bank_transfer": {"bank": "bank"}}, id="unknown-bank"),
        pytest.param({"payment_type": "cstore", "cstore": {"store": "kiosk"}}, id="unknown-store"),
        pytest.param({"transaction_details": {"order_id": "o", "gross_amount": 10.5}}, id="decimals"),
        pytest.param({"transaction_details": {"order_id": "o", "gross_amount": 10.0}}, id="a-float"),
        pytest.param({"transaction_details": {"order_id": "o", "gross_amount": "100"}}, id="text"),
        pytest.param({"transaction_details": {"order_id": "o", "gross_amount": True}}, id="a-boolean"),
        pytest.param({"transaction_details": {"order_id": "o", "gross_amount": 0}}, id="nothing"),
        pytest.param({"transaction_details": {"order_id": "", "gross_amount": 1}}, id="empty-order"),
        pytest.param({"transaction_details": {"order_id": "o" * 51, "gross_amount": 1}}, id="long-order"),
        pytest.param({"transaction_details": {"order_id": "\ud800", "gross_amount": 1}}, id="lone-surrogate"),
        pytest.param({"transaction_details": None}, id="no-details"),
        pytest.param({"item_details": [{"price": 1, "quantity": 1}]}, id="items-do-not-add-up"),
        pytest.param({"item_details": "all of it"}, id="items-are-no-list"),
        pytest.param({"custom_field1": "x" * 256}, id="long-custom-field"),
        pytest.param({"metadata": "text"}, id="metadata-is-no-object"),
        pytest.param({"custom_expiry": {"expiry_duration": 0}}, id="no-time-at-all"),
        pytest.param({"custom_expiry": {"expiry_duration": 1, "unit": "fortnight"}}, id="unknown-unit"),
    ],
)
def test_a_wrong_charge_is_400_with_messages_and_makes_nothing(
    account: Account, wrong: dict[str, Any]
) -> None:
    answer = account.charge(payload() | wrong)
    assert code(answer) == "400"
    assert all(isinstance(message, str) for message in answer["validation_messages"])
    assert answer["validation_messages"]
    assert answer["id"]
    assert not account.transactions()
    assert not account.notifications


def test_items_that_add_up_are_taken(account: Account) -> None:
    items = [{"price": 30_000, "quantity": 4}, {"price": -20_000, "quantity": 1}]
    assert code(account.charge(payload(item_details=items))) == "201"


def test_an_order_id_is_charged_once(account: Account) -> None:
    account.charge(payload())
    assert code(account.charge(payload())) == "406"
    assert code(account.charge(payload(payment_type="qris"))) == "406"
    assert len(account.notifications) == 1


def test_one_order_may_own_several_payments_when_asked_for_and_names_the_latest(account: Account) -> None:
    first = account.charge(card(DENIED))
    second = account.charge(card(), same_order=True)
    assert account.status("o-1")["transaction_id"] == second["transaction_id"]
    assert account.status(first["transaction_id"])["transaction_status"] == "deny"
    listed = account.status_b2b("o-1")["transactions"]
    assert [each["transaction_id"] for each in listed] == [second["transaction_id"], first["transaction_id"]]
    assert account.status_b2b("o-1", page=1, per_page=1)["transactions"] == listed[1:]


def test_what_does_not_exist_is_404_with_a_request_id(account: Account) -> None:
    calls = (
        account.status,
        account.status_b2b,
        account.cancel,
        account.expire,
        account.approve,
        account.deny,
    )
    answers = [call("ghost") for call in calls]
    answers += [
        account.refund("ghost"),
        account.direct_refund("ghost"),
        account.capture({"transaction_id": "ghost"}),
    ]
    assert {code(answer) for answer in answers} == {"404"}
    assert len({answer["id"] for answer in answers}) == len(answers)


def test_state_is_kept_per_server_key() -> None:
    midtrans = InMemoryMidtrans(lambda: NOW)
    mine, other = midtrans.account("key-a"), midtrans.account("key-b")
    mine.charge(payload())
    assert code(other.status("o-1")) == "404"
    assert code(other.charge(payload())) == "201"
    assert mine.merchant_id != other.merchant_id


def test_a_settled_payment_is_neither_cancelled_nor_expired(account: Account) -> None:
    settled(account)
    before = len(account.notifications)
    assert [code(account.cancel("o-1")), code(account.expire("o-1"))] == ["412", "412"]
    assert [code(account.approve("o-1")), code(account.deny("o-1"))] == ["412", "412"]
    assert len(account.notifications) == before


@pytest.mark.parametrize(
    ("token", "status_code", "status", "fraud"),
    [
        (ACCEPTED, "200", "capture", "accept"),
        (CHALLENGED, "201", "capture", "challenge"),
        (DENIED, "202", "deny", "accept"),
        (FRAUD, "202", "deny", "deny"),
    ],
)
def test_the_cards_number_decides(
    account: Account, token: str, status_code: str, status: str, fraud: str
) -> None:
    answer = account.charge(card(token))
    assert (code(answer), answer["transaction_status"], answer["fraud_status"]) == (
        status_code,
        status,
        fraud,
    )
    assert ("approval_code" in answer) == (status == "capture")


@pytest.mark.parametrize("token", [None, "", "4811111111111114", "token", 5])
def test_a_card_without_a_token_of_ours_is_411(account: Account, token: object) -> None:
    assert code(account.charge(payload(payment_type="credit_card", credit_card={"token_id": token}))) == "411"
    assert code(account.charge(payload(payment_type="credit_card"))) == "411"


def test_a_challenge_is_approved_once(account: Account) -> None:
    account.charge(card(CHALLENGED))
    answer = account.approve("o-1")
    assert (code(answer), answer["fraud_status"], answer["transaction_status"]) == (
        "200",
        "accept",
        "capture",
    )
    assert (account.notifications[-1]["status_code"], code(account.approve("o-1"))) == ("200", "412")


def test_a_challenge_is_denied(account: Account) -> None:
    account.charge(card(CHALLENGED))
    assert account.deny("o-1")["transaction_status"] == "deny"
    assert (account.notifications[-1]["status_code"], account.notifications[-1]["fraud_status"]) == (
        "202",
        "deny",
    )


def test_an_authorisation_is_captured_for_less(account: Account) -> None:
    transaction_id = account.charge(card(type="authorize"))["transaction_id"]
    assert account.status("o-1")["transaction_status"] == "authorize"
    assert code(account.capture({"transaction_id": transaction_id, "gross_amount": 100_001})) == "400"
    answer = account.capture({"transaction_id": transaction_id, "gross_amount": 60_000})
    assert (code(answer), answer["transaction_status"], answer["gross_amount"]) == (
        "200",
        "capture",
        "60000.00",
    )
    assert code(account.capture({"transaction_id": transaction_id})) == "412"


def test_a_refused_capture_says_deny_while_the_status_stays_authorize(account: Account) -> None:
    transaction_id = account.charge(card(type="authorize"))["transaction_id"]
    account.refuse_next_capture("o-1")
    before = len(account.notifications)
    answer = account.capture({"transaction_id": transaction_id})
    assert (code(answer), answer["transaction_status"]) == ("202", "deny")
    assert account.status("o-1")["transaction_status"] == "authorize"
    assert len(account.notifications) == before
    assert code(account.capture({"transaction_id": transaction_id})) == "200"


def test_a_captured_card_is_cancelled_and_not_refunded(account: Account) -> None:
    account.charge(card())
    assert code(account.refund("o-1")) == "412"
    assert account.cancel("o-1")["transaction_status"] == "cancel"


def test_partial_refunds_add_up_to_a_refund(account: Account) -> None:
    settled(account)
    assert (
        account.refund("o-1", {"refund_key": "a", "amount": 40_000})["transaction_status"] == "partial_refund"
    )
    answer = account.direct_refund("o-1", {"refund_key": "b", "amount": 60_000})
    assert (answer["transaction_status"], answer["refund_amount"]) == ("refund", "60000.00")
    assert account.status("o-1")["refund_amount"] == "100000.00"
    assert account.find("o-1").history == ["pending", "settlement", "partial_refund", "refund"]


@pytest.mark.parametrize(
    ("refund", "expected"),
    [
        ({"refund_key": "b", "amount": 60_001}, "414"),
        ({"refund_key": "b", "amount": 0}, "414"),
        ({"refund_key": "b", "amount": "lots"}, "414"),
        ({"refund_key": "b", "amount": "NaN"}, "414"),
        ({"refund_key": "b", "amount": True}, "414"),
        ({"refund_key": "a", "amount": 10}, "406"),
        ({"refund_key": "not a key"}, "400"),
        ({"refund_key": 5}, "400"),
        ({"reason": "x" * 256}, "400"),
        ({}, "200"),
    ],
)
def test_a_second_refund_is_answered(account: Account, refund: dict[str, Any], expected: str) -> None:
    settled(account)
    account.refund("o-1", {"refund_key": "a", "amount": 40_000})
    before = len(account.notifications)
    assert code(account.refund("o-1", refund)) == expected
    assert len(account.notifications) == before + (expected == "200")


@pytest.mark.parametrize("payment_type", ["shopeepay", "ovo"])
def test_some_wallets_give_back_all_or_nothing(account: Account, payment_type: str) -> None:
    settled(account, payment_type=payment_type)
    assert code(account.refund("o-1", {"amount": 1_000})) == "414"
    assert code(account.refund("o-1", {"amount": 100_000})) == "200"


def test_a_bank_transfer_is_not_refundable(account: Account) -> None:
    settled(account, payment_type="bank_transfer", bank_transfer={"bank": "bca"})
    assert code(account.refund("o-1")) == "412"


def test_a_refused_refund_is_202_changes_nothing_and_may_be_tried_again(account: Account) -> None:
    settled(account)
    account.refuse_next_refund("o-1")
    before = len(account.notifications)
    answer = account.direct_refund("o-1", {"refund_key": "a"})
    assert (code(answer), answer["transaction_status"]) == ("202", "settlement")
    assert len(account.notifications) == before
    assert code(account.direct_refund("o-1", {"refund_key": "a"})) == "200"

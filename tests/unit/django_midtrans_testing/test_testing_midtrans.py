"""The whole of the in-memory Midtrans: keys, tokens, notifications, threads."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest

from django_midtrans.testing import InMemoryMidtrans, UnknownServerKey, signature

NOW = datetime(2026, 11, 22, tzinfo=UTC)
CARD = {
    "client_key": "SB-Mid-client-x",
    "card_number": "4811111111111114",
    "card_exp_month": "12",
    "card_exp_year": "2030",
    "card_cvv": "123",
}


def payload(order_id: str) -> dict[str, Any]:
    return {"payment_type": "gopay", "transaction_details": {"order_id": order_id, "gross_amount": 1_000}}


def test_an_unknown_key_is_401_only_when_keys_are_known() -> None:
    assert InMemoryMidtrans(lambda: NOW).account("anything").server_key == "anything"
    with pytest.raises(UnknownServerKey) as caught:
        InMemoryMidtrans(lambda: NOW, known_keys=["mine"]).account("yours")
    assert caught.value.body["status_code"] == "401"
    assert "yours" not in str(caught.value)


def test_an_empty_key_is_never_known() -> None:
    with pytest.raises(UnknownServerKey):
        InMemoryMidtrans(lambda: NOW).account("")


def test_a_revoked_key_is_refused_and_served_again_when_allowed() -> None:
    midtrans = InMemoryMidtrans(lambda: NOW)
    account = midtrans.account("key")
    midtrans.revoke("key")
    with pytest.raises(UnknownServerKey):
        midtrans.account("key")
    midtrans.allow("key")
    assert midtrans.account("key") is account


def test_a_rotated_key_signs_for_the_same_account() -> None:
    midtrans = InMemoryMidtrans(lambda: NOW)
    midtrans.account("old").charge(payload("o-1"))
    account = midtrans.rotate("old", "new")
    assert midtrans.account("new") is account
    body = account.pay("o-1")
    assert body["signature_key"] == signature("o-1", "200", "1000.00", "new")
    assert midtrans.accounts() == (account,)
    with pytest.raises(UnknownServerKey):
        midtrans.account("old")


def test_notifications_are_handed_out_with_the_key_and_after_the_change() -> None:
    seen: list[tuple[str, str, str]] = []

    def receive(key: str, body: dict[str, Any]) -> None:
        answered = midtrans.account(key).status(body["order_id"])
        seen.append((key, body["transaction_status"], answered["transaction_status"]))

    midtrans = InMemoryMidtrans(lambda: NOW, on_notification=receive)
    account = midtrans.account("key")
    account.charge(payload("o-1"))
    account.pay("o-1")
    account.charge(payload("o-1"))  # refused: nothing to tell
    assert seen == [("key", "pending", "pending"), ("key", "settlement", "settlement")]


def test_a_receiver_may_ask_from_another_thread_without_a_deadlock() -> None:
    answers = []

    def receive(key: str, body: dict[str, Any]) -> None:
        asking = threading.Thread(
            target=lambda: answers.append(midtrans.account(key).status(body["order_id"]))
        )
        asking.start()
        asking.join(5)
        assert not asking.is_alive()

    midtrans = InMemoryMidtrans(lambda: NOW, on_notification=receive)
    account = midtrans.account("key")
    account.charge(payload("o-1"))
    account.cancel("o-1")
    assert [answer["transaction_status"] for answer in answers] == ["pending", "cancel"]


def test_of_many_threads_that_charge_one_order_one_wins() -> None:
    account = InMemoryMidtrans(lambda: NOW).account("key")
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: account.charge(payload("o-1"))["status_code"], range(64)))
    assert sorted(answers) == ["201"] + ["406"] * 63


def test_ids_come_from_the_caller_when_given() -> None:
    numbers = count(1)
    account = InMemoryMidtrans(lambda: NOW, new_id=lambda: f"id-{next(numbers)}").account("key")
    assert account.charge(payload("o-1"))["transaction_id"] == "id-1"


def test_links_lead_to_the_public_url() -> None:
    account = InMemoryMidtrans(lambda: NOW, public_url="http://127.0.0.1:8001/").account("key")
    actions = account.charge(payload("o-1"))["actions"]
    assert all(action["url"].startswith("http://127.0.0.1:8001/v2/") for action in actions)


def test_a_card_token_hides_the_middle_of_the_number() -> None:
    answer = InMemoryMidtrans(lambda: NOW).card_token(CARD)
    assert answer["token_id"].startswith("48111111-1114-")
    assert CARD["card_number"] not in str(answer)


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"client_key": ""}, "401"),
        ({"card_number": "4811111111111115"}, "400"),
        ({"card_number": "4811-1111"}, "400"),
        ({"card_number": "\uff14" * 16}, "400"),
        ({"card_cvv": "12"}, "400"),
        ({"card_exp_month": "13"}, "400"),
        ({"card_exp_month": "10", "card_exp_year": "2026"}, "400"),
        ({"card_exp_month": "11", "card_exp_year": "2026"}, "200"),
    ],
)
def test_a_card_is_checked_before_it_becomes_a_token(wrong: dict[str, str], code: str) -> None:
    assert InMemoryMidtrans(lambda: NOW).card_token(CARD | wrong)["status_code"] == code


def test_due_payments_of_every_account_expire() -> None:
    moments = [NOW]
    midtrans = InMemoryMidtrans(lambda: moments[-1])
    for key in ("a", "b"):
        midtrans.account(key).charge(payload("o-1"))
    assert midtrans.expire_due() == []
    moments.append(NOW + timedelta(minutes=15))
    assert [body["transaction_status"] for body in midtrans.expire_due()] == ["expire", "expire"]

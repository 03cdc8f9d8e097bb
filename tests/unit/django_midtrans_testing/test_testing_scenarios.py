"""What happens in each scenario, step by step, and what may not go unnoticed when it cannot."""

from datetime import UTC, datetime

import pytest

from django_midtrans.testing import SCENARIOS, Account, ImpossibleStep, InMemoryMidtrans

HISTORIES = {  # what Midtrans' words for the order's payments are, in the order of the charges
    "paid": [["pending", "settlement"]],
    "paid-late": [["pending", "expire", "settlement"]],
    "expired": [["pending", "expire"]],
    "denied-then-paid-same-order": [["deny"], ["pending", "settlement"]],
    "challenge-accepted": [["capture", "capture", "settlement"]],
    "settled-then-reversed": [["pending", "settlement", "deny"]],
    "two-partial-refunds": [["pending", "settlement", "partial_refund", "partial_refund"]],
    "full-refund-confirmed": [["pending", "settlement", "refund"]],
    "dana-id-swap": [["pending", "settlement"]],
    "two-payments-one-order": [["pending", "settlement"], ["pending", "settlement"]],
    "fee-raised-amount": [["pending", "settlement"]],
}


@pytest.fixture
def account() -> Account:
    return InMemoryMidtrans(lambda: datetime(2026, 11, 22, tzinfo=UTC)).account("SB-Mid-server-scenarios")


def play(account: Account, name: str, order_id: str = "o-1") -> list[str]:
    return list(SCENARIOS[name].play(account, order_id))


def test_there_is_a_history_for_every_scenario() -> None:
    assert SCENARIOS.keys() == HISTORIES.keys()


@pytest.mark.parametrize("name", HISTORIES)
def test_a_scenario_is_what_its_name_says_and_ends_as_it_says(account: Account, name: str) -> None:
    pauses = play(account, name)
    assert [payment.history for payment in account.transactions()] == HISTORIES[name]
    assert tuple(payment.status for payment in account.transactions()) == SCENARIOS[name].ends
    assert {payment.order_id for payment in account.transactions()} == {"o-1"}
    assert pauses
    assert all(pauses)
    assert SCENARIOS[name].name == name


@pytest.mark.parametrize("name", HISTORIES)
def test_each_step_is_taken_only_when_asked_for(account: Account, name: str) -> None:
    for step, _ in enumerate(SCENARIOS[name].play(account, "o-1"), start=1):
        assert len(account.notifications) == step


def test_partial_refunds_add_up_and_a_full_one_is_confirmed(account: Account) -> None:
    play(account, "two-partial-refunds", "o-1")
    play(account, "full-refund-confirmed", "o-2")
    assert account.notification("o-1")["refund_amount"] == "50000.00"
    assert account.notification("o-2")["refunds"][0]["bank_confirmed_at"]


def test_the_fee_is_in_the_amount_and_named(account: Account) -> None:
    play(account, "fee-raised-amount")
    told = account.notification("o-1")["metadata"]["extra_info"]["gross_amount_info"]
    assert (told["original_amount"], told["gross_amount"]) == ("100000.00", "102500.00")


def test_danas_payment_answers_to_its_transaction_id_alone(account: Account) -> None:
    play(account, "dana-id-swap")
    own = account.find("o-1").transaction_id
    assert account.status("o-1")["status_code"] == "404"
    assert account.status(own)["order_id"] == own


@pytest.mark.parametrize("name", HISTORIES)
def test_an_order_that_was_there_before_is_refused(account: Account, name: str) -> None:
    play(account, "paid")
    with pytest.raises(ImpossibleStep, match="406"):
        play(account, name)


@pytest.mark.parametrize("name", ["expired", "paid-late", "two-partial-refunds", "challenge-accepted"])
def test_a_step_that_somebody_made_impossible_is_not_passed_over(account: Account, name: str) -> None:
    steps = SCENARIOS[name].play(account, "o-1")
    next(steps)
    account.cancel("o-1")
    with pytest.raises(ImpossibleStep):
        list(steps)

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from support.world import KEY, World, make_world

from django_midtrans.testing import signature
from service.errors import CannotBeAsked, ClaimLost, GatewayUnavailable


@pytest.fixture
def world(stored_at: str, tmp_path: Path) -> Iterator[World]:
    with make_world(tmp_path, url=stored_at) as made:
        yield made


def charge(world: World, order_id: str, *, bank: str = "bca", amount: int = 150_000) -> str:
    answer = world.account.charge(
        {
            "payment_type": "bank_transfer",
            "transaction_details": {"order_id": order_id, "gross_amount": amount},
            "bank_transfer": {"bank": bank},
        }
    )
    assert answer["status_code"] == "201", answer
    transaction_id: str = answer["transaction_id"]
    return transaction_id


def charge_dana(world: World, order_id: str, amount: int = 150_000) -> str:
    answer = world.account.charge(
        {
            "payment_type": "dana",
            "transaction_details": {"order_id": order_id, "gross_amount": amount},
        }
    )
    transaction_id: str = answer["transaction_id"]
    return transaction_id


def forged(body: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """What a holder of a genuine body can make of it: the signature covers none of these fields."""
    assert not {"order_id", "status_code", "gross_amount"} & set(changes)
    return {**body, **changes}


def test_a_paid_order_makes_one_event(world: World) -> None:
    charge(world, "A-1")
    assert world.notify(world.account.pay("A-1")) == 200
    world.confirm_due()
    (event,) = world.events()
    assert (event.type, event.order_id, event.outcome, event.should_ship) == (
        "midtrans.payment.settled",
        "A-1",
        "paid",
        True,
    )
    assert world.receipt_states() == [("applied", None)]


def test_a_repeated_notification_makes_one_event(world: World) -> None:
    charge(world, "A-1")
    body = world.account.pay("A-1")
    for _ in range(3):
        assert world.notify(body) == 200
        world.confirm_due()
    assert world.types() == ["settled"]
    assert len(world.receipt_states()) == 1


def test_a_late_pending_does_not_undo_a_settlement(world: World) -> None:
    charge(world, "A-1")
    pending = world.account.notification("A-1")
    world.notify(world.account.pay("A-1"))
    world.confirm_due()
    world.notify(pending)
    world.confirm_due()
    assert world.types() == ["settled"]
    assert world.receipt_states() == [("applied", None), ("stale", None)]


def test_receipts_of_one_transaction_share_one_question(world: World) -> None:
    charge(world, "A-1")
    world.notify(world.account.notification("A-1"))
    world.notify(world.account.pay("A-1"))
    assert world.confirm_due() == 1
    assert len(world.gateway.asked) == 1
    assert world.types() == ["settled"]
    assert world.receipt_states() == [("applied", None), ("applied", None)]


def test_a_receipt_that_comes_after_the_claim_is_not_answered_by_it(world: World) -> None:
    charge(world, "A-1")
    world.notify(world.account.notification("A-1"))
    (claim,) = world.claim()
    world.notify(world.account.pay("A-1"))
    world.gateway.answers[claim.transaction_id or ""] = pending_answer(world, "A-1")
    world.confirm(claim)
    assert world.receipt_states() == [("applied", None), ("waiting", None)]
    world.gateway.answers.clear()
    world.confirm_due()
    assert world.types() == ["pending", "settled"]


def pending_answer(world: World, order_id: str) -> dict[str, Any]:
    """Midtrans' status API as a replica that lags behind shows it."""
    body = {**world.account.status(order_id), "transaction_status": "pending", "status_code": "201"}
    body.pop("settlement_time", None)
    return body


def test_one_question_at_a_time_for_an_order(world: World) -> None:
    charge(world, "A-1")
    world.notify(world.account.notification("A-1"))
    assert len(world.claim()) == 1
    world.notify(world.account.pay("A-1"))
    assert world.claim(owner="another") == []


def test_a_claim_taken_over_changes_nothing(world: World) -> None:
    charge(world, "A-1")
    world.notify(world.account.pay("A-1"))
    (sleeper,) = world.claim()
    world.clock.pass_time(seconds=61)
    (heir,) = world.claim(owner="heir")
    assert heir.fence > sleeper.fence
    world.confirm(sleeper)
    assert world.events() == []
    world.confirm(heir)
    world.confirm(sleeper)
    assert world.types() == ["settled"]


def test_an_answer_is_thrown_away_when_the_payment_moved_meanwhile(world: World) -> None:
    transaction_id = charge(world, "A-1")
    world.notify(world.account.notification("A-1"))
    world.confirm_due()
    world.notify(world.account.pay("A-1"))
    (claim,) = world.claim()
    known = world.store.read(lambda unit: unit.payments.get("default", transaction_id))
    assert known is not None
    moved = replace(known, version=known.version + 1)
    world.store.write(lambda unit: unit.payments.save(moved, known=known)).result()
    world.confirm(claim)
    assert world.types() == ["pending"]
    world.run_for(minutes=2)
    assert world.types() == ["pending", "settled"]


class TestBehind:
    def test_an_answer_behind_the_notification_is_asked_again_until_it_catches_up(self, world: World) -> None:
        transaction_id = charge(world, "A-1")
        paid = world.account.pay("A-1")
        world.gateway.answers[transaction_id] = pending_answer(world, "A-1")
        world.notify(paid)
        world.run_for(seconds=30)
        assert world.receipt_states() == [("waiting", "behind")]
        assert world.types() == ["pending"]
        world.gateway.answers.clear()
        world.run_for(minutes=2)
        assert world.types() == ["pending", "settled"]
        assert world.receipt_states() == [("applied", None)]

    def test_it_is_asked_after_5_15_60_seconds_5_and_15_minutes_then_hourly_for_a_day_then_parked(
        self, world: World
    ) -> None:
        world.reconciles = False
        transaction_id = charge(world, "A-1")
        paid = world.account.pay("A-1")
        world.gateway.answers[transaction_id] = pending_answer(world, "A-1")
        times: list[float] = []
        begin = world.clock.now
        world.gateway.before_answer = lambda _: times.append((world.clock.now - begin).total_seconds())
        world.notify(paid)
        world.run_for(hours=48)
        waits = [round(later - earlier) for earlier, later in pairwise(times)]
        assert waits == [5, 15, 60, 300, 900, *[3600] * 24]
        assert world.receipt_states() == [("parked", "behind")]
        assert world.alarm_names() == ["parked"]

    def test_a_forged_settlement_of_a_pending_payment_makes_no_paid_event(self, world: World) -> None:
        charge(world, "A-1")
        pending = world.account.notification("A-1")
        world.notify(forged(pending, transaction_status="settlement", settlement_time="2026-11-22 10:00:00"))
        world.run_for(hours=48)
        assert world.types() == ["pending"]
        assert world.receipt_states() == [("parked", "behind")]

    def test_an_unpaid_word_that_three_answers_contradict_ends_contradicted(self, world: World) -> None:
        charge(world, "A-1")
        paid = world.account.pay("A-1")
        world.notify(forged(paid, transaction_status="expire"))
        world.run_for(minutes=9)
        assert world.receipt_states() == [("waiting", "contradiction")]
        world.run_for(hours=1)
        assert world.types() == ["settled"]
        assert world.receipt_states()[0][0] == "contradicted"

    def test_a_paid_word_that_answers_contradict_is_never_quietly_ended(self, world: World) -> None:
        transaction_id = charge(world, "A-1")
        paid = world.account.pay("A-1")
        expired = {**world.account.status("A-1"), "transaction_status": "expire", "status_code": "407"}
        expired.pop("settlement_time", None)
        world.gateway.answers[transaction_id] = expired
        world.notify(paid)
        world.run_for(hours=48)
        assert world.receipt_states() == [("parked", "contradiction")]
        assert world.alarm_names() == ["parked"]


class TestContradiction:
    def test_a_payment_paid_after_expiry_is_applied_after_three_equal_answers_over_ten_minutes(
        self, world: World
    ) -> None:
        charge(world, "A-1")
        world.clock.pass_time(days=2)
        world.notify(world.account.expire_due()[0])
        world.confirm_due()
        assert world.types() == ["expired"]
        world.notify(world.account.pay("A-1", after_expiry=True))
        world.run_for(minutes=5)
        assert world.types() == ["expired"]
        world.run_for(minutes=30)
        assert world.types() == ["expired", "settled"]
        assert [event.irregular for event in world.events()] == [False, True]
        assert "irregular" in world.alarm_names()
        assert world.receipt_states() == [("applied", None), ("applied", None)]

    def test_a_word_nobody_knows_changes_nothing_and_is_asked_again(self, world: World) -> None:
        transaction_id = charge(world, "A-1")
        world.gateway.answers[transaction_id] = {
            **world.account.status("A-1"),
            "transaction_status": "teleported",
        }
        world.notify(world.account.notification("A-1"))
        world.confirm_due()
        assert world.events() == []
        assert world.receipt_states() == [("waiting", "status_unknown")]
        assert world.alarm_names() == ["status_unknown"]
        world.gateway.answers.clear()
        world.run_for(seconds=10)
        assert world.types() == ["pending"]


class TestMissing:
    def test_a_404_is_not_yet(self, world: World) -> None:
        transaction_id = charge(world, "A-1")
        paid = world.account.pay("A-1")
        world.gateway.answers = {transaction_id: None, "A-1": None}
        world.notify(paid)
        world.run_for(seconds=30)
        assert world.receipt_states() == [("waiting", "not_found")]
        assert {"A-1", transaction_id} == set(world.gateway.asked)
        world.gateway.answers = {}
        world.run_for(minutes=2)
        assert world.types() == ["settled"]

    def test_a_404_for_a_day_is_parked_with_an_alarm(self, world: World) -> None:
        charge(world, "A-1")
        body = world.account.notification("A-1")
        world.gateway.answers = {body["transaction_id"]: None, "A-1": None}
        world.notify(body)
        world.run_for(hours=48)
        assert world.receipt_states() == [("parked", "not_found")]
        assert world.alarm_names() == ["parked"]

    def test_a_duplicate_sets_a_parked_receipt_going_again(self, world: World) -> None:
        charge(world, "A-1")
        body = world.account.notification("A-1")
        world.gateway.answers = {body["transaction_id"]: None, "A-1": None}
        world.notify(body)
        world.run_for(hours=48)
        world.gateway.answers = {}
        world.notify(body)
        world.confirm_due()
        assert world.types() == ["pending"]

    def test_found_by_order_alone_counts_when_it_names_the_transaction(self, world: World) -> None:
        transaction_id = charge(world, "A-1")
        paid = world.account.pay("A-1")
        world.gateway.answers[transaction_id] = None
        world.notify(paid)
        world.confirm_due()
        assert world.types() == ["settled"]
        assert world.payment_rows()[0].bound_by == "named"

    def test_the_orders_answer_may_advance_the_transaction_it_names_and_no_other(self, world: World) -> None:
        transaction_id = charge(world, "A-1")
        paid = world.account.pay("A-1")
        world.notify(forged(paid, transaction_id="not-at-midtrans"))
        world.run_for(hours=48)
        assert [event.transaction_id for event in world.events()] == [transaction_id]
        assert world.receipt_states() == [("parked", "not_found")]

    def test_a_body_without_transaction_id_is_asked_about_by_order(self, world: World) -> None:
        transaction_id = charge(world, "A-1")
        body = world.account.pay("A-1")
        body.pop("transaction_id")
        world.notify(body)
        world.confirm_due()
        assert [event.transaction_id for event in world.events()] == [transaction_id]


class TestFailures:
    @pytest.mark.slow
    def test_no_answer_is_asked_again_for_as_long_as_it_takes(self, world: World) -> None:
        transaction_id = charge(world, "A-1")
        paid = world.account.pay("A-1")
        world.gateway.answers[transaction_id] = GatewayUnavailable("timeout")
        world.notify(paid)
        world.run_for(days=5)
        assert world.receipt_states() == [("waiting", "timeout")]
        assert len(world.gateway.asked) > 300
        world.gateway.answers.clear()
        world.run_for(minutes=16)
        assert world.types() == ["settled"]

    def test_a_lost_claim_is_no_error_for_the_caller(self, world: World) -> None:
        charge(world, "A-1")
        world.notify(world.account.pay("A-1"))
        (claim,) = world.claim()
        world.store.write(lambda unit: unit.claims.give_back(claim)).result()
        with pytest.raises(ClaimLost):
            world.store.write(lambda unit: unit.claims.check(claim)).result()
        world.confirm(claim)
        assert world.events() == []


class TestPairs:
    """A body with another payment's transaction_id makes no event for the wrong order and stops nobody."""

    @pytest.mark.parametrize("forged_first", [True, False])
    def test_another_orders_transaction_is_an_anomaly(self, world: World, *, forged_first: bool) -> None:
        charge(world, "CHEAP", amount=1_000)
        charge(world, "DEAR", amount=1_000)
        cheap = world.account.pay("CHEAP")
        dear = world.account.pay("DEAR")
        attack = forged(cheap, transaction_id=dear["transaction_id"])
        for body in (attack, dear) if forged_first else (dear, attack):
            world.notify(body)
            world.run_for(minutes=1)
        assert [(event.order_id, event.transaction_id) for event in world.events()] == [
            ("DEAR", dear["transaction_id"])
        ]
        assert [state for state, _ in world.receipt_states("CHEAP")] == ["anomaly"]
        assert [state for state, _ in world.receipt_states("DEAR")] == ["applied"]
        assert "anomaly" in world.alarm_names()
        world.notify(cheap)
        world.run_for(minutes=1)
        assert world.types("CHEAP") == ["settled"]

    def test_the_answers_own_signature_proves_a_channel_that_swaps_ids(self, world: World) -> None:
        transaction_id = charge_dana(world, "D-1")
        paid = world.account.pay(transaction_id)
        answer = world.account.status(transaction_id)
        assert answer["order_id"] == transaction_id
        answer["signature_key"] = signature("D-1", answer["status_code"], answer["gross_amount"], KEY)
        world.gateway.answers[transaction_id] = answer
        world.notify(paid)
        world.confirm_due()
        assert world.types("D-1") == ["settled"]
        assert world.payment_rows()[0].bound_by == "signed"

    def test_where_only_the_last_clause_can_prove_the_first_claim_wins_and_the_second_is_held(
        self, world: World
    ) -> None:
        first = charge_dana(world, "D-1")
        second = charge_dana(world, "D-2")
        paid, other = world.account.pay(first), world.account.pay(second)
        world.notify(paid)
        world.confirm_due()
        assert world.types() == ["settled"]
        assert world.payment_rows()[0].bound_by == "alone"
        world.notify(forged(other, transaction_id=first))
        world.run_for(hours=1)
        assert world.types() == ["settled"]
        assert world.receipt_states("D-2") == [("anomaly", "bound_elsewhere")]
        name, facts = world.alarms[-1]
        assert name == "rival_claim"
        assert {facts["order_id"], facts["bound_to"]} == {"D-1", "D-2"}

    def test_an_open_earlier_claim_keeps_a_later_one_from_winning(self, world: World) -> None:
        first = charge_dana(world, "D-1")
        second = charge_dana(world, "D-2")
        paid, other = world.account.pay(first), world.account.pay(second)
        world.notify(paid)
        (true_claim,) = world.claim()
        world.notify(forged(other, transaction_id=first))
        (rival_claim,) = world.claim()
        assert rival_claim.order_id == "D-2"
        world.confirm(rival_claim)
        assert world.events() == []
        world.confirm(true_claim)
        world.run_for(hours=1)
        assert [event.order_id for event in world.events()] == ["D-1"]
        assert world.receipt_states("D-2") == [("anomaly", "bound_elsewhere")]

    def test_an_expectation_beats_a_forger_who_comes_first(self, world: World) -> None:
        first = charge_dana(world, "D-1")
        second = charge_dana(world, "D-2")
        paid, other = world.account.pay(first), world.account.pay(second)
        world.expect(order_id="D-1", gross_amount=150_000, transaction_id=first)
        world.notify(forged(other, transaction_id=first))
        world.run_for(minutes=1)
        assert world.events() == []
        assert world.receipt_states("D-2") == [("anomaly", "other_order")]
        world.notify(paid)
        world.run_for(minutes=1)
        assert [event.order_id for event in world.events()] == ["D-1"]
        assert world.payment_rows()[0].bound_by == "expected"

    def test_the_last_clause_wants_equal_amounts(self, world: World) -> None:
        first = charge_dana(world, "D-1", amount=900_000)
        charge_dana(world, "D-2", amount=1_000)
        world.account.pay(first)
        cheap = world.account.pay(world.account.find("D-2").transaction_id)
        world.notify(forged(cheap, transaction_id=first))
        world.run_for(hours=1)
        assert world.events() == []
        assert world.receipt_states("D-2") == [("anomaly", "other_order")]

    def test_another_merchants_answer_proves_nothing(self, world: World) -> None:
        transaction_id = charge(world, "A-1")
        paid = world.account.pay("A-1")
        world.gateway.answers[transaction_id] = {**world.account.status("A-1"), "merchant_id": "G000000666"}
        world.notify(paid)
        world.confirm_due()
        assert world.events() == []
        assert world.receipt_states() == [("anomaly", "other_merchant")]


class TestOrders:
    def test_two_payments_of_one_order_are_both_told_and_alarmed(self, world: World) -> None:
        one = charge(world, "A-1")
        two = world.account.charge(
            {
                "payment_type": "bank_transfer",
                "transaction_details": {"order_id": "A-1", "gross_amount": 150_000},
                "bank_transfer": {"bank": "bni"},
            },
            same_order=True,
        )["transaction_id"]
        world.notify(world.account.pay(one))
        world.run_for(minutes=1)
        world.notify(world.account.pay(two))
        world.run_for(minutes=1)
        assert [(event.transaction_id, event.order.paid_payments) for event in world.events()] == [
            (one, 1),
            (two, 2),
        ]
        assert [event.should_ship for event in world.events()] == [True, False]
        assert world.alarm_names() == ["two_payments"]

    def test_the_expected_amount_is_compared(self, world: World) -> None:
        charge(world, "A-1")
        world.expect(order_id="A-1", gross_amount=149_000)
        world.notify(world.account.pay("A-1"))
        world.confirm_due()
        (event,) = world.events()
        assert event.order.amount_matches is False
        assert not event.should_ship


def test_every_answer_is_kept_with_an_ordinal_per_payment(world: World) -> None:
    transaction_id = charge(world, "A-1")
    world.notify(world.account.notification("A-1"))
    world.confirm_due()
    world.notify(world.account.pay("A-1"))
    world.confirm_due()
    rows = world.confirmation_rows()
    assert [(row.transaction_id, row.ordinal, row.verdict) for row in rows] == [
        (transaction_id, 1, "applied"),
        (transaction_id, 2, "applied"),
    ]
    assert all(b'"transaction_status"' in row.answer for row in rows)


def test_further_unproven_transactions_of_an_order_go_to_the_lane_of_repeats(world: World) -> None:
    charge(world, "A-1")
    pending = world.account.notification("A-1")
    world.notify(pending)
    for number in range(5):
        world.notify(forged(pending, transaction_id=f"made-up-{number}"))
    assert [claim.transaction_id for claim in world.claim()] == [pending["transaction_id"]]
    world.clock.pass_time(seconds=61)
    world.confirm_due()
    assert world.types() == ["pending"]


def test_a_fact_forced_there_and_back_again_is_told_once(world: World) -> None:
    transaction_id = charge(world, "A-1")
    paid = world.account.pay("A-1")
    dearer = {**world.account.status("A-1"), "gross_amount": "160000.00"}
    world.notify(paid)
    world.confirm_due()
    for number, answer in enumerate([dearer, None, dearer, None]):
        world.gateway.answers = {transaction_id: answer} if answer else {}
        world.notify({**paid, "custom_field1": str(number)})
        world.run_for(hours=2)
    amounts = [(event.amount.value, event.irregular) for event in world.events()]
    assert [(str(amount), irregular) for amount, irregular in amounts] == [
        ("150000.00", False),
        ("160000.00", True),
    ]
    assert world.payment_rows()[0].version > 4


def test_ids_that_no_question_can_carry_are_held_at_once(world: World) -> None:
    charge(world, "A-1")
    body = world.account.notification("A-1")
    world.gateway.answers[".."] = CannotBeAsked("..")
    world.notify(forged(body, transaction_id=".."))
    world.run_for(days=2)
    assert world.receipt_states() == [("parked", "cannot_be_asked")]
    assert world.gateway.asked == [".."]
    assert world.alarm_names() == ["parked"]


def test_an_answer_about_the_order_from_another_merchant_proves_nothing_either(world: World) -> None:
    transaction_id = charge(world, "A-1")
    paid = world.account.pay("A-1")
    world.gateway.answers[transaction_id] = None
    world.gateway.answers["A-1"] = {**world.account.status("A-1"), "merchant_id": "G000000666"}
    world.notify(paid)
    world.notify({name: value for name, value in paid.items() if name != "transaction_id"})
    world.run_for(hours=1)
    assert world.events() == []
    assert set(world.receipt_states()) == {("anomaly", "other_merchant")}

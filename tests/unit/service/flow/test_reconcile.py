from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from support.world import World, make_world

from service.db.tables import checks
from service.errors import GatewayUnavailable


@pytest.fixture
def world(stored_at: str, tmp_path: Path) -> Iterator[World]:
    with make_world(tmp_path, url=stored_at) as made:
        yield made


def charge(world: World, order_id: str, **payload: Any) -> str:
    body = {
        "payment_type": "bank_transfer",
        "transaction_details": {"order_id": order_id, "gross_amount": 10_000},
        "bank_transfer": {"bank": "bca"},
        **payload,
    }
    transaction_id: str = world.account.charge(body)["transaction_id"]
    return transaction_id


def planned(world: World) -> list[Any]:
    return list(world.store.read(lambda unit: unit.connection.execute(select(checks)).all()))


def questions(world: World) -> list[float]:
    """Record when questions are put, in minutes from now."""
    asked: list[float] = []
    begin = world.clock.now
    world.gateway.before_answer = lambda _: asked.append((world.clock.now - begin).total_seconds() / 60)
    return asked


def test_a_paid_notification_that_never_came_is_found_after_15_minutes(world: World) -> None:
    charge(world, "A-1")
    world.notify(world.account.notification("A-1"))
    world.confirm_due()
    world.account.pay("A-1")
    world.run_for(minutes=14)
    assert world.types() == ["pending"]
    world.run_for(minutes=2)
    assert world.types() == ["pending", "settled"]
    assert [event.confirmed_by for event in world.events()] == ["notification", "reconcile"]
    assert planned(world) == []


def test_a_pending_payment_is_asked_about_at_15_min_and_at_expiry_2_min_1_h_and_24_h(world: World) -> None:
    charge(world, "A-1")
    world.notify(world.account.notification("A-1"))
    world.confirm_due()
    asked = questions(world)
    world.run_for(days=10)
    day = 24 * 60
    assert [round(minutes) for minutes in asked] == [15, day + 2, day + 60, 2 * day]


def test_an_expiry_that_nobody_notified_is_found_after_it(world: World) -> None:
    charge(world, "A-1")
    world.notify(world.account.notification("A-1"))
    world.confirm_due()
    world.clock.pass_time(hours=24, minutes=1)
    world.account.expire_due()
    world.run_for(minutes=2)
    assert world.types() == ["pending", "expired"]
    assert planned(world) == []


def test_a_settlement_that_may_be_reversed_is_asked_about_once_10_minutes_after(world: World) -> None:
    charge(world, "A-1", bank_transfer={"bank": "permata"})
    world.notify(world.account.pay("A-1"))
    world.confirm_due()
    world.account.reverse("A-1")
    asked = questions(world)
    world.run_for(days=1)
    assert [round(minutes) for minutes in asked] == [10]
    assert world.types() == ["settled", "reversed"]


def test_a_firm_settlement_is_not_asked_about(world: World) -> None:
    charge(world, "A-1")
    world.notify(world.account.pay("A-1"))
    world.confirm_due()
    assert planned(world) == []


def test_an_order_of_which_nothing_was_heard_is_asked_about_by_its_expectation(world: World) -> None:
    transaction_id = charge(world, "A-1")
    world.expect(order_id="A-1", gross_amount=Decimal(10_000))
    world.account.pay("A-1")
    world.run_for(minutes=16)
    (event,) = world.events()
    assert (event.transaction_id, event.status, event.confirmed_by) == (
        transaction_id,
        "settled",
        "reconcile",
    )
    assert event.order.amount_matches is True
    assert event.should_ship
    assert planned(world) == []


def test_an_expectation_names_the_transaction_of_a_channel_that_knows_no_order(world: World) -> None:
    answer = world.account.charge(
        {"payment_type": "dana", "transaction_details": {"order_id": "D-1", "gross_amount": 10_000}}
    )
    world.expect(order_id="D-1", gross_amount=Decimal(10_000), transaction_id=answer["transaction_id"])
    world.account.pay(answer["transaction_id"])
    world.run_for(minutes=16)
    assert [(event.order_id, event.status) for event in world.events()] == [("D-1", "settled")]


def test_an_expectation_of_an_order_that_midtrans_never_knew_is_given_up_after_its_times(
    world: World,
) -> None:
    world.expect(
        order_id="A-1", gross_amount=Decimal(10_000), expires_at=world.clock.now + timedelta(minutes=30)
    )
    asked = questions(world)
    world.run_for(days=5)
    assert [round(minutes) for minutes in asked] == [15, 32, 90, 30 + 24 * 60]
    assert planned(world) == []
    assert world.events() == []


def test_what_a_notification_brings_first_replaces_the_expectations_question(world: World) -> None:
    charge(world, "A-1")
    world.expect(order_id="A-1", gross_amount=Decimal(10_000))
    world.notify(world.account.pay("A-1"))
    world.confirm_due()
    assert world.types() == ["settled"]
    assert planned(world) == []


def test_an_expectation_of_a_known_order_plans_nothing(world: World) -> None:
    charge(world, "A-1")
    world.notify(world.account.pay("A-1"))
    world.confirm_due()
    world.expect(order_id="A-1", gross_amount=Decimal(10_000))
    assert planned(world) == []


def test_notifications_go_first(world: World) -> None:
    charge(world, "A-1")
    world.notify(world.account.notification("A-1"))
    world.confirm_due()
    world.clock.pass_time(minutes=20)
    world.notify(world.account.pay("A-1"))
    assert world.claim_checks() == []
    world.confirm_due()
    assert [event.confirmed_by for event in world.events()] == ["notification", "notification"]


def test_a_check_without_an_answer_is_tried_again_with_back_off(world: World) -> None:
    transaction_id = charge(world, "A-1")
    world.notify(world.account.notification("A-1"))
    world.confirm_due()
    world.account.pay("A-1")
    world.gateway.answers[transaction_id] = GatewayUnavailable("timeout")
    world.run_for(hours=1)
    (check,) = planned(world)
    assert check.failures > 5
    world.gateway.answers.clear()
    world.run_for(minutes=20)
    assert world.types() == ["pending", "settled"]


def test_a_claimed_check_is_asked_once_and_taken_over_after_its_lease(world: World) -> None:
    charge(world, "A-1")
    world.notify(world.account.notification("A-1"))
    world.confirm_due()
    world.clock.pass_time(minutes=16)
    assert len(world.claim_checks()) == 1
    assert world.claim_checks() == []
    world.clock.pass_time(seconds=61)
    assert len(world.claim_checks()) == 1


def test_an_expectation_sets_a_held_receipt_of_its_order_going_again(world: World) -> None:
    first = world.account.charge(
        {"payment_type": "dana", "transaction_details": {"order_id": "D-1", "gross_amount": 10_000}}
    )["transaction_id"]
    second = world.account.charge(
        {"payment_type": "dana", "transaction_details": {"order_id": "D-2", "gross_amount": 10_000}}
    )["transaction_id"]
    paid = world.account.pay(first)
    world.expect(order_id="D-2", gross_amount=Decimal(10_000), transaction_id=first)  # a shop's mistake
    world.notify(paid)
    world.run_for(minutes=1)
    assert world.receipt_states("D-1") == [("anomaly", "other_order")]
    world.expect(order_id="D-2", gross_amount=Decimal(10_000), transaction_id=second)
    world.expect(order_id="D-1", gross_amount=Decimal(10_000), transaction_id=first)
    world.confirm_due()
    assert world.receipt_states("D-1") == [("applied", None)]


def test_an_expectation_said_again_changes_nothing_and_a_changed_one_counts_from_then(world: World) -> None:
    expected = {"order_id": "A-1", "gross_amount": Decimal(10_000)}
    world.expect(**expected)
    first = planned(world)
    world.clock.pass_time(minutes=5)
    world.expect(**expected)
    assert planned(world) == first
    world.expect(**expected, transaction_id="tx-1")
    (check,) = planned(world)
    assert check.transaction_id == "tx-1"
    assert check.due_at == world.clock.now + timedelta(minutes=15)

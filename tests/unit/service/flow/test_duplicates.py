from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from support.world import World, make_world

from django_midtrans.status import PaymentStatus
from service.db.tables import receipts


@pytest.fixture
def world(stored_at: str, tmp_path: Path) -> Iterator[World]:
    with make_world(tmp_path, url=stored_at) as made:
        yield made


def paid_and_confirmed(world: World) -> dict[str, Any]:
    world.account.charge(
        {"payment_type": "gopay", "transaction_details": {"order_id": "A-1", "gross_amount": 10_000}}
    )
    body = world.account.pay("A-1")
    world.notify(body)
    world.confirm_due()
    return body


def settle_writer(world: World) -> None:
    """Wait until the writer has done what was handed to it."""
    world.store.write(lambda unit: None).result()


def test_a_duplicate_of_what_is_known_asks_nothing(world: World) -> None:
    body = paid_and_confirmed(world)
    asked = len(world.gateway.asked)
    world.notify(body)
    settle_writer(world)
    assert world.confirm_due() == 0
    assert len(world.gateway.asked) == asked


def test_a_duplicate_sets_an_ended_receipt_going_while_its_payment_is_behind(world: World) -> None:
    body = paid_and_confirmed(world)
    known = world.store.read(lambda unit: unit.payments.get("default", body["transaction_id"]))
    assert known is not None
    back = replace(known, state=replace(known.state, status=PaymentStatus.PENDING), version=known.version + 1)
    world.store.write(lambda unit: unit.payments.save(back, known=known)).result()
    world.notify(body)
    settle_writer(world)
    assert world.receipt_states() == [("waiting", None)]


def test_a_duplicate_that_contradicts_or_was_never_confirmed_stays_ended(world: World) -> None:
    body = paid_and_confirmed(world)
    ended = {"state": "contradicted", "transaction_id": "unknown"}
    world.store.write(lambda unit: unit.connection.execute(update(receipts).values(ended))).result()
    world.notify(body)
    settle_writer(world)
    assert world.receipt_states() == [("contradicted", None)]

"""Behind a real pgbouncer in transaction mode: the same flow; wake-ups by a direct connection, or by looking often."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import insert
from support.databases import Databases
from support.services import pooler
from support.world import World, make_world

from service.db.store import Store
from service.db.tables import events
from service.db.topic import Topic
from service.db.unit import Unit
from service.domain.delivery import Lease
from service.domain.records import ConsumerSpec
from service.flow import consumers, lease

pytestmark = [pytest.mark.postgres, pytest.mark.slow]


@pytest.fixture
def direct(databases: Databases) -> Iterator[str]:
    with databases.fresh() as url:
        yield url


@pytest.fixture
def pooled(direct: str, free_port: int) -> Iterator[str]:
    with pooler(direct, free_port) as url:
        yield url


@pytest.fixture
def world(pooled: str, tmp_path: Path) -> Iterator[World]:
    with make_world(tmp_path, url=pooled) as made:
        yield made


def append(store: Store, *payments: str) -> None:
    def work(unit: Unit) -> None:
        rows = [
            {
                "id": uuid4(),
                "merchant": "default",
                "transaction_id": payment,
                "sequence": 1,
                "order_id": f"order-{payment}",
                "type": "midtrans.payment.settled",
                "made_at": datetime.now(UTC),
                "body": "{}",
            }
            for payment in payments
        ]
        unit.connection.execute(insert(events), rows)
        unit.announce(Topic.EVENTS)

    store.write(work).result(10)


def wait_until(happened: Callable[[], bool], within_s: float = 10) -> None:
    until_s = time.monotonic() + within_s
    while not happened():
        assert time.monotonic() < until_s
        time.sleep(0.01)


def test_notifications_become_events(world: World) -> None:
    for number in range(20):
        world.account.charge(
            {
                "payment_type": "bank_transfer",
                "transaction_details": {"order_id": f"A-{number}", "gross_amount": 150_000},
                "bank_transfer": {"bank": "bca"},
            }
        )
        assert world.notify(world.account.notification(f"A-{number}")) == 200
    world.confirm_due()
    for number in range(20):
        assert world.notify(world.account.pay(f"A-{number}")) == 200
    world.confirm_due()
    for number in range(20):
        assert world.types(f"A-{number}") == ["pending", "settled"]
    assert {state for state, _ in world.receipt_states()} == {"applied"}


def test_more_processes_than_connections_lend_each_event_once(pooled: str) -> None:
    stores = [Store(pooled, clock=None) for _ in range(4)]
    for store in stores:
        store.start()
    append(stores[0], *(f"p{number}" for number in range(60)))
    spec = ConsumerSpec(start="beginning")
    stores[0].write(lambda unit: consumers.put(unit, "c", spec, start="beginning")).result(10)
    seen: list[int] = []

    def consume(store: Store) -> None:
        acks: list[Lease] = []
        while True:
            lent = store.write(
                lambda unit, acks=acks: lease.lend(  # type: ignore[misc]
                    unit, "c", limit=5, lease_seconds=30, batch=uuid4().hex, dice=lambda: 0.0, acks=acks
                )
            ).result(20)
            seen.extend(delivery.position for delivery in lent.deliveries)
            acks = [delivery.lease for delivery in lent.deliveries]
            if not acks and not lent.more:
                return

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(consume, stores))
    for store in stores:
        store.close()
    assert sorted(seen) == list(range(1, 61))


@pytest.mark.parametrize("listens_directly", [True, False])
def test_others_are_woken_with_a_direct_connection_and_without(
    pooled: str, direct: str, *, listens_directly: bool
) -> None:
    one = Store(pooled, clock=None, listens=False)
    other = Store(pooled, clock=None, listen_url=direct if listens_directly else None)
    one.start()
    other.start()
    told = threading.Event()
    other.listen(Topic.EVENTS, told.set)
    ear = other._ear
    assert ear is not None
    if listens_directly:
        wait_until(lambda: ear.hears)
    else:
        time.sleep(3)  # by then it knows that it hears nothing
        assert not ear.hears
    told.clear()
    append(one, "a")
    assert told.wait(2)
    one.close()
    other.close()

"""Several processes on one PostgreSQL database: stores of their own, each with several writers, at the same rows."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy import insert, select, text, update
from support.databases import Databases

from service.db.store import Store
from service.db.tables import bodies, claims, events, log, receipts
from service.db.topic import Topic
from service.db.unit import Unit
from service.domain.delivery import Lease
from service.domain.records import ConsumerSpec, NewReceipt
from service.errors import ClaimLost, StoreUnavailable
from service.flow import consumers, lease

pytestmark = pytest.mark.postgres
MakeReceipt = Callable[..., NewReceipt]
LEASE = timedelta(seconds=60)


@pytest.fixture
def url(databases: Databases) -> Iterator[str]:
    with databases.fresh() as found:
        yield found


@pytest.fixture
def opened(url: str) -> Iterator[Callable[..., Store]]:
    """Return what opens another store on the database, as another process would."""
    with ExitStack() as stack:

        def open_(**options: Any) -> Store:
            store = Store(options.pop("url", url), clock=None, **options)
            store.start()
            stack.callback(store.close)
            return store

        yield open_


@contextmanager
def held_open(url: str) -> Iterator[psycopg.Connection[Any]]:
    """Yield a connection inside a transaction that has begun."""
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        connection.execute("SELECT txid_current()")
        yield connection


def event(payment: str, sequence: int = 1) -> dict[str, Any]:
    return {
        "id": uuid4(),
        "merchant": "default",
        "transaction_id": payment,
        "sequence": sequence,
        "order_id": f"order-{payment}",
        "type": "midtrans.payment.settled",
        "made_at": datetime.now(UTC),
        "body": "{}",
    }


def append(store: Store, *payments: str) -> None:
    def work(unit: Unit) -> None:
        unit.connection.execute(insert(events), [event(payment) for payment in payments])
        unit.announce(Topic.EVENTS)

    store.write(work).result(10)


def after(store: Store, position: int) -> list[tuple[int, str]]:
    found = store.read(lambda unit: unit.events.after(position, limit=10_000))
    return [(one.position, one.transaction_id) for one in found]


def wait_until(happened: Callable[[], bool], within_s: float = 10) -> None:
    until_s = time.monotonic() + within_s
    while not happened():
        assert time.monotonic() < until_s
        time.sleep(0.01)


def test_an_event_that_commits_late_is_read_by_those_who_have_gone_on(
    url: str, opened: Callable[..., Store]
) -> None:
    store = opened()
    with held_open(url) as early:
        columns = ", ".join(event("late"))
        names = ", ".join(f"%({name})s" for name in event("late"))
        row = event("late") | {"body": b"\0{}"}
        early.execute(f"INSERT INTO events ({columns}) VALUES ({names})".encode(), row)
        append(store, "a", "b")
        assert after(store, 0) == [(1, "a"), (2, "b")]
        early.commit()
    wait_until(lambda: after(store, 2) == [(3, "late")])  # nobody told of it: it is looked for


def test_positions_are_consecutive_and_in_order_per_payment_whoever_commits(
    opened: Callable[..., Store],
) -> None:
    stores = [opened() for _ in range(3)]

    def work(number: int) -> None:
        store = stores[number % 3]
        for sequence in range(1, 9):
            row = event(f"p{number}", sequence)
            store.write(lambda unit, row=row: _log(unit, row)).result(20)  # type: ignore[misc]

    with ThreadPoolExecutor(9) as pool:
        list(pool.map(work, range(9)))
    query = select(events.c.position, events.c.transaction_id, events.c.sequence).order_by(events.c.position)
    rows = stores[0].read(lambda unit: unit.connection.execute(query).all())
    assert [row.position for row in rows] == list(range(1, 73))
    for number in range(9):
        assert [row.sequence for row in rows if row.transaction_id == f"p{number}"] == list(range(1, 9))
    assert stores[0].read(lambda unit: unit.log.last_position()) == 72


def _log(unit: Unit, row: dict[str, Any]) -> None:
    unit.connection.execute(insert(events), row)
    unit.announce(Topic.EVENTS)


async def test_the_same_bytes_at_several_receivers_are_one_receipt(
    opened: Callable[..., Store], make_receipt: MakeReceipt
) -> None:
    stores = [opened() for _ in range(3)]
    answers: dict[int, list[Any]] = {}
    for turn in range(10):
        raws = [b'{"turn": %d, "number": %d}' % (turn, number) for number in range(20)]
        futures = {
            (which, number): store.receive(make_receipt(raw=raw, order_id=f"o-{number}"))
            for which, store in enumerate(stores)
            for number, raw in (enumerate(raws) if which % 2 else reversed(list(enumerate(raws))))
        }
        for (_, number), future in futures.items():
            answers.setdefault(turn * 20 + number, []).append(await future)
    for stored in answers.values():
        assert len({one.id for one in stored}) == 1
        assert sorted(one.duplicate for one in stored) == [False, True, True]
    counts = stores[0].read(_counts)
    assert counts == (200, 200)


def _counts(unit: Unit) -> tuple[int, int]:
    return (
        len(unit.connection.execute(select(receipts.c.id)).all()),
        len(unit.connection.execute(select(bodies.c.receipt_id)).all()),
    )


def test_each_order_is_claimed_by_one_process_at_a_time(
    opened: Callable[..., Store], make_receipt: MakeReceipt
) -> None:
    stores = [opened() for _ in range(3)]
    new = [
        make_receipt(order_id=f"o-{number % 40}", transaction_id=f"t-{number % 40}") for number in range(120)
    ]
    stores[0].write(lambda unit: unit.receipts.add_many(new)).result(10)
    asked: Counter[str] = Counter()
    under_way: set[str] = set()
    lock = threading.Lock()

    def confirm(which: int) -> None:
        store = stores[which % 3]
        for _ in range(40):
            taken = store.write(
                lambda unit: unit.claims.take(
                    owner=f"w{which}",
                    merchant="default",
                    limit=4,
                    leased_until=unit.now + LEASE,
                    repeat=False,
                )
            ).result(20)
            for claim in taken:
                with lock:
                    assert claim.order_id not in under_way
                    under_way.add(claim.order_id)
                    asked[claim.order_id] += len(claim.receipts)
                time.sleep(0.001)
                with lock:
                    under_way.remove(claim.order_id)
                store.write(lambda unit, claim=claim: _end(unit, claim)).result(20)  # type: ignore[misc]

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(confirm, range(6)))
    assert asked == {f"o-{number}": 3 for number in range(40)}
    left = stores[0].read(lambda unit: unit.connection.execute(select(claims)).all())
    assert left == []


def _end(unit: Unit, claim: Any) -> None:
    unit.claims.check(claim)
    ids = [receipt.id for receipt in claim.receipts]
    unit.connection.execute(
        update(receipts).where(receipts.c.id.in_(ids)).values(state="applied", due_at=None, fence=None)
    )
    unit.claims.end(claim, ())


def test_a_claim_taken_over_while_its_answer_is_written_decides_for_one_of_both(
    opened: Callable[..., Store], make_receipt: MakeReceipt
) -> None:
    first, second = opened(), opened()
    first.write(lambda unit: unit.receipts.add_many([make_receipt(order_id="o")])).result(10)
    (claim,) = first.write(
        lambda unit: unit.claims.take(
            owner="a", merchant="default", limit=1, leased_until=unit.now - LEASE, repeat=False
        )
    ).result(10)
    checked, go_on = threading.Event(), threading.Event()

    def write_slowly(unit: Unit) -> None:
        unit.claims.check(claim)
        checked.set()
        go_on.wait(5)
        _end(unit, claim)

    slow = first.write(write_slowly)
    assert checked.wait(5)
    taking: Future[list[Any]] = second.write(
        lambda unit: unit.claims.take(
            owner="b", merchant="default", limit=1, leased_until=unit.now + LEASE, repeat=False
        )
    )
    time.sleep(0.3)
    go_on.set()
    slow.result(10)
    assert taking.result(10) == []
    with pytest.raises(ClaimLost):
        first.write(lambda unit: unit.claims.check(claim)).result(10)


def test_consumers_at_several_processes_get_each_event_once_and_in_order(
    opened: Callable[..., Store],
) -> None:
    stores = [opened() for _ in range(3)]
    names = [f"c{number}" for number in range(4)]
    payments = [f"p{number % 10}" for number in range(100)]

    def log_all(unit: Unit) -> None:
        rows = [event(payment, 1 + number // 10) for number, payment in enumerate(payments)]
        unit.connection.execute(insert(events), rows)
        unit.announce(Topic.EVENTS)

    stores[0].write(log_all).result(10)
    spec = ConsumerSpec(start="beginning")
    for name in names:
        stores[0].write(lambda unit, name=name: consumers.put(unit, name, spec, start="beginning")).result(10)  # type: ignore[misc]
    seen: dict[str, list[int]] = {name: [] for name in names}
    lock = threading.Lock()

    def consume(which: int) -> None:
        name, store = names[which % 4], stores[which % 3]
        acks: list[Lease] = []
        idle = 0
        while idle < 5:
            lent = store.write(
                lambda unit, acks=acks: lease.lend(  # type: ignore[misc]
                    unit, name, limit=3, lease_seconds=30, batch=uuid4().hex, dice=lambda: 0.0, acks=acks
                )
            ).result(20)
            idle = 0 if lent.deliveries or lent.more else idle + 1
            with lock:
                seen[name] += [delivery.position for delivery in lent.deliveries]
            acks = [delivery.lease for delivery in lent.deliveries]
            time.sleep(0.005 if idle else 0)

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(consume, range(12)))
    for name in names:
        assert sorted(seen[name]) == list(range(1, 101)), name
        for payment in range(10):
            of_payment = [position for position in seen[name] if (position - 1) % 10 == payment]
            assert of_payment == sorted(of_payment)


def test_a_row_that_another_transaction_holds_keeps_nobody_else_waiting(
    url: str, opened: Callable[..., Store], make_receipt: MakeReceipt
) -> None:
    store = opened(writers=1)
    for name in ("held", "free"):
        store.write(
            lambda unit, name=name: consumers.put(unit, name, ConsumerSpec(start="now"), start="now")  # type: ignore[misc]
        ).result(10)
    with held_open(url) as other:
        other.execute("SELECT FROM consumers WHERE name = 'held' FOR UPDATE")
        waiting = store.write(lambda unit: consumers.pause(unit, "held", paused=True))
        began_s = time.monotonic()
        for _ in range(5):
            store.write(lambda unit: consumers.pause(unit, "free", paused=True)).result(10)
        assert time.monotonic() - began_s < 3
        assert not waiting.done()
        other.rollback()
    waiting.result(10)
    assert store.health().ok


def test_what_is_held_for_too_long_is_refused_and_the_store_stays_well(
    url: str, opened: Callable[..., Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.db.batch.TRIES", 3)
    store = opened()
    store.write(lambda unit: consumers.put(unit, "held", ConsumerSpec(start="now"), start="now")).result(10)
    with held_open(url) as other:
        other.execute("SELECT FROM consumers WHERE name = 'held' FOR UPDATE")
        with pytest.raises(StoreUnavailable, match="another transaction"):
            store.write(lambda unit: consumers.pause(unit, "held", paused=True)).result(10)
    assert store.health().ok


def test_events_of_a_process_that_died_before_it_gave_places_get_them(
    url: str, opened: Callable[..., Store]
) -> None:
    store = opened()
    with psycopg.connect(url.replace("+psycopg", "")) as dying:
        row = event("left") | {"body": b"\0{}"}
        names = ", ".join(f"%({name})s" for name in row)
        dying.execute(f"INSERT INTO events ({', '.join(row)}) VALUES ({names})".encode(), row)
    wait_until(lambda: after(store, 0) == [(1, "left")])


def test_a_commit_is_heard_by_other_processes_at_once(opened: Callable[..., Store]) -> None:
    one, other = opened(), opened()
    wait_until(lambda: other._ear is not None and other._ear.hears)
    heard = {topic: threading.Event() for topic in Topic}
    for topic, told in heard.items():
        other.listen(topic, told.set)
    began_s = time.monotonic()
    append(one, "a")
    assert heard[Topic.EVENTS].wait(5)
    one.write(lambda unit: unit.announce(Topic.RECEIPTS)).result(5)
    assert heard[Topic.RECEIPTS].wait(5)
    assert time.monotonic() - began_s < 2  # far less where the machine is not busy


def test_the_listener_comes_back_by_itself(url: str, opened: Callable[..., Store]) -> None:
    store, other = opened(), opened()
    wait_until(lambda: store._ear is not None and store._ear.hears)
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as killer:
        killer.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    wait_until(lambda: store._ear is not None and not store._ear.hears)
    wait_until(lambda: store._ear is not None and store._ear.hears, within_s=20)
    told = threading.Event()
    store.listen(Topic.EVENTS, told.set)
    append(other, "a")
    assert told.wait(5)


def test_a_server_that_ends_every_connection_is_survived(url: str, opened: Callable[..., Store]) -> None:
    store = opened()
    append(store, "a")
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as killer:
        killer.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    assert after(store, 0) == [(1, "a")]  # a read begins anew, and so does a commit
    append(store, "b")
    assert after(store, 1) == [(2, "b")]
    assert store.health().ok


@pytest.mark.parametrize("state", ["53100", "53200", "57P03", "58030"])
def test_trouble_of_the_server_is_answered_and_passes(
    state: str, opened: Callable[..., Store], make_receipt: MakeReceipt
) -> None:
    store = opened()

    def fail(unit: Unit) -> None:
        unit.connection.execute(
            text(f"DO $$ BEGIN RAISE EXCEPTION 'no room' USING ERRCODE = '{state}'; END $$")
        )

    with pytest.raises(StoreUnavailable, match="no room"):
        store.write(fail).result(10)
    assert not store.health().ok
    store.write(lambda unit: unit.log.probe()).result(10)
    assert store.health().ok


def test_a_process_that_is_stopped_in_a_transaction_holds_nobody_up(
    url: str, opened: Callable[..., Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.db.postgres.IDLE_S", 1)
    stopped, other = opened(), opened()
    stopped.write(lambda unit: consumers.put(unit, "c", ConsumerSpec(start="now"), start="now")).result(10)

    def stand_still(unit: Unit) -> None:
        unit.consumers.lock("c")
        time.sleep(3)

    frozen = stopped.write(stand_still)
    time.sleep(0.2)
    other.write(lambda unit: consumers.pause(unit, "c", paused=True)).result(10)
    with pytest.raises(StoreUnavailable):
        frozen.result(10)


def test_processes_that_start_at_once_open_one_log(opened: Callable[..., Store]) -> None:
    with ThreadPoolExecutor(6) as pool:
        stores = [future.result() for future in [pool.submit(opened) for _ in range(6)]]
    assert len({store.epoch for store in stores}) == 1
    rows = stores[0].read(lambda unit: unit.connection.execute(select(log)).all())
    assert len(rows) == 1

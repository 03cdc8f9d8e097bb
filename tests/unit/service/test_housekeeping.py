"""Retention with the real store and a clock that is set forward."""

import hashlib
import time
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import uuid_utils.compat
from sqlalchemy import func, insert, select, update
from support.databases import migrated
from support.world import Clock

from service.app import build
from service.db.store import Store
from service.db.tables import bodies, confirmations, events, payments, receipts, transitions
from service.db.unit import Unit
from service.domain.merchant import Merchant
from service.domain.records import NewReceipt, ReceiptState
from service.domain.retention import Keep
from service.housekeeping import Housekeeper
from service.settings import Configuration

KEPT = Keep(bodies=timedelta(days=10), answers=timedelta(days=20))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[Store]:
    store = Store(f"sqlite:///{migrated(tmp_path / 'midtrans.db')}", clock=clock)
    store.start()
    yield store
    store.close()


def receipt(number: int, at: datetime, size: int = 20) -> NewReceipt:
    raw = b"%0*d" % (size, number)
    return NewReceipt(
        id=uuid_utils.compat.uuid7(),
        merchant="default",
        kind="payment",
        digest=hashlib.sha256(raw).digest(),
        raw=raw,
        order_id=f"order-{number}",
        transaction_id=f"t-{number}",
        transaction_status="settlement",
        payment_type="qris",
        received_at=at,
        source_address="127.0.0.1",
        path="/notifications",
        headers={},
        key_fingerprint="0",
        amount_form="text",
    )


def receive(store: Store, clock: Clock, count: int, state: ReceiptState, size: int = 20) -> list[uuid.UUID]:
    new = [receipt(number, clock.now, size) for number in range(count)]

    def work(unit: Unit) -> None:
        unit.receipts.add_many(new)
        ids = [one.id for one in new]
        unit.connection.execute(update(receipts).where(receipts.c.id.in_(ids)).values(state=state.value))

    store.write(work).result()
    return [one.id for one in new]


def confirm(store: Store, clock: Clock, count: int) -> None:
    facts = {"merchant": "default", "order_id": "o", "cause": "notification", "fence": 1, "asked": "o"}
    row = {**facts, "asked_at": clock.now, "answered_at": clock.now, "answer": b"{}", "verdict": "next"}
    store.write(lambda unit: unit.connection.execute(insert(confirmations), [row] * count)).result()


def housekeeper(store: Store, keep: Keep = KEPT) -> tuple[Housekeeper, list[tuple[str, int]]]:
    cuts: list[tuple[str, int]] = []
    return Housekeeper(store, keep, on_cut=lambda *cut: cuts.append(cut), pause_s=0), cuts


def count(store: Store, query: object) -> int:
    found: int = store.read(lambda unit: unit.connection.execute(query).scalar_one())  # type: ignore[call-overload]
    return found


BODIES = select(func.count()).select_from(bodies)
ANSWERS = select(func.count()).where(confirmations.c.answer.is_not(None))


def test_bodies_go_when_their_time_is_over_and_not_before(store: Store, clock: Clock) -> None:
    receive(store, clock, 450, ReceiptState.APPLIED)
    keeper, cuts = housekeeper(store)
    clock.pass_time(days=10)
    keeper.round()
    assert (count(store, BODIES), cuts) == (450, [])
    clock.pass_time(seconds=1)
    keeper.round()
    assert count(store, BODIES) == 0
    assert cuts == [("bodies", 100)] * 4 + [("bodies", 50)]
    assert count(store, select(func.count()).select_from(receipts)) == 450


@pytest.mark.parametrize("state", [ReceiptState.WAITING, ReceiptState.PARKED, ReceiptState.ANOMALY])
def test_the_body_of_a_receipt_that_waits_or_is_held_is_never_cut(
    state: ReceiptState, store: Store, clock: Clock
) -> None:
    ids = receive(store, clock, 250, state)
    keeper, cuts = housekeeper(store)
    clock.pass_time(days=1000)
    keeper.round()
    assert (count(store, BODIES), cuts) == (250, [])
    ended = {"state": ReceiptState.UNCHANGED.value}
    store.write(
        lambda unit: unit.connection.execute(update(receipts).where(receipts.c.id == ids[3]).values(ended))
    ).result()
    keeper.round()
    assert (count(store, BODIES), cuts) == (249, [("bodies", 1)])


def test_a_receipt_set_going_between_the_look_and_the_cut_keeps_its_body(store: Store, clock: Clock) -> None:
    ids = receive(store, clock, 2, ReceiptState.APPLIED)
    clock.pass_time(days=11)
    cut = store.write

    def revive_first(work: object) -> object:
        store.write = cut  # type: ignore[method-assign]
        cut(lambda unit: unit.receipts.reopen([ids[0]])).result()
        return cut(work)  # type: ignore[arg-type]

    store.write = revive_first  # type: ignore[method-assign, assignment]
    keeper, cuts = housekeeper(store)
    keeper.round()
    assert cuts == [("bodies", 1)]
    left = store.read(lambda unit: unit.connection.execute(select(bodies.c.receipt_id)).scalars().all())
    assert left == [ids[0]]


def test_a_receipt_without_a_body_is_never_set_going(store: Store, clock: Clock) -> None:
    ids = receive(store, clock, 2, ReceiptState.APPLIED)
    clock.pass_time(days=11)
    housekeeper(store)[0].round()
    assert store.write(lambda unit: unit.receipts.reopen(ids)).result() == 0


def test_answers_go_and_what_was_asked_and_judged_stays(store: Store, clock: Clock) -> None:
    confirm(store, clock, 450)
    keeper, cuts = housekeeper(store)
    clock.pass_time(days=15)
    confirm(store, clock, 1)
    clock.pass_time(days=6)
    keeper.round()
    assert count(store, ANSWERS) == 1
    assert [rows for _, rows in cuts] == [100, 100, 100, 100, 50]
    assert count(store, select(func.count()).where(confirmations.c.verdict == "next")) == 451
    clock.pass_time(days=15)
    keeper.round()
    assert count(store, ANSWERS) == 0


def test_for_ever_is_for_ever(store: Store, clock: Clock) -> None:
    receive(store, clock, 3, ReceiptState.APPLIED)
    confirm(store, clock, 3)
    keeper, cuts = housekeeper(store, Keep(bodies=None, answers=None))
    clock.pass_time(days=9000)
    keeper.round()
    assert cuts == []


def test_nothing_that_is_for_ever_is_named_by_retention() -> None:
    text = Path("service/db/retention.py").read_text(encoding="utf-8")
    for table in (events, payments, transitions):
        assert f"delete({table.name})" not in text


@pytest.mark.parametrize(("count_", "size"), [(1000, 1_000), (20, 65_000)])
def test_a_cut_never_holds_the_writer_for_long(count_: int, size: int, store: Store, clock: Clock) -> None:
    receive(store, clock, count_, ReceiptState.APPLIED, size=size)
    clock.pass_time(days=11)
    held: list[float] = []
    cut = store.write

    def timed(work: object) -> object:
        def run(unit: Unit) -> object:
            began = time.perf_counter()
            try:
                return work(unit)  # type: ignore[operator]
            finally:
                held.append(time.perf_counter() - began)

        return cut(run)

    store.write = timed  # type: ignore[method-assign, assignment]
    keeper, _ = housekeeper(store)
    keeper.round()
    assert count(store, BODIES) == 0
    assert len(held) == 10
    assert sorted(held)[5] < 0.005, held  # the median: the machine may be busy


def test_a_store_that_fails_ends_no_thread(store: Store, clock: Clock) -> None:
    receive(store, clock, 3, ReceiptState.APPLIED)
    clock.pass_time(days=11)
    done: list[int] = []
    keeper = Housekeeper(store, KEPT, on_cut=lambda _, rows: done.append(rows), every_s=0.01, pause_s=0)
    read, failures = store.read, iter([True, True])

    def fail_twice(query: object) -> object:
        if next(failures, False):
            raise OSError("something unforeseen")
        return read(query)  # type: ignore[arg-type]

    store.read = fail_twice  # type: ignore[method-assign, assignment]
    keeper.start()
    deadline = time.monotonic() + 10
    while not done and time.monotonic() < deadline:
        time.sleep(0.01)
    keeper.stop(5)
    assert done == [3]


def test_the_service_cuts_by_itself_and_counts_it(store: Store, clock: Clock, tmp_path: Path) -> None:
    receive(store, clock, 3, ReceiptState.APPLIED)
    store.close()
    clock.pass_time(days=401)
    merchants = (Merchant("default", ("SB-Mid-server-test",)),)
    configuration = Configuration(
        tmp_path, f"sqlite:///{tmp_path / 'midtrans.db'}", merchants, worker_threads=0
    )
    service = build(configuration, clock=clock)
    service.start()
    try:
        deadline = time.monotonic() + 20
        while b'midtrans_pruned_total{table="bodies"} 3.0' not in service.metrics.render()[0]:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        service.stop()

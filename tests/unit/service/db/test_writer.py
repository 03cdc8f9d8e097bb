"""The writer: many share a commit, none harms another, nobody is forgotten."""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from datetime import UTC, datetime
from itertools import count
from typing import Any, NoReturn
from uuid import UUID

import pytest
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from service.db import batch
from service.db.store import Store
from service.db.tables import bodies, checks, receipts
from service.db.topic import Topic
from service.db.unit import Unit
from service.domain.records import NewReceipt
from service.errors import StoreOverloaded, StoreUnavailable

Hold = Callable[[Store], Any]
MakeReceipt = Callable[..., NewReceipt]


class Refused(Exception):
    """What a unit of work raises in these tests."""


def refuse(_: Unit) -> NoReturn:
    raise Refused


_turns = count()


def add_order(name: str) -> Callable[[Unit], str]:
    """Return a unit of work that leaves a row behind."""

    def work(unit: Unit) -> str:
        row = {"merchant": "m", "order_id": name, "transaction_id": "", "due_at": unit.now}
        unit.connection.execute(insert(checks), row | {"failures": next(_turns)})
        return name

    return work


def orders(store: Store) -> list[str]:
    """Return the names in the order in which their units ran."""
    query = select(checks.c.order_id).order_by(checks.c.failures)
    return store.read(lambda unit: list(unit.connection.scalars(query)))


def ids(store: Store) -> set[UUID]:
    return store.read(lambda unit: set(unit.connection.scalars(select(receipts.c.id))))


@pytest.fixture
def commits() -> list[int]:
    """Return the sizes of the commits of `counted`."""
    return []


@pytest.fixture
def counted(url: str, commits: list[int]) -> Iterator[Store]:
    """Return a store that counts its commits."""
    store = Store(
        url,
        writers=1,
        listens=False,
        clock=lambda: datetime.now(UTC),
        on_commit=lambda size, _: commits.append(size),
    )
    store.start()
    yield store
    store.close()


async def test_receipts_that_wait_share_one_commit(
    counted: Store, commits: list[int], hold: Hold, make_receipt: MakeReceipt
) -> None:
    new = [make_receipt() for _ in range(500)]
    with hold(counted):
        futures = [counted.receive(one) for one in new]
        assert counted.waiting == 500
    answers = await asyncio.gather(*futures)
    assert [answer.id for answer in answers] == [one.id for one in new]
    assert ids(counted) == {one.id for one in new}
    counted.close()
    assert commits == [1, 1, 500]  # the start, the one that held the writer, all others


async def test_a_lone_write_does_not_wait_for_company(store: Store, make_receipt: MakeReceipt) -> None:
    began = time.monotonic()
    for _ in range(20):
        await store.receive(make_receipt())
    assert time.monotonic() - began < 1.0


async def test_a_commit_wakes_a_loop_once(
    store: Store, hold: Hold, make_receipt: MakeReceipt, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    calls: list[object] = []
    plain = loop.call_soon_threadsafe

    def counting(*args: Any) -> asyncio.Handle:
        calls.append(args)
        return plain(*args)

    monkeypatch.setattr(loop, "call_soon_threadsafe", counting)
    with hold(store):
        futures: list[asyncio.Future[Any]] = [store.receive(make_receipt()) for _ in range(50)]
        futures += [store.write_async(add_order(str(number))) for number in range(20)]
    await asyncio.gather(*futures)
    assert len(calls) == 1


def test_a_unit_that_fails_undoes_itself_alone(store: Store, hold: Hold) -> None:
    def half_done(unit: Unit) -> None:
        add_order("never")(unit)
        raise Refused

    with hold(store):
        first = store.write(add_order("first"))
        failing = store.write(half_done)
        clashing = store.write(add_order("first"))
        last = store.write(add_order("last"))
    assert (first.result(5), last.result(5)) == ("first", "last")
    with pytest.raises(Refused):
        failing.result(5)
    with pytest.raises(IntegrityError):
        clashing.result(5)
    assert orders(store) == ["first", "last"]
    assert store.health().ok


@pytest.mark.parametrize("error", [StopIteration(), SystemExit(1), KeyboardInterrupt()])
async def test_whatever_a_unit_raises_reaches_its_future_and_stops_nothing(
    store: Store, error: BaseException
) -> None:
    def work(_: Unit) -> None:
        raise error

    future = store.write_async(work)
    await asyncio.wait([future], timeout=5)
    assert future.exception() is not None
    assert await store.write_async(add_order("next")) == "next"


def test_units_run_in_the_order_in_which_they_came(store: Store) -> None:
    futures = [store.write(add_order(f"{number:03}")) for number in range(300)]
    for future in futures:
        future.result(5)
    assert orders(store) == [f"{number:03}" for number in range(300)]


def test_slow_units_are_cut_into_several_commits_in_order(
    counted: Store, commits: list[int], hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "UNITS_FOR_S", 0.005)

    def slow(name: str) -> Callable[[Unit], str]:
        def work(unit: Unit) -> str:
            time.sleep(0.0035)
            return add_order(name)(unit)

        return work

    with hold(counted):
        futures = [counted.write(slow(str(number))) for number in range(6)]
    for future in futures:
        future.result(5)
    assert orders(counted) == list("012345")
    counted.close()
    assert max(commits) <= 2
    assert sum(commits) == 8  # with the start and the one that held the writer


async def test_receipts_go_before_units_that_came_earlier(
    store: Store, hold: Hold, make_receipt: MakeReceipt
) -> None:
    new = make_receipt()

    def look(unit: Unit) -> UUID | None:
        return unit.connection.scalar(select(receipts.c.id))

    with hold(store):
        seen = store.write_async(look)
        stored = store.receive(new)
    assert await seen == new.id
    await stored


async def test_one_bad_receipt_fails_alone(store: Store, hold: Hold, make_receipt: MakeReceipt) -> None:
    new = [make_receipt() for _ in range(33)]
    new[17] = make_receipt(order_id="\ud800")  # no database takes it
    with hold(store):
        futures = [store.receive(one) for one in new]
    answers = await asyncio.gather(*futures, return_exceptions=True)
    assert isinstance(answers[17], UnicodeEncodeError)
    assert sum(isinstance(answer, Exception) for answer in answers) == 1
    assert ids(store) == {one.id for number, one in enumerate(new) if number != 17}


async def test_what_shares_a_commit_with_a_receipt_that_fails_is_done_once(
    store: Store, hold: Hold, make_receipt: MakeReceipt
) -> None:
    times = count(1)
    good, bad = make_receipt(), make_receipt(order_id="\ud800")
    with hold(store):
        futures = [store.receive(one) for one in (good, bad)]
        done = store.write_async(lambda _: next(times))
    answers = await asyncio.gather(*futures, return_exceptions=True)
    assert isinstance(answers[1], UnicodeEncodeError)
    assert await done == 1
    assert ids(store) == {good.id}


async def test_a_receipt_whose_id_is_taken_fails_and_leaves_no_body(
    store: Store, make_receipt: MakeReceipt
) -> None:
    first = make_receipt()
    await store.receive(first)
    with pytest.raises((IntegrityError, sqlite3.IntegrityError)):
        await store.receive(make_receipt(id=first.id))
    raw = store.read(lambda unit: unit.connection.scalars(select(bodies.c.raw)).all())
    assert raw == [first.raw]


async def test_a_cancelled_receipt_is_stored_all_the_same(
    store: Store, hold: Hold, make_receipt: MakeReceipt
) -> None:
    gone, there = make_receipt(), make_receipt()
    with hold(store):
        leaving, staying = store.receive(gone), store.receive(there)
        leaving.cancel()
    await staying
    assert ids(store) == {gone.id, there.id}


def test_a_unit_cancelled_in_time_is_not_done(store: Store, hold: Hold) -> None:
    with hold(store):
        cancelled, other = store.write(add_order("cancelled")), store.write(add_order("other"))
        assert cancelled.cancel()
    other.result(5)
    with pytest.raises(CancelledError):
        cancelled.result(5)
    assert orders(store) == ["other"]


def test_a_closed_loop_harms_no_one_else(store: Store, hold: Hold, make_receipt: MakeReceipt) -> None:
    new = make_receipt()
    with hold(store):
        loop = asyncio.new_event_loop()

        async def leave() -> None:
            store.receive(new)

        loop.run_until_complete(leave())
        loop.close()
        other = store.write(add_order("other"))
    other.result(5)
    assert ids(store) == {new.id}


async def test_more_than_may_wait_is_refused_and_the_lanes_do_not_fill_each_other(
    url: str, hold: Hold, make_receipt: MakeReceipt
) -> None:
    store = Store(url, writers=1, listens=False, clock=lambda: datetime.now(UTC), queue_limit=3)
    store.start()
    with hold(store):
        taken = [store.receive(make_receipt()) for _ in range(3)]
        over = store.receive(make_receipt())
        units = [store.write(add_order(str(number))) for number in range(3)]
        unit_over = store.write(add_order("over"))
        probe = store.probe()
        with pytest.raises(StoreOverloaded):
            await over
        with pytest.raises(StoreOverloaded):
            unit_over.result(5)
    await asyncio.gather(*taken)
    assert [unit.result(5) for unit in units] == ["0", "1", "2"]
    probe.result(5)
    store.close()


def test_closing_commits_everything_that_waits(url: str, hold: Hold) -> None:
    store = Store(url, writers=1, listens=False, clock=lambda: datetime.now(UTC))
    store.start()
    with hold(store):
        futures = [store.write(add_order(f"{number:03}")) for number in range(500)]
        closing = threading.Thread(target=store.close)
        closing.start()
    closing.join(10)
    assert [future.result(0) for future in futures] == [f"{number:03}" for number in range(500)]
    with pytest.raises(StoreUnavailable):
        store.write(add_order("late")).result(0)


def test_what_closing_has_no_time_for_is_refused(url: str, hold: Hold) -> None:
    store = Store(url, writers=1, listens=False, clock=lambda: datetime.now(UTC))
    store.start()
    with hold(store):
        waiting = store.write(add_order("waiting"))
        store.close(timeout_s=0.05)
        with pytest.raises(StoreUnavailable):
            waiting.result(0)


def test_listeners_are_called_once_a_commit_and_after_it(store: Store, hold: Hold) -> None:
    seen: list[int] = []
    store.listen(Topic.RECEIPTS, lambda: seen.append(len(orders(store))))
    called = threading.Event()
    store.listen(Topic.RECEIPTS, called.set)

    def announcing(name: str) -> Callable[[Unit], None]:
        def work(unit: Unit) -> None:
            add_order(name)(unit)
            unit.announce(Topic.RECEIPTS)

        return work

    with hold(store):
        for number in range(3):
            store.write(announcing(str(number)))
    assert called.wait(5)
    assert seen == [3]


def test_a_unit_that_fails_announces_nothing(store: Store) -> None:
    calls: list[str] = []
    store.listen(Topic.RECEIPTS, lambda: calls.append("called"))

    def work(unit: Unit) -> None:
        unit.announce(Topic.RECEIPTS)
        raise Refused

    with pytest.raises(Refused):
        store.write(work).result(5)
    store.write(lambda _: None).result(5)
    assert calls == []


def test_a_listener_that_has_left_is_not_called_and_one_that_fails_stops_no_one(store: Store) -> None:
    calls: list[str] = []
    leave = store.listen(Topic.RECEIPTS, lambda: calls.append("left"))

    def fail() -> None:
        raise Refused

    store.listen(Topic.RECEIPTS, fail)
    store.listen(Topic.RECEIPTS, lambda: calls.append("stayed"))
    leave()
    leave()
    store.write(lambda unit: unit.announce(Topic.RECEIPTS)).result(5)
    store.write(lambda _: None).result(5)
    assert calls == ["stayed"]


def test_a_bug_in_the_writer_fails_its_batch_and_the_next_one_goes_on(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(batch.Batch, "fill", lambda *_: 1 / 0)
        with pytest.raises(StoreUnavailable, match="ZeroDivisionError"):
            store.write(add_order("lost")).result(5)
        assert not store.health().ok
    assert store.write(add_order("next")).result(5) == "next"
    assert store.health().ok


def test_even_a_bug_while_answering_leaves_no_future_waiting(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr("service.db.writer.wake", lambda _: 1 / 0)
        with pytest.raises(StoreUnavailable):
            store.write(lambda _: None).result(5)
    store.write(lambda _: None).result(5)


def test_what_was_put_back_for_the_next_commit_survives_a_bug_after_it(
    store: Store, hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    bugs = [ZeroDivisionError()]

    class Odd:
        """Listeners that fail once, right after the rest of a batch was put back."""

        def tell(self, _: object) -> None:
            if bugs and orders(store) != []:
                raise bugs.pop()

    with hold(store):
        monkeypatch.setattr(batch, "UNITS_FOR_S", 0.0)  # each commit takes one and puts the others back
        monkeypatch.setattr(store._writer, "_listeners", Odd())
        monkeypatch.setattr(store._writer, "_herald", None)
        futures = [store.write(add_order(str(number))) for number in range(5)]
    assert [future.result(5) for future in futures] == ["0", "1", "2", "3", "4"]
    assert bugs == []
    assert orders(store) == list("01234")

"""A relay's row: one owner at a time, a fence, a place that only goes forwards."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from support.api import Clock
from support.plans import filled, indexes, plans, scans
from support.relaying import Log

from service.db.rebirth import Rebirth
from service.db.store import Store
from service.domain.relaying import LEASE, Hold, NatsOptions, RelaySpec
from service.errors import NotFound, RelayLost

SPEC = RelaySpec("nats", NatsOptions("nats://h"), start="beginning")
NEW = RelaySpec("nats", NatsOptions("nats://h"))


@pytest.fixture
def log(stored_at: str) -> Iterator[Log]:
    made = Log(stored_at)
    yield made
    made.store.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(log: Log, clock: Clock) -> Iterator[Store]:
    """A store on the same log, whose clock a test sets forward."""
    opened = Store(log.url, clock=clock)
    opened.start()
    yield opened
    opened.close()


def take(store: Store, owner: str, spec: RelaySpec = SPEC, *, dead: str = "") -> Hold | None:
    return store.write(
        lambda unit: unit.relays.take("out", spec, owner=owner, is_dead=lambda other: other == dead)
    ).result(10)


def held(store: Store, owner: str, spec: RelaySpec = SPEC) -> Hold:
    hold = take(store, owner, spec)
    assert hold is not None
    return hold


def move(store: Store, hold: Hold, position: int, *, published: bool = True) -> None:
    store.write(lambda unit: unit.relays.move("out", hold, position, published=published)).result(10)


def test_it_begins_where_the_settings_say_when_it_is_made_and_only_then(log: Log, store: Store) -> None:
    log.append("a", "b", "c")
    assert held(store, "one", NEW).position == 3
    assert held(store, "one", SPEC).position == 3


def test_one_holds_it_until_his_lease_is_over(log: Log, store: Store, clock: Clock) -> None:
    first = held(store, "one")
    clock.forward(LEASE.total_seconds() - 1)
    assert take(store, "two") is None
    clock.forward(1.1)
    second = held(store, "two")
    assert second.fence > first.fence


def test_of_many_that_begin_at_once_one_makes_it_and_holds_it(log: Log) -> None:
    stores = [Store(log.url, clock=Clock()) for _ in range(4)]
    for one in stores:
        one.start()
    asked = [
        one.write(lambda unit, name=f"owner-{number}": unit.relays.take("out", SPEC, owner=name))  # type: ignore[misc]
        for number, one in enumerate(stores)
    ]
    holds = [future.result(10) for future in asked]
    for one in stores:
        one.close()
    assert len([hold for hold in holds if hold is not None]) == 1


def test_a_sign_of_life_lengthens_the_lease(log: Log, store: Store, clock: Clock) -> None:
    first = held(store, "one")
    clock.forward(10)
    move(store, first, 0, published=False)
    clock.forward(10)
    assert take(store, "two") is None


def test_a_dead_process_and_one_that_gave_it_back_are_followed_at_once(log: Log, store: Store) -> None:
    first = held(store, "one")
    assert take(store, "two") is None
    second = take(store, "two", dead="one")
    assert second is not None
    store.write(lambda unit: unit.relays.release("out", first)).result(
        10
    )  # his hold is over: nothing happens
    assert take(store, "three") is None
    store.write(lambda unit: unit.relays.release("out", second)).result(10)
    assert take(store, "three") is not None


def test_who_wakes_after_his_lease_moves_nothing_and_reads_nothing(
    log: Log, store: Store, clock: Clock
) -> None:
    log.append("a", "b", "c")
    first = held(store, "one")
    clock.forward(60)
    second = held(store, "two")
    move(store, second, 2)
    for position in (1, 2, 3):
        with pytest.raises(RelayLost):
            move(store, first, position)
    with pytest.raises(RelayLost):
        store.read(lambda unit: unit.relays.read("out", first, 0, spec=SPEC, limit=10))
    with pytest.raises(RelayLost):
        store.write(lambda unit: unit.relays.fail("out", first, "down")).result(10)
    assert log.state("out").position == 2
    assert log.state("out").error is None


def test_the_place_never_goes_back(log: Log, store: Store) -> None:
    log.append("a", "b", "c")
    hold = held(store, "one")
    move(store, hold, 3)
    with pytest.raises(RelayLost):
        move(store, hold, 2)
    assert log.position("out") == 3


def test_who_waited_with_an_earlier_time_does_not_take_what_was_taken_meanwhile(
    log: Log, store: Store, clock: Clock
) -> None:
    held(store, "one")
    clock.forward(-1)
    assert take(store, "two") is None


def test_a_clock_set_back_keeps_nobody_out_for_long(log: Log, store: Store, clock: Clock) -> None:
    held(store, "one")
    clock.forward(-3600)
    assert take(store, "two") is not None


def test_what_fails_is_noted_with_its_beginning_until_something_is_published(
    log: Log, store: Store, clock: Clock
) -> None:
    log.append("a")
    hold = held(store, "one")
    store.write(lambda unit: unit.relays.fail("out", hold, "down")).result(10)
    since = log.state("out").failing_since
    clock.forward(5)
    store.write(lambda unit: unit.relays.fail("out", hold, "still down")).result(10)
    assert (log.state("out").error, log.state("out").failing_since) == ("still down", since)
    move(store, hold, 0, published=False)
    assert log.state("out").error == "still down"
    move(store, hold, 1)
    state = log.state("out")
    assert (state.error, state.failing_since) == (None, None)
    assert state.last_published_at is not None


def test_a_seek_ends_the_hold_and_moves_the_place_either_way(log: Log, store: Store) -> None:
    log.append("a", "b", "c")
    hold = held(store, "one")
    move(store, hold, 3)
    store.write(lambda unit: unit.relays.seek("out", 1)).result(10)
    with pytest.raises(RelayLost):
        move(store, hold, 3)
    assert held(store, "two").position == 1


def test_what_there_is_not_is_not_found(log: Log, store: Store) -> None:
    with pytest.raises(NotFound):
        store.write(lambda unit: unit.relays.pause("none", paused=True)).result(10)
    with pytest.raises(NotFound):
        store.write(lambda unit: unit.relays.seek("none", 0)).result(10)
    with pytest.raises(NotFound):
        log.state("none")


def test_a_restored_log_has_a_new_epoch_and_the_relay_goes_on_in_it(log: Log, store: Store) -> None:
    log.append("a", "b", "c")
    before = held(store, "one")
    move(store, before, 3)

    def restore(unit: object) -> None:
        unit.connection.exec_driver_sql("DELETE FROM events WHERE position > 2")  # type: ignore[attr-defined]
        Rebirth(unit).begin(ask_again=timedelta(days=1))  # type: ignore[arg-type]

    store.write(restore).result(10)
    after = held(store, "two")
    assert after.position == 2  # its end: what comes next is not skipped
    assert after.epoch != before.epoch
    assert after.fence > before.fence
    with pytest.raises(RelayLost):
        move(store, before, 3)
    with pytest.raises(RelayLost):  # whatever the fence says
        move(store, Hold(after.fence, before.epoch, 3), 3)


def test_a_place_of_another_epoch_steps_back_to_the_logs_end(log: Log, store: Store) -> None:
    log.append("a", "b", "c")
    held(store, "one")

    def change(unit: object) -> None:
        unit.connection.exec_driver_sql(  # type: ignore[attr-defined]
            "UPDATE relays SET epoch = 'other', position = 99, owner = NULL"
        )

    store.write(change).result(10)
    hold = held(store, "two")
    assert (hold.epoch, hold.position) == (store.epoch, 3)


def test_the_statements_of_every_turn_use_an_index(tmp_path: Path) -> None:
    with filled(tmp_path / "plans.db") as unit:
        hold = unit.relays.take("out", SPEC, owner="one")
        assert hold is not None

        def turn() -> None:
            unit.relays.read("out", hold, 100, spec=SPEC, limit=500)
            unit.relays.move("out", hold, 100, published=True)
            unit.relays.fail("out", hold, "down")

        steps = plans(unit, turn)
        assert scans(steps) == set()
        position, name = "sqlite_autoindex_events_3", "sqlite_autoindex_relays_1"
        assert indexes(steps) == {position, name}

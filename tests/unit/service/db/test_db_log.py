"""The sequencer: consecutive places in order of insertion, none twice, none missing."""

from collections.abc import Callable
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select

from service.db.store import Store
from service.db.tables import events
from service.db.topic import Topic
from service.db.unit import Unit

numbers = iter(range(1, 10**9))


def append(unit: Unit, count: int) -> None:
    for _ in range(count):
        sequence = next(numbers)
        unit.connection.execute(
            insert(events).values(
                id=uuid4(),
                merchant="default",
                transaction_id="t",
                sequence=sequence,
                order_id="o",
                type="midtrans.payment.settled",
                made_at=unit.now,
                body="{}",
            )
        )
        unit.announce(Topic.EVENTS)


def appending(count: int) -> Callable[[Unit], None]:
    return lambda unit: append(unit, count)


def positions(store: Store) -> list[int | None]:
    query = select(events.c.position).order_by(events.c.number)
    return store.read(lambda unit: list(unit.connection.scalars(query)))


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 5), max_size=8))
def test_positions_are_consecutive_in_order_of_insertion(store: Store, counts: list[int]) -> None:
    before = len(positions(store))
    for future in [store.write(appending(count)) for count in counts]:
        future.result(5)
    places = positions(store)
    assert places == list(range(1, before + sum(counts) + 1))
    assert store.read(lambda unit: unit.log.last_position()) == len(places)


def test_an_event_whose_unit_failed_leaves_no_gap(store: Store) -> None:
    def fail(unit: Unit) -> None:
        append(unit, 3)
        raise ValueError

    store.write(appending(1)).result(5)
    with pytest.raises(ValueError, match=r"^$"):
        store.write(fail).result(5)
    store.write(appending(1)).result(5)
    assert positions(store) == [1, 2]


def test_a_listener_finds_the_positions_given(store: Store) -> None:
    seen: list[list[int | None]] = []
    store.listen(Topic.EVENTS, lambda: seen.append(positions(store)))
    store.write(appending(2)).result(5)
    store.write(lambda _: None).result(5)
    assert seen == [[1, 2]]


def test_announcing_without_an_event_changes_no_position(store: Store) -> None:
    store.write(appending(1)).result(5)
    store.write(lambda unit: unit.announce(Topic.EVENTS)).result(5)
    assert store.read(lambda unit: unit.log.last_position()) == 1


def test_events_that_were_left_without_a_place_get_one_at_the_next_start(store: Store, url: str) -> None:
    def silently(unit: Unit) -> None:
        append(unit, 2)
        unit.topics.clear()

    store.write(silently).result(5)
    assert positions(store) == [None, None]
    store.close()
    again = Store(url, writers=1, listens=False, clock=store._clock)
    again.start()
    assert positions(again) == [1, 2]
    assert again.epoch == store.epoch
    again.close()

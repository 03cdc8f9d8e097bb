"""The log in memory is the log."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, create_engine, event, insert

from service.db import ahead
from service.db import delivery_statements as sql
from service.db.ahead import Ahead, ahead_of
from service.db.tables import events, metadata

NOW = datetime(2026, 11, 22, tzinfo=UTC)
TYPES = ("midtrans.payment.settled", "midtrans.payment.pending", "midtrans.payout.done")
MERCHANTS = ("default", "shop-b")
WANTED = st.tuples(
    st.sampled_from([("*",), ("midtrans.payment.*",), TYPES[:1], (TYPES[1], "midtrans.payout.*")]),
    st.sampled_from([("*",), MERCHANTS[:1], MERCHANTS]),
)


def make_engine() -> Engine:
    engine = create_engine("sqlite://")
    metadata.create_all(engine)
    return engine


def append(engine: Engine, first: int, kinds: list[tuple[str, str]]) -> None:
    rows = [
        {
            "position": position,
            "id": uuid.UUID(int=position),
            "merchant": merchant,
            "transaction_id": f"payment-{position}",
            "sequence": 1,
            "order_id": "order",
            "type": type_,
            "made_at": NOW,
            "body": f'{{"position":{position}}}',
        }
        for position, (type_, merchant) in enumerate(kinds, first)
    ]
    if rows:
        with engine.begin() as connection:
            connection.execute(insert(events), rows)


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = make_engine()
    yield engine
    engine.dispose()


@settings(deadline=None, max_examples=60)
@given(
    batches=st.lists(
        st.lists(st.tuples(st.sampled_from(TYPES), st.sampled_from(MERCHANTS)), max_size=12), max_size=5
    ),
    looks=st.lists(st.tuples(st.integers(0, 60), WANTED, st.integers(1, 5)), max_size=6),
    size=st.sampled_from([1, 4, 64]),
)
def test_what_memory_says_is_what_the_database_says(
    batches: list[list[tuple[str, str]]],
    looks: list[tuple[int, tuple[tuple[str, ...], tuple[str, ...]], int]],
    size: int,
) -> None:
    engine, memory, head = make_engine(), Ahead(), 0
    with patch.object(ahead, "STRETCH", size), patch.object(ahead, "STRETCHES", 2):
        for batch in batches:
            append(engine, head + 1, batch)
            head += len(batch)
            with engine.begin() as connection:
                for after, wanted, rows in looks:
                    place = {"after": min(after, head), "until": head, "rows": rows}
                    found = memory.read(connection, wanted, **place)
                    if found is not None:
                        assert found == [tuple(row) for row in sql.scan_free(*wanted).rows(connection, place)]
    engine.dispose()


def statements(engine: Engine) -> list[str]:
    ran: list[str] = []

    def trace(connection: Any, _record: object) -> None:
        connection.set_trace_callback(ran.append)

    event.listen(engine, "connect", trace)
    return ran


def test_many_readers_of_one_stretch_read_it_once() -> None:
    engine = create_engine("sqlite://")
    ran = statements(engine)
    metadata.create_all(engine)
    append(engine, 1, [(TYPES[0], "default")] * 40)
    del ran[:]
    with engine.begin() as connection:
        for after in range(40):
            for _ in range(16):
                found = ahead_of(connection).read(connection, (("*",), ("*",)), after=after, until=40, rows=1)
                assert found is not None
                assert [one[0] for one in found] == [after + 1]
    assert len([text for text in ran if "FROM events" in text]) == 1
    engine.dispose()


def test_who_wants_little_is_sent_to_the_database(engine: Engine) -> None:
    append(engine, 1, [(TYPES[0], "default")] * 200)
    with engine.begin() as connection:
        rare = ((TYPES[2],), ("*",))
        assert ahead_of(connection).read(connection, rare, after=0, until=200, rows=1) is None
        assert ahead_of(connection).read(connection, rare, after=150, until=180, rows=1) == []


def test_memory_is_bounded(engine: Engine) -> None:
    append(engine, 1, [(TYPES[0], "default")] * 500)
    memory = Ahead()
    with engine.begin() as connection, patch.object(ahead, "STRETCHES", 3):
        for after in range(0, 500, 10):
            memory.read(connection, (("*",), ("*",)), after=after, until=500, rows=2)
    assert len(memory._stretches) == 3


def test_every_database_has_a_memory_of_its_own(engine: Engine) -> None:
    other = make_engine()
    append(engine, 1, [(TYPES[0], "default")])
    append(other, 1, [(TYPES[0], "shop-b")])
    everything = (("*",), ("*",))
    for each, merchant in ((engine, "default"), (other, "shop-b")):
        with each.begin() as connection:
            found = ahead_of(connection).read(connection, everything, after=0, until=1, rows=1)
            assert found is not None
            assert found[0][1] == merchant
    other.dispose()

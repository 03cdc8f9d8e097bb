"""The queue against a model of it: whatever is called in whatever order, the promises hold.

The model knows nothing of rows, only of what callers were told. Each event is fresh, out (lent or waiting to be
lent again), dead, or done.
"""

import itertools
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, rule
from sqlalchemy import create_engine, insert

from service.db.deliveries import Deliveries
from service.db.tables import deliveries, events, metadata
from service.db.unit import Unit
from service.domain.delivery import Delivery, Lease
from service.domain.records import ConsumerSpec
from service.errors import NotFound
from service.flow import consumers, lease

NAME = "shipping"
OTHER = "billing"
"""Reads the same log and acks all it gets: what the one does must not touch the other."""
MAX_ATTEMPTS = 2
PAYMENTS = st.integers(0, 2)


class Queue(RuleBasedStateMachine):
    leases = Bundle("leases")

    def __init__(self) -> None:
        super().__init__()
        self.engine = create_engine("sqlite://")
        metadata.create_all(self.engine)
        self.now = datetime(2026, 11, 22, tzinfo=UTC)
        self.payment_of: dict[int, int] = {}
        self.done: set[int] = set()
        self.dead: set[int] = set()
        self.attempts: dict[int, int] = {}
        self.lease_of: dict[int, Lease] = {}
        self.due_at: dict[int, datetime] = {}
        self.acked: set[Lease] = set()
        self.of_other: list[Lease] = []
        self.read_by_other: list[int] = []
        self.numbers = itertools.count(1)
        self.do(lambda unit: unit.log.open())

    def do(self, work: Any) -> Any:
        with self.engine.begin() as connection:
            return work(Unit(connection, self.now))

    @initialize(on_dead=st.sampled_from(["hold", "skip"]))
    def make_consumer(self, on_dead: str) -> None:
        self.holds = on_dead == "hold"
        self.put(on_dead)
        spec = ConsumerSpec(types=("wanted.*",))
        self.do(lambda unit: consumers.put(unit, OTHER, spec, start="beginning"))

    @rule(on_dead=st.sampled_from(["hold", "skip"]))
    def change_consumer(self, on_dead: str) -> None:
        self.holds = on_dead == "hold"
        self.put(on_dead)

    def put(self, on_dead: str) -> None:
        spec = ConsumerSpec(types=("wanted.*",), max_attempts=MAX_ATTEMPTS, on_dead=on_dead)
        self.do(lambda unit: consumers.put(unit, NAME, spec, start="beginning"))
        self.do(lambda unit: consumers.free_followers(unit, NAME, after=0))

    @rule(payments=st.lists(PAYMENTS, min_size=1, max_size=6), wanted=st.booleans())
    def append(self, payments: list[int], wanted: bool) -> None:
        def work(unit: Unit) -> None:
            for payment in payments:
                number = next(self.numbers)
                unit.connection.execute(insert(events).values(**row(number, payment, wanted, self.now)))
                if wanted:
                    self.payment_of[number] = payment
            unit.log.sequence()

        self.do(work)

    @rule(seconds=st.sampled_from([1, 4, 20, 31, 36, 60]))
    def wait(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(target=leases, limit=st.integers(1, 4))
    def lend(self, limit: int) -> Any:
        return multiple(*self.lend_some(limit))

    def lend_some(self, limit: int, acks: Sequence[Lease] = ()) -> list[Lease]:
        return self.lend_at_once([(limit, acks)])[0]

    @rule(target=leases, limits=st.lists(st.integers(1, 3), min_size=2, max_size=3))
    def lend_to_several_calls_at_once(self, limits: list[int]) -> Any:
        return multiple(*itertools.chain(*self.lend_at_once([(limit, ()) for limit in limits])))

    @rule(
        target=leases, leased=st.lists(leases, min_size=1, max_size=4, unique=True), limit=st.integers(1, 4)
    )
    def ack_and_lend(self, leased: list[Lease], limit: int) -> Any:
        return multiple(*self.lend_some(limit, leased))

    def lend_at_once(self, calls: list[tuple[int, Sequence[Lease]]]) -> list[list[Lease]]:
        """Serve *calls* in one unit, with one of another consumer and one of nobody's among them."""
        asks = [lease.Ask(NAME, uuid.uuid4().hex, limit, 30, acks) for limit, acks in calls]
        asks.insert(1, lease.Ask("nobody", uuid.uuid4().hex, 1))
        asks.insert(0, lease.Ask(OTHER, uuid.uuid4().hex, 2, 30, self.of_other))
        other, first, nobody, *more = self.do(lambda unit: lease.lend_each(unit, asks, dice=lambda: 0.0))
        assert isinstance(nobody, NotFound)
        assert list(other.acked.acked) == self.of_other
        self.of_other = [one.lease for one in other.deliveries]
        self.read_by_other += [one.position for one in other.deliveries]
        found = []
        for (limit, acks), lent in zip(calls, [first, *more], strict=True):
            self.check_acked(list(acks), lent.acked)
            found.append(self.check_lent(lent, limit))
        return found

    def check_lent(self, lent: lease.Lent, limit: int) -> list[Lease]:
        for died in lent.died:
            assert self.attempts[died.position] >= MAX_ATTEMPTS
            assert self.due_at.pop(died.position) <= self.now
            self.dead.add(died.position)
        assert len(lent.deliveries) <= limit
        assert len({self.payment_of[one.position] for one in lent.deliveries}) == len(lent.deliveries)
        for one in lent.deliveries:
            self.check(one)
        for one in lent.deliveries:
            self.attempts[one.position] = one.attempt
            self.lease_of[one.position] = one.lease
            wait_s = 5 * 2 ** (one.attempt - 1)
            self.due_at[one.position] = one.leased_until + timedelta(seconds=wait_s)
        return [one.lease for one in lent.deliveries]

    def check(self, one: Delivery) -> None:
        assert one.position in self.payment_of, "an event that the consumer does not want"
        assert one.position not in self.done | self.dead, "an event that has ended"
        assert self.due_at.get(one.position, self.now) <= self.now, "lent while it was out"
        assert one.attempt == self.attempts.get(one.position, 0) + 1
        assert not self.earlier(one.position), "an earlier event of the payment is outstanding"
        for other, payment in self.payment_of.items():
            if payment == self.payment_of[one.position] and other != one.position:
                assert other not in self.due_at or self.due_at[other] <= self.now, "two of a payment at once"

    def earlier(self, position: int) -> list[int]:
        passed = self.done | (set() if self.holds else self.dead)
        payment = self.payment_of[position]
        return [
            other
            for other, of in self.payment_of.items()
            if of == payment and other < position and other not in passed
        ]

    def position_of(self, one: Lease) -> int | None:
        return next((place for place, current in self.lease_of.items() if current == one), None)

    def end(self, position: int) -> None:
        self.due_at.pop(position, None)
        self.lease_of.pop(position, None)
        self.attempts.pop(position, None)
        self.dead.discard(position)

    @rule(leased=st.lists(leases, min_size=1, max_size=4, unique=True))
    def ack(self, leased: list[Lease]) -> None:
        self.check_acked(leased, self.do(lambda unit: lease.ack(unit, NAME, leased)))

    def check_acked(self, leased: list[Lease], answer: lease.Acked) -> None:
        good = [one for one in leased if self.position_of(one) is not None or one in self.acked]
        assert list(answer.acked) == good
        assert list(answer.ended) == [one for one in leased if one not in good]
        for one in good:
            position = self.position_of(one)
            self.acked.add(one)
            if position is not None:
                self.end(position)
                self.done.add(position)

    @rule(leased=leases, delay=st.sampled_from([None, 0, 7]))
    def nack(self, leased: Lease, delay: int | None) -> None:
        wait = None if delay is None else timedelta(seconds=delay)
        answer = self.do(
            lambda unit: lease.nack(unit, NAME, [leased], delay=wait, reason="no", dice=lambda: 0.0)
        )
        position = self.position_of(leased)
        if not answer.nacked:
            return
        assert position is not None
        attempt = self.attempts[position]
        del self.lease_of[position]
        if attempt >= MAX_ATTEMPTS:
            assert [died.position for died in answer.died] == [position]
            self.dead.add(position)
            del self.due_at[position]
        else:
            assert not answer.died
            self.due_at[position] = self.now + (wait or timedelta(seconds=5 * 2 ** (attempt - 1)))
            if delay == 0:
                self.due_at[position] = self.now

    @rule(limit=st.integers(1, 4))
    def lend_and_refuse(self, limit: int) -> None:
        for one in self.lend_some(limit):
            self.nack(one, 0)

    @rule(leased=leases, seconds=st.sampled_from([1, 30]))
    def extend(self, leased: Lease, seconds: int) -> None:
        answer = self.do(
            lambda unit: lease.extend(unit, NAME, [leased], lease_seconds=seconds, dice=lambda: 0.0)
        )
        position = self.position_of(leased)
        if not answer.extended:
            return
        assert position is not None
        wait_s = 5 * 2 ** (self.attempts[position] - 1)
        self.due_at[position] = self.now + timedelta(seconds=seconds + wait_s)

    @rule(leased=leases)
    def a_client_that_has_gone_gives_back(self, leased: Lease) -> None:
        position = self.position_of(leased)
        if position is None or position in self.dead or self.due_at.get(position, self.now) <= self.now:
            return
        self.do(lambda unit: lease.give_back(unit, NAME, [leased]))
        del self.lease_of[position]
        self.attempts[position] -= 1
        self.due_at[position] = self.now

    @rule(back=st.integers(0, 6))
    def seek(self, back: int) -> None:
        head = self.do(lambda unit: unit.log.last_position())
        target = max(0, head - back)
        with patch.object(consumers, "CUT", 2):  # as many steps as thousands of rows would take
            while not self.do(lambda unit: consumers.seek(unit, NAME, target)):
                pass
        for position in self.payment_of:
            if position not in self.dead:
                self.end(position)
                (self.done.discard if position > target else self.done.add)(position)
        self.lease_of.clear()

    @rule(data=st.data(), everything=st.booleans())
    def redrive(self, data: st.DataObject, everything: bool) -> None:
        chosen = self.choose(data, everything)
        positions = None if everything else chosen
        assert self.do(lambda unit: consumers.redrive(unit, NAME, positions)) == len(chosen)
        cursor = self.cursor()
        for position in chosen:
            current = self.lease_of.get(position)
            self.end(position)
            if current is not None and position <= cursor:
                self.lease_of[position] = current

    @rule(data=st.data(), everything=st.booleans())
    def discard(self, data: st.DataObject, everything: bool) -> None:
        chosen = self.choose(data, everything)
        positions = None if everything else chosen
        assert self.do(lambda unit: consumers.discard(unit, NAME, positions)) == len(chosen)
        for position in chosen:
            self.end(position)
            self.done.add(position)

    def redrive_all(self) -> None:
        self.do(lambda unit: consumers.redrive(unit, NAME, None))
        for position in list(self.dead):
            self.end(position)

    def choose(self, data: st.DataObject, everything: bool) -> list[int]:
        dead = sorted(self.dead)
        if everything or not dead:
            return dead
        return data.draw(st.lists(st.sampled_from(dead), unique=True))

    def cursor(self) -> int:
        cursor: int = self.do(lambda unit: unit.consumers.get(NAME)).cursor
        return cursor

    @rule()
    def pause_and_resume(self) -> None:
        self.do(lambda unit: consumers.pause(unit, NAME, paused=True))
        assert self.lend_some(4) == []
        self.do(lambda unit: consumers.pause(unit, NAME, paused=False))

    @invariant()
    def the_dead_are_shown(self) -> None:
        letters = self.do(lambda unit: Deliveries(unit).dead_letters(NAME, after=0, limit=1000))
        assert {letter.position for letter in letters} == self.dead

    @invariant()
    def no_row_is_left_of_what_has_ended(self) -> None:
        with self.engine.begin() as connection:
            ours = deliveries.select().where(deliveries.c.consumer == NAME)
            rows = connection.execute(ours.where(deliveries.c.state != "discarded"))
            assert not {one.position for one in rows} & self.done

    def teardown(self) -> None:
        """Whatever happened: a consumer that now does its work gets everything that is left, dead ones too."""
        for _ in range(len(self.payment_of) + 3):
            self.now += timedelta(hours=2)
            while got := self.lend_some(100):
                self.ack(got)
            self.redrive_all()
        assert self.done == set(self.payment_of)
        for _ in range(len(self.payment_of) + 1):
            self.lend_at_once([(1, ())])
        assert sorted(self.read_by_other) == sorted(self.payment_of)
        for payment in set(self.payment_of.values()):
            of_one = [one for one in self.read_by_other if self.payment_of[one] == payment]
            assert of_one == sorted(of_one)
        self.engine.dispose()


def row(number: int, payment: int, wanted: bool, now: datetime) -> dict[str, Any]:
    return {
        "id": uuid.UUID(int=number),
        "merchant": "default",
        "transaction_id": f"payment-{payment}",
        "sequence": number,
        "order_id": f"order-{payment}",
        "type": "wanted.event" if wanted else "other.event",
        "made_at": now,
        "body": f'{{"number":{number}}}',
    }


TestQueue = Queue.TestCase
TestQueue.settings = settings(max_examples=12, stateful_step_count=40, deadline=None)


@pytest.mark.slow
class TestQueueAtLength(Queue.TestCase):  # type: ignore[misc,valid-type] # hypothesis makes it at run time
    settings = settings(max_examples=50, stateful_step_count=50, deadline=None)


def test_a_redriven_event_waits_until_a_later_one_of_its_payment_is_back() -> None:
    queue = Queue()
    queue.make_consumer("skip")
    queue.append([1, 1], wanted=True)
    queue.lend_and_refuse(4)
    queue.lend_and_refuse(4)  # the first one is dead, and skipped
    later = queue.lend_some(4)
    assert [queue.position_of(one) for one in later] == [2]
    queue.redrive_all()
    assert queue.lend_some(4) == []
    queue.ack(later)
    assert [queue.position_of(one) for one in queue.lend_some(4)] == [1]
    queue.teardown()

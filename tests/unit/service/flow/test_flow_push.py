"""Turns of a push consumer against a model: whatever endpoints answer and processes die, order and counts hold."""

import itertools
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import create_engine, insert

from service.db.tables import events, metadata
from service.db.unit import Unit
from service.domain.delivery import Delivery, Lease
from service.domain.push import Answer, Result
from service.domain.records import ConsumerSpec, PushSpec
from service.flow import consumers, push
from service.flow.push import Outcome

NAME = "shipping"
PAYMENTS = 3
MAX_ATTEMPTS = 3
ARRIVED = Answer(Result.PUSHED, status=200)
REFUSED = Answer(Result.REFUSED, "HTTP 500", status=500)


class Pushed(RuleBasedStateMachine):
    """Two processes push for one consumer. *out* is under way, by process; *arrived* what was answered 2xx."""

    def __init__(self) -> None:
        super().__init__()
        self.engine = create_engine("sqlite://")
        metadata.create_all(self.engine)
        self.now = datetime(2026, 11, 22, tzinfo=UTC)
        self.out: dict[int, list[tuple[Delivery, bool]]] = {0: [], 1: []}
        self.payment_of: dict[int, int] = {}
        self.tried: list[int] = []
        self.arrived: list[int] = []
        self.dead: set[int] = set()
        self.lease_of: dict[int, Lease] = {}
        self.numbers = itertools.count(1)
        self.do(lambda unit: unit.log.open())

    def do(self, work: Any) -> Any:
        with self.engine.begin() as connection:
            return work(Unit(connection, self.now))

    @initialize()
    def make_consumer(self) -> None:
        target = PushSpec("https://shop.example.com/", ("whsec_x",), 15, 10)
        spec = ConsumerSpec(push=target, max_attempts=MAX_ATTEMPTS)
        self.do(lambda unit: consumers.put(unit, NAME, spec, start="beginning"))

    @rule(payments=st.lists(st.integers(0, PAYMENTS - 1), min_size=1, max_size=5))
    def append(self, payments: list[int]) -> None:
        def work(unit: Unit) -> None:
            for payment in payments:
                number = next(self.numbers)
                self.payment_of[number] = payment
                row = {
                    "id": uuid.UUID(int=number),
                    "merchant": "default",
                    "transaction_id": str(payment),
                    "sequence": number,
                    "order_id": str(payment),
                    "type": "midtrans.payment.settled",
                    "made_at": self.now,
                    "body": "{}",
                }
                unit.connection.execute(insert(events).values(**row))
            unit.log.sequence()

        self.do(work)

    @rule(seconds=st.sampled_from([1, 6, 20, 30, 45]))
    def wait(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(
        process=st.integers(0, 1),
        answers=st.lists(st.sampled_from([ARRIVED, REFUSED]), max_size=4),
        limit=st.integers(0, 4),
        probe=st.booleans(),
        fresh_first=st.booleans(),
    )
    def turn(self, process: int, answers: list[Answer], limit: int, probe: bool, fresh_first: bool) -> None:
        ended = self.out[process][: len(answers)]
        self.out[process] = self.out[process][len(answers) :]
        outcomes = [
            Outcome(one.lease, answer, was_probe)
            for (one, was_probe), answer in zip(ended, answers, strict=False)
        ]
        for (one, _), answer in zip(ended, answers, strict=False):
            if answer.ok:
                self.arrived.append(one.position)
                if one.lease == self.lease_of[one.position]:
                    self.dead.discard(one.position)  # its last lease was lost, and its ack came after all
        found = self.do(
            lambda unit: push.turn(
                unit,
                NAME,
                outcomes,
                limit=limit,
                batch=uuid.uuid4().hex,
                dice=lambda: 0.0,
                pause_after=timedelta(days=9999),
                fresh_first=fresh_first,
            )
        )
        self.dead |= {died.position for died in (*found.died, *found.lent.died)}
        for one in found.lent.deliveries:
            self.check(one)
            self.tried.append(one.position)
            self.lease_of[one.position] = one.lease
            self.out[process].append((one, probe))

    def check(self, one: Delivery) -> None:
        payment = self.payment_of[one.position]
        earlier = [other for other, of in self.payment_of.items() if of == payment and other < one.position]
        assert not self.dead & {one.position, *earlier}, "behind a dead one"
        assert set(earlier) <= set(self.arrived), "before an earlier one has arrived"
        assert 1 <= one.attempt <= MAX_ATTEMPTS

    @rule(process=st.integers(0, 1))
    def die(self, process: int) -> None:
        self.out[process] = []

    @invariant()
    def order_holds(self) -> None:
        for payment in range(PAYMENTS):
            first_tries = list(dict.fromkeys(n for n in self.tried if self.payment_of[n] == payment))
            assert first_tries == sorted(first_tries)

    def teardown(self) -> None:
        """Let everything arrive: nothing but the dead and what they hold back is left out."""
        if not self.payment_of:
            return
        for _ in range(200):
            self.now += timedelta(hours=2)
            self.turn(0, [ARRIVED] * 4, 4, probe=False, fresh_first=False)
            self.turn(1, [ARRIVED] * 4, 4, probe=False, fresh_first=False)
            if self.missing() == set():
                break
        assert self.missing() == set()

    def missing(self) -> set[int]:
        held = {
            number
            for number, payment in self.payment_of.items()
            for dead in self.dead
            if self.payment_of[dead] == payment and dead <= number
        }
        return set(self.payment_of) - set(self.arrived) - held


TestPushed = Pushed.TestCase
TestPushed.settings = settings(max_examples=20, stateful_step_count=25)

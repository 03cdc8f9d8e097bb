"""Step 3c: the log → push consumers. One turn writes down what came of pushes, and lends what is to be pushed next.

The rows and leases are those of pull consumers: several processes may push for one consumer, an event under way with
one is not lent to another, and what a dead process had is lent again when its leases have run out.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from service.domain.delivery import Consumer, Lease
from service.domain.push import LEASE_MARGIN_S, Answer, Result, go_on, pause_reason
from service.flow import lease
from service.flow.give_back import Dice, Died, Refusal, refuse
from service.flow.lease import Lent
from service.flow.lease_edges import Unit


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one push. A failed *probe* of an endpoint that is down is not counted as an attempt."""

    lease: Lease
    answer: Answer
    probe: bool = False


@dataclass(frozen=True, slots=True)
class Turn:
    """What a turn did; *consumer* is as it is afterwards, *paused* says why it was paused in this turn."""

    consumer: Consumer
    lent: Lent
    acked: int = 0
    nacked: int = 0
    died: tuple[Died, ...] = ()
    paused: str | None = None


def turn(
    unit: Unit,
    name: str,
    outcomes: Sequence[Outcome],
    *,
    limit: int,
    batch: str,
    dice: Dice,
    pause_after: timedelta,
    fresh_first: bool = False,
) -> Turn:
    """Ack what arrived, give the rest back, lend up to *limit* events; raise NotFound.

    Lends nothing when the consumer is no push consumer any more, but what was under way counts all the same.
    """
    consumer = unit.consumers.lock(name)
    acked = lease.end(unit, consumer, [one.lease for one in outcomes if one.answer.ok])
    refusals = [_refusal(one) for one in outcomes if not one.answer.ok]
    nacked = refuse(unit, consumer, refusals, dice=dice)
    paused = _note(unit, consumer, [one.answer for one in outcomes], pause_after=pause_after)
    if paused or outcomes:
        consumer = unit.consumers.get(name)
    return Turn(
        consumer,
        _lend(unit, consumer, limit, batch=batch, dice=dice, fresh_first=fresh_first),
        acked,
        len(nacked.nacked),
        nacked.died,
        paused,
    )


def _refusal(outcome: Outcome) -> Refusal:
    answer = outcome.answer
    counts = not outcome.probe and answer.result is not Result.GONE
    return Refusal(outcome.lease, answer.reason, wait=answer.wait or timedelta(), counts=counts)


def _note(unit: Unit, consumer: Consumer, answers: Sequence[Answer], *, pause_after: timedelta) -> str | None:
    """Count failures in a row; pause the consumer when it is time, and return why."""
    if consumer.spec.push is None:
        return None
    streak = go_on(consumer.streak, answers, now=unit.now)
    if streak != consumer.streak:
        unit.consumers.note(consumer.name, streak)
    why = pause_reason(streak, answers, pause_after=pause_after, now=unit.now)
    if why is None or consumer.paused:
        return None
    unit.consumers.pause(consumer.name, paused=True, reason=why)
    unit.deliveries.wake()
    return why


def _lend(unit: Unit, consumer: Consumer, limit: int, *, batch: str, dice: Dice, fresh_first: bool) -> Lent:
    push = consumer.spec.push
    if push is None or not limit:
        return Lent()
    return lease.lend_to(
        unit,
        consumer,
        limit=limit,
        lease_seconds=math.ceil(push.timeout_seconds) + LEASE_MARGIN_S,
        batch=batch,
        dice=dice,
        fresh_first=fresh_first,
    )

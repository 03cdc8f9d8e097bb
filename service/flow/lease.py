"""Step 3a: the log → HTTP consumers. Lend, ack, nack, extend: each one unit of work.

At least once, in order per payment: what may be lent is decided in ``domain/delivery.py``; here it is read and
written. A unit lends at most ``MOST_AT_ONCE`` events and looks at ``WINDOW`` positions, so that the writer is
soon free again; `Lent.more` says that there may be more to find.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from service.domain.delivery import (
    Change,
    Consumer,
    Delivery,
    DeliveryState,
    Due,
    Lease,
    PaymentKey,
    Scanned,
    Standing,
    back_off,
    place,
    sort_due,
)
from service.errors import Conflict
from service.flow.give_back import Dice, Died, Nacked, Refusal, leased, refuse, split
from service.flow.lease_edges import Unit

MOST_AT_ONCE: Final = 100
WINDOW: Final = 1000
ROUNDS: Final = 3
SPARE_ROWS: Final = 4
LOST: Final = "the lease ended without an ack"


@dataclass(frozen=True, slots=True)
class Acked:
    """*ended* leases were lost to time: the event has been, or will be, lent again."""

    acked: tuple[Lease, ...] = ()
    ended: tuple[Lease, ...] = ()


@dataclass(frozen=True, slots=True)
class Lent:
    """What a lease call got. *next_due_at* is set when it got nothing: the next time worth a look."""

    deliveries: tuple[Delivery, ...] = ()
    died: tuple[Died, ...] = ()
    more: bool = False
    next_due_at: datetime | None = None
    acked: Acked = Acked()


@dataclass(frozen=True, slots=True)
class Look:
    """Whether a lease call would find something now; else when it will, if that is known."""

    ready: bool
    next_due_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Extended:
    """Leases with their new end."""

    extended: tuple[Lease, ...]
    ended: tuple[Lease, ...]
    leased_until: datetime


def lend(
    unit: Unit,
    name: str,
    *,
    limit: int,
    lease_seconds: int | None,
    batch: str,
    dice: Dice,
    acks: Sequence[Lease] = (),
) -> Lent:
    """Ack *acks*, then lend up to *limit* events to consumer *name* under the name *batch*.

    One transaction: whenever something has been lent, the acks have been committed. Raises NotFound, and Conflict
    when the consumer's events are pushed.
    """
    consumer = unit.consumers.lock(name)
    _refuse_pushed(consumer)
    acked, standing = _ack(unit, consumer, acks) if acks else (Acked(), None)
    lent = lend_to(
        unit,
        consumer,
        limit=limit,
        lease_seconds=lease_seconds or consumer.spec.lease_seconds,
        batch=batch,
        dice=dice,
        standing=standing,
    )
    return replace(lent, acked=acked) if acks else lent


def lend_to(
    unit: Unit,
    consumer: Consumer,
    *,
    limit: int,
    lease_seconds: float,
    batch: str,
    dice: Dice,
    fresh_first: bool = False,
    standing: Standing | None = None,
) -> Lent:
    """Lend up to *limit* events to *consumer*, which the caller has locked, under the name *batch*.

    First what is due again, then what the cursor comes to; *fresh_first* turns that around. A paused consumer
    gets nothing. *standing* is where it stands, for a caller who knows.
    """
    if consumer.paused:
        return Lent()
    standing = standing or unit.deliveries.standing(consumer.name)
    until = unit.now + timedelta(seconds=lease_seconds)
    lending = _Lending(unit, consumer, standing, batch=batch, leased_until=until, dice=dice)
    steps = (lending.lend_due, lending.lend_fresh)
    for step in reversed(steps) if fresh_first else steps:
        step(limit - len(lending.deliveries))
    idle = not lending.deliveries and not lending.more
    return Lent(
        tuple(lending.deliveries),
        tuple(lending.died),
        lending.more,
        unit.deliveries.next_due_at(consumer.name) if idle and standing.anything else None,
    )


def look(unit: Unit, name: str) -> Look:
    """Say whether `lend` would find something, without writing; raise NotFound. Nothing for a paused consumer."""
    consumer = unit.consumers.get(name)
    if consumer.paused:
        return Look(ready=False)
    head = unit.log.last_position()
    until = min(consumer.cursor + WINDOW, head)
    wanted = (consumer.spec.types, consumer.spec.merchants)
    due_at = unit.deliveries.next_due_at(name)
    due = due_at is not None and due_at <= unit.now
    ahead = until < head or unit.events.first_wanted(consumer.cursor, until, wanted) is not None
    return Look(due or ahead, due_at)


class _Lending:
    """One lease call at work."""

    def __init__(
        self,
        unit: Unit,
        consumer: Consumer,
        standing: Standing,
        *,
        batch: str,
        leased_until: datetime,
        dice: Dice,
    ) -> None:
        self._unit = unit
        self._consumer = consumer
        self._standing = standing
        self._batch = batch
        self._until = leased_until
        self._dice = dice
        self.deliveries: list[Delivery] = []
        self.died: list[Died] = []
        self.more = False

    def lend_due(self, limit: int) -> None:
        due_at = self._standing.next_due_at
        if not limit or due_at is None or due_at > self._unit.now:
            return
        due = self._unit.deliveries.due(self._consumer, rows=limit)
        self.more = self.more or len(due) == limit
        triage = sort_due(due, self._consumer.spec)
        self._set_aside(triage.dead, triage.blocked)
        self._unit.deliveries.lend_again(
            self._consumer.name,
            (
                (
                    self._lend(row.position, row.attempt + 1, row.body),
                    row.attempt + 1,
                    self._until,
                    self._due_at(row.attempt + 1),
                )
                for row in triage.again
            ),
        )

    def lend_fresh(self, room: int) -> None:
        head, free = self._standing.head, not self._standing.anything
        cursor = self._consumer.cursor
        until = min(cursor + WINDOW, head)
        taken: set[PaymentKey] = set()
        lend: list[Scanned] = []
        hold: list[Scanned] = []
        discarded = False
        rows = room if free else room + SPARE_ROWS
        for _ in range(ROUNDS):
            if room <= len(lend) or cursor >= until:
                break
            scanned = self._unit.deliveries.scan(
                self._consumer, after=cursor, until=until, rows=rows, free=free
            )
            placed = place(scanned, taken, room - len(lend))
            lend += placed.lend
            hold += placed.hold
            discarded |= any(event.there is DeliveryState.DISCARDED for event in scanned)
            all_seen = scanned[-1].position if len(scanned) == rows else until
            cursor = all_seen if placed.cursor is None else placed.cursor
        self._keep(lend, hold)
        self._pass(cursor, discarded=discarded)
        self.more = self.more or cursor < head

    def _set_aside(self, dead: Sequence[Due], blocked: Sequence[Due]) -> None:
        """Bury what was lent too often, hold what is not its payment's turn, and let those go that may."""
        if not dead and not blocked:
            return
        name = self._consumer.name
        changes = [Change(row.position, DeliveryState.DEAD, lease=row.lease, reason=LOST) for row in dead]
        changes += [Change(row.position, DeliveryState.HELD, lease=row.lease) for row in blocked]
        self._unit.deliveries.change(name, changes)
        self.died += [Died(row.position, row.payment, row.attempt, LOST) for row in dead]
        payments = {row.payment for row in (*dead, *blocked)}
        self.more = self._unit.deliveries.release(name, payments, holds=self._consumer.holds) or self.more

    def _keep(self, lend: Sequence[Scanned], hold: Sequence[Scanned]) -> None:
        rows: list[tuple[Scanned, Lease | None, datetime | None, datetime | None]] = [
            (event, self._lend(event.position, 1, event.body), self._until, self._due_at(1)) for event in lend
        ]
        rows += [(event, None, None, None) for event in hold]
        self._unit.deliveries.add(self._consumer.name, rows)

    def _pass(self, cursor: int, *, discarded: bool) -> None:
        if cursor == self._consumer.cursor:
            return
        self._unit.consumers.move(self._consumer.name, cursor)
        if discarded:
            self._unit.deliveries.forget_discarded(self._consumer.name, until=cursor)

    def _lend(self, position: int, attempt: int, body: str) -> Lease:
        lease = Lease(self._batch, position)
        self.deliveries.append(Delivery(lease, attempt, self._until, position, body))
        return lease

    def _due_at(self, attempt: int) -> datetime:
        return self._until + back_off(attempt, self._dice())


def ack(unit: Unit, name: str, leases: Sequence[Lease]) -> Acked:
    """End deliveries; raise NotFound for an unknown consumer.

    Succeeds after the lease's end while the event has not been lent again. A lease acked before answers
    ``acked`` again for at least an hour.
    """
    return _ack(unit, unit.consumers.lock(name), leases)[0]


def _ack(unit: Unit, consumer: Consumer, leases: Sequence[Lease]) -> tuple[Acked, Standing]:
    """Return what became of *leases*, and where the consumer stands then."""
    name = consumer.name
    found, standing = _end(unit, consumer, leases)
    if found:
        unit.deliveries.acks.remember(name, found)
    if len(found) == len(leases):
        return Acked(tuple(leases)), standing
    known = unit.deliveries.acks.known(name, [lease for lease in leases if lease not in found])
    return Acked(*split(leases, {*found, *known})), standing


def end(unit: Unit, consumer: Consumer, leases: Sequence[Lease]) -> int:
    """Do what `ack` does, for a caller that has locked *consumer* and never asks again; return how many there were."""
    return len(_end(unit, consumer, leases)[0])


def _end(unit: Unit, consumer: Consumer, leases: Sequence[Lease]) -> tuple[Collection[Lease], Standing]:
    """Take away the rows that carry one of *leases* still, and let the next event of their payments go."""
    name = consumer.name
    taken = unit.deliveries.take(name, leases)
    standing = unit.deliveries.standing(name)
    if standing.held and unit.deliveries.release(name, set(taken.values()), holds=consumer.holds):
        unit.deliveries.wake()
        standing = unit.deliveries.standing(name)
    return taken.keys(), standing


def nack(
    unit: Unit, name: str, leases: Sequence[Lease], *, delay: timedelta | None, reason: str | None, dice: Dice
) -> Nacked:
    """Give deliveries back, to be lent again after *delay* or the back-off; after the last attempt they are dead."""
    refusals = [Refusal(lease, reason, delay) for lease in leases]
    nacked = refuse(unit, unit.consumers.lock(name), refusals, dice=dice)
    if nacked.nacked:
        unit.deliveries.wake()
    return nacked


def extend(unit: Unit, name: str, leases: Sequence[Lease], *, lease_seconds: int, dice: Dice) -> Extended:
    """Let leases end *lease_seconds* from now; also after their end, while the event has not been lent again."""
    unit.consumers.lock(name)
    rows = leased(unit, name, leases)
    until = unit.now + timedelta(seconds=lease_seconds)
    unit.deliveries.change(
        name,
        [
            Change(
                row.position,
                DeliveryState.LEASED,
                leased_until=until,
                due_at=until + back_off(row.attempt, dice()),
                lease=row.lease,
            )
            for row in rows
        ],
    )
    return Extended(*split(leases, {row.lease for row in rows}), until)


def give_back(unit: Unit, name: str, leases: Sequence[Lease]) -> None:
    """Undo a lending that never reached anybody: due at once, and the attempt does not count."""
    unit.consumers.lock(name)
    unit.deliveries.change(
        name,
        [
            Change(row.position, DeliveryState.WAITING, due_at=unit.now, attempt=row.attempt - 1)
            for row in leased(unit, name, leases)
        ],
    )
    unit.deliveries.wake()


def _refuse_pushed(consumer: Consumer) -> None:
    if consumer.spec.push is not None:
        raise Conflict(
            f"the events of consumer {consumer.name!r} are pushed to its URL and cannot be leased; "
            'PUT it without "push" to lease them'
        )

"""Step 3a: the log → HTTP consumers. Lend, ack, nack, extend: each one unit of work.

At least once, in order per payment: what may be lent is decided in ``domain/delivery.py``; here it is read and
written. A unit lends at most ``MOST_AT_ONCE`` events and looks at ``WINDOW`` positions, so that the writer is
soon free again; `Lent.more` says that there may be more to find.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from service.domain.delivery import (
    Change,
    Consumer,
    Delivery,
    DeliveryState,
    Due,
    Lease,
    Outstanding,
    PaymentKey,
    Scanned,
    back_off,
    is_spent,
    place,
    sort_due,
)
from service.flow.lease_edges import Unit

MOST_AT_ONCE: Final = 50
WINDOW: Final = 1000
ROUNDS: Final = 3
SPARE_ROWS: Final = 4
LOST: Final = "the lease ended without an ack"

Dice = Callable[[], float]
"""Returns a number from 0 to 1: how late between the earliest and the latest time."""


@dataclass(frozen=True, slots=True)
class Died:
    """A delivery that was lent as often as allowed."""

    position: int
    payment: PaymentKey
    attempts: int
    reason: str | None


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
class Nacked:
    """What became of refused deliveries; *died* are among *nacked*."""

    nacked: tuple[Lease, ...]
    ended: tuple[Lease, ...]
    died: tuple[Died, ...]


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
    """Ack *acks*, then lend up to *limit* events to consumer *name* under the name *batch*; raise NotFound.

    First what is due again, then what the cursor comes to. A paused consumer gets nothing. One transaction:
    whenever something has been lent, the acks have been committed.
    """
    consumer = unit.consumers.lock(name)
    acked = _ack(unit, consumer, acks) if acks else Acked()
    if consumer.paused:
        return Lent(acked=acked)
    seconds = lease_seconds or consumer.spec.lease_seconds
    lending = _Lending(unit, consumer, batch, unit.now + timedelta(seconds=seconds), dice)
    lending.lend_due(limit)
    lending.lend_fresh(limit - len(lending.deliveries))
    idle = not lending.deliveries and not lending.more
    return Lent(
        tuple(lending.deliveries),
        tuple(lending.died),
        lending.more,
        unit.deliveries.next_due_at(name) if idle else None,
        acked,
    )


class _Lending:
    """One lease call at work."""

    def __init__(
        self, unit: Unit, consumer: Consumer, batch: str, leased_until: datetime, dice: Dice
    ) -> None:
        self._unit = unit
        self._consumer = consumer
        self._batch = batch
        self._until = leased_until
        self._dice = dice
        self.deliveries: list[Delivery] = []
        self.died: list[Died] = []
        self.more = False

    def lend_due(self, limit: int) -> None:
        due = self._unit.deliveries.due(self._consumer, rows=limit)
        if not due:
            return
        self.more = len(due) == limit
        triage = sort_due(due, self._consumer.spec)
        self._set_aside(triage.dead, triage.blocked)
        self._unit.deliveries.lend_again(
            (
                row.id,
                self._lend(row.position, row.attempt + 1, row.body),
                row.attempt + 1,
                self._until,
                self._due_at(row.attempt + 1),
            )
            for row in triage.again
        )

    def lend_fresh(self, room: int) -> None:
        head = self._unit.log.last_position()
        cursor = self._consumer.cursor
        until = min(cursor + WINDOW, head)
        taken: set[PaymentKey] = set()
        lend: list[Scanned] = []
        hold: list[Scanned] = []
        discarded = False
        rows = room + SPARE_ROWS
        for _ in range(ROUNDS):
            if room <= len(lend) or cursor >= until:
                break
            scanned = self._unit.deliveries.scan(self._consumer, after=cursor, until=until, rows=rows)
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
        changes = [Change(row.id, DeliveryState.DEAD, lease=row.lease, reason=LOST) for row in dead]
        changes += [Change(row.id, DeliveryState.HELD, lease=row.lease) for row in blocked]
        if not changes:
            return
        self._unit.deliveries.change(changes)
        self.died += [Died(row.position, row.payment, row.attempt, LOST) for row in dead]
        ids = [change.id for change in changes]
        freed = self._unit.deliveries.release(ids, holds=self._consumer.holds)
        self.more = self.more or bool(freed)

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
        lease = Lease(self._batch, len(self.deliveries))
        self.deliveries.append(Delivery(lease, attempt, self._until, position, body))
        return lease

    def _due_at(self, attempt: int) -> datetime:
        return self._until + back_off(attempt, self._dice())


def ack(unit: Unit, name: str, leases: Sequence[Lease]) -> Acked:
    """End deliveries; raise NotFound for an unknown consumer.

    Succeeds after the lease's end while the event has not been lent again. A lease acked before answers
    ``acked`` again for at least an hour.
    """
    return _ack(unit, unit.consumers.lock(name), leases)


def _ack(unit: Unit, consumer: Consumer, leases: Sequence[Lease]) -> Acked:
    name = consumer.name
    rows = unit.deliveries.by_lease(name, leases)
    found = {row.lease for row in rows if row.lease is not None}
    _end(unit, consumer, rows)
    unit.deliveries.acks.remember(name, [lease for lease in leases if lease in found])
    found |= unit.deliveries.acks.known(name, [lease for lease in leases if lease not in found])
    return Acked(*_split(leases, found))


def nack(
    unit: Unit, name: str, leases: Sequence[Lease], *, delay: timedelta | None, reason: str | None, dice: Dice
) -> Nacked:
    """Give deliveries back, to be lent again after *delay* or the back-off; after the last attempt they are dead."""
    consumer = unit.consumers.lock(name)
    rows = _leased(unit, name, leases)
    changes: list[Change] = []
    died: list[Died] = []
    for row in rows:
        if is_spent(row.attempt, consumer.spec):
            died.append(Died(row.position, row.payment, row.attempt, reason))
            changes.append(Change(row.id, DeliveryState.DEAD, reason=reason))
        else:
            wait = back_off(row.attempt, dice()) if delay is None else delay
            changes.append(Change(row.id, DeliveryState.WAITING, due_at=unit.now + wait, reason=reason))
    unit.deliveries.change(changes)
    unit.deliveries.release([row.id for row in rows], holds=consumer.holds)
    if changes:
        unit.deliveries.wake()
    return Nacked(*_split(leases, {row.lease for row in rows}), tuple(died))


def extend(unit: Unit, name: str, leases: Sequence[Lease], *, lease_seconds: int, dice: Dice) -> Extended:
    """Let leases end *lease_seconds* from now; also after their end, while the event has not been lent again."""
    unit.consumers.lock(name)
    rows = _leased(unit, name, leases)
    until = unit.now + timedelta(seconds=lease_seconds)
    unit.deliveries.change(
        [
            Change(
                row.id,
                DeliveryState.LEASED,
                leased_until=until,
                due_at=until + back_off(row.attempt, dice()),
                lease=row.lease,
            )
            for row in rows
        ]
    )
    return Extended(*_split(leases, {row.lease for row in rows}), until)


def give_back(unit: Unit, name: str, leases: Sequence[Lease]) -> None:
    """Undo a lending that never reached anybody: due at once, and the attempt does not count."""
    unit.consumers.lock(name)
    unit.deliveries.change(
        [
            Change(row.id, DeliveryState.WAITING, due_at=unit.now, attempt=row.attempt - 1)
            for row in _leased(unit, name, leases)
        ]
    )
    unit.deliveries.wake()


def _end(unit: Unit, consumer: Consumer, rows: Sequence[Outstanding]) -> None:
    """Take rows away and let the next event of their payments go."""
    ids = [row.id for row in rows]
    followed = [row.id for row in rows if row.followed]
    if unit.deliveries.release(followed, holds=consumer.holds, gone=ids):
        unit.deliveries.wake()
    unit.deliveries.remove(ids)


def _leased(unit: Unit, name: str, leases: Sequence[Lease]) -> list[Outstanding]:
    rows = unit.deliveries.by_lease(name, leases)
    return [row for row in rows if row.state is DeliveryState.LEASED]


def _split(
    leases: Sequence[Lease], found: set[Lease | None] | set[Lease]
) -> tuple[tuple[Lease, ...], tuple[Lease, ...]]:
    return (
        tuple(lease for lease in leases if lease in found),
        tuple(lease for lease in leases if lease not in found),
    )

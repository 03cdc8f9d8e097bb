"""Step 3a: the log → HTTP consumers. Lend, ack, nack, extend: each one unit of work.

At least once, in order per payment: what may be lent is decided in ``domain/delivery.py``; here it is read and
written. A unit lends at most ``MOST_AT_ONCE`` events and looks at ``WINDOW`` positions, so that the writer is
soon free again; `Lent.more` says that there may be more to find.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from service.domain.delivery import (
    Change,
    Consumer,
    Delivery,
    DeliveryState,
    Lease,
    PaymentKey,
    Standing,
    back_off,
)
from service.errors import Conflict, NotFound
from service.flow.give_back import Dice, Died, Nacked, Refusal, leased, refuse, split
from service.flow.lease_edges import Unit
from service.flow.lending import WINDOW, Book, Lending

MOST_AT_ONCE: Final = 100


@dataclass(frozen=True, slots=True)
class Ask:
    """One lease call: ack *acks*, then lend up to *limit* events to consumer *name* under the name *batch*."""

    name: str
    batch: str
    limit: int
    lease_seconds: int | None = None
    acks: Sequence[Lease] = ()


@dataclass(frozen=True, slots=True)
class Acked:
    """*ended* leases were lost to time: the event has been, or will be, lent again."""

    acked: tuple[Lease, ...] = ()
    ended: tuple[Lease, ...] = ()


NOTHING_ACKED: Final = Acked()


@dataclass(frozen=True, slots=True)
class Lent:
    """What a lease call got. *next_due_at* is set when it got nothing: the next time worth a look."""

    deliveries: tuple[Delivery, ...] = ()
    died: tuple[Died, ...] = ()
    more: bool = False
    next_due_at: datetime | None = None
    acked: Acked = NOTHING_ACKED


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
    (lent,) = lend_each(unit, [Ask(name, batch, limit, lease_seconds, acks)], dice=dice)
    if isinstance(lent, Lent):
        return lent
    raise lent


def lend_each(unit: Unit, asks: Sequence[Ask], *, dice: Dice) -> list[Lent | NotFound | Conflict]:
    """Do what `lend` does for each of *asks*; for those of different consumers with the statements of one.

    What one of them is refused for is returned in its place.
    """
    consumers = unit.consumers.lock_all({ask.name for ask in asks})
    found: dict[int, Lent | NotFound | Conflict] = {}
    turn: dict[str, int] = {}
    for number, ask in enumerate(asks):
        refused = _refused(ask.name, consumers.get(ask.name))
        if refused is not None:
            found[number] = refused
        else:
            turn.setdefault(ask.name, number)
    first = [asks[number] for number in turn.values()]
    lent = _lend_together(unit, [(ask, consumers[ask.name]) for ask in first], dice) if first else []
    found |= dict(zip(turn.values(), lent, strict=True))
    later = [number for number in range(len(asks)) if number not in found]
    if later:  # of consumers that asked more than once
        lent_later = lend_each(unit, [asks[number] for number in later], dice=dice)
        found |= dict(zip(later, lent_later, strict=True))
    return [found[number] for number in range(len(asks))]


def _lend_together(unit: Unit, asks: Sequence[tuple[Ask, Consumer]], dice: Dice) -> list[Lent]:
    ended = _end(unit, [(consumer, ask.acks) for ask, consumer in asks])
    unit.deliveries.acks.remember({name: one.taken for name, one in ended.items() if one.taken})
    book = Book()
    lent = [
        _lend_to(
            unit,
            consumer,
            limit=ask.limit,
            lease_seconds=ask.lease_seconds or consumer.spec.lease_seconds,
            batch=ask.batch,
            dice=dice,
            book=book,
            standing=ended[ask.name].standing,
            acked=_acked(unit, ask.name, ask.acks, ended[ask.name].taken),
        )
        for ask, consumer in asks
    ]
    book.write(unit)
    return lent


def lend_to(
    unit: Unit,
    consumer: Consumer,
    *,
    limit: int,
    lease_seconds: float,
    batch: str,
    dice: Dice,
    fresh_first: bool = False,
) -> Lent:
    """Lend up to *limit* events to *consumer*, which the caller has locked, under the name *batch*.

    First what is due again, then what the cursor comes to; *fresh_first* turns that around. A paused consumer
    gets nothing.
    """
    book = Book()
    lent = _lend_to(
        unit,
        consumer,
        limit=limit,
        lease_seconds=lease_seconds,
        batch=batch,
        dice=dice,
        book=book,
        standing=unit.deliveries.standings([consumer.name])[consumer.name],
        fresh_first=fresh_first,
    )
    book.write(unit)
    return lent


def _lend_to(
    unit: Unit,
    consumer: Consumer,
    *,
    limit: int,
    lease_seconds: float,
    batch: str,
    dice: Dice,
    book: Book,
    standing: Standing,
    acked: Acked = NOTHING_ACKED,
    fresh_first: bool = False,
) -> Lent:
    if consumer.paused:
        return Lent(acked=acked)
    until = unit.now + timedelta(seconds=lease_seconds)
    lending = Lending(unit, consumer, standing, book, batch=batch, leased_until=until, dice=dice)
    steps = (lending.lend_due, lending.lend_fresh)
    for step in reversed(steps) if fresh_first else steps:
        step(limit - len(lending.deliveries))
    idle = not lending.deliveries and not lending.more
    return Lent(
        tuple(lending.deliveries),
        tuple(lending.died),
        lending.more,
        unit.deliveries.next_due_at(consumer.name) if idle and standing.anything else None,
        acked,
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


def ack(unit: Unit, name: str, leases: Sequence[Lease]) -> Acked:
    """End deliveries; raise NotFound for an unknown consumer.

    Succeeds after the lease's end while the event has not been lent again. A lease acked before answers
    ``acked`` again for at least an hour.
    """
    ended = _end(unit, [(unit.consumers.lock(name), leases)])[name]
    if ended.taken:
        unit.deliveries.acks.remember({name: ended.taken})
    return _acked(unit, name, leases, ended.taken)


def end(unit: Unit, consumer: Consumer, leases: Sequence[Lease]) -> int:
    """Do what `ack` does, for a caller that has locked *consumer* and never asks again; return how many there were."""
    return len(_end(unit, [(consumer, leases)])[consumer.name].taken)


@dataclass(frozen=True, slots=True)
class _Ended:
    """What a consumer's acks took away, and where it stands then."""

    taken: Mapping[Lease, PaymentKey]
    standing: Standing


def _end(unit: Unit, acks: Sequence[tuple[Consumer, Sequence[Lease]]]) -> dict[str, _Ended]:
    """Take away the rows that carry the leases still, and let the next events of their payments go."""
    consumers = {consumer.name: consumer for consumer, _ in acks}
    taken = unit.deliveries.take({consumer.name: leases for consumer, leases in acks if leases})
    standings = unit.deliveries.standings(list(consumers))
    for name, rows in taken.items():
        if (
            standings[name].held
            and rows
            and unit.deliveries.release(name, set(rows.values()), holds=consumers[name].holds)
        ):
            unit.deliveries.wake()
            standings |= unit.deliveries.standings([name])
    return {name: _Ended(taken.get(name, {}), standing) for name, standing in standings.items()}


def _acked(unit: Unit, name: str, leases: Sequence[Lease], taken: Mapping[Lease, PaymentKey]) -> Acked:
    """Return what became of *leases*, of which *taken* were ended just now."""
    if len(taken) == len(leases):
        return Acked(tuple(leases)) if leases else NOTHING_ACKED
    known = unit.deliveries.acks.known(name, [lease for lease in leases if lease not in taken])
    return Acked(*split(leases, {*taken, *known}))


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


def _refused(name: str, consumer: Consumer | None) -> NotFound | Conflict | None:
    if consumer is None:
        return NotFound("consumer", name)
    if consumer.spec.push is not None:
        return Conflict(
            f"the events of consumer {name!r} are pushed to its URL and cannot be leased; "
            'PUT it without "push" to lease them'
        )
    return None

"""What operators do to a consumer: make, change, seek, redrive, discard, remove; each one unit of work.

What may touch many rows does ``CUT`` of them and says whether it is done: the caller calls again. A process that
dies in between leaves a consumer that reads again from further back, never one that skips something.
"""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import Final

from service.domain.delivery import Change, DeliveryState
from service.domain.position import Place
from service.domain.push import Streak
from service.domain.records import ConsumerSpec, PushSpec
from service.errors import RequestInvalid
from service.flow.lease_edges import Unit

CUT: Final = 500
"""How many rows one unit of work changes at most, so that nobody waits long for the writer."""


@dataclass(frozen=True, slots=True)
class Put:
    """Whether the consumer was *made* or changed, and the *secret* that was made for it, to be shown once."""

    made: bool
    secret: str | None = field(default=None, repr=False)


def put(unit: Unit, name: str, spec: ConsumerSpec, *, start: Place, secret: str | None = None) -> Put:
    """Make consumer *name*, or change it to *spec*. *start* counts only when it is made.

    Push without secrets keeps those that are there; *secret* is used when there are none.
    """
    known = unit.consumers.find(name)
    push, made_secret = _with_secrets(spec.push, known.spec.push if known else None, secret)
    spec = replace(spec, push=push)
    if known is None:
        unit.consumers.add(name, spec, cursor=cursor_of(unit, start, field="start"))
    else:
        unit.consumers.change(name, replace(spec, start=known.spec.start))
        if push != known.spec.push:
            unit.consumers.note(name, Streak())  # what was wrong may be mended
    unit.deliveries.wake()
    return Put(known is None, made_secret)


def _with_secrets(
    push: PushSpec | None, known: PushSpec | None, secret: str | None
) -> tuple[PushSpec | None, str | None]:
    if push is None or push.secrets:
        return push, None
    if known is not None:
        return replace(push, secrets=known.secrets), None
    if secret is None:
        raise RequestInvalid("push.secrets", "are missing")
    return replace(push, secrets=(secret,)), secret


def free_followers(unit: Unit, name: str, *, after: int) -> int | None:
    """Let events behind dead ones go, where dead ones do not hold; return where to go on, None when done."""
    consumer = unit.consumers.lock(name)
    if consumer.holds:
        return None
    dead = unit.deliveries.dead(name, positions=None, after=after, rows=CUT)
    if unit.deliveries.release(name, {row.payment for row in dead}, holds=False):
        unit.deliveries.wake()
    return dead[-1].position if len(dead) == CUT else None


def pause(unit: Unit, name: str, *, paused: bool) -> None:
    """Stop lending, or go on; raise NotFound."""
    unit.consumers.lock(name)
    unit.consumers.pause(name, paused=paused)
    if not paused:
        unit.consumers.note(name, Streak())  # what failed before counts no more
    unit.deliveries.wake()


def seek(unit: Unit, name: str, to: Place) -> bool:
    """Set the cursor and drop every outstanding row but the dead ones; return whether it is done."""
    target = cursor_of(unit, to, field="to")
    if not _dropped(unit, name, dead_too=False):
        return False
    if unit.deliveries.forget_leases(name, rows=CUT) == CUT:
        return False
    unit.consumers.move(name, target)
    unit.deliveries.wake()
    return True


def remove(unit: Unit, name: str) -> bool:
    """Forget the consumer and all that is outstanding for it; return whether it is done."""
    if not _dropped(unit, name, dead_too=True):
        return False
    unit.consumers.remove(name)
    unit.deliveries.wake()
    return True


def redrive(unit: Unit, name: str, positions: Collection[int] | None) -> int:
    """Have dead deliveries (None: all) lent again, attempts counted anew; return how many, ``CUT`` at most.

    What lies before a cursor set back is lent when the cursor comes to it, in its order.
    """
    consumer = unit.consumers.lock(name)
    rows = unit.deliveries.dead(name, positions=positions, after=0, rows=CUT)
    ahead = [row.position for row in rows if row.position > consumer.cursor]
    unit.deliveries.change(
        name,
        [
            Change(row.position, DeliveryState.HELD, lease=row.lease, attempt=0)
            for row in rows
            if row.position <= consumer.cursor
        ],
    )
    unit.deliveries.remove(name, ahead)
    unit.deliveries.release(name, {row.payment for row in rows}, holds=consumer.holds)
    unit.deliveries.wake()
    return len(rows)


def discard(unit: Unit, name: str, positions: Collection[int] | None) -> int:
    """Give dead deliveries (None: all) up and let the next event of their payments go; return how many."""
    consumer = unit.consumers.lock(name)
    rows = unit.deliveries.dead(name, positions=positions, after=0, rows=CUT)
    ahead = [row.position for row in rows if row.position > consumer.cursor]
    passed = [row.position for row in rows if row.position <= consumer.cursor]
    unit.deliveries.change(name, [Change(position, DeliveryState.DISCARDED) for position in ahead])
    unit.deliveries.remove(name, passed)
    unit.deliveries.release(name, {row.payment for row in rows}, holds=consumer.holds)
    unit.deliveries.wake()
    return len(rows)


def cursor_of(unit: Unit, place: Place, *, field: str) -> int:
    """Return the position that a reader from *place* has passed; raise RequestInvalid beyond the log's end."""
    head = unit.log.last_position()
    if place == "beginning":
        return 0
    if place == "now":
        return head
    if isinstance(place, int):
        if place > head:
            raise RequestInvalid(field, "lies beyond the end of the log")
        return place
    before = unit.events.position_before(place)
    return head if before is None else before


def _dropped(unit: Unit, name: str, *, dead_too: bool) -> bool:
    """Drop a cut of the outstanding rows; say whether none is left.

    The cursor steps back over what was dropped: should nothing follow, it is read again, not skipped.
    """
    consumer = unit.consumers.lock(name)
    dropped, lowest = unit.deliveries.drop(name, dead_too=dead_too, rows=CUT)
    if lowest is not None:
        unit.consumers.move(name, min(consumer.cursor, lowest - 1))
    return dropped < CUT

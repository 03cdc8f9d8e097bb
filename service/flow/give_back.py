"""How deliveries go back: a lease that ends without an ack is lent again after a wait, or the event is dead."""

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from service.domain.delivery import (
    Change,
    Consumer,
    DeliveryState,
    Lease,
    Outstanding,
    PaymentKey,
    back_off,
    is_spent,
)
from service.flow.lease_edges import Unit

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
class Refusal:
    """A lease that ends without an ack: lent again after *delay*, or else the back-off and no sooner than *wait*.

    An attempt that does not *count* was not the event's fault.
    """

    lease: Lease
    reason: str | None
    delay: timedelta | None = None
    wait: timedelta = timedelta()
    counts: bool = True


@dataclass(frozen=True, slots=True)
class Nacked:
    """What became of refused deliveries; *died* are among *nacked*."""

    nacked: tuple[Lease, ...]
    ended: tuple[Lease, ...]
    died: tuple[Died, ...]


def refuse(unit: Unit, consumer: Consumer, refusals: Sequence[Refusal], *, dice: Dice) -> Nacked:
    """Do what `nack` does, each lease for a reason of its own; the caller has locked *consumer*."""
    leases = [refusal.lease for refusal in refusals]
    by_lease: dict[Lease | None, Refusal] = dict(zip(leases, refusals, strict=True))
    rows = leased(unit, consumer.name, leases)
    changes: list[Change] = []
    died: list[Died] = []
    for row in rows:
        refusal = by_lease[row.lease]
        if refusal.counts and is_spent(row.attempt, consumer.spec):
            died.append(Died(row.position, row.payment, row.attempt, refusal.reason))
            changes.append(Change(row.position, DeliveryState.DEAD, reason=refusal.reason))
        else:
            changes.append(_again(row, refusal, now=unit.now, jitter=dice()))
    unit.deliveries.change(consumer.name, changes)
    unit.deliveries.release(consumer.name, {row.payment for row in rows}, holds=consumer.holds)
    return Nacked(*split(leases, {row.lease for row in rows}), tuple(died))


def leased(unit: Unit, name: str, leases: Sequence[Lease]) -> list[Outstanding]:
    """Return the rows that are lent under *leases* still."""
    rows = unit.deliveries.by_lease(name, leases)
    return [row for row in rows if row.state is DeliveryState.LEASED]


def split(
    leases: Sequence[Lease], found: Container[Lease | None] | Container[Lease]
) -> tuple[tuple[Lease, ...], tuple[Lease, ...]]:
    """Return which of *leases* were found, and which were not."""
    return (
        tuple(lease for lease in leases if lease in found),
        tuple(lease for lease in leases if lease not in found),
    )


def _again(row: Outstanding, refusal: Refusal, *, now: datetime, jitter: float) -> Change:
    wait = max(back_off(row.attempt, jitter), refusal.wait) if refusal.delay is None else refusal.delay
    return Change(
        row.position,
        DeliveryState.WAITING,
        due_at=now + wait,
        reason=refusal.reason,
        attempt=None if refusal.counts else row.attempt - 1,
    )

"""Lending events: who may be lent what and when. At least once, in order per payment.

A consumer is a cursor over the log plus a row for each event that is outstanding:

```text
                    ┌──────────── lease lost, nack: after a wait ────────────┐
  log ──cursor──► leased ──ack──► gone              leased/waiting ──► waiting (due_at)
        └────────► held: an earlier event of the payment is outstanding ──► waiting, when that has ended
                   dead: lent too often; holds later events of its payment, or not (on_dead)
```
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple

from service.domain.push import Streak
from service.domain.records import ConsumerSpec
from service.errors import RequestInvalid

FIRST_WAIT_S: Final = 5.0
LONGEST_WAIT_S: Final = 3600.0
JITTER_SHARE: Final = 0.1
_LEASE: Final = re.compile(r"([0-9a-f]{32})\.([0-9]{1,18})")

PaymentKey = tuple[str, str]
"""(merchant, transaction_id)"""


class DeliveryState(StrEnum):
    """Where a delivery is; there are rows for outstanding ones only."""

    LEASED = "leased"  # lent; when due_at comes without an ack, it is lent again
    WAITING = "waiting"  # to be lent when due_at comes
    HELD = "held"  # an earlier event of its payment is outstanding
    DEAD = "dead"  # lent as often as allowed; an operator redrives or discards it
    DISCARDED = "discarded"  # nobody's any more, but a cursor set back has not passed it yet


LIVE: Final = (DeliveryState.LEASED, DeliveryState.WAITING)
"""At most one delivery of a payment is in one of these states."""


class Lease(NamedTuple):
    """What names one lending: the lease call (*batch*, 32 hex digits) and the event's position."""

    batch: str
    position: int

    def __str__(self) -> str:
        return f"{self.batch}.{self.position}"


@dataclass(frozen=True, slots=True)
class Consumer:
    """A consumer as stored; *cursor* is the last position that it has passed."""

    name: str
    spec: ConsumerSpec
    paused: bool
    cursor: int
    created_at: datetime
    updated_at: datetime
    pause_reason: str | None = None
    """Why this service paused it; None when an operator did."""
    streak: Streak = field(default_factory=Streak)
    """Pushes that failed in a row."""

    @property
    def holds(self) -> bool:
        """Say whether a dead event holds back later ones of its payment."""
        return self.spec.on_dead == "hold"


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a consumer stands: the log's last position, and what it has outstanding."""

    head: int
    next_due_at: datetime | None
    held: bool
    anything: bool
    """Something is outstanding, in whatever state."""


@dataclass(frozen=True, slots=True)
class Due:
    """A delivery whose time has come; *blocked*: an earlier one of its payment is outstanding after all."""

    position: int
    payment: PaymentKey
    attempt: int
    lease: Lease | None
    blocked: bool
    body: str


@dataclass(frozen=True, slots=True)
class Scanned:
    """An event that the cursor comes to; *there*: the state of its delivery if it has one (set back by a seek)."""

    position: int
    payment: PaymentKey
    blocked: bool
    there: DeliveryState | None
    body: str


NewRow = tuple[str, Scanned, Lease | None, datetime | None, datetime | None]
"""(consumer, event, lease, leased until, due at) of a delivery to be; without a lease it is held."""


@dataclass(frozen=True, slots=True)
class Outstanding:
    """A delivery's row without the event."""

    position: int
    payment: PaymentKey
    state: DeliveryState
    attempt: int = 0
    lease: Lease | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of a delivery's row; what it does not name (None) is cleared, *attempt* None leaves it."""

    position: int
    state: DeliveryState
    due_at: datetime | None = None
    leased_until: datetime | None = None
    lease: Lease | None = None
    reason: str | None = None
    attempt: int | None = None


@dataclass(frozen=True, slots=True)
class Triage:
    """What becomes of due deliveries."""

    again: tuple[Due, ...]
    dead: tuple[Due, ...]
    blocked: tuple[Due, ...]


@dataclass(frozen=True, slots=True)
class Placement:
    """What becomes of the events that the cursor comes to; *cursor* is the last one passed, None if all were."""

    lend: tuple[Scanned, ...]
    hold: tuple[Scanned, ...]
    cursor: int | None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event lent to a consumer; *body* is the CloudEvent's JSON text."""

    lease: Lease
    attempt: int
    leased_until: datetime
    position: int
    body: str


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A delivery that was lent as often as allowed."""

    position: int
    attempts: int
    reason: str | None
    died_at: datetime
    merchant: str
    body: str


def back_off(attempt: int, jitter: float) -> timedelta:
    """Return how long an event waits after its lending number *attempt* (from 1) was lost or refused.

    5 s, doubling to an hour; *jitter*, 0 to 1, adds up to a tenth, so that a lost batch does not come back as one.
    """
    wait_s = min(FIRST_WAIT_S * 2 ** min(max(attempt, 1) - 1, 20), LONGEST_WAIT_S)
    return timedelta(seconds=wait_s * (1 + JITTER_SHARE * jitter))


def is_spent(attempt: int, spec: ConsumerSpec) -> bool:
    """Say whether an event that was lent *attempt* times is not lent again."""
    return attempt >= spec.max_attempts


def sort_due(due: Iterable[Due], spec: ConsumerSpec) -> Triage:
    """Decide which of *due* are lent again, which are dead, and which have to wait for an earlier event."""
    again: list[Due] = []
    dead: list[Due] = []
    blocked: list[Due] = []
    for row in due:
        place = dead if is_spent(row.attempt, spec) else blocked if row.blocked else again
        place.append(row)
    return Triage(tuple(sorted(again, key=lambda row: row.position)), tuple(dead), tuple(blocked))


def place(scanned: Iterable[Scanned], taken: set[PaymentKey], room: int) -> Placement:
    """Decide which of *scanned*, in log order, are lent: at most *room*, and one of a payment.

    *taken* are payments with something in this batch already; it grows. Behind the last one lent nothing is
    looked at: the cursor stays there.
    """
    lend: list[Scanned] = []
    hold: list[Scanned] = []
    for event in scanned:
        if event.there is not None:
            continue
        if event.blocked or event.payment in taken:
            hold.append(event)
        else:
            lend.append(event)
        taken.add(event.payment)
        if len(lend) >= room:
            return Placement(tuple(lend), tuple(hold), event.position)
    return Placement(tuple(lend), tuple(hold), None)


def next_in_order(rows: Sequence[Outstanding], *, holds: bool) -> Outstanding | None:
    """Return which held one of a payment's outstanding *rows* may be lent now, if any.

    None while another one is lent or waits for its time, and, when dead ones hold, none behind a dead one.
    """
    if any(row.state in LIVE for row in rows):
        return None
    for row in sorted(rows, key=lambda row: row.position):
        if row.state is DeliveryState.HELD:
            return row
        if row.state is DeliveryState.DEAD and holds:
            return None
    return None


def parse_leases(texts: Iterable[str], *, field: str = "leases") -> list[Lease]:
    """Return the leases that *texts* name, each once, in order.

    Raises RequestInvalid for a text that never was a lease of this service: a mistake to be seen, which
    ``ended`` would hide.
    """
    leases: dict[Lease, None] = {}
    for index, text in enumerate(texts):
        found = _LEASE.fullmatch(text)
        if found is None:
            raise RequestInvalid(f"{field}[{index}]", "is not a lease as answered by this service")
        leases[Lease(found[1], int(found[2]))] = None
    return list(leases)

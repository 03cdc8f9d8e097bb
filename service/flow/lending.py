"""What one lease call lends: first what is due again, then what the cursor comes to."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from service.domain.delivery import (
    Change,
    Consumer,
    Delivery,
    DeliveryState,
    Due,
    Lease,
    NewRow,
    PaymentKey,
    Scanned,
    Standing,
    back_off,
    place,
    sort_due,
)
from service.flow.give_back import Dice, Died
from service.flow.lease_edges import Unit

WINDOW: Final = 1000
ROUNDS: Final = 3
SPARE_ROWS: Final = 4
LOST: Final = "the lease ended without an ack"


@dataclass
class Book:
    """What lendings to several consumers write, once for all of them."""

    rows: list[NewRow] = field(default_factory=list)
    cursors: dict[str, int] = field(default_factory=dict)

    def write(self, unit: Unit) -> None:
        """Write it."""
        unit.deliveries.add(self.rows)
        unit.consumers.move_all(self.cursors)


class Lending:
    """One lease call at work; what it found is in *deliveries*, *died* and *more*."""

    def __init__(
        self,
        unit: Unit,
        consumer: Consumer,
        standing: Standing,
        book: Book,
        *,
        batch: str,
        leased_until: datetime,
        dice: Dice,
    ) -> None:
        self._unit = unit
        self._consumer = consumer
        self._standing = standing
        self._book = book
        self._batch = batch
        self._until = leased_until
        self._dice = dice
        self.deliveries: list[Delivery] = []
        self.died: list[Died] = []
        self.more = False

    def lend_due(self, limit: int) -> None:
        """Lend again what is due, and set aside what may not be."""
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
        """Lend what the cursor comes to."""
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
        name = self._consumer.name
        self._book.rows += [
            (name, event, self._lend(event.position, 1, event.body), self._until, self._due_at(1))
            for event in lend
        ]
        self._book.rows += [(name, event, None, None, None) for event in hold]

    def _pass(self, cursor: int, *, discarded: bool) -> None:
        if cursor == self._consumer.cursor:
            return
        self._book.cursors[self._consumer.name] = cursor
        if discarded:
            self._unit.deliveries.forget_discarded(self._consumer.name, until=cursor)

    def _lend(self, position: int, attempt: int, body: str) -> Lease:
        lease = Lease(self._batch, position)
        self.deliveries.append(Delivery(lease, attempt, self._until, position, body))
        return lease

    def _due_at(self, attempt: int) -> datetime:
        return self._until + back_off(attempt, self._dice())

"""Deliveries: the rows of what is outstanding, one statement for each kind of thing and call."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, and_, delete, func, select

from service.db import delivery_statements as sql
from service.db.acks import Acks, by_batch
from service.db.ahead import FEW, ahead_of
from service.db.quick import padded
from service.db.tables import SET_ASIDE, deliveries, events
from service.db.topic import Topic
from service.domain.delivery import (
    Change,
    Consumer,
    DeadLetter,
    Due,
    Lease,
    NewRow,
    Outstanding,
    PaymentKey,
    Scanned,
    Standing,
    next_in_order,
)
from service.domain.delivery import DeliveryState as State

if TYPE_CHECKING:
    from service.db.unit import Unit


class Deliveries:
    """What is outstanding. The caller has locked the consumer."""

    def __init__(self, unit: "Unit") -> None:
        self._unit = unit
        self._connection = unit.connection
        self.acks = Acks(unit)

    def standings(self, consumers: Sequence[str]) -> dict[str, Standing]:
        """Return where consumers stand that there are."""
        listed = padded(consumers)
        facts = {f"name_{number}": name for number, name in enumerate(listed)}
        return {
            name: Standing(head, due_at, held, anything=first is not None)
            for name, head, due_at, held, first in sql.standings(len(listed)).rows(self._connection, facts)
        }

    def due(self, consumer: Consumer, *, rows: int) -> list[Due]:
        """Return deliveries whose time has come, the longest due first."""
        facts = {"consumer": consumer.name, "now": self._unit.now, "rows": rows}
        return [
            Due(
                row.position,
                (row.merchant, row.transaction_id),
                row.attempt,
                _lease(row),
                row.blocked,
                row.body,
            )
            for row in self._connection.execute(sql.due(consumer.holds), facts)
        ]

    def scan(
        self, consumer: Consumer, *, after: int, until: int, rows: int, free: bool = False
    ) -> list[Scanned]:
        """Return the first events behind *after*, up to *until*, that the consumer wants.

        *free*: nothing is outstanding, so nothing needs to be looked for.
        """
        spec = consumer.spec
        if free:
            found: Sequence[Any] | None = None
            if rows <= FEW:
                wanted = (spec.types, spec.merchants)
                found = ahead_of(self._connection).read(
                    self._connection, wanted, after=after, until=until, rows=rows
                )
            if found is None:
                facts = {"after": after, "until": until, "rows": rows}
                found = sql.scan_free(spec.types, spec.merchants).rows(self._connection, facts)
            return [
                Scanned(position, (merchant, transaction_id), blocked=False, there=None, body=body)
                for position, merchant, transaction_id, body in found
            ]
        place = {"consumer": consumer.name, "after": after, "until": until, "rows": rows}
        statement = sql.scan(consumer.holds, spec.types, spec.merchants)
        return [
            Scanned(
                position,
                (merchant, transaction_id),
                bool(blocked),
                None if there is None else State(there),
                body,
            )
            for position, merchant, transaction_id, body, blocked, there in statement.rows(
                self._connection, place
            )
        ]

    def add(self, rows: Sequence[NewRow]) -> None:
        """Make rows; those without a lease are held."""
        now = self._unit.now
        made = [
            {
                "consumer": consumer,
                "position": event.position,
                "merchant": event.payment[0],
                "transaction_id": event.payment[1],
                "state": (State.HELD if lease is None else State.LEASED).value,
                "batch": lease and lease.batch,
                "attempt": 0 if lease is None else 1,
                "leased_until": leased_until,
                "due_at": due_at,
                "reason": None,
                "updated_at": now,
            }
            for consumer, event, lease, leased_until, due_at in rows
        ]
        sql.ADD.many(self._connection, made)

    def lend_again(self, consumer: str, rows: Iterable[tuple[Lease, int, datetime, datetime]]) -> None:
        """Lend rows anew: (lease, attempt, leased until, due at)."""
        changes = [
            {
                "of": consumer,
                "at": lease.position,
                "new_batch": lease.batch,
                "new_attempt": attempt,
                "new_until": leased_until,
                "new_due_at": due_at,
                "now": self._unit.now,
            }
            for lease, attempt, leased_until, due_at in rows
        ]
        if changes:
            self._connection.execute(sql.LEND_AGAIN, changes)

    def by_lease(self, consumer: str, leases: Iterable[Lease]) -> list[Outstanding]:
        """Return the rows that carry one of *leases* still, whatever their state and time."""
        return [
            _outstanding(row)
            for batch, positions in by_batch(leases).items()
            for row in self._connection.execute(
                sql.BY_LEASE, {"consumer": consumer, "batch": batch, "positions": positions}
            )
        ]

    def take(self, leases: Mapping[str, Iterable[Lease]]) -> dict[str, dict[Lease, PaymentKey]]:
        """Remove the rows that carry one of *leases*, by consumer, still; return these, each with its payment."""
        calls = [
            (consumer, batch, positions)
            for consumer, its in leases.items()
            for batch, positions in by_batch(its).items()
        ]
        taken: dict[str, dict[Lease, PaymentKey]] = {consumer: {} for consumer in leases}
        for consumer, batch, position, merchant, transaction_id in self._taken(calls):
            taken[consumer][Lease(batch, position)] = (merchant, transaction_id)
        return taken

    def _taken(self, calls: Sequence[tuple[str, str, list[int]]]) -> Iterator[Sequence[Any]]:
        if len(calls) > 1 and self._connection.dialect.name == "postgresql":  # a round trip for all
            flat = [(consumer, batch, position) for consumer, batch, its in calls for position in its]
            names = ("consumers", "batches", "positions")
            columns = map(list, zip(*flat, strict=True))
            yield from sql.TAKE_LISTED.rows(self._connection, dict(zip(names, columns, strict=True)))
            return
        for consumer, batch, positions in calls:
            listed = padded(positions)
            facts = {"consumer": consumer, "batch": batch}
            facts |= {f"position_{number}": position for number, position in enumerate(listed)}
            yield from sql.take(len(listed)).rows(self._connection, facts)

    def remove(self, consumer: str, positions: Collection[int]) -> None:
        """Take rows away for good."""
        if positions:
            self._connection.execute(sql.REMOVE, {"consumer": consumer, "positions": list(positions)})

    def release(self, consumer: str, payments: Iterable[PaymentKey], *, holds: bool) -> bool:
        """Let the next held event of each of *payments* go; say whether there was one."""
        rows: dict[PaymentKey, list[Outstanding]] = {}
        for row in self._of_payments(consumer, payments):
            rows.setdefault(row.payment, []).append(row)
        turns = (next_in_order(of_one, holds=holds) for of_one in rows.values())
        freed = [turn.position for turn in turns if turn is not None]
        if freed:
            facts = {"of": consumer, "positions": freed, "now": self._unit.now}
            self._connection.execute(sql.FREE, facts)
        return bool(freed)

    def _of_payments(self, consumer: str, payments: Iterable[PaymentKey]) -> Iterator[Outstanding]:
        of_merchant: dict[str, set[str]] = {}
        for merchant, transaction_id in payments:
            of_merchant.setdefault(merchant, set()).add(transaction_id)
        for merchant, transaction_ids in of_merchant.items():  # no index would serve a list of pairs
            facts = {"consumer": consumer, "merchant": merchant, "transaction_ids": list(transaction_ids)}
            for row in self._connection.execute(sql.OF_PAYMENTS, facts):
                yield Outstanding(row.position, (merchant, row.transaction_id), State(row.state))

    def change(self, consumer: str, changes: Sequence[Change]) -> None:
        """Write what becomes of rows."""
        if changes:
            self._connection.execute(sql.CHANGE, [self._changed(consumer, change) for change in changes])

    def wake(self) -> None:
        """Have those who wait for something to lease look again after the commit."""
        self._unit.announce(Topic.EVENTS)

    def dead(
        self, consumer: str, *, positions: Collection[int] | None, after: int, rows: int
    ) -> list[Outstanding]:
        """Return the first *rows* dead deliveries behind position *after*; of those at *positions* if given."""
        query = (
            select(*sql.COLUMNS)
            .where(
                deliveries.c.consumer == consumer,
                deliveries.c.state == State.DEAD,
                SET_ASIDE,
                deliveries.c.position > after,
            )
            .order_by(deliveries.c.position)
            .limit(rows)
        )
        if positions is not None:
            query = query.where(deliveries.c.position.in_(positions))
        return [_outstanding(row) for row in self._connection.execute(query)]

    def forget_discarded(self, consumer: str, *, until: int) -> None:
        """Take away discarded rows that the cursor has passed."""
        self._connection.execute(
            delete(deliveries).where(
                deliveries.c.consumer == consumer,
                deliveries.c.position <= until,
                deliveries.c.state == State.DISCARDED,
                SET_ASIDE,
            )
        )

    def drop(self, consumer: str, *, dead_too: bool, rows: int) -> tuple[int, int | None]:
        """Drop *rows* deliveries at most; return how many there were and the lowest position.

        Held ones go first, the highest of them before the others: whatever remains is not held by what went.
        """
        found: list[int] = []
        for state in (State.HELD, State.DISCARDED, *([State.DEAD] if dead_too else [])):
            facts = {"consumer": consumer, "state": state, "rows": rows - len(found)}
            found += self._connection.execute(sql.ASIDE, facts).scalars()
        facts = {"consumer": consumer, "rows": rows - len(found)}
        found += self._connection.execute(sql.ON_ITS_WAY, facts).scalars()
        self.remove(consumer, found)
        return len(found), min(found, default=None)

    def forget_leases(self, consumer: str, *, rows: int) -> int:
        """Let *rows* leases at most end a delivery no more; return how many: the log is to be read anew."""
        facts = {"consumer": consumer, "rows": rows}
        positions = list(self._connection.execute(sql.WITH_LEASE, facts).scalars())
        if positions:
            self._connection.execute(sql.FORGET_LEASES, {"of": consumer, "positions": positions})
        return len(positions)

    def next_due_at(self, consumer: str) -> datetime | None:
        """Return when the next delivery may be lent (again)."""
        moment: datetime | None = self._connection.execute(sql.NEXT_DUE, {"consumer": consumer}).scalar()
        return moment

    def counts(self, consumer: str) -> Mapping[str, int]:
        """Return how many are outstanding by state; ``expired``: leased ones whose time is over."""
        over = and_(deliveries.c.state == State.LEASED, deliveries.c.leased_until <= self._unit.now)
        query = (
            select(deliveries.c.state, over.label("over"), func.count().label("rows"))
            .where(deliveries.c.consumer == consumer)
            .group_by(deliveries.c.state, over)
        )
        rows = self._connection.execute(query)
        return {("expired" if row.over else row.state): row.rows for row in rows}

    def oldest(self, consumer: str) -> int | None:
        """Return the lowest position that is neither acked nor dead."""
        found = [self._connection.execute(query, {"consumer": consumer}).scalar() for query in sql.FIRST_OPEN]
        return min((position for position in found if position is not None), default=None)

    def dead_letters(self, consumer: str, *, after: int, limit: int) -> list[DeadLetter]:
        """Return dead deliveries behind position *after* with their events."""
        query = (
            select(
                deliveries.c.position,
                deliveries.c.attempt,
                deliveries.c.reason,
                deliveries.c.updated_at,
                deliveries.c.merchant,
                events.c.body,
            )
            .join(events, events.c.position == deliveries.c.position)
            .where(
                deliveries.c.consumer == consumer,
                deliveries.c.state == State.DEAD,
                SET_ASIDE,
                deliveries.c.position > after,
            )
            .order_by(deliveries.c.position)
            .limit(limit)
        )
        return [DeadLetter(*row) for row in self._connection.execute(query)]

    def _changed(self, consumer: str, change: Change) -> dict[str, Any]:
        return {
            "of": consumer,
            "at": change.position,
            "new_state": change.state,
            "new_due_at": change.due_at,
            "new_until": change.leased_until,
            "new_batch": change.lease and change.lease.batch,
            "new_reason": change.reason,
            "new_attempt": change.attempt,
            "now": self._unit.now,
        }


def _outstanding(row: Row[Any]) -> Outstanding:
    key = (row.merchant, row.transaction_id)
    return Outstanding(row.position, key, State(row.state), row.attempt, _lease(row))


def _lease(row: Row[Any]) -> Lease | None:
    return None if row.batch is None else Lease(row.batch, row.position)

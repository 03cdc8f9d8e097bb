"""Deliveries: the rows of what is outstanding, one statement for each kind of thing and call."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, and_, delete, func, select

from service.db import delivery_statements as sql
from service.db.acks import Acks
from service.db.tables import SET_ASIDE, deliveries, events
from service.db.topic import Topic
from service.domain.delivery import (
    Change,
    Consumer,
    DeadLetter,
    DeliveryState,
    Due,
    Lease,
    Outstanding,
    Scanned,
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

    def due(self, consumer: Consumer, *, rows: int) -> list[Due]:
        """Return deliveries whose time has come, the longest due first."""
        facts = {"consumer": consumer.name, "now": self._unit.now, "rows": rows}
        return [
            Due(
                row.id,
                row.position,
                (row.merchant, row.transaction_id),
                row.attempt,
                _lease(row),
                row.blocked,
                row.body,
            )
            for row in self._connection.execute(sql.due(consumer.holds), facts)
        ]

    def scan(self, consumer: Consumer, *, after: int, until: int, rows: int) -> list[Scanned]:
        """Return the first events behind *after*, up to *until*, that the consumer wants."""
        statement = sql.scan(consumer.holds, consumer.spec.types, consumer.spec.merchants)
        facts = {"consumer": consumer.name, "after": after, "until": until, "rows": rows}
        return [
            Scanned(
                row.position,
                (row.merchant, row.transaction_id),
                row.blocked,
                None if row.there is None else State(row.there),
                row.body,
            )
            for row in self._connection.execute(statement, facts)
        ]

    def add(
        self,
        consumer: str,
        events: Iterable[tuple[Scanned, Lease | None, datetime | None, datetime | None]],
    ) -> None:
        """Make rows: (event, lease, leased until, due at); those without a lease are held."""
        now = self._unit.now
        rows = [
            {
                "consumer": consumer,
                "position": event.position,
                "merchant": event.payment[0],
                "transaction_id": event.payment[1],
                "state": State.HELD if lease is None else State.LEASED,
                "batch": lease and lease.batch,
                "number": lease and lease.number,
                "attempt": 0 if lease is None else 1,
                "leased_until": leased_until,
                "due_at": due_at,
                "updated_at": now,
            }
            for event, lease, leased_until, due_at in events
        ]
        if rows:
            self._connection.execute(sql.ADD, rows)

    def lend_again(self, rows: Iterable[tuple[int, Lease, int, datetime, datetime]]) -> None:
        """Lend rows anew: (id, lease, attempt, leased until, due at)."""
        changes = [
            {
                "row_id": row_id,
                "new_batch": lease.batch,
                "new_number": lease.number,
                "new_attempt": attempt,
                "new_until": leased_until,
                "new_due_at": due_at,
                "at": self._unit.now,
            }
            for row_id, lease, attempt, leased_until, due_at in rows
        ]
        if changes:
            self._connection.execute(sql.LEND_AGAIN, changes)

    def by_lease(self, consumer: str, leases: Iterable[Lease]) -> list[Outstanding]:
        """Return the rows that carry one of *leases* still, whatever their state and time."""
        numbers: dict[str, list[int]] = {}
        for lease in leases:
            numbers.setdefault(lease.batch, []).append(lease.number)
        return [
            _outstanding(row, followed=row.followed)
            for batch, wanted_ in numbers.items()
            for row in self._connection.execute(
                sql.BY_LEASE, {"consumer": consumer, "batch": batch, "numbers": wanted_}
            )
        ]

    def remove(self, ids: Collection[int]) -> None:
        """Take rows away for good."""
        if ids:
            self._connection.execute(sql.REMOVE, {"ids": list(ids)})

    def release(self, ids: Collection[int], *, holds: bool, gone: Collection[int] = ()) -> list[int]:
        """Let the next held event go of each payment that one of the rows *ids* belongs to; return their ids.

        *gone* are rows about to be removed: they hold nothing any more.
        """
        if not ids:
            return []
        payments: dict[tuple[str, str], list[Outstanding]] = {}
        for row in self._connection.execute(sql.SIBLINGS, {"ids": list(ids)}):
            if row.id not in gone:
                payments.setdefault((row.merchant, row.transaction_id), []).append(_sibling(row))
        turns = (next_in_order(rows, holds=holds) for rows in payments.values())
        freed = [turn.id for turn in turns if turn is not None]
        if freed:
            self._connection.execute(sql.FREE, {"ids": freed, "at": self._unit.now})
        return freed

    def change(self, changes: Sequence[Change]) -> None:
        """Write what becomes of rows."""
        if changes:
            self._connection.execute(sql.CHANGE, [self._changed(change) for change in changes])

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
        found: list[Row[Any]] = []
        for state in (State.HELD, State.DISCARDED, *([State.DEAD] if dead_too else [])):
            facts = {"consumer": consumer, "state": state, "rows": rows - len(found)}
            found += self._connection.execute(sql.ASIDE, facts)
        found += self._connection.execute(sql.ON_ITS_WAY, {"consumer": consumer, "rows": rows - len(found)})
        self.remove([row.id for row in found])
        return len(found), min((row.position for row in found), default=None)

    def forget_leases(self, consumer: str, *, rows: int) -> int:
        """Let *rows* leases at most end a delivery no more; return how many: the log is to be read anew."""
        facts = {"consumer": consumer, "rows": rows}
        ids = list(self._connection.execute(sql.WITH_LEASE, facts).scalars())
        if ids:
            self._connection.execute(sql.FORGET_LEASES, {"ids": ids})
        return len(ids)

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

    def _changed(self, change: Change) -> dict[str, Any]:
        lease = change.lease
        return {
            "row_id": change.id,
            "new_state": change.state,
            "new_due_at": change.due_at,
            "new_until": change.leased_until,
            "new_batch": lease and lease.batch,
            "new_number": lease and lease.number,
            "new_reason": change.reason,
            "new_attempt": change.attempt,
            "at": self._unit.now,
        }


def _sibling(row: Row[Any]) -> Outstanding:
    return Outstanding(row.id, row.position, (row.merchant, row.transaction_id), DeliveryState(row.state))


def _outstanding(row: Row[Any], *, followed: bool = False) -> Outstanding:
    key = (row.merchant, row.transaction_id)
    return Outstanding(row.id, row.position, key, State(row.state), row.attempt, _lease(row), followed)


def _lease(row: Row[Any]) -> Lease | None:
    return None if row.batch is None or row.number is None else Lease(row.batch, row.number)

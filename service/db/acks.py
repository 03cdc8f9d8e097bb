"""The memory of acked leases: a repeated ack is told so for an hour and more."""

import json
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, select, text

from service.db.quick import Quick
from service.db.tables import acks
from service.db.types import UtcTime
from service.domain.delivery import Lease

if TYPE_CHECKING:
    from service.db.unit import Unit

MEMORY = timedelta(minutes=75)
"""How long an ack is remembered; an hour is promised."""

_KNOWN = select(acks.c.batch, acks.c.positions).where(
    acks.c.consumer == bindparam("consumer"), acks.c.batch.in_(bindparam("batches", expanding=True))
)

# "[1,2]" and "[3]" make "[1,2,3]" without reading the row first.
_REMEMBER = Quick(
    text(
        "INSERT INTO acks (batch, consumer, positions, acked_at)"
        " VALUES (:batch, :consumer, :positions, :acked_at)"
        " ON CONFLICT (batch) DO UPDATE SET acked_at = excluded.acked_at,"
        " positions = rtrim(acks.positions, ']') || ',' || ltrim(excluded.positions, '[')"
    ).bindparams(bindparam("acked_at", type_=UtcTime))
)


class Acks:
    """One row for each lease call of which something was acked."""

    def __init__(self, unit: "Unit") -> None:
        self._unit = unit
        self._connection = unit.connection

    def remember(self, leases: Mapping[str, Iterable[Lease]]) -> None:
        """Keep that *leases*, by consumer, were acked."""
        now = self._unit.now
        rows = [
            {"batch": batch, "consumer": consumer, "positions": _array(positions), "acked_at": now}
            for consumer, its in leases.items()
            for batch, positions in by_batch(its).items()
        ]
        if rows:
            _REMEMBER.many(self._connection, rows)

    def known(self, consumer: str, leases: Iterable[Lease]) -> set[Lease]:
        """Return those of *leases* that were acked within the memory."""
        asked = by_batch(leases)
        if not asked:
            return set()
        rows = self._connection.execute(_KNOWN, {"consumer": consumer, "batches": list(asked)})
        acked = {row.batch: set(json.loads(row.positions)) for row in rows}
        return {
            Lease(batch, position)
            for batch, positions in asked.items()
            for position in positions
            if position in acked.get(batch, ())
        }

    def forget(self, rows: int = 500) -> int:
        """Forget the oldest *rows* at most whose time is over; return how many."""
        over = select(acks.c.batch).where(acks.c.acked_at < self._unit.now - MEMORY)
        oldest = over.order_by(acks.c.acked_at).limit(rows)
        return self._connection.execute(delete(acks).where(acks.c.batch.in_(oldest))).rowcount


def _array(numbers: Iterable[int]) -> str:
    return f"[{','.join(map(str, numbers))}]"


def by_batch(leases: Iterable[Lease]) -> dict[str, list[int]]:
    """Return the positions that *leases* name, by lease call."""
    positions: dict[str, list[int]] = {}
    for lease in leases:
        positions.setdefault(lease.batch, []).append(lease.position)
    return positions

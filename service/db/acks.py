"""The memory of acked leases: a repeated ack is told so for an hour and more."""

import json
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, select, text

from service.db.tables import acks
from service.db.types import UtcTime
from service.domain.delivery import Lease

if TYPE_CHECKING:
    from service.db.unit import Unit

MEMORY = timedelta(minutes=75)
"""How long an ack is remembered; an hour is promised."""

_KNOWN = select(acks.c.batch, acks.c.numbers).where(
    acks.c.consumer == bindparam("consumer"), acks.c.batch.in_(bindparam("batches", expanding=True))
)

# "[1, 2]" and "[3]" make "[1, 2,3]" without reading the row first. As text: SQLAlchemy would compile its own
# form of it anew each time.
_REMEMBER = text(
    "INSERT INTO acks (batch, consumer, numbers, acked_at) VALUES (:batch, :consumer, :numbers, :acked_at)"
    " ON CONFLICT (batch) DO UPDATE SET acked_at = excluded.acked_at,"
    " numbers = rtrim(acks.numbers, ']') || ',' || ltrim(excluded.numbers, '[')"
).bindparams(bindparam("acked_at", type_=UtcTime))


class Acks:
    """One row for each lease call of which something was acked."""

    def __init__(self, unit: "Unit") -> None:
        self._unit = unit
        self._connection = unit.connection

    def remember(self, consumer: str, leases: Iterable[Lease]) -> None:
        """Keep that *leases* were acked."""
        now = self._unit.now
        rows = [
            {"batch": batch, "consumer": consumer, "numbers": json.dumps(numbers), "acked_at": now}
            for batch, numbers in _by_batch(leases).items()
        ]
        if rows:
            self._connection.execute(_REMEMBER, rows)

    def known(self, consumer: str, leases: Iterable[Lease]) -> set[Lease]:
        """Return those of *leases* that were acked within the memory."""
        asked = _by_batch(leases)
        if not asked:
            return set()
        rows = self._connection.execute(_KNOWN, {"consumer": consumer, "batches": list(asked)})
        acked = {row.batch: set(json.loads(row.numbers)) for row in rows}
        return {
            Lease(batch, number)
            for batch, numbers in asked.items()
            for number in numbers
            if number in acked.get(batch, ())
        }

    def forget(self, rows: int = 500) -> int:
        """Forget the oldest *rows* at most whose time is over; return how many."""
        over = select(acks.c.batch).where(acks.c.acked_at < self._unit.now - MEMORY)
        oldest = over.order_by(acks.c.acked_at).limit(rows)
        return self._connection.execute(delete(acks).where(acks.c.batch.in_(oldest))).rowcount


def _by_batch(leases: Iterable[Lease]) -> dict[str, list[int]]:
    numbers: dict[str, list[int]] = {}
    for lease in leases:
        numbers.setdefault(lease.batch, []).append(lease.number)
    return numbers

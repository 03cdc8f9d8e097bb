"""The memory of acked leases: a repeated ack is told so for an hour and more."""

import json
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, func, literal, select
from sqlalchemy.dialects import postgresql, sqlite

from service.db.tables import acks
from service.domain.delivery import Lease

if TYPE_CHECKING:
    from service.db.unit import Unit

MEMORY = timedelta(minutes=75)
"""How long an ack is remembered; an hour is promised."""

_KNOWN = select(acks.c.batch, acks.c.numbers).where(
    acks.c.consumer == bindparam("consumer"), acks.c.batch.in_(bindparam("batches", expanding=True))
)


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
            is_sqlite = self._connection.dialect.name == "sqlite"
            self._connection.execute(_REMEMBER_SQLITE if is_sqlite else _REMEMBER_POSTGRESQL, rows)

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


# "[1, 2]" and "[3]" make "[1, 2,3]" without reading the row first.
_insert_sqlite = sqlite.insert(acks)
_insert_postgresql = postgresql.insert(acks)
_REMEMBER_SQLITE = _insert_sqlite.on_conflict_do_update(
    index_elements=[acks.c.batch],
    set_={
        "numbers": func.rtrim(acks.c.numbers, "]")
        + literal(",")
        + func.ltrim(_insert_sqlite.excluded.numbers, "["),
        "acked_at": _insert_sqlite.excluded.acked_at,
    },
)
_REMEMBER_POSTGRESQL = _insert_postgresql.on_conflict_do_update(
    index_elements=[acks.c.batch],
    set_={
        "numbers": func.rtrim(acks.c.numbers, "]")
        + literal(",")
        + func.ltrim(_insert_postgresql.excluded.numbers, "["),
        "acked_at": _insert_postgresql.excluded.acked_at,
    },
)


def _by_batch(leases: Iterable[Lease]) -> dict[str, list[int]]:
    numbers: dict[str, list[int]] = {}
    for lease in leases:
        numbers.setdefault(lease.batch, []).append(lease.number)
    return numbers

"""Retention: what was kept long enough is cut away in small pieces; events, receipts and payments stay for ever.

A read finds what to cut, page by page and outside the writer; a write cuts it by key, and looks again whether it may.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar
from uuid import UUID

from sqlalchemy import Row, delete, exists, func, select, true, update

from service.db.receipt_rows import hold_receipts
from service.db.tables import bodies, confirmations, receipts
from service.domain.records import ENDED

if TYPE_CHECKING:
    from service.db.unit import Unit

Key = TypeVar("Key", UUID, int)
ROWS: Final = 100
BYTES: Final = 128 * 1024
"""What one unit of work cuts at most (one row may be larger): the writer is held for some 2 ms."""

_ENDED = exists().where(
    receipts.c.id == bodies.c.receipt_id, receipts.c.state.in_(sorted(state.value for state in ENDED))
)


@dataclass(frozen=True, slots=True)
class Page(Generic[Key]):
    """A stretch of a table: the keys to cut in it, and behind which key to go on; None: nothing older follows."""

    keys: tuple[Key, ...]
    after: Key | None


class Retention:
    """Finds and cuts what is older than a time."""

    def __init__(self, unit: "Unit") -> None:
        self._unit = unit
        self._connection = unit.connection

    def old_bodies(self, before: datetime, *, after: UUID | None, rows: int = ROWS) -> Page[UUID]:
        """Return bodies received before *before* whose receipts have ended; ids sort by arrival."""
        query = select(
            bodies.c.receipt_id.label("key"),
            bodies.c.received_at.label("at"),
            func.length(bodies.c.raw).label("size"),
            _ENDED.label("ended"),
        )
        if after is not None:
            query = query.where(bodies.c.receipt_id > after)
        found = self._connection.execute(query.order_by(bodies.c.receipt_id).limit(rows)).all()
        return _page(found, before, rows)

    def cut_bodies(self, ids: Collection[UUID]) -> int:
        """Take bodies away; those whose receipts were set going meanwhile stay. Return how many went."""
        if self._unit.shared:
            hold_receipts(self._connection, ids)
        return self._connection.execute(delete(bodies).where(bodies.c.receipt_id.in_(ids), _ENDED)).rowcount

    def old_answers(self, before: datetime, *, after: int | None, rows: int = ROWS) -> Page[int]:
        """Return confirmations answered before *before* that still hold Midtrans' answer."""
        query = select(
            confirmations.c.id.label("key"),
            confirmations.c.answered_at.label("at"),
            func.length(confirmations.c.answer).label("size"),
            true().label("ended"),
        ).where(confirmations.c.id > (after or 0), confirmations.c.answer.is_not(None))
        found = self._connection.execute(query.order_by(confirmations.c.id).limit(rows)).all()
        return _page(found, before, rows)

    def cut_answers(self, ids: Collection[int]) -> int:
        """Take the answers' bytes away; what was asked, when, and the verdict stay. Return how many went."""
        query = update(confirmations).where(confirmations.c.id.in_(ids), confirmations.c.answer.is_not(None))
        return self._connection.execute(query.values(answer=None)).rowcount


def _page(found: Sequence[Row[Any]], before: datetime, rows: int) -> Page[Any]:
    """Return what of *found* one unit of work may cut, and where the next page begins."""
    sizes = accumulate(row.size for row in found)
    fits = max(1, sum(size <= BYTES for size in sizes))
    taken = found[:fits]
    keys = tuple(row.key for row in taken if row.ended and row.at < before)
    more = len(taken) < len(found) or len(found) == rows
    return Page(keys, taken[-1].key if more and taken[-1].at < before else None)

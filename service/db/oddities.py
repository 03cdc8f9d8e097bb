"""Bodies that were refused, and dashboard tests: the newest few of each merchant and reason."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, delete, func, insert, select

from service.db.tables import oddities
from service.domain.records import Oddity

if TYPE_CHECKING:
    from service.db.unit import Unit

KEPT = 200  # per merchant and reason


@dataclass(frozen=True, slots=True)
class KeptOddity:
    """An oddity with its number, by which it can be forgotten."""

    number: int
    oddity: Oddity


@dataclass(frozen=True, slots=True)
class OddityCount:
    """How many are kept of one merchant and reason; *newest_at* and *detail* are the newest one's."""

    merchant: str
    reason: str
    count: int
    newest_at: datetime
    detail: str


class Oddities:
    """Queries on what was refused."""

    def __init__(self, unit: "Unit") -> None:
        self._connection = unit.connection

    def add_many(self, new: Sequence[Oddity], *, keep: int = KEPT) -> None:
        """Keep *new*, and of each merchant and reason in it only the newest *keep*."""
        if not new:
            return
        self._connection.execute(insert(oddities), [_row(oddity) for oddity in new])
        for merchant, reason in {(oddity.merchant, oddity.reason) for oddity in new}:
            same = (oddities.c.merchant == merchant, oddities.c.reason == reason)
            surplus = select(oddities.c.id).where(*same).order_by(oddities.c.id.desc()).offset(keep).limit(1)
            self._connection.execute(
                delete(oddities).where(*same, oddities.c.id <= surplus.scalar_subquery())
            )

    def newest(
        self, *, merchant: str | None = None, reason: str | None = None, limit: int = KEPT
    ) -> list[KeptOddity]:
        """Return the newest first; of one merchant and for one reason where given."""
        ids = select(oddities.c.id).order_by(oddities.c.id.desc()).limit(limit)
        if merchant is not None:
            ids = ids.where(oddities.c.merchant == merchant)
        if reason is not None:
            ids = ids.where(oddities.c.reason == reason)
        # Bodies are read of those alone that are wanted: sorted with the rest they would fill the memory.
        query = select(oddities).where(oddities.c.id.in_(ids)).order_by(oddities.c.id.desc())
        return [_kept(row) for row in self._connection.execute(query)]

    def summary(self) -> list[OddityCount]:
        """Return how many are kept of each merchant and reason, and when the newest came."""
        newest = func.max(oddities.c.id).label("newest")
        grouped = (
            select(oddities.c.merchant, oddities.c.reason, func.count().label("number"), newest)
            .group_by(oddities.c.merchant, oddities.c.reason)
            .subquery()
        )
        query = (
            select(
                grouped.c.merchant,
                grouped.c.reason,
                grouped.c.number,
                oddities.c.received_at,
                oddities.c.detail,
            )
            .join(oddities, oddities.c.id == grouped.c.newest)
            .order_by(grouped.c.merchant, grouped.c.reason)
        )
        return [OddityCount(*row) for row in self._connection.execute(query)]

    def forget(self, numbers: Collection[int]) -> None:
        """Drop those that have been dealt with, such as refused ones that a new key verified."""
        self._connection.execute(delete(oddities).where(oddities.c.id.in_(numbers)))


def _row(oddity: Oddity) -> dict[str, object]:
    return {
        "merchant": oddity.merchant,
        "reason": oddity.reason,
        "received_at": oddity.received_at,
        "source_address": oddity.source_address,
        "path": oddity.path,
        "headers": json.dumps(dict(oddity.headers)),
        "body": oddity.body,
        "size": oddity.size,
        "detail": oddity.detail,
    }


def _kept(row: Row[Any]) -> KeptOddity:
    oddity = Oddity(
        merchant=row.merchant,
        reason=row.reason,
        received_at=row.received_at,
        source_address=row.source_address,
        path=row.path,
        headers=json.loads(row.headers),
        body=row.body,
        size=row.size,
        detail=row.detail,
    )
    return KeptOddity(row.id, oddity)

"""Receipts as operators see them; nothing is written here."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, Subquery, and_, exists, func, not_, select

from django_midtrans.notification import NotificationKind
from service.db.tables import IS_NOTABLE, NOTABLE, bodies, receipts
from service.domain.records import HELD, ReceiptState

if TYPE_CHECKING:
    from service.db.unit import Unit

LOOKED_AT: Final = 10_000
"""How many receipts one page looks at, where no index leads to those that are asked for."""
OF_ORDER: Final = 200
"""How many receipts of one order are shown at most: the latest."""

_PAYMENT: Final = NotificationKind.PAYMENT.value
_HELD: Final = sorted(state.value for state in HELD)


@dataclass(frozen=True, slots=True)
class ReceiptRow:
    """A receipt as stored, without what was posted."""

    id: UUID
    merchant: str
    kind: str
    order_id: str
    transaction_id: str | None
    transaction_status: str | None
    payment_type: str | None
    received_at: datetime
    source_address: str
    path: str
    headers: Mapping[str, str]
    key_fingerprint: str
    amount_form: str
    answer: int
    state: str
    reason: str | None
    due_at: datetime | None
    answers: int
    failures: int
    seen_status: str | None
    seen_times: int
    seen_since: datetime | None
    duplicates: int
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class ReceiptFilter:
    """Which receipts are asked for; None is any."""

    state: ReceiptState | None = None
    merchant: str | None = None
    order_id: str | None = None
    reason: str | None = None

    def conditions(self, of: Any) -> list[ColumnElement[bool]]:
        """Return what all of them fulfil, said of the columns *of* a query."""
        values = {"merchant": self.merchant, "order_id": self.order_id, "reason": self.reason}
        if self.state is not None:
            values["state"] = self.state.value
        return [of[name] == value for name, value in values.items() if value is not None]


@dataclass(frozen=True, slots=True)
class Standing:
    """How many receipts of a merchant wait or are held, and when the oldest that waits came."""

    waiting: int
    parked: int
    anomaly: int
    oldest_waiting_at: datetime | None


class ReceiptReads:
    """Lists, single receipts and counts."""

    def __init__(self, unit: "Unit") -> None:
        self._connection = unit.connection

    def page(
        self, wanted: ReceiptFilter, *, limit: int, after: UUID | None
    ) -> tuple[list[ReceiptRow], UUID | None]:
        """Return receipts, the newest first, and behind which to go on (None: that was all).

        A page may hold fewer than *limit*, or none, and yet not be the last: where no index leads to what is
        asked for, it looks at ``LOOKED_AT`` receipts and no more.
        """
        query = _newest_first(wanted, after).limit(limit + 1)
        found = [_receipt(row) for row in self._connection.execute(query)]
        if len(found) > limit:
            return found[:limit], found[limit - 1].id
        return found, None if _has_index(wanted) else self._floor(after)

    def get(self, receipt_id: UUID) -> tuple[ReceiptRow, bytes | None] | None:
        """Return the receipt and what was posted, as far as that is still kept."""
        row = self._connection.execute(select(receipts).where(receipts.c.id == receipt_id)).one_or_none()
        if row is None:
            return None
        raw = self._connection.execute(select(bodies.c.raw).where(bodies.c.receipt_id == receipt_id)).scalar()
        return _receipt(row), raw

    def of_order(self, merchant: str, order_id: str) -> list[ReceiptRow]:
        """Return the order's receipts, the newest first."""
        wanted = ReceiptFilter(merchant=merchant, order_id=order_id)
        return self.page(wanted, limit=OF_ORDER, after=None)[0]

    def retryable(self, wanted: ReceiptFilter) -> list[UUID]:
        """Return the held receipts that can be set going again, the oldest first."""
        query = select(_held_by(wanted, can_be_asked=True).c.id)
        return sorted(self._connection.execute(query).scalars())

    def count_unretryable(self, wanted: ReceiptFilter) -> int:
        """Return how many held receipts cannot: of a kind that nobody here confirms, or without a body."""
        query = select(func.count()).select_from(_held_by(wanted, can_be_asked=False))
        return self._connection.execute(query).scalar_one()

    def states(self, ids: Collection[UUID]) -> dict[UUID, tuple[str, bool]]:
        """Return the state of each of *ids* that there is, and whether it can be asked about at all."""
        query = (
            select(receipts.c.id, receipts.c.state, receipts.c.kind, bodies.c.receipt_id)
            .outerjoin(bodies, bodies.c.receipt_id == receipts.c.id)
            .where(receipts.c.id.in_(ids))
        )
        return {
            row.id: (row.state, row.kind == _PAYMENT and row.receipt_id is not None)
            for row in self._connection.execute(query)
        }

    def standing(self, merchant: str) -> Standing:
        """Return how many receipts of *merchant* are open or held."""
        waiting = (receipts.c.state == ReceiptState.WAITING.value, receipts.c.merchant == merchant)
        query = select(func.count(), func.min(receipts.c.received_at)).where(*waiting)
        count, oldest = self._connection.execute(query).one()
        held = _held().offset(0).subquery()
        by_state = (
            select(held.c.state, func.count()).where(held.c.merchant == merchant).group_by(held.c.state)
        )
        found = {row[0]: row[1] for row in self._connection.execute(by_state)}
        return Standing(count, found.get("parked", 0), found.get("anomaly", 0), oldest)

    def _floor(self, after: UUID | None) -> UUID | None:
        """Return the last receipt that a page behind *after* looks at; None when it looks at all there are."""
        query = select(receipts.c.id).order_by(receipts.c.id.desc()).offset(LOOKED_AT - 1).limit(1)
        if after is not None:
            query = query.where(receipts.c.id < after)
        floor: UUID | None = self._connection.execute(query).scalar()
        return floor


def _has_index(wanted: ReceiptFilter) -> bool:
    """Say whether an index leads to what is asked for, or nearly so."""
    rare = wanted.state is not None and (wanted.state in NOTABLE or wanted.state is ReceiptState.WAITING)
    return rare or wanted.order_id is not None


def _newest_first(wanted: ReceiptFilter, after: UUID | None) -> Select[Any]:
    if wanted.order_id is None and wanted.state is not None and wanted.state in NOTABLE:
        query = select(receipts).where(*wanted.conditions(receipts.c), IS_NOTABLE)
        return _behind(query, after).order_by(receipts.c.id.desc())
    source = _looked_at(wanted, after)
    return select(source).where(*wanted.conditions(source.c)).order_by(source.c.id.desc())


def _looked_at(wanted: ReceiptFilter, after: UUID | None) -> Subquery:
    """Return the receipts to look at. The offset keeps databases from choosing another way to them."""
    query = select(receipts)
    if wanted.order_id is not None:
        query = query.where(receipts.c.order_id == wanted.order_id)
    elif wanted.state is ReceiptState.WAITING:
        query = query.where(receipts.c.state == wanted.state.value)
        return _behind(query, after, indexed=False).offset(0).subquery()
    else:
        query = query.order_by(receipts.c.id.desc()).limit(LOOKED_AT)
    return _behind(query, after).offset(0).subquery()


def _behind(query: Select[Any], after: UUID | None, *, indexed: bool = True) -> Select[Any]:
    """Return *query* from behind *after* on; not *indexed* hides the id from those who choose an index."""
    if after is None:
        return query
    column = receipts.c.id if indexed else func.coalesce(receipts.c.id, receipts.c.id)
    return query.where(column < after)


def _held() -> Select[Any]:
    return select(receipts).where(receipts.c.state.in_(_HELD), IS_NOTABLE)


def _held_by(wanted: ReceiptFilter, *, can_be_asked: bool) -> Subquery:
    """Return the held receipts that can, or cannot, be asked about: a payment's, with a body still kept."""
    held = _held().offset(0).subquery()
    has_body = exists().where(bodies.c.receipt_id == held.c.id)
    can = and_(held.c.kind == _PAYMENT, has_body)
    return select(held.c.id).where(*wanted.conditions(held.c), can if can_be_asked else not_(can)).subquery()


def _receipt(row: Row[Any]) -> ReceiptRow:
    facts = row._asdict()
    facts["headers"] = json.loads(facts["headers"])
    return ReceiptRow(**{name: facts[name] for name in ReceiptRow.__slots__})

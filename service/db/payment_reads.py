"""Payments as the API shows them; nothing is written here."""

import base64
import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, RowMapping, Select, and_, or_, select

from service.db.filters import unindexed
from service.db.tables import confirmations, payments, receipts, transitions
from service.errors import RequestInvalid

if TYPE_CHECKING:
    from service.db.unit import Unit

STEPS = 200
"""How many receipts, confirmations and transitions a timeline holds at most of each: the latest."""


_ORDER = (payments.c.updated_at.desc(), payments.c.merchant, payments.c.transaction_id)
_QUESTION = (
    confirmations.c.cause,
    confirmations.c.asked,
    confirmations.c.asked_at,
    confirmations.c.answered_at,
    confirmations.c.http_status,
    confirmations.c.verdict,
)
_NO_CURSOR = "is not a `next` as answered by this service"


@dataclass(frozen=True, slots=True)
class PaymentRow:
    """A payment; *state* is what `PaymentState.to_json` wrote, read as JSON."""

    merchant: str
    transaction_id: str
    order_id: str
    status: str
    outcome: str
    payment_type: str
    bound_by: str
    state: dict[str, Any]
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class TimelineStep:
    """One thing that happened to a payment."""

    at: datetime
    what: str
    facts: dict[str, Any]


class PaymentReads:
    """Lists and timelines."""

    def __init__(self, unit: "Unit") -> None:
        self._connection = unit.connection

    def page(
        self,
        *,
        merchants: Collection[str] | None,
        order_id: str | None,
        status: str | None,
        limit: int,
        after: str | None,
    ) -> tuple[list[PaymentRow], str | None]:
        """Return payments, the latest change first, and where to go on (None: that was all)."""
        query = select(payments).order_by(*_ORDER).limit(limit + 1)
        if order_id is not None and merchants is not None:
            query, merchants = query.where(unindexed(payments.c.merchant).in_(merchants)), None
        if order_id is not None:
            query = query.where(payments.c.order_id == order_id)
        if status is not None:
            query = query.where(payments.c.status == status)
        if after is not None:
            query = query.where(_behind(*_read_cursor(after)))
        rows = self._latest(query, merchants)
        return rows[:limit], _cursor(rows[limit - 1]) if len(rows) > limit else None

    def _latest(self, query: Select[Any], merchants: Collection[str] | None) -> list[PaymentRow]:
        """Run *query* once for each merchant: with several in it, all they ever had would be read and sorted."""
        if merchants is None:
            return [_payment(row) for row in self._connection.execute(query)]
        found = [
            _payment(row)
            for merchant in sorted(set(merchants))
            for row in self._connection.execute(query.where(payments.c.merchant == merchant))
        ]
        return sorted(found, key=lambda row: row.updated_at, reverse=True)  # stable: then by merchant and id

    def of_order(self, merchant: str, order_id: str) -> list[PaymentRow]:
        """Return the order's payments, the latest change first; ``STEPS`` at most."""
        return self.page(merchants=(merchant,), order_id=order_id, status=None, limit=STEPS, after=None)[0]

    def questions(self, merchant: str, order_id: str) -> list[TimelineStep]:
        """Return what Midtrans was asked of the order and how it answered, the last first; ``STEPS`` at most."""
        query = (
            select(*_QUESTION, confirmations.c.transaction_id)
            .where(confirmations.c.merchant == merchant, confirmations.c.order_id == order_id)
            .order_by(confirmations.c.id.desc())
            .limit(STEPS)
        )
        return [
            _step(row, "confirmation", "answered_at") for row in self._connection.execute(query).mappings()
        ]

    def get(self, merchant: str, transaction_id: str) -> PaymentRow | None:
        """Return the payment, or None."""
        query = select(payments).where(
            payments.c.merchant == merchant, payments.c.transaction_id == transaction_id
        )
        row = self._connection.execute(query).first()
        return None if row is None else _payment(row)

    def timeline(self, payment: PaymentRow) -> list[TimelineStep]:
        """Return what happened to the payment, the first thing first; raw answers are left out."""
        steps = [*self._receipts(payment), *self._confirmations(payment), *self._transitions(payment)]
        return sorted(steps, key=lambda step: step.at)  # stable: receipt, confirmation, transition

    def _receipts(self, payment: PaymentRow) -> list[TimelineStep]:
        query = (
            select(
                receipts.c.id,
                receipts.c.kind,
                receipts.c.transaction_status,
                receipts.c.state,
                receipts.c.reason,
                receipts.c.duplicates,
                receipts.c.received_at,
                receipts.c.ended_at,
            )
            .where(
                receipts.c.merchant == payment.merchant,
                receipts.c.order_id == payment.order_id,
                or_(
                    receipts.c.transaction_id == payment.transaction_id,
                    receipts.c.transaction_id.is_(None),
                ),
            )
            .order_by(receipts.c.id.desc())
            .limit(STEPS)
        )
        return [_step(row, "receipt", "received_at") for row in self._connection.execute(query).mappings()][
            ::-1
        ]

    def _confirmations(self, payment: PaymentRow) -> list[TimelineStep]:
        query = (
            select(confirmations.c.ordinal, *_QUESTION)
            .where(
                confirmations.c.merchant == payment.merchant,
                confirmations.c.transaction_id == payment.transaction_id,
            )
            .order_by(confirmations.c.ordinal.desc())
            .limit(STEPS)
        )
        return [
            _step(row, "confirmation", "answered_at") for row in self._connection.execute(query).mappings()
        ][::-1]

    def _transitions(self, payment: PaymentRow) -> list[TimelineStep]:
        query = (
            select(
                transitions.c.sequence,
                transitions.c.previous_status,
                transitions.c.status,
                transitions.c.irregular,
                transitions.c.event_id,
                transitions.c.made_at,
            )
            .where(
                transitions.c.merchant == payment.merchant,
                transitions.c.transaction_id == payment.transaction_id,
            )
            .order_by(transitions.c.sequence.desc())
            .limit(STEPS)
        )
        return [_step(row, "transition", "made_at") for row in self._connection.execute(query).mappings()][
            ::-1
        ]


def _step(row: RowMapping, what: str, at: str) -> TimelineStep:
    facts = {str(name): value for name, value in row.items()}
    return TimelineStep(facts.pop(at), what, facts)


def _payment(row: Row[Any]) -> PaymentRow:
    return PaymentRow(
        merchant=row.merchant,
        transaction_id=row.transaction_id,
        order_id=row.order_id,
        status=row.status,
        outcome=row.outcome,
        payment_type=row.payment_type,
        bound_by=row.bound_by,
        state=json.loads(row.state),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _behind(moment: datetime, merchant: str, transaction_id: str) -> Any:
    later = or_(
        payments.c.updated_at < moment,
        payments.c.merchant > merchant,
        and_(payments.c.merchant == merchant, payments.c.transaction_id > transaction_id),
    )
    return and_(payments.c.updated_at <= moment, later)  # so that an index leads there


def _cursor(row: PaymentRow) -> str:
    text = json.dumps([row.updated_at.isoformat(), row.merchant, row.transaction_id])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read_cursor(text: str) -> tuple[datetime, str, str]:
    try:
        moment, merchant, transaction_id = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        at = datetime.fromisoformat(moment)
    except (ValueError, TypeError) as error:
        raise RequestInvalid("after", _NO_CURSOR) from error
    if at.tzinfo is None or not isinstance(merchant, str) or not isinstance(transaction_id, str):
        raise RequestInvalid("after", _NO_CURSOR)
    return at, merchant, transaction_id

"""Payments, their confirmations and transitions: written by the confirming step alone."""

import json
from collections.abc import Collection
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from django_midtrans.payment import PaymentState
from django_midtrans.status import OUTCOME_OF, Outcome
from service.db.tables import confirmations, payments, transitions
from service.domain.records import Dispute, NewConfirmation, NewTransition, PaymentRecord
from service.errors import PaymentMoved

if TYPE_CHECKING:
    from service.db.unit import Unit


# Made once: making a statement costs more than running it.
_GET = select(payments).where(
    payments.c.merchant == bindparam("b_merchant"),
    payments.c.transaction_id == bindparam("b_transaction_id"),
)
_GET_MANY = select(payments).where(
    payments.c.merchant == bindparam("b_merchant"),
    payments.c.transaction_id.in_(bindparam("b_transactions", expanding=True)),
)
_RECORDS_OF_ORDER = select(payments).where(
    payments.c.merchant == bindparam("b_merchant"), payments.c.order_id == bindparam("b_order_id")
)
_OF_ORDER = select(payments.c.transaction_id, payments.c.outcome).where(
    payments.c.merchant == bindparam("b_merchant"), payments.c.order_id == bindparam("b_order_id")
)
_OF_ORDERS = select(payments.c.order_id, payments.c.transaction_id, payments.c.outcome).where(
    payments.c.merchant == bindparam("b_merchant"),
    payments.c.order_id.in_(bindparam("b_orders", expanding=True)),
)
INSERT = insert(payments)
UPDATE = (
    update(payments)
    .where(
        payments.c.merchant == bindparam("b_merchant"),
        payments.c.transaction_id == bindparam("b_transaction_id"),
        payments.c.version == bindparam("b_version"),
    )
    .values(
        {
            name: bindparam(name)
            for name in (
                "version",
                "confirmations",
                "status",
                "outcome",
                "payment_type",
                "state",
                "dispute",
                "updated_at",
            )
        }
    )
)
ADD_CONFIRMATION = insert(confirmations)
ADD_TRANSITION = insert(transitions).values(
    {column.name: bindparam(column.name) for column in transitions.c if column.name != "confirmation_id"}
    | {
        "confirmation_id": select(confirmations.c.id)
        .where(
            confirmations.c.merchant == bindparam("merchant"),
            confirmations.c.transaction_id == bindparam("transaction_id"),
            confirmations.c.ordinal == bindparam("ordinal"),
        )
        .scalar_subquery()
    }
)


class Payments:
    """The payments that Midtrans confirmed."""

    def __init__(self, unit: "Unit") -> None:
        self._unit = unit
        self._connection = unit.connection

    def get(self, merchant: str, transaction_id: str) -> PaymentRecord | None:
        """Return the payment, or None when Midtrans never confirmed one."""
        row = self._connection.execute(
            _GET, {"b_merchant": merchant, "b_transaction_id": transaction_id}
        ).one_or_none()
        return None if row is None else _record(row)

    def get_many(self, merchant: str, transactions: Collection[str]) -> dict[str, PaymentRecord]:
        """Return the payments of *merchant* among *transactions*, by transaction_id."""
        if not transactions:
            return {}
        which = {"b_merchant": merchant, "b_transactions": list(transactions)}
        return {row.transaction_id: _record(row) for row in self._connection.execute(_GET_MANY, which)}

    def records_of_order(self, merchant: str, order_id: str) -> list[PaymentRecord]:
        """Return an order's payments."""
        rows = self._connection.execute(_RECORDS_OF_ORDER, {"b_merchant": merchant, "b_order_id": order_id})
        return [_record(row) for row in rows]

    def of_order(self, merchant: str, order_id: str) -> dict[str, Outcome]:
        """Return the outcome of each payment of an order, by transaction_id."""
        rows = self._connection.execute(_OF_ORDER, {"b_merchant": merchant, "b_order_id": order_id})
        return {row.transaction_id: Outcome(row.outcome) for row in rows}

    def of_orders(self, merchant: str, orders: Collection[str]) -> dict[str, dict[str, Outcome]]:
        """Return the outcome of each payment of *orders*, by order_id and transaction_id."""
        found: dict[str, dict[str, Outcome]] = {}
        which = {"b_merchant": merchant, "b_orders": list(orders)}
        for row in self._connection.execute(_OF_ORDERS, which):
            found.setdefault(row.order_id, {})[row.transaction_id] = Outcome(row.outcome)
        return found

    def save(self, record: PaymentRecord, *, known: PaymentRecord | None) -> None:
        """Write *record* over *known*; raise PaymentMoved when the payment is no longer what *known* says."""
        if known is None:
            try:
                self._connection.execute(INSERT, new(record, self._unit.now))
            except IntegrityError as error:  # another order's claim has made it meanwhile
                raise PaymentMoved(record.transaction_id) from error
        elif self._connection.execute(UPDATE, moved(record, known, self._unit.now)).rowcount != 1:
            raise PaymentMoved(record.transaction_id)

    def add_confirmation(self, new: NewConfirmation, *, ordinal: int | None) -> None:
        """Keep a confirmation for ever after."""
        self._connection.execute(ADD_CONFIRMATION, confirmation(new, ordinal))

    def add_transition(self, new: NewTransition) -> None:
        """Keep a transition, naming the confirmation that it rests on, which is kept already."""
        self._connection.execute(ADD_TRANSITION, transition(new, self._unit.now))


def new(record: PaymentRecord, at: datetime) -> dict[str, Any]:
    """Return *record* in the terms of `INSERT`."""
    return {
        "merchant": record.merchant,
        "transaction_id": record.transaction_id,
        "order_id": record.order_id,
        "bound_by": record.bound_by,
        "created_at": at,
    } | _values(record, at)


def moved(record: PaymentRecord, known: PaymentRecord, at: datetime) -> dict[str, Any]:
    """Return *record* in the terms of `UPDATE`, which finds nothing unless the payment still is *known*."""
    return {
        "b_merchant": record.merchant,
        "b_transaction_id": record.transaction_id,
        "b_version": known.version,
    } | _values(record, at)


def confirmation(new: NewConfirmation, ordinal: int | None) -> dict[str, Any]:
    """Return *new* in the terms of `ADD_CONFIRMATION`."""
    return {
        "merchant": new.merchant,
        "order_id": new.order_id,
        "transaction_id": new.transaction_id,
        "ordinal": ordinal,
        "cause": new.cause.value,
        "fence": new.fence,
        "asked": new.asked,
        "asked_at": new.asked_at,
        "answered_at": new.answered_at,
        "http_status": new.http_status,
        "answer": new.answer,
        "verdict": new.verdict,
    }


def transition(new: NewTransition, at: datetime) -> dict[str, Any]:
    """Return *new* in the terms of `ADD_TRANSITION`."""
    return {
        "merchant": new.merchant,
        "transaction_id": new.transaction_id,
        "sequence": new.sequence,
        "ordinal": new.ordinal,
        "previous_status": new.previous_status,
        "status": new.status,
        "irregular": new.irregular,
        "event_id": new.event_id,
        "made_at": at,
    }


def _values(record: PaymentRecord, at: datetime) -> dict[str, Any]:
    return {
        "version": record.version,
        "confirmations": record.confirmations,
        "status": record.state.status.value,
        "outcome": OUTCOME_OF[record.state.status].value,
        "payment_type": record.state.payment_type or "",
        "state": record.state.to_json(),
        "dispute": _dispute_text(record.dispute),
        "updated_at": at,
    }


def _record(row: Row[Any]) -> PaymentRecord:
    return PaymentRecord(
        merchant=row.merchant,
        transaction_id=row.transaction_id,
        order_id=row.order_id,
        version=row.version,
        confirmations=row.confirmations,
        bound_by=row.bound_by,
        state=PaymentState.from_json(row.state),
        dispute=_dispute(row.dispute),
        created_at=row.created_at,
    )


def _dispute_text(dispute: Dispute | None) -> str | None:
    if dispute is None:
        return None
    return json.dumps([dispute.essence, dispute.times, dispute.since.isoformat()])


def _dispute(text: str | None) -> Dispute | None:
    if text is None:
        return None
    essence, times, since = json.loads(text)
    return Dispute(essence, times, datetime.fromisoformat(since))

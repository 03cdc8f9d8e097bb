"""Payments, their confirmations and transitions: written by the confirming step alone."""

import json
from collections.abc import Collection
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, and_, insert, or_, select, update

from django_midtrans.payment import PaymentState
from django_midtrans.status import OUTCOME_OF, Outcome
from service.db.tables import confirmations, payments, transitions
from service.domain.records import Dispute, NewConfirmation, NewTransition, PaymentRecord
from service.errors import ClaimLost

if TYPE_CHECKING:
    from service.db.unit import Unit

Key = tuple[str, str]
"""(merchant, transaction_id)"""


class Payments:
    """The payments that Midtrans confirmed."""

    def __init__(self, unit: "Unit") -> None:
        self._unit = unit
        self._connection = unit.connection

    def get(self, merchant: str, transaction_id: str) -> PaymentRecord | None:
        """Return the payment, or None when Midtrans never confirmed one."""
        return self.get_many([(merchant, transaction_id)]).get((merchant, transaction_id))

    def get_many(self, keys: Collection[Key]) -> dict[Key, PaymentRecord]:
        """Return the payments among *keys* that there are."""
        if not keys:
            return {}
        wanted = or_(
            *(
                and_(payments.c.merchant == merchant, payments.c.transaction_id == transaction_id)
                for merchant, transaction_id in keys
            )
        )
        rows = self._connection.execute(select(payments).where(wanted))
        return {(row.merchant, row.transaction_id): _record(row) for row in rows}

    def of_order(self, merchant: str, order_id: str) -> dict[str, Outcome]:
        """Return the outcome of each payment of an order, by transaction_id."""
        query = select(payments.c.transaction_id, payments.c.outcome).where(
            payments.c.merchant == merchant, payments.c.order_id == order_id
        )
        return {row.transaction_id: Outcome(row.outcome) for row in self._connection.execute(query)}

    def save(self, record: PaymentRecord, *, known: PaymentRecord | None) -> None:
        """Write *record* over *known*; raise ClaimLost when the payment is no longer what *known* says."""
        values = self._values(record)
        if known is None:
            self._connection.execute(
                insert(payments).values(
                    merchant=record.merchant,
                    transaction_id=record.transaction_id,
                    order_id=record.order_id,
                    bound_by=record.bound_by,
                    created_at=self._unit.now,
                    **values,
                )
            )
            return
        written = self._connection.execute(
            update(payments)
            .where(
                payments.c.merchant == record.merchant,
                payments.c.transaction_id == record.transaction_id,
                payments.c.version == known.version,
            )
            .values(**values)
        )
        if written.rowcount != 1:
            raise ClaimLost(f"payment {record.transaction_id!r} moved on from version {known.version}")

    def add_confirmation(self, new: NewConfirmation, *, ordinal: int | None) -> int:
        """Keep a confirmation for ever after; return its id."""
        number: int = self._connection.execute(
            insert(confirmations)
            .values(
                merchant=new.merchant,
                order_id=new.order_id,
                transaction_id=new.transaction_id,
                ordinal=ordinal,
                cause=new.cause.value,
                fence=new.fence,
                asked=new.asked,
                asked_at=new.asked_at,
                answered_at=new.answered_at,
                http_status=new.http_status,
                answer=new.answer,
                verdict=new.verdict,
            )
            .returning(confirmations.c.id)
        ).scalar_one()
        return number

    def add_transition(self, new: NewTransition) -> None:
        """Keep a transition, naming the confirmation that it rests on."""
        self._connection.execute(
            insert(transitions).values(
                merchant=new.merchant,
                transaction_id=new.transaction_id,
                sequence=new.sequence,
                confirmation_id=new.confirmation_id,
                previous_status=new.previous_status,
                status=new.status,
                irregular=new.irregular,
                event_id=new.event_id,
                made_at=self._unit.now,
            )
        )

    def _values(self, record: PaymentRecord) -> dict[str, Any]:
        return {
            "version": record.version,
            "confirmations": record.confirmations,
            "status": record.state.status.value,
            "outcome": OUTCOME_OF[record.state.status].value,
            "payment_type": record.state.payment_type or "",
            "state": record.state.to_json(),
            "dispute": _dispute_text(record.dispute),
            "updated_at": self._unit.now,
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

"""PaymentEvent: what a consumer reads, a CloudEvents 1.0 envelope in structured JSON. No I/O, no clock.

Events are a pure function of the confirmations in order: the same confirmations make the same ids, whoever
computes them. ``docs/events.md`` describes every field and holds test vectors of the ids.
"""

import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from .order import Money, OrderView, order_outcome, order_view
from .payment import PaymentState, is_reversible
from .refunds import Refund, refund_from_dict, refund_to_dict
from .status import OUTCOME_OF, Outcome, PaymentStatus
from .values import (
    money_text,
    parse_time_text,
    parse_time_text_or_none,
    time_text,
    time_text_or_none,
    whole_second,
)

__all__ = [
    "NAMESPACE",
    "REVERSIBLE_FOR",
    "Money",
    "OrderView",
    "PaymentEvent",
    "change",
    "event_id",
    "make_event",
    "order_outcome",
    "order_view",
]

NAMESPACE: Final = uuid.UUID("cb3a6b1c-3121-5743-b62e-fa966fa5de6d")
"""Of every event id; it never changes. It is uuid5(NAMESPACE_URL, "urn:midtrans-service:payment-event")."""
TYPE_PREFIX: Final = "midtrans.payment."
DATA_SCHEMA: Final = "urn:midtrans-service:schema:payment:1"
ID_VERSION: Final = 1
REFUND_CONFIRMED: Final = "refund_confirmed"
REVERSIBLE_FOR: Final = timedelta(minutes=15)
"""How long settled money of Permata VA, Mandiri bill and Indomaret may still be taken back; the docs say
that it usually happens within 1 to 5 minutes."""

_REFUND_STATUSES: Final = frozenset({PaymentStatus.PARTIALLY_REFUNDED, PaymentStatus.REFUNDED})


@dataclass(frozen=True, slots=True)
class PaymentEvent:
    """One confirmed change of a payment."""

    id: str
    type: str
    time: datetime
    sequence: int
    """Counts the payment's events from 1."""
    merchant: str
    order_id: str
    transaction_id: str
    payment_type: str | None
    channel: str | None
    status: PaymentStatus
    previous_status: PaymentStatus | None
    outcome: Outcome
    outcome_changed: bool
    reversible_until: datetime | None
    """Until then a settlement is provisional; None is firm."""
    irregular: bool
    """The status contradicts the one before it, and Midtrans insisted."""
    amount: Money
    amount_before_fee: Money | None
    refunded: Money
    refunds: tuple[Refund, ...]
    charged_back: Money
    order: OrderView
    occurred_at: datetime | None
    """Midtrans' own time for this change."""
    confirmed_at: datetime
    confirmed_by: str
    transaction_status: str
    fraud_status: str | None
    status_code: str | None
    custom_fields: tuple[str | None, str | None, str | None]
    metadata: Mapping[str, Any]

    @property
    def should_ship(self) -> bool:
        """Say whether this event, and no other of the order, is the one to ship on."""
        return (
            self.outcome_changed
            and self.outcome is Outcome.PAID
            and self.order.paid_payments == 1
            and self.order.amount_matches is not False
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the structured CloudEvent."""
        return {
            "specversion": "1.0",
            "id": self.id,
            "source": f"/midtrans/{self.merchant}",
            "type": self.type,
            "subject": self.order_id,
            "time": time_text(self.time),
            "datacontenttype": "application/json",
            "dataschema": DATA_SCHEMA,
            "partitionkey": f"{self.merchant}/{self.transaction_id}",
            "sequence": f"{self.sequence:010d}",
            "data": self._data(),
        }

    def _data(self) -> dict[str, Any]:
        return {
            "merchant": self.merchant,
            "order_id": self.order_id,
            "transaction_id": self.transaction_id,
            "payment_type": self.payment_type,
            "channel": self.channel,
            "status": self.status.value,
            "previous_status": None if self.previous_status is None else self.previous_status.value,
            "outcome": self.outcome.value,
            "outcome_changed": self.outcome_changed,
            "finality": "firm" if self.reversible_until is None else "provisional",
            "reversible_until": time_text_or_none(self.reversible_until),
            "irregular": self.irregular,
            "amount": self.amount.to_dict(),
            "amount_before_fee": None if self.amount_before_fee is None else self.amount_before_fee.to_dict(),
            "refunded": self.refunded.to_dict(),
            "refunds": [refund_to_dict(refund, self.amount.currency) for refund in self.refunds],
            "charged_back": self.charged_back.to_dict(),
            "order": self.order.to_dict(self.amount.currency),
            "occurred_at": time_text_or_none(self.occurred_at),
            "confirmed_at": time_text(self.confirmed_at),
            "confirmed_by": self.confirmed_by,
            "midtrans": {
                "transaction_status": self.transaction_status,
                "fraud_status": self.fraud_status,
                "status_code": self.status_code,
            },
            "custom_fields": list(self.custom_fields),
            "metadata": self.metadata,
        }

    def to_json(self) -> str:
        """Return the structured CloudEvent as compact JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False, separators=(",", ":"))

    @classmethod
    def from_dict(cls, event: Mapping[str, Any]) -> "PaymentEvent":
        """Return the event in a structured CloudEvent; fields added since are ignored.

        Raises KeyError, TypeError or ValueError when it is no payment event of this schema.
        """
        data, words = event["data"], event["data"]["midtrans"]
        previous, before_fee = data["previous_status"], data["amount_before_fee"]
        return cls(
            id=event["id"],
            type=event["type"],
            time=parse_time_text(event["time"]),
            sequence=int(event["sequence"]),
            merchant=data["merchant"],
            order_id=data["order_id"],
            transaction_id=data["transaction_id"],
            payment_type=data["payment_type"],
            channel=data["channel"],
            status=PaymentStatus(data["status"]),
            previous_status=None if previous is None else PaymentStatus(previous),
            outcome=Outcome(data["outcome"]),
            outcome_changed=data["outcome_changed"],
            reversible_until=parse_time_text_or_none(data["reversible_until"]),
            irregular=data["irregular"],
            amount=Money.from_dict(data["amount"]),
            amount_before_fee=None if before_fee is None else Money.from_dict(before_fee),
            refunded=Money.from_dict(data["refunded"]),
            refunds=tuple(map(refund_from_dict, data["refunds"])),
            charged_back=Money.from_dict(data["charged_back"]),
            order=OrderView.from_dict(data["order"]),
            occurred_at=parse_time_text_or_none(data["occurred_at"]),
            confirmed_at=parse_time_text(data["confirmed_at"]),
            confirmed_by=data["confirmed_by"],
            transaction_status=words["transaction_status"],
            fraud_status=words["fraud_status"],
            status_code=words["status_code"],
            custom_fields=tuple(data["custom_fields"]),
            metadata=data["metadata"],
        )


def change(previous: PaymentState | None, state: PaymentState) -> str | None:
    """Return the last part of the type of the one event for this step; None when there is nothing to tell.

    It is the status, or ``refund_confirmed`` when nothing but bank confirmations grew.
    """
    if previous is None or _money_moved(previous, state):
        return state.status.value
    return REFUND_CONFIRMED if state.refund_confirmations > previous.refund_confirmations else None


def _money_moved(previous: PaymentState, state: PaymentState) -> bool:
    return (previous.status, previous.amount, previous.refunded, previous.charged_back) != (
        state.status,
        state.amount,
        state.refunded,
        state.charged_back,
    )


def event_id(
    *,
    merchant: str,
    transaction_id: str,
    type: str,  # noqa: A002  (CloudEvents' word)
    status: PaymentStatus,
    amount: Decimal,
    refunded: Decimal,
    charged_back: Decimal,
    confirmed_refunds: int | None = None,
    entry: int = 1,
) -> str:
    """Return the id of what happened, never of when or how often we looked.

    *type* is the whole CloudEvents type. *confirmed_refunds* is for ``refund_confirmed`` alone; *entry*
    counts how often the payment came into *status*, and says nothing while it is 1.
    """
    name: list[Any] = [ID_VERSION, merchant, transaction_id, type, status.value]
    name += [money_text(amount), money_text(refunded), money_text(charged_back)]
    if confirmed_refunds is not None:
        name.append(confirmed_refunds)
    if entry > 1:
        name.append(entry)
    return str(uuid.uuid5(NAMESPACE, json.dumps(name, ensure_ascii=False, separators=(",", ":"))))


def make_event(
    *,
    merchant: str,
    order_id: str,
    transaction_id: str,
    previous: PaymentState | None,
    state: PaymentState,
    order: OrderView,
    irregular: bool,
    confirmed_at: datetime,
    confirmed_by: str,
    reversible_for: timedelta = REVERSIBLE_FOR,
) -> PaymentEvent:
    """Return the event of the step from *previous* to *state*, whose ``sequence`` is already this event's.

    Raises ValueError when the step makes no event (ask ``change`` first) or *confirmed_at* has no zone.
    """
    suffix = change(previous, state)
    if suffix is None:
        raise ValueError("nothing changed that makes an event")
    confirmed_at = whole_second(confirmed_at)
    occurred_at = _occurred_at(suffix, previous, state)
    currency = state.currency
    before_fee = state.amount_before_fee
    return PaymentEvent(
        id=_id_of(merchant, transaction_id, suffix, state),
        type=TYPE_PREFIX + suffix,
        time=confirmed_at if occurred_at is None else occurred_at,
        sequence=state.sequence,
        merchant=merchant,
        order_id=order_id,
        transaction_id=transaction_id,
        payment_type=state.payment_type,
        channel=state.channel,
        status=state.status,
        previous_status=None if previous is None else previous.status,
        outcome=OUTCOME_OF[state.status],
        outcome_changed=previous is None or OUTCOME_OF[previous.status] is not OUTCOME_OF[state.status],
        reversible_until=_reversible_until(state, confirmed_at, reversible_for),
        irregular=irregular,
        amount=Money(state.amount, currency),
        amount_before_fee=None if before_fee is None else Money(before_fee, currency),
        refunded=Money(state.refunded, currency),
        refunds=state.refunds,
        charged_back=Money(state.charged_back, currency),
        order=order,
        occurred_at=occurred_at,
        confirmed_at=confirmed_at,
        confirmed_by=confirmed_by,
        transaction_status=state.transaction_status,
        fraud_status=state.fraud_status,
        status_code=state.status_code,
        custom_fields=state.custom_fields,
        metadata=state.metadata,
    )


def _id_of(merchant: str, transaction_id: str, suffix: str, state: PaymentState) -> str:
    return event_id(
        merchant=merchant,
        transaction_id=transaction_id,
        type=TYPE_PREFIX + suffix,
        status=state.status,
        amount=state.amount,
        refunded=state.refunded,
        charged_back=state.charged_back,
        confirmed_refunds=state.refund_confirmations if suffix == REFUND_CONFIRMED else None,
        entry=state.entries.get(state.status, 1),
    )


def _occurred_at(suffix: str, previous: PaymentState | None, state: PaymentState) -> datetime | None:
    if suffix == REFUND_CONFIRMED:
        return _latest(refund.bank_confirmed_at for refund in state.refunds)
    grew = previous is not None and previous.status is state.status and state.refunded > previous.refunded
    if grew or state.status in _REFUND_STATUSES:
        return _latest(refund.created_at for refund in state.refunds)
    match state.status:
        case PaymentStatus.PENDING | PaymentStatus.AUTHORIZED | PaymentStatus.CAPTURED:
            return state.transaction_time
        case PaymentStatus.SETTLED:
            return state.settlement_time
        case PaymentStatus.EXPIRED:
            return state.expiry_time
    return None  # Midtrans names no time for it


def _latest(moments: Iterable[datetime | None]) -> datetime | None:
    return max((moment for moment in moments if moment is not None), default=None)


def _reversible_until(state: PaymentState, confirmed_at: datetime, span: timedelta) -> datetime | None:
    """Return when a settlement becomes firm; None when it is, or was when it was confirmed.

    Where Midtrans leaves the settlement_time out, it may have settled as late as the confirmation: never
    firm too early. The transaction_time is the charge's, hours before a customer pays at the counter.
    """
    if state.status is not PaymentStatus.SETTLED or not is_reversible(state.payment_type, state.channel):
        return None
    until = (state.settlement_time or confirmed_at) + span
    return until if until > confirmed_at else None

"""What is known of a payment, and how what Midtrans says now stands to it. No I/O, no clock.

A payment is one transaction_id. What one body says is ``PaymentFacts``; what all of them said is
``PaymentState``; ``compare`` judges and ``merge`` joins. A SAME merge is late detail (keys, method, reason):
it updates the state and makes no event.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from .facts import (
    DEFAULT_CURRENCY,
    FactsUnreadable,
    PaymentFacts,
    alarms_of,
    is_reversible,
    problem_of,
    read_facts,
)
from .refunds import (
    Refund,
    confirmed,
    merge_refunds,
    refund_from_dict,
    refund_to_dict,
    takes_back_confirmation,
)
from .status import AFTER_SETTLEMENT, DENIED, REVERSED, PaymentStatus, Relation, relation
from .values import money_text, parse_money_text, parse_time_text_or_none, time_text_or_none

__all__ = [
    "FactsUnreadable",
    "PaymentFacts",
    "PaymentState",
    "Refund",
    "alarms_of",
    "compare",
    "is_reversible",
    "merge",
    "problem_of",
    "read_facts",
]

ZERO: Final = Decimal("0.00")


@dataclass(frozen=True, slots=True)
class PaymentState:
    """What is known of one payment. Amounts have two decimals, times are UTC."""

    status: PaymentStatus
    amount: Decimal
    currency: str
    amount_before_fee: Decimal | None
    refunded: Decimal
    """All that went back so far; it never shrinks."""
    refunds: tuple[Refund, ...]
    refund_confirmations: int
    """How many refunds the bank confirmed; it never shrinks."""
    charged_back: Decimal
    """It never shrinks."""
    payment_type: str | None
    channel: str | None
    merchant_id: str | None
    transaction_time: datetime | None
    settlement_time: datetime | None
    expiry_time: datetime | None
    custom_fields: tuple[str | None, str | None, str | None]
    metadata: Mapping[str, Any]
    transaction_status: str
    fraud_status: str | None
    status_code: str | None
    settled_before: bool
    """The history says settled: a denial now is a reversal."""
    sequence: int
    """How many events the payment has had."""
    entries: Mapping[PaymentStatus, int]
    """How often each status was entered."""

    def to_json(self) -> str:
        """Return compact JSON that ``from_json`` reads back to an equal state."""
        return json.dumps(_state_to_dict(self), ensure_ascii=False, allow_nan=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> "PaymentState":
        """Return the state that ``to_json`` wrote; raise ValueError, KeyError or TypeError for other text."""
        return _state_from_dict(json.loads(text))


def compare(known: PaymentState | None, seen: PaymentFacts) -> Relation:
    """Say how *seen* stands to *known*.

    With equal status the amounts that only grow decide. What *seen* leaves out is not smaller.
    Raises ValueError for a status that we do not know: ask ``problem_of`` first.
    """
    status = _status_of(known, seen)
    if known is None:
        return Relation.NEXT
    between = relation(known.status, status)
    return _compare_amounts(known, seen) if between is Relation.SAME else between


def merge(known: PaymentState | None, seen: PaymentFacts) -> PaymentState:
    """Return *known* with *seen* taken as true: the caller has decided so by ``compare``.

    Refunded, charged back and bank confirmations keep their maximum, and what *seen* leaves out stays.
    A new status is counted in ``entries``; ``sequence`` is bumped by who makes the event.
    Raises ValueError where ``problem_of`` names an unknown status, or no amount is known at all.
    """
    status = _status_of(known, seen)
    if known is None:
        known = _blank(status, seen)
    refunds = merge_refunds(known.refunds, seen.refunds)
    entered = known.entries.get(status, 0) + (status is not known.status or not known.entries)
    return replace(
        known,
        status=status,
        amount=known.amount if seen.amount is None else seen.amount,
        currency=seen.currency or known.currency,
        amount_before_fee=_latest(known.amount_before_fee, seen.amount_before_fee),
        refunded=max(known.refunded, seen.refund_amount or ZERO),
        refunds=refunds,
        refund_confirmations=max(known.refund_confirmations, confirmed(refunds)),
        charged_back=max(known.charged_back, seen.charged_back or ZERO),
        payment_type=seen.payment_type or known.payment_type,
        channel=seen.channel or known.channel,
        merchant_id=seen.merchant_id or known.merchant_id,
        transaction_time=seen.transaction_time or known.transaction_time,
        settlement_time=seen.settlement_time or known.settlement_time,
        expiry_time=seen.expiry_time or known.expiry_time,
        custom_fields=_merge_custom_fields(known.custom_fields, seen.custom_fields),
        metadata={**known.metadata, **seen.metadata},
        transaction_status=seen.transaction_status,
        fraud_status=seen.fraud_status,
        status_code=seen.status_code,
        settled_before=known.settled_before or status in AFTER_SETTLEMENT,
        entries={**known.entries, status: entered},
    )


def _status_of(known: PaymentState | None, seen: PaymentFacts) -> PaymentStatus:
    """Return *seen*'s status in the light of the history: who was settled is not denied but reversed."""
    if seen.status is None:
        raise ValueError("facts without a known status cannot be compared")
    if (
        seen.status is DENIED
        and known is not None
        and (known.settled_before or _denial_reverses(known, seen))
    ):
        return REVERSED
    return seen.status


def _denial_reverses(known: PaymentState, seen: PaymentFacts) -> bool:
    """Say whether a body that left its channel out belongs to one whose only denial is a reversal."""
    return is_reversible(seen.payment_type or known.payment_type, seen.channel or known.channel)


def _compare_amounts(known: PaymentState, seen: PaymentFacts) -> Relation:
    refunded = known.refunded if seen.refund_amount is None else seen.refund_amount
    charged_back = known.charged_back if seen.charged_back is None else seen.charged_back
    confirmations = confirmed(merge_refunds(known.refunds, seen.refunds))
    if (
        refunded > known.refunded
        or charged_back > known.charged_back
        or confirmations > known.refund_confirmations
    ):
        return Relation.NEXT
    if (
        refunded < known.refunded
        or charged_back < known.charged_back
        or takes_back_confirmation(known.refunds, seen.refunds)
    ):
        return Relation.BEHIND
    if seen.amount is not None and seen.amount != known.amount:
        return Relation.CONTRADICTION
    return Relation.SAME


def _blank(status: PaymentStatus, seen: PaymentFacts) -> PaymentState:
    if seen.amount is None:
        raise ValueError("the first facts of a payment name no amount")
    return PaymentState(
        status=status,
        amount=seen.amount,
        currency=DEFAULT_CURRENCY,
        amount_before_fee=None,
        refunded=ZERO,
        refunds=(),
        refund_confirmations=0,
        charged_back=ZERO,
        payment_type=None,
        channel=None,
        merchant_id=None,
        transaction_time=None,
        settlement_time=None,
        expiry_time=None,
        custom_fields=(None, None, None),
        metadata={},
        transaction_status=seen.transaction_status,
        fraud_status=None,
        status_code=None,
        settled_before=False,
        sequence=0,
        entries={},
    )


def _latest(known: Decimal | None, seen: Decimal | None) -> Decimal | None:
    return known if seen is None else seen


def _merge_custom_fields(
    known: tuple[str | None, str | None, str | None], seen: tuple[str | None, str | None, str | None]
) -> tuple[str | None, str | None, str | None]:
    return (seen[0] or known[0], seen[1] or known[1], seen[2] or known[2])


def _state_to_dict(state: PaymentState) -> dict[str, Any]:
    return {
        "status": state.status.value,
        "amount": money_text(state.amount),
        "currency": state.currency,
        "amount_before_fee": None if state.amount_before_fee is None else money_text(state.amount_before_fee),
        "refunded": money_text(state.refunded),
        "refunds": [refund_to_dict(refund, state.currency) for refund in state.refunds],
        "refund_confirmations": state.refund_confirmations,
        "charged_back": money_text(state.charged_back),
        "payment_type": state.payment_type,
        "channel": state.channel,
        "merchant_id": state.merchant_id,
        "transaction_time": time_text_or_none(state.transaction_time),
        "settlement_time": time_text_or_none(state.settlement_time),
        "expiry_time": time_text_or_none(state.expiry_time),
        "custom_fields": list(state.custom_fields),
        "metadata": state.metadata,
        "transaction_status": state.transaction_status,
        "fraud_status": state.fraud_status,
        "status_code": state.status_code,
        "settled_before": state.settled_before,
        "sequence": state.sequence,
        "entries": {status.value: count for status, count in state.entries.items()},
    }


def _state_from_dict(data: dict[str, Any]) -> PaymentState:
    before_fee = data["amount_before_fee"]
    return PaymentState(
        **data
        | {
            "status": PaymentStatus(data["status"]),
            "amount": parse_money_text(data["amount"]),
            "amount_before_fee": None if before_fee is None else parse_money_text(before_fee),
            "refunded": parse_money_text(data["refunded"]),
            "refunds": tuple(refund_from_dict(refund) for refund in data["refunds"]),
            "charged_back": parse_money_text(data["charged_back"]),
            "transaction_time": parse_time_text_or_none(data["transaction_time"]),
            "settlement_time": parse_time_text_or_none(data["settlement_time"]),
            "expiry_time": parse_time_text_or_none(data["expiry_time"]),
            "custom_fields": tuple(data["custom_fields"]),
            "entries": {PaymentStatus(status): count for status, count in data["entries"].items()},
        }
    )

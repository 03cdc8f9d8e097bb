"""What one body of Midtrans says of a payment: a notification or the answer of GET status.

Reading is lenient (fields come and go without notice: Midtrans' technical FAQ); only a status and an amount
must be readable where they are given. Field by field: docs.midtrans.com/reference/get-transaction-status
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from .refunds import Refund, confirmed, read_refunds
from .status import (
    CHARGED_BACK,
    DENIED,
    PARTIALLY_CHARGED_BACK,
    PARTIALLY_REFUNDED,
    REFUNDED,
    REVERSED,
    PaymentStatus,
    read_status,
)
from .values import number_text, plain_json, read_money, read_text, read_time

DEFAULT_CURRENCY: Final = "IDR"
"""The only currency there is; several bodies leave it out."""

_CHANNEL_OF: Final[Mapping[str, str]] = {
    "echannel": "mandiri",
    "gopay": "gopay",
    "shopeepay": "shopeepay",
    "ovo": "ovo",
    "dana": "dana",
    "akulaku": "akulaku",
    "kredivo": "kredivo",
    "bca_klikpay": "bca",
    "bca_klikbca": "bca",
    "cimb_clicks": "cimb",
    "danamon_online": "danamon",
    "bri_epay": "bri",
    "mandiri_clickpay": "mandiri",
}
_REVERSIBLE: Final = frozenset(
    {("bank_transfer", "permata"), ("echannel", "mandiri"), ("cstore", "indomaret")}
)


class FactsUnreadable(Exception):
    """The body does not even say what became of the payment; ask again."""

    def __init__(self, field: str, problem: str) -> None:
        self.field = field
        self.problem = problem
        super().__init__(f"{field}: {problem}")


@dataclass(frozen=True, slots=True)
class PaymentFacts:
    """What one body says. None: it does not say; that takes nothing away from what is known."""

    order_id: str | None
    transaction_id: str | None
    merchant_id: str | None
    payment_type: str | None
    channel: str | None
    """Bank, store, wallet or acquirer, in lower case."""
    status: PaymentStatus | None
    """None for a word that we do not know."""
    amount: Decimal | None
    """With a fee that the customer pays, this includes it."""
    currency: str | None
    amount_before_fee: Decimal | None
    """What the merchant charged, where a fee was added to it."""
    refund_amount: Decimal | None
    """All that was refunded so far: refund_amount, else the sum of ``refunds``, else all of a refund."""
    refunds: tuple[Refund, ...]
    refund_confirmations: int
    """How many of ``refunds`` the bank confirmed."""
    charged_back: Decimal | None
    transaction_time: datetime | None
    settlement_time: datetime | None
    expiry_time: datetime | None
    custom_fields: tuple[str | None, str | None, str | None]
    metadata: Mapping[str, Any]
    transaction_status: str
    """The word as sent."""
    fraud_status: str | None
    status_code: str | None
    gross_amount: str | None
    """The text that was hashed, or the source of a number."""
    signature_key: str | None


def is_reversible(payment_type: str | None, channel: str | None) -> bool:
    """Say whether this channel takes settled money back, and denies in no other way.

    Permata VA, Mandiri bill and Indomaret (docs.midtrans.com/docs/transaction-status-cycle).
    """
    return (payment_type, channel) in _REVERSIBLE


def read_facts(body: Mapping[str, Any]) -> PaymentFacts:
    """Return what *body* says; raise FactsUnreadable without a transaction_status or with an odd amount.

    Unknown fields are ignored, and what is odd in an optional field counts as not said.
    """
    word = _word(body)
    fraud_status = read_text(body, "fraud_status")
    payment_type = _lower(read_text(body, "payment_type"))
    channel = _channel(body, payment_type)
    settlement_time = read_time(body.get("settlement_time"))
    status = read_status(word, fraud_status)
    if status is DENIED and (settlement_time or is_reversible(payment_type, channel)):
        status = REVERSED
    amount = _amount(body)
    refunds, all_read = read_refunds(body.get("refunds"))
    return PaymentFacts(
        order_id=read_text(body, "order_id"),
        transaction_id=read_text(body, "transaction_id"),
        merchant_id=read_text(body, "merchant_id"),
        payment_type=payment_type,
        channel=channel,
        status=status,
        amount=amount,
        currency=read_text(body, "currency"),
        amount_before_fee=_amount_before_fee(body.get("metadata")),
        refund_amount=_refund_amount(body, status, amount, refunds if all_read else ()),
        refunds=refunds,
        refund_confirmations=confirmed(refunds),
        charged_back=_charged_back(body, status, amount),
        transaction_time=read_time(body.get("transaction_time")),
        settlement_time=settlement_time,
        expiry_time=read_time(body.get("expiry_time")),
        custom_fields=tuple(read_text(body, f"custom_field{n}") for n in (1, 2, 3)),  # type: ignore[arg-type]
        metadata=_metadata(body.get("metadata")),
        transaction_status=word,
        fraud_status=fraud_status,
        status_code=_text_or_number(body, "status_code"),
        gross_amount=_text_or_number(body, "gross_amount"),
        signature_key=read_text(body, "signature_key"),
    )


def problem_of(seen: PaymentFacts) -> str | None:
    """Return why *seen* can change nothing and has to be asked for again, or None.

    ``status_unknown``, ``amount_missing``, ``partial_refund_without_amount``.
    """
    if seen.status is None:
        return "status_unknown"
    if seen.amount is None:
        return "amount_missing"
    if seen.status is PARTIALLY_REFUNDED and not seen.refund_amount:
        return "partial_refund_without_amount"
    return None


def alarms_of(seen: PaymentFacts) -> tuple[str, ...]:
    """Return what an operator should look at although *seen* counts.

    ``partial_chargeback_without_amount``, ``refunded_more_than_paid``, ``currency_not_idr``.
    """
    alarms = []
    if seen.status is PARTIALLY_CHARGED_BACK and not seen.charged_back:
        alarms.append("partial_chargeback_without_amount")
    if seen.amount is not None and seen.refund_amount is not None and seen.refund_amount > seen.amount:
        alarms.append("refunded_more_than_paid")
    if seen.currency is not None and seen.currency != DEFAULT_CURRENCY:
        alarms.append("currency_not_idr")
    return tuple(alarms)


def _word(body: Mapping[str, Any]) -> str:
    word = read_text(body, "transaction_status")
    if word is None:
        raise FactsUnreadable("transaction_status", "missing, empty or no text")
    return word


def _amount(body: Mapping[str, Any]) -> Decimal | None:
    if body.get("gross_amount") is None:
        return None
    amount = read_money(body["gross_amount"])
    if amount is None:
        raise FactsUnreadable("gross_amount", "no amount with at most two decimals")
    return amount


def _lower(text: str | None) -> str | None:
    return None if text is None else text.lower()


def _text_or_number(body: Mapping[str, Any], name: str) -> str | None:
    return read_text(body, name) or number_text(body.get(name))


def _channel(body: Mapping[str, Any], payment_type: str | None) -> str | None:
    match payment_type:
        case "bank_transfer":
            return _va_bank(body)
        case "cstore":
            return _lower(read_text(body, "store"))
        case "qris":
            return _lower(read_text(body, "acquirer"))
        case "credit_card":
            return _lower(read_text(body, "bank"))
        case str() if payment_type in _CHANNEL_OF:
            return _CHANNEL_OF[payment_type]
    named = read_text(body, "bank") or read_text(body, "store") or read_text(body, "acquirer")
    return _lower(named) or _va_bank(body)


def _va_bank(body: Mapping[str, Any]) -> str | None:
    """Return the bank of a virtual account; Permata has a field of its own, an expiry may name none."""
    if "permata_va_number" in body:
        return "permata"
    numbers = body.get("va_numbers")
    first = numbers[0] if isinstance(numbers, list) and numbers else None
    named = read_text(first, "bank") if isinstance(first, Mapping) else None
    return _lower(named or read_text(body, "bank"))


def _metadata(value: object) -> Mapping[str, Any]:
    plain: Mapping[str, Any] = plain_json(value) if isinstance(value, Mapping) else {}
    return plain


def _amount_before_fee(metadata: object) -> Decimal | None:
    """Return metadata.extra_info.gross_amount_info.original_amount (Midtrans/midtrans-php issue 118)."""
    value = metadata
    for name in ("extra_info", "gross_amount_info", "original_amount"):
        value = value.get(name) if isinstance(value, Mapping) else None
    return read_money(value)


def _refund_amount(
    body: Mapping[str, Any],
    status: PaymentStatus | None,
    amount: Decimal | None,
    refunds: Sequence[Refund],
) -> Decimal | None:
    named = read_money(body.get("refund_amount"))
    if named is not None:
        return named
    if refunds:
        return sum((refund.amount for refund in refunds), Decimal("0.00"))
    return amount if status is REFUNDED else None


def _charged_back(
    body: Mapping[str, Any], status: PaymentStatus | None, amount: Decimal | None
) -> Decimal | None:
    """Return all of a chargeback, or the part that the body names. No page shows the field (inferred)."""
    if status is CHARGED_BACK:
        return amount
    return read_money(body.get("chargeback_amount"))

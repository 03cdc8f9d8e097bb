"""What this Midtrans keeps of a payment, and which steps are open to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

AUTHORIZATION_HOLDS = timedelta(days=8)  # an authorisation that nobody captures expires after eight days

# Status and cancel know these by transaction_id alone, and answer it in order_id's place.
SWAPPED_BANKS = frozenset({"danamon", "bsi", "seabank", "saqu"})
FULL_REFUND_ONLY = frozenset({"shopeepay", "ovo"})
NOT_REFUNDABLE = frozenset({"bank_transfer", "echannel", "cstore"})


class Step(StrEnum):
    """One thing that can happen to a payment; the words are this package's method names."""

    PAY = "pay"  # the customer pays
    COMPLETE_3DS = "complete_3ds"  # the customer passes or fails the card's 3DS page
    DENY_PAYMENT = "deny_payment"  # the bank or the provider says no
    FAIL = "fail"  # the provider breaks
    EXPIRE = "expire"  # the shop or the clock ends it
    CANCEL = "cancel"  # the shop takes it back
    CAPTURE = "capture"  # the shop takes what was reserved
    APPROVE = "approve"  # the shop accepts a challenged card
    DENY = "deny"  # the shop refuses a challenged card
    SETTLE = "settle"  # the bank's daily batch
    REVERSE = "reverse"  # the bank takes a settlement back
    REFUND = "refund"  # the shop gives money back
    CONFIRM_REFUND = "confirm_refund"  # the bank confirms a refund
    CHARGEBACK = "chargeback"  # the card holder disputes all of it
    PARTIAL_CHARGEBACK = "partial_chargeback"  # the card holder disputes a part


_PENDING = frozenset({Step.PAY, Step.COMPLETE_3DS, Step.DENY_PAYMENT, Step.FAIL, Step.EXPIRE, Step.CANCEL})
_OPEN: Mapping[str, frozenset[Step]] = {
    "pending": _PENDING,
    "authorize": frozenset({Step.CAPTURE, Step.CANCEL, Step.DENY_PAYMENT}),
    "capture": frozenset({Step.SETTLE, Step.CANCEL, Step.APPROVE, Step.DENY}),
    "settlement": frozenset({Step.REVERSE, Step.REFUND, Step.CHARGEBACK, Step.PARTIAL_CHARGEBACK}),
    "partial_refund": frozenset({Step.REFUND, Step.CONFIRM_REFUND}),
    "refund": frozenset({Step.CONFIRM_REFUND}),
    "partial_chargeback": frozenset({Step.CHARGEBACK, Step.PARTIAL_CHARGEBACK}),
}


@dataclass
class Refund:
    """One refund: first asked for, later confirmed by the bank."""

    key: str
    amount: Decimal
    chargeback_id: int  # 18 digits: above 2**53, as Midtrans sends it
    chargeback_uuid: str
    created_at: datetime
    method: str  # online or offline; shown once the bank has confirmed
    reason: str | None = None
    bank_confirmed_at: datetime | None = None


@dataclass
class Transaction:
    """One payment. Read it freely; only ``Account`` changes it."""

    order_id: str
    transaction_id: str
    payment_type: str
    channel: str  # bank, store or acquirer; "" where there is none
    gross_amount: Decimal
    transaction_time: datetime
    status: str = "pending"
    fraud_status: str | None = "accept"
    expiry_time: datetime | None = None
    settlement_time: datetime | None = None
    details: dict[str, Any] = field(default_factory=dict)  # in every body of this payment
    offered: dict[str, Any] = field(default_factory=dict)  # in the charge's answer: actions, redirect_url
    when_paid: dict[str, Any] = field(default_factory=dict)  # from the payment on: issuer, approval_code
    when_denied: dict[str, Any] = field(default_factory=dict)  # channel_response_* of a denial
    echoed: dict[str, Any] = field(default_factory=dict)  # custom fields and metadata of the charge
    card_outcome: str = ""  # accept, challenge, deny or fraud: what follows 3DS
    preauthorized: bool = False
    refunds: list[Refund] = field(default_factory=list)
    charged_back: Decimal = Decimal(0)
    history: list[str] = field(default_factory=list)  # every status it had, in order
    refuse_next: set[Step] = field(default_factory=set)

    @property
    def swapped(self) -> bool:
        """Whether Midtrans' answers name the transaction_id as order_id, and only find it by that."""
        return self.payment_type == "dana" or self.channel in SWAPPED_BANKS

    @property
    def challenged(self) -> bool:
        """Whether a person has to approve or deny this card payment."""
        return self.status == "capture" and self.fraud_status == "challenge"

    @property
    def reversible(self) -> bool:
        """Whether the bank may take a settlement of this channel back."""
        return self.payment_type == "echannel" or self.channel in {"permata", "indomaret"}

    @property
    def refunded(self) -> Decimal:
        """All refunds together."""
        return sum((refund.amount for refund in self.refunds), Decimal(0))

    def advance(self, status: str) -> None:
        """Take *status* and remember it."""
        self.status = status
        self.history.append(status)

    def steps(self) -> frozenset[Step]:
        """Return what Midtrans lets happen to it now."""
        return frozenset(step for step in _OPEN.get(self.status, ()) if self._fits(step))

    def _fits(self, step: Step) -> bool:
        card = self.payment_type == "credit_card"
        conditions = {
            Step.PAY: not card,
            Step.FAIL: not card,
            Step.COMPLETE_3DS: card,
            Step.APPROVE: self.challenged,
            Step.DENY: self.challenged,
            Step.REVERSE: self.reversible,
            Step.REFUND: self.payment_type not in NOT_REFUNDABLE,
            Step.CONFIRM_REFUND: any(refund.bank_confirmed_at is None for refund in self.refunds),
        }
        return conditions.get(step, True)

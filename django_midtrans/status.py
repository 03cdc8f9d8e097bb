"""Midtrans' status words, what they mean for the money, and which may follow which: the one table.

The code, the diagram in ``docs/states.md``, the Django choices and the tests all come from ``STATUS_OF``,
``OUTCOME_OF`` and ``STEPS``. Sources: docs.midtrans.com/docs/transaction-status-cycle,
docs.midtrans.com/reference/transaction-status and docs.midtrans.com/reference/get-transaction-status.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class PaymentStatus(StrEnum):
    """What a payment is. The values are part of event types and ids and never change."""

    PENDING = "pending"
    """Waits for the customer; of a card, 3DS is open."""
    AUTHORIZED = "authorized"
    """A card amount is reserved and may be captured."""
    CHALLENGED = "challenged"
    """The fraud check wants a person to approve or deny; not money yet."""
    CAPTURED = "captured"
    """A card was charged; it settles by itself."""
    SETTLED = "settled"
    """The money is the merchant's."""
    DENIED = "denied"
    """Refused by the bank, the provider or the fraud check."""
    CANCELLED = "cancelled"
    """Voided before it was settled."""
    EXPIRED = "expired"
    """Not paid in time."""
    FAILED = "failed"
    """Broken on the way; what was deducted goes back to the customer by itself."""
    PARTIALLY_REFUNDED = "partially_refunded"
    """A part of the money went back."""
    REFUNDED = "refunded"
    """All of the money went back."""
    PARTIALLY_CHARGED_BACK = "partially_charged_back"
    """The card holder disputes a part."""
    CHARGED_BACK = "charged_back"
    """The card holder disputes all of it."""
    REVERSED = "reversed"
    """Denied after it had been settled: the provider took the money back."""


class Outcome(StrEnum):
    """What a status means for the shop."""

    OPEN = "open"
    """Not decided."""
    PAID = "paid"
    """The merchant holds money for it."""
    UNPAID = "unpaid"
    """Over, and no money came."""
    RETURNED = "returned"
    """Money came and is gone again."""


class Relation(StrEnum):
    """How what Midtrans says now stands to what is known."""

    NEXT = "next"
    """It follows, in one or more steps: skipping is normal."""
    SAME = "same"
    """Midtrans repeats itself."""
    BEHIND = "behind"
    """What is known follows from it: late, and never applied."""
    CONTRADICTION = "contradiction"
    """Neither leads to the other."""


PENDING, AUTHORIZED, CHALLENGED = PaymentStatus.PENDING, PaymentStatus.AUTHORIZED, PaymentStatus.CHALLENGED
CAPTURED, SETTLED, DENIED = PaymentStatus.CAPTURED, PaymentStatus.SETTLED, PaymentStatus.DENIED
CANCELLED, EXPIRED, FAILED = PaymentStatus.CANCELLED, PaymentStatus.EXPIRED, PaymentStatus.FAILED
PARTIALLY_REFUNDED, REFUNDED = PaymentStatus.PARTIALLY_REFUNDED, PaymentStatus.REFUNDED
PARTIALLY_CHARGED_BACK, CHARGED_BACK = PaymentStatus.PARTIALLY_CHARGED_BACK, PaymentStatus.CHARGED_BACK
REVERSED = PaymentStatus.REVERSED

OUTCOME_OF: Final[Mapping[PaymentStatus, Outcome]] = MappingProxyType(
    {
        PENDING: Outcome.OPEN,
        AUTHORIZED: Outcome.OPEN,
        CHALLENGED: Outcome.OPEN,
        CAPTURED: Outcome.PAID,
        SETTLED: Outcome.PAID,
        PARTIALLY_REFUNDED: Outcome.PAID,
        PARTIALLY_CHARGED_BACK: Outcome.PAID,
        DENIED: Outcome.UNPAID,
        CANCELLED: Outcome.UNPAID,
        EXPIRED: Outcome.UNPAID,
        FAILED: Outcome.UNPAID,
        REFUNDED: Outcome.RETURNED,
        CHARGED_BACK: Outcome.RETURNED,
        REVERSED: Outcome.RETURNED,
    }
)

STEPS: Final[Mapping[PaymentStatus, frozenset[PaymentStatus]]] = MappingProxyType(
    {
        # A card is pending while 3DS is open, and goes on to whatever the bank and the fraud check say.
        PENDING: frozenset(
            {AUTHORIZED, CHALLENGED, CAPTURED, SETTLED, DENIED, CANCELLED, EXPIRED, FAILED},
        ),
        # The fraud check comes before the reservation counts, so the way back is no step: with both ways
        # an old answer could undo an approval. Approved, it is what the word says: authorize or capture.
        CHALLENGED: frozenset({AUTHORIZED, CAPTURED, DENIED, CANCELLED}),
        # A refused capture is answered with deny but leaves the payment authorized (pre-authorization page).
        AUTHORIZED: frozenset({CAPTURED, DENIED, CANCELLED, EXPIRED}),
        # Refunds begin at settlement; before it a card is cancelled (refund page).
        CAPTURED: frozenset({SETTLED, CANCELLED}),
        # Settlement to deny is the reversal of Permata VA, Mandiri bill and Indomaret.
        SETTLED: frozenset({PARTIALLY_REFUNDED, REFUNDED, PARTIALLY_CHARGED_BACK, CHARGED_BACK, REVERSED}),
        # A further partial refund stays in its status: the amount grows.
        PARTIALLY_REFUNDED: frozenset({REFUNDED}),
        PARTIALLY_CHARGED_BACK: frozenset({CHARGED_BACK}),
        # Another try of the customer after a denial is another transaction_id, another payment.
        DENIED: frozenset(),
        CANCELLED: frozenset(),
        EXPIRED: frozenset(),
        FAILED: frozenset(),
        REFUNDED: frozenset(),
        CHARGED_BACK: frozenset(),
        REVERSED: frozenset(),
    }
)


def _reachable(start: PaymentStatus) -> frozenset[PaymentStatus]:
    found: set[PaymentStatus] = set()
    ahead = [start]
    while ahead:
        new = STEPS[ahead.pop()] - found
        found |= new
        ahead.extend(new)
    return frozenset(found)


REACHABLE: Final[Mapping[PaymentStatus, frozenset[PaymentStatus]]] = MappingProxyType(
    {status: _reachable(status) for status in PaymentStatus}
)
"""What may follow in one or more steps."""

AFTER_SETTLEMENT: Final = frozenset({SETTLED}) | REACHABLE[SETTLED]
"""Who is or was in one of these has been settled: a denial then is a reversal."""

ANY_FRAUD_STATUS: Final = "*"
"""In ``STATUS_OF``: the fraud_status decides nothing."""

STATUS_OF: Final[Mapping[tuple[str, str | None], PaymentStatus]] = MappingProxyType(
    {
        # (transaction_status, fraud_status); an absent fraud_status counts as accept
        ("pending", ANY_FRAUD_STATUS): PENDING,
        ("authorize", None): AUTHORIZED,
        ("authorize", "accept"): AUTHORIZED,
        ("authorize", "challenge"): CHALLENGED,
        ("authorize", "deny"): DENIED,
        ("capture", None): CAPTURED,
        ("capture", "accept"): CAPTURED,
        ("capture", "challenge"): CHALLENGED,  # not money yet: a person decides
        ("capture", "deny"): DENIED,
        ("settlement", None): SETTLED,
        ("settlement", "accept"): SETTLED,
        ("settlement", "challenge"): CHALLENGED,  # Akulaku and Kredivo are challenged and have no capture
        ("settlement", "deny"): DENIED,  # the docs' rule of success wants accept or nothing
        ("deny", ANY_FRAUD_STATUS): DENIED,
        ("cancel", ANY_FRAUD_STATUS): CANCELLED,
        ("expire", ANY_FRAUD_STATUS): EXPIRED,
        ("failure", ANY_FRAUD_STATUS): FAILED,
        ("refund", ANY_FRAUD_STATUS): REFUNDED,
        ("partial_refund", ANY_FRAUD_STATUS): PARTIALLY_REFUNDED,
        ("chargeback", ANY_FRAUD_STATUS): CHARGED_BACK,
        ("partial_chargeback", ANY_FRAUD_STATUS): PARTIALLY_CHARGED_BACK,
    }
)

_FRAUD_SPELLINGS: Final[Mapping[str, str | None]] = {"denied": "deny", "": None}  # "denied": the OVO page


def read_status(transaction_status: str, fraud_status: str | None) -> PaymentStatus | None:
    """Return what the two words mean, however they are capitalized; None for a word we do not know.

    ``deny`` is DENIED here: whether it is a reversal depends on the rest of the body and on the history.
    """
    word = transaction_status.lower()
    without_fraud = STATUS_OF.get((word, ANY_FRAUD_STATUS))
    if without_fraud is not None:
        return without_fraud
    fraud = None if fraud_status is None else fraud_status.lower()
    return STATUS_OF.get((word, fraud if fraud is None else _FRAUD_SPELLINGS.get(fraud, fraud)))


def relation(known: PaymentStatus, seen: PaymentStatus) -> Relation:
    """Say how *seen* stands to *known*, by their statuses alone. Late or repeated is normal."""
    if seen is known:
        return Relation.SAME
    if seen in REACHABLE[known]:
        return Relation.NEXT
    return Relation.BEHIND if known in REACHABLE[seen] else Relation.CONTRADICTION

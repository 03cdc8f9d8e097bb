"""Do this order and this transaction belong together? A notification's word for it is not enough.

The signature covers order_id, status_code and gross_amount, never transaction_id (source:
docs.midtrans.com/docs/https-notification-webhooks): whoever holds one genuine body can write another
payment's transaction_id into it. So a pair counts only when something else than the body vouches for it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from .facts import PaymentFacts
from .signature import signature_matches


class Proof(StrEnum):
    """What vouches for a pair of order_id and transaction_id, strongest first."""

    BOUND = "bound"
    """The pair was proven before; a binding never changes."""
    NAMED = "named"
    """The answer about the transaction names the order."""
    EXPECTED = "expected"
    """The shop said that it charged this order as this transaction."""
    SIGNED = "signed"
    """The answer's own signature verifies with the order in the place of the answer's order_id."""
    BY_ORDER = "by_order"
    """The answer about the order names the transaction."""
    ALONE = "alone"
    """Nothing speaks against it: the answer puts the transaction_id in the place of the order_id, as for DANA and
    the BI-SNAP VAs (midtrans-php issues 113 and 121), the amounts agree, and nobody else claims it. The first
    claim wins: who holds a genuine body of such a channel can be the first to name another's transaction."""


class Disproof(StrEnum):
    """Why a pair does not count."""

    BOUND_ELSEWHERE = "bound_elsewhere"
    """The transaction is bound to another order."""
    OTHER_MERCHANT = "other_merchant"
    """Both sides name a merchant_id, and not the same."""
    OTHER_ORDER = "other_order"
    """The transaction was found and nothing ties it to this order."""
    RIVAL_CLAIM = "rival_claim"
    """Only the last clause could prove it, and another order claimed the transaction first."""


@dataclass(frozen=True, slots=True)
class Pair:
    """What was notified, and what is known about it besides Midtrans' answers.

    *merchant_ids* are the notified and the configured one, where there are any. *bound_to* is the order that the
    transaction is bound to, *expected_order* the order that an expectation names for the transaction,
    *expected_transaction* the transaction that one names for the order; *rivals* are other orders that claimed
    the transaction earlier and are still open.
    """

    order_id: str
    transaction_id: str
    amount: Decimal | None
    merchant_ids: tuple[str, ...] = ()
    bound_to: str | None = None
    expected_order: str | None = None
    expected_transaction: str | None = None
    rivals: tuple[str, ...] = ()


def prove_by_answer(pair: Pair, answer: PaymentFacts, keys: Iterable[str]) -> Proof | Disproof | None:
    """Judge by get_status(transaction_id) alone; None: get_status(order_id) has to be asked too."""
    if _names_other_merchant(pair, answer):
        return Disproof.OTHER_MERCHANT
    if pair.bound_to is not None:
        return Proof.BOUND if pair.bound_to == pair.order_id else Disproof.BOUND_ELSEWHERE
    if answer.order_id == pair.order_id:
        return Proof.NAMED
    if pair.expected_transaction == pair.transaction_id or pair.expected_order == pair.order_id:
        return Proof.EXPECTED
    return Proof.SIGNED if _signed_for(pair.order_id, answer, keys) else None


def prove(
    pair: Pair, answer: PaymentFacts, by_order: PaymentFacts | None, keys: Iterable[str]
) -> Proof | Disproof:
    """Judge by both answers; *by_order* is None when get_status(order_id) was 404."""
    early = prove_by_answer(pair, answer, keys)
    if early is not None:
        return early
    if by_order is not None:
        named = by_order.transaction_id == pair.transaction_id
        return Proof.BY_ORDER if named else Disproof.OTHER_ORDER
    return _prove_alone(pair, answer)


def _prove_alone(pair: Pair, answer: PaymentFacts) -> Proof | Disproof:
    names_itself = answer.order_id is not None and answer.order_id == answer.transaction_id
    if not names_itself or answer.transaction_id != pair.transaction_id or not _same_amount(pair, answer):
        return Disproof.OTHER_ORDER
    if pair.expected_order is not None:  # and it is another: the same one was proof enough
        return Disproof.OTHER_ORDER
    return Disproof.RIVAL_CLAIM if pair.rivals else Proof.ALONE


def _same_amount(pair: Pair, answer: PaymentFacts) -> bool:
    return pair.amount is not None and answer.amount == pair.amount


def _names_other_merchant(pair: Pair, answer: PaymentFacts) -> bool:
    return answer.merchant_id is not None and any(
        merchant_id != answer.merchant_id for merchant_id in pair.merchant_ids
    )


def _signed_for(order_id: str, answer: PaymentFacts, keys: Iterable[str]) -> bool:
    if not (answer.status_code and answer.gross_amount and answer.signature_key):
        return False
    return any(
        signature_matches(order_id, answer.status_code, answer.gross_amount, answer.signature_key, key)
        for key in keys
    )

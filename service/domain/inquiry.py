"""What asking Midtrans brought: one reply, or the two that a pair may need."""

from dataclasses import dataclass
from datetime import datetime

from django_midtrans.facts import PaymentFacts


@dataclass(frozen=True, slots=True)
class Missing:
    """Midtrans says in JSON that it does not know what was *asked* (404): not yet, or never."""

    asked: str
    asked_at: datetime
    answered_at: datetime
    http_status: int
    raw: bytes


@dataclass(frozen=True, slots=True)
class Found:
    """Midtrans' answer about a transaction; *raw* is its bytes, kept as evidence."""

    asked: str
    asked_at: datetime
    answered_at: datetime
    http_status: int
    raw: bytes
    facts: PaymentFacts


Reply = Found | Missing


@dataclass(frozen=True, slots=True)
class Inquiry:
    """The replies about a claim, by transaction and by order; None: not asked."""

    by_transaction: Reply | None
    by_order: Reply | None

    @property
    def replies(self) -> tuple[Reply, ...]:
        """Return the replies in the order they came."""
        return tuple(reply for reply in (self.by_transaction, self.by_order) if reply is not None)

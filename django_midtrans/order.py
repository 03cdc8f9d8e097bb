"""The order as an event shows it: what its payments come to, and whether the amount is the expected one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from .status import Outcome
from .values import money_text, parse_money_text


@dataclass(frozen=True, slots=True)
class Money:
    """An amount with its currency; text with two decimals outside."""

    value: Decimal
    currency: str

    def to_dict(self) -> dict[str, str]:
        """Return the JSON form."""
        return {"value": money_text(self.value), "currency": self.currency}

    @classmethod
    def from_dict(cls, data: Mapping[str, str]) -> "Money":
        """Return what ``to_dict`` wrote; raise KeyError, TypeError or ValueError for anything else."""
        return cls(parse_money_text(data["value"]), data["currency"])


@dataclass(frozen=True, slots=True)
class OrderView:
    """The whole order as known when the event was made."""

    outcome: Outcome
    paid_payments: int
    """How many of the order's payments are paid, this one included."""
    expected: Decimal | None
    amount_matches: bool | None
    """None without an expectation."""

    def to_dict(self, currency: str) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "outcome": self.outcome.value,
            "paid_payments": self.paid_payments,
            "expected": None if self.expected is None else Money(self.expected, currency).to_dict(),
            "amount_matches": self.amount_matches,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "OrderView":
        """Return what ``to_dict`` wrote; raise KeyError, TypeError or ValueError for anything else."""
        expected = data["expected"]
        return cls(
            outcome=Outcome(data["outcome"]),
            paid_payments=data["paid_payments"],
            expected=None if expected is None else Money.from_dict(expected).value,
            amount_matches=data["amount_matches"],
        )


def order_view(
    outcomes: Sequence[Outcome],
    *,
    expected: Decimal | None,
    amount: Decimal,
    amount_before_fee: Decimal | None,
) -> OrderView:
    """Return the order whose payments have these *outcomes*, this one included.

    *expected* is what the shop said it charged; where a customer pays a fee, the amount before it counts.
    """
    charged = amount if amount_before_fee is None else amount_before_fee
    return OrderView(
        outcome=order_outcome(outcomes),
        paid_payments=sum(outcome is Outcome.PAID for outcome in outcomes),
        expected=expected,
        amount_matches=None if expected is None else expected == charged,
    )


def order_outcome(outcomes: Sequence[Outcome]) -> Outcome:
    """Return what the payments come to: paid if any is, else open, else returned, else unpaid.

    Raises ValueError for an order without payments.
    """
    for outcome in (Outcome.PAID, Outcome.OPEN, Outcome.RETURNED, Outcome.UNPAID):
        if outcome in outcomes:
            return outcome
    raise ValueError("an order without payments has no outcome")

"""The whole order as known now: what its payments come to, and whether their amount is the expected one."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import NamedTuple

from django_midtrans.order import OrderView, order_outcome, order_view
from django_midtrans.status import Outcome


class Charged(NamedTuple):
    """A payment of the order, as far as the order is concerned."""

    outcome: Outcome
    amount: Decimal
    amount_before_fee: Decimal | None


def order_now(payments: Sequence[Charged], *, expected: Decimal | None) -> OrderView | None:
    """Return what *payments* come to; None for none.

    The amount matches when that of every payment does which makes the outcome: of a paid order every paid one.
    """
    if not payments:
        return None
    outcomes = [payment.outcome for payment in payments]
    views = [
        order_view(
            outcomes, expected=expected, amount=payment.amount, amount_before_fee=payment.amount_before_fee
        )
        for payment in payments
        if payment.outcome is order_outcome(outcomes)
    ]
    if expected is None:
        return views[0]
    return replace(views[0], amount_matches=all(view.amount_matches for view in views))

from decimal import Decimal
from typing import Any

import pytest

from django_midtrans.status import Outcome
from service.domain.orders import Charged, order_now


@pytest.mark.parametrize(
    ("payments", "expected", "view"),
    [
        ([], "10.00", None),
        ([("paid", "10.00", None)], None, ("paid", 1, None)),
        ([("paid", "10.00", None)], "10.00", ("paid", 1, True)),
        ([("paid", "12.00", "10.00")], "10.00", ("paid", 1, True)),
        ([("unpaid", "9.00", None), ("paid", "10.00", None)], "10.00", ("paid", 1, True)),
        ([("paid", "10.00", None), ("paid", "9.00", None)], "10.00", ("paid", 2, False)),
        ([("unpaid", "10.00", None), ("open", "9.00", None)], "10.00", ("open", 0, False)),
    ],
)
def test_the_amount_that_must_match_is_that_of_the_payments_that_count(
    payments: list[tuple[str, str, str | None]], expected: str | None, view: Any
) -> None:
    charged = [
        Charged(Outcome(outcome), Decimal(amount), Decimal(before) if before else None)
        for outcome, amount, before in payments
    ]
    found = order_now(charged, expected=Decimal(expected) if expected else None)
    assert view == (found and (found.outcome.value, found.paid_payments, found.amount_matches))

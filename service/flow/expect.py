"""Step 0: a shop says "a charge was made". What it names proves pairs, and what is never heard of is asked for."""

from dataclasses import replace
from typing import Protocol

from service.domain.reconcile import CheckTimes
from service.domain.records import Check, Expectation
from service.flow import edges
from service.flow.reconcile import plan_expectation


class Receipts(Protocol):
    """Notifications as they came."""

    def reopen_held(self, merchant: str, order_id: str) -> int:
        """Set the order's held receipts going again; return how many."""


class Unit(edges.Unit, Protocol):
    """What is needed of a unit of work."""

    @property
    def receipts(self) -> Receipts:
        """Notifications as they came."""


def expect(unit: Unit, expectation: Expectation, times: CheckTimes) -> bool:
    """Keep *expectation* in the place of an earlier one of the order; say whether it is the first.

    The order's held receipts go on: with it their pair may be proven. Nothing heard of it in time, it is asked for,
    counted from when it last changed; the same again changes nothing.
    """
    unit.claims.hold(expectation.merchant, [expectation.order_id])
    before = unit.expectations.of_order(expectation.merchant, expectation.order_id)
    if before is not None and _says_the_same(before, expectation):
        return False
    if before is not None:  # it may have named another transaction
        unit.checks.put(Check(before.merchant, before.order_id, before.transaction_id), None)
    unit.expectations.put(expectation)
    unit.receipts.reopen_held(expectation.merchant, expectation.order_id)
    plan_expectation(unit, replace(expectation, changed_at=unit.now), times)
    return before is None


def _says_the_same(one: Expectation, other: Expectation) -> bool:
    return (one.gross_amount, one.expires_at, one.transaction_id) == (
        other.gross_amount,
        other.expires_at,
        other.transaction_id,
    )

"""Step 0: a shop says "a charge was made". What it names proves pairs, and what is never heard of is asked for."""

from typing import Protocol

from service.domain.reconcile import CheckTimes
from service.domain.records import Expectation
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

    The order's held receipts go on: with it their pair may be proven. Nothing heard of it in time, it is asked for.
    """
    first = unit.expectations.put(expectation)
    unit.receipts.reopen_held(expectation.merchant, expectation.order_id)
    kept = unit.expectations.of_order(expectation.merchant, expectation.order_id)
    if kept is not None:
        plan_expectation(unit, kept, times)
    return first

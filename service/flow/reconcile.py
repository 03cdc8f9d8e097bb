"""Step 2b: what should have been heard of by now is asked for. Plans the questions; `confirm` asks them."""

from datetime import datetime

from service.domain.reconcile import CheckTimes, next_check_of_expectation, next_check_of_payment
from service.domain.records import Check, Claim, Expectation, PaymentRecord
from service.flow.edges import Unit


def plan_payment(
    unit: Unit, record: PaymentRecord, known: PaymentRecord | None, times: CheckTimes, *, expected: bool
) -> None:
    """Plan when a payment that was just written is asked about next, if ever.

    *expected*: an expectation of the order may have planned a question of its own, which this one replaces.
    """
    check = Check(record.merchant, record.order_id, record.transaction_id)
    due_at = _due_at(record, unit.now, times)
    was_planned = expected or (known is not None and _due_at(known, known.created_at or unit.now, times))
    if due_at is not None or was_planned:
        unit.checks.put(check, due_at)
    if expected and known is None:
        unit.checks.put(Check(record.merchant, record.order_id, None), None)


def plan_expectation(unit: Unit, expectation: Expectation, times: CheckTimes) -> None:
    """Plan when an order is asked about of which nothing has been heard."""
    if unit.payments.of_order(expectation.merchant, expectation.order_id):
        return
    expected_at = expectation.changed_at or unit.now
    due_at = next_check_of_expectation(expectation, expected_at=expected_at, after=unit.now, times=times)
    check = Check(expectation.merchant, expectation.order_id, expectation.transaction_id)
    unit.checks.put(check, due_at)


def plan_anew(unit: Unit, claim: Claim, times: CheckTimes) -> None:
    """Plan what follows an answered check; the last one of its plan is followed by none."""
    check = claim.check
    if check is None:
        return
    payment = unit.payments.get(check.merchant, check.transaction_id) if check.transaction_id else None
    expectation = unit.expectations.of_order(check.merchant, check.order_id)
    due_at: datetime | None = None
    if payment is not None and payment.order_id == check.order_id:
        due_at = _due_at(payment, unit.now, times)
    elif expectation is not None and not unit.payments.of_order(check.merchant, check.order_id):
        expected_at = expectation.changed_at or unit.now
        due_at = next_check_of_expectation(expectation, expected_at=expected_at, after=unit.now, times=times)
    unit.checks.put(check, due_at)


def _due_at(record: PaymentRecord, after: datetime, times: CheckTimes) -> datetime | None:
    first_heard_at = record.created_at or after
    return next_check_of_payment(record.state, first_heard_at=first_heard_at, after=after, times=times)

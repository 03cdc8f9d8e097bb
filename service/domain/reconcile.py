"""When to ask about what should have been heard of by now. Only times: what an answer means is decided elsewhere."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django_midtrans.payment import PaymentState, is_reversible
from django_midtrans.status import PaymentStatus
from service.domain.records import Expectation

EXPIRES_AFTER: Final = timedelta(hours=24)
"""How long a charge may be paid when nobody says (the default of virtual accounts; a bound, not a promise)."""


@dataclass(frozen=True, slots=True)
class CheckTimes:
    """Waits of reconcile: after the charge, after its expiry, and after a settlement that may be reversed."""

    after_charge: tuple[timedelta, ...] = (timedelta(minutes=15),)
    after_expiry: tuple[timedelta, ...] = (timedelta(minutes=2), timedelta(hours=1), timedelta(hours=24))
    after_reversible_settlement: tuple[timedelta, ...] = (timedelta(minutes=10),)


def next_check_of_payment(
    state: PaymentState, *, first_heard_at: datetime, after: datetime, times: CheckTimes
) -> datetime | None:
    """Return when to ask about a payment next, later than *after*; None: what is known needs no asking."""
    if state.status is PaymentStatus.PENDING:
        charged_at = state.transaction_time or first_heard_at
        return _next(_of_charge(charged_at, state.expiry_time, times), after)
    if state.status is PaymentStatus.SETTLED and is_reversible(state.payment_type, state.channel):
        settled_at = state.settlement_time or first_heard_at
        return _next((settled_at + wait for wait in times.after_reversible_settlement), after)
    return None


def next_check_of_expectation(
    expectation: Expectation, *, expected_at: datetime, after: datetime, times: CheckTimes
) -> datetime | None:
    """Return when to ask about an order of which nothing was heard, later than *after*; None: give it up."""
    return _next(_of_charge(expected_at, expectation.expires_at, times), after)


def _of_charge(charged_at: datetime, expires_at: datetime | None, times: CheckTimes) -> Iterable[datetime]:
    expiry = expires_at or charged_at + EXPIRES_AFTER
    yield from (charged_at + wait for wait in times.after_charge)
    yield from (expiry + wait for wait in times.after_expiry)


def _next(moments: Iterable[datetime], after: datetime) -> datetime | None:
    return min((moment for moment in moments if moment > after), default=None)

"""Whether a call that changes nothing is made again, and when."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from django_midtrans.exceptions import MidtransError, MidtransRateLimitError, MidtransTransportError

FIRST_WAIT_S = 0.25
LONGEST_WAIT_S = 4.0
LONGEST_RETRY_AFTER_S = 20.0
"""Asked to wait longer than this, the call fails at once: its caller knows better what to do meanwhile."""

_SERVER_ERRORS = range(500, 600)


def may_help(error: MidtransError) -> bool:
    """Say whether the same question might be answered a moment later."""
    if isinstance(error, MidtransTransportError | MidtransRateLimitError):
        return True
    return error.http_status in _SERVER_ERRORS or error.status_code in _SERVER_ERRORS


def wait_s(error: MidtransError, attempt: int, *, jitter: float) -> float | None:
    """Return the seconds to wait after failed try number *attempt* (from 1), None to give up.

    *jitter* is 0 to 1: waits double, and are spread between the half and the whole, so that many callers do
    not come back at once. A Retry-After is obeyed to the letter, or not waited for at all.
    """
    if not may_help(error):
        return None
    longest = min(FIRST_WAIT_S * 2.0 ** (attempt - 1), LONGEST_WAIT_S)
    wait = longest * (1 + jitter) / 2
    if error.retry_after_s is None:
        return wait
    return None if error.retry_after_s > LONGEST_RETRY_AFTER_S else max(wait, error.retry_after_s)


def parse_retry_after(value: str | None, *, now: datetime | None = None) -> float | None:
    """Return the seconds that a Retry-After asks for (a number or an HTTP date), None if nothing."""
    if not value:
        return None
    if value.strip().isascii() and value.strip().isdigit():
        return float(value)
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return None
    aware = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(0.0, (aware - (now or datetime.now(UTC))).total_seconds())

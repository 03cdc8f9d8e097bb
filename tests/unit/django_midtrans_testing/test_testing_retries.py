"""When Midtrans tries again: its documented table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_midtrans.testing.retries import (
    RETRIES_OTHERWISE,
    WAITS_S,
    next_attempt_in_s,
    retries_after,
    wait_before_retry_s,
)


@pytest.mark.parametrize(
    ("http_status", "retries"),
    [
        (500, 1),
        (503, 4),
        (400, 2),
        (404, 2),
        (301, 0),
        (302, 0),
        (303, 0),
        *[(code, 5) for code in (304, 307, 308, 401, 403, 408, 409, 413, 422, 429, 501, 502, 504, 507)],
        (None, 5),
    ],
)
def test_the_answer_decides_how_many_retries_there_are(http_status: int | None, retries: int) -> None:
    assert retries_after(http_status) == retries
    waits = [
        next_attempt_in_s(http_status, attempts=attempts, shift=0.5) for attempts in range(1, retries + 2)
    ]
    assert waits == [*WAITS_S[:retries], None]


@given(st.integers(200, 299), st.integers(1, 6), st.floats(0, 1))
def test_any_2xx_is_the_end(http_status: int, attempts: int, shift: float) -> None:
    assert next_attempt_in_s(http_status, attempts=attempts, shift=shift) is None


def test_all_retries_together_take_5_hours_and_42_minutes() -> None:
    assert sum(wait_before_retry_s(retry, shift=0.5) for retry in range(1, RETRIES_OTHERWISE + 1)) == 342 * 60


@given(st.integers(1, RETRIES_OTHERWISE), st.floats(0, 1))
def test_a_wait_is_shifted_and_never_gone(retry: int, shift: float) -> None:
    assert wait_before_retry_s(retry, shift=shift) >= 33
    assert abs(wait_before_retry_s(retry, shift=shift) - WAITS_S[retry - 1]) <= 87

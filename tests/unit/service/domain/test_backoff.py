from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from service.domain.backoff import Waits, ask_again_at, retry_at

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def test_an_open_receipt_is_asked_after_5_15_60_300_900_seconds_then_hourly_for_a_day() -> None:
    waits = Waits()
    seconds = []
    for answers in range(1, 100):
        due_at = ask_again_at(answers, waits=waits, now=NOW)
        if due_at is None:
            break
        seconds.append((due_at - NOW).total_seconds())
    assert seconds == [5, 15, 60, 300, 900, *[3600] * 24]
    assert waits.tries == len(seconds) + 1


def test_failures_are_tried_again_for_ever_with_growing_bounded_waits() -> None:
    waits = [(retry_at(failures, now=NOW, jitter=0) - NOW).total_seconds() for failures in range(1, 2000)]
    assert waits[:5] == [2, 4, 8, 16, 32]
    assert waits == sorted(waits)
    assert waits[-1] == 900


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_jitter_adds_up_to_half(failures: int, jitter: float) -> None:
    plain = (retry_at(failures, now=NOW, jitter=0) - NOW).total_seconds()
    with_jitter = (retry_at(failures, now=NOW, jitter=jitter) - NOW).total_seconds()
    assert plain <= with_jitter <= 1.5 * plain

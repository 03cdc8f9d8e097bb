from hypothesis import given
from hypothesis import strategies as st

from service.domain.limits import Breaker, BreakerState, TokenBucket


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(0, 20)), max_size=50))
def test_a_bucket_never_gives_more_than_burst_plus_rate(steps: list[tuple[float, int]]) -> None:
    bucket = TokenBucket(rate_per_s=10, burst=5, now_s=0)
    now_s, taken = 0.0, 0
    for pause_s, wish in steps:
        now_s += pause_s
        got = min(wish, bucket.available(now_s))
        bucket.take(got, now_s)
        taken += got
    assert taken <= 5 + 10 * now_s + 1e-6


def test_an_empty_bucket_says_how_long_until_the_next_token() -> None:
    bucket = TokenBucket(rate_per_s=4, burst=2, now_s=0)
    bucket.take(2, 0)
    assert bucket.available(0) == 0
    assert bucket.seconds_until_one(0) == 0.25
    assert bucket.available(0.25) == 1


def test_a_debt_is_paid_by_waiting() -> None:
    bucket = TokenBucket(rate_per_s=1, burst=1, now_s=0)
    bucket.take(3, 0)
    assert bucket.available(2) == 0
    assert bucket.available(3) == 1


def test_a_clock_set_back_gives_nothing_away() -> None:
    bucket = TokenBucket(rate_per_s=1, burst=1, now_s=100)
    bucket.take(1, 100)
    assert bucket.available(50) == 0


def test_the_breaker_opens_after_the_threshold_and_lets_one_probe_pass() -> None:
    breaker = Breaker(threshold=3, first_wait_s=1, longest_wait_s=8)
    for _ in range(3):
        assert breaker.state(0) is BreakerState.CLOSED
        breaker.failed(0)
    assert breaker.state(0.9) is BreakerState.OPEN
    assert breaker.state(1) is BreakerState.PROBING
    breaker.probe()
    assert breaker.state(1) is BreakerState.OPEN
    breaker.failed(1)
    assert breaker.state(2.9) is BreakerState.OPEN  # twice as long as before
    assert breaker.state(3) is BreakerState.PROBING
    breaker.probe()
    breaker.succeeded()
    assert breaker.state(3) is BreakerState.CLOSED


def test_a_probe_that_said_nothing_frees_the_way_for_the_next() -> None:
    breaker = Breaker(threshold=1, first_wait_s=1)
    breaker.failed(0)
    breaker.probe()
    breaker.undecided()
    assert breaker.state(1) is BreakerState.PROBING


def test_the_wait_of_the_breaker_is_bounded() -> None:
    breaker = Breaker(threshold=1, first_wait_s=1, longest_wait_s=30)
    for _ in range(500):
        breaker.probe()
        breaker.failed(0)
    assert breaker.seconds_until_probe(0) == 30


def test_those_under_way_when_the_breaker_opened_do_not_lengthen_its_wait() -> None:
    breaker = Breaker(threshold=3, first_wait_s=1)
    for _ in range(16):
        breaker.failed(0)
    assert breaker.state(1) is BreakerState.PROBING

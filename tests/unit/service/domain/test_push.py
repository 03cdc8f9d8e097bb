"""What answers of an endpoint mean, and how fast it is pushed to."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.push import (
    DOWN_AFTER,
    LONGEST_PROBE_S,
    Answer,
    Pace,
    Result,
    Streak,
    go_on,
    judge_status,
    pause_reason,
)

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
ARRIVED = Answer(Result.PUSHED, status=200)
FAILED = Answer(Result.REFUSED, "500", status=500)
DAY = timedelta(hours=24)


@pytest.mark.parametrize(
    ("status", "result"),
    [
        (200, Result.PUSHED),
        (202, Result.PUSHED),
        (204, Result.PUSHED),
        (299, Result.PUSHED),
        (301, Result.REFUSED),
        (307, Result.REFUSED),
        (400, Result.REFUSED),
        (404, Result.REFUSED),
        (410, Result.GONE),
        (429, Result.REFUSED),
        (500, Result.REFUSED),
    ],
)
def test_2xx_is_the_ack_and_everything_else_is_not(status: int, result: Result) -> None:
    assert judge_status(status, {}, reason="", now=NOW).result is result


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "120"}, 120),
        ({"retry-after": " 0 "}, 0),
        ({"retry-after": "999999"}, 3600),
        ({"retry-after": "9" * 400}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "1.5"}, None),
        ({"retry-after": "Sun, 22 Nov 2026 03:02:00 GMT"}, 120),
        ({"retry-after": "Sun, 22 Nov 2026 02:00:00 GMT"}, 0),
        ({"retry-after": "Sun, 22 Nov 2026 23:00:00 GMT"}, 3600),
        # by the receiver's own clock, which is an hour ahead
        ({"retry-after": "Sun, 22 Nov 2026 04:00:30 GMT", "date": "Sun, 22 Nov 2026 04:00:00 GMT"}, 30),
        ({"retry-after": "Sun, 99 Nov 2026 04:00:30 GMT"}, None),
        ({"retry-after": "Fri, 31 Dec 9999 23:59:59 -2359"}, 3600),
    ],
)
def test_a_retry_after_is_believed_within_reason(headers: dict[str, str], seconds: int | None) -> None:
    wait = judge_status(503, headers, reason="", now=NOW).wait
    assert (None if wait is None else wait.total_seconds()) == seconds


def test_429_and_503_with_retry_after_speak_of_the_whole_endpoint() -> None:
    for status, whole in ((429, True), (503, True), (500, False)):
        assert judge_status(status, {"retry-after": "9"}, reason="", now=NOW).holds_all is whole
    assert not judge_status(429, {}, reason="", now=NOW).holds_all


@given(st.lists(st.sampled_from([ARRIVED, FAILED])))
def test_a_streak_counts_the_failures_behind_the_last_success(answers: list[Answer]) -> None:
    streak = go_on(Streak(3, NOW - DAY, "before"), answers, now=NOW)
    behind = list(answers)
    while ARRIVED in behind:
        behind = behind[behind.index(ARRIVED) + 1 :]
    known = 0 if ARRIVED in answers else 3
    assert streak.failures == known + len(behind)
    assert (streak.since is None) == (streak.failures == 0)


def test_an_endpoint_that_fails_for_long_is_paused() -> None:
    streak = Streak(DOWN_AFTER, NOW - DAY, "timeout")
    why = pause_reason(streak, [FAILED], pause_after=DAY, now=NOW)
    assert why is not None
    assert "2026-11-21T03:00:00Z" in why


@pytest.mark.parametrize(
    "streak",
    [
        pytest.param(Streak(DOWN_AFTER, NOW - DAY + timedelta(seconds=1)), id="not-yet"),
        pytest.param(Streak(DOWN_AFTER - 1, NOW - 30 * DAY), id="few-events-and-few-tries"),
        pytest.param(Streak(), id="well"),
    ],
)
def test_an_endpoint_is_not_paused_before_its_time(streak: Streak) -> None:
    assert pause_reason(streak, [FAILED], pause_after=DAY, now=NOW) is None


def test_410_pauses_at_once() -> None:
    assert pause_reason(Streak(1, NOW), [Answer(Result.GONE, status=410)], pause_after=DAY, now=NOW)


# -- the pace --


def go_down(pace: Pace, now_s: float = 0.0) -> None:
    for _ in range(DOWN_AFTER):
        pace.begun(1, probe=False)
        pace.ended(FAILED, now_s, probe=False)


def test_as_many_as_the_concurrency_says_are_under_way() -> None:
    pace = Pace(3)
    assert pace.room(0) == 3
    pace.begun(3, probe=False)
    assert pace.room(0) == 0
    pace.ended(ARRIVED, 0, probe=False)
    assert pace.room(0) == 1


def test_no_more_are_begun_than_it_takes_to_count_as_down() -> None:
    pace = Pace(100)
    begun = pace.room(0)
    pace.begun(1, probe=False)
    pace.ended(FAILED, 0, probe=False)
    while room := pace.room(0):
        pace.begun(room, probe=False)
        pace.ended(FAILED, 0, probe=False)
    assert begun == 100
    assert pace.in_flight + pace.failures == DOWN_AFTER
    pace.ended(ARRIVED, 0, probe=False)
    assert pace.room(0) == 100 - pace.in_flight


def test_an_endpoint_that_is_down_is_probed_by_one_at_a_time() -> None:
    pace = Pace(10)
    go_down(pace)
    assert pace.room(4.9) == 0
    assert pace.wait_s(0) == 5
    assert pace.room(5) == 1
    assert pace.probes(5)
    pace.begun(1, probe=True)
    assert pace.room(6) == 0
    pace.ended(FAILED, 6, probe=True)
    assert pace.room(15.9) == 0
    assert pace.room(16) == 1  # ten seconds: twice the first wait
    pace.begun(1, probe=True)
    pace.ended(ARRIVED, 17, probe=True)
    assert pace.room(17) == 10


def test_probes_never_get_rarer_than_every_five_minutes() -> None:
    pace = Pace(1)
    go_down(pace)
    now_s = 0.0
    for _ in range(50):
        now_s += pace.wait_s(now_s)
        pace.begun(1, probe=True)
        pace.ended(FAILED, now_s, probe=True)
    assert pace.wait_s(now_s) == LONGEST_PROBE_S


def test_those_under_way_when_it_went_down_do_not_count_as_the_probe() -> None:
    pace = Pace(20)
    pace.begun(20, probe=False)
    for _ in range(DOWN_AFTER):
        pace.ended(FAILED, 0, probe=False)
    pace.begun(1, probe=True)
    for _ in range(20 - DOWN_AFTER):
        pace.ended(FAILED, 6, probe=False)
    assert pace.room(6) == 0  # the probe is still out
    pace.ended(FAILED, 7, probe=True)
    assert pace.wait_s(7) == 10


def test_what_was_known_before_a_restart_counts() -> None:
    pace = Pace(10, failures=DOWN_AFTER)
    assert pace.room(100) == 1
    assert pace.probes(100)
    assert Pace(10, failures=DOWN_AFTER - 1).room(100) == 1


def test_a_receiver_that_asks_for_quiet_gets_it() -> None:
    pace = Pace(10)
    pace.begun(2, probe=False)
    pace.ended(Answer(Result.REFUSED, status=429, wait=timedelta(seconds=30)), 0, probe=False)
    pace.ended(ARRIVED, 1, probe=False)
    assert pace.room(29) == 0
    assert pace.wait_s(1) == 29
    assert pace.room(30) == 10

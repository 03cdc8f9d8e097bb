"""Pushing events: what an answer means, when an endpoint counts as down, and when it is given up until a person looks.

An event that one endpoint cannot handle is that event's trouble: it is tried again later and later, and dies. An
endpoint that fails with whatever comes is down: then one request at a time probes it, which uses up no event's
attempts, and after a long time the consumer is paused.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Final

from service.domain.limits import Breaker, BreakerState

DOWN_AFTER: Final = 10
"""Failures in a row after which the endpoint counts as down."""
FIRST_PROBE_S: Final = 5.0
LONGEST_PROBE_S: Final = 300.0
LONGEST_RETRY_AFTER: Final = timedelta(hours=1)
"""How much of a Retry-After is believed: no event waits longer by itself."""
LEASE_MARGIN_S: Final = 10
"""How much longer than a request may take it is lent: to write down what came of it."""
GONE: Final = 410
ASKS_TO_WAIT: Final = frozenset({429, 503})
"""Statuses whose Retry-After speaks of the whole endpoint."""
_SECONDS: Final = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True)
class PushSettings:
    """What holds for all push consumers.

    *allow* lists networks beside the internet that may be pushed to. An endpoint that has failed for *pause_after*
    is paused. *ca_file* names more authorities whose certificates are believed.
    """

    allow: tuple[IPv4Network | IPv6Network, ...] = ()
    pause_after: timedelta = timedelta(hours=24)
    ca_file: Path | None = None


class Result(StrEnum):
    """What one push came to; the words of the metric."""

    PUSHED = "pushed"  # 2xx: the ack
    REFUSED = "refused"  # another status
    GONE = "gone"  # 410: the receiver wants no more
    TIMEOUT = "timeout"  # no answer in time
    UNREACHABLE = "unreachable"  # no connection, no such name, TLS, cut off
    NOT_ALLOWED = "not_allowed"  # the address is not pushed to


@dataclass(frozen=True, slots=True)
class Answer:
    """What one push brought. *wait* is the receiver's Retry-After, as far as it is believed."""

    result: Result
    reason: str = ""
    status: int | None = None
    wait: timedelta | None = None

    @property
    def ok(self) -> bool:
        """Say whether the event has arrived."""
        return self.result is Result.PUSHED

    @property
    def holds_all(self) -> bool:
        """Say whether the endpoint asked for quiet, and not only for this event."""
        return self.wait is not None and self.status in ASKS_TO_WAIT


@dataclass(frozen=True, slots=True)
class Streak:
    """Failures in a row, whatever the events: how many, since when, and why the last time."""

    failures: int = 0
    since: datetime | None = None
    reason: str | None = None


def judge_status(status: int, headers: Mapping[str, str], *, reason: str, now: datetime) -> Answer:
    """Return what an answer with *status* means; *headers* have names in lower case."""
    if 200 <= status < 300:  # noqa: PLR2004 (what HTTP calls success)
        return Answer(Result.PUSHED, status=status)
    result = Result.GONE if status == GONE else Result.REFUSED
    return Answer(result, reason, status, _retry_after(headers, now))


def go_on(streak: Streak, answers: Iterable[Answer], *, now: datetime) -> Streak:
    """Return the streak after *answers*, in their order: one success ends it."""
    for answer in answers:
        streak = Streak() if answer.ok else Streak(streak.failures + 1, streak.since or now, answer.reason)
    return streak


def pause_reason(
    streak: Streak, answers: Iterable[Answer], *, pause_after: timedelta, now: datetime
) -> str | None:
    """Return why to pause the consumer after *answers*, which *streak* counts already; None: go on."""
    if any(answer.result is Result.GONE for answer in answers):
        return "the receiver answered 410 Gone: it wants no more events"
    if streak.failures < DOWN_AFTER or streak.since is None or now - streak.since < pause_after:
        return None
    since = streak.since.strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"nothing has arrived since {since}, {streak.failures} tries failed; the last one: {streak.reason}"


def _retry_after(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """Return the wait that the receiver asks for: seconds, or a date, by its own clock where it shows it."""
    text = headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(text):
        return min(timedelta(seconds=int(text)), LONGEST_RETRY_AFTER)
    until = _date(text)
    if until is None:
        return None
    wait = until - (_date(headers.get("date", "")) or now)
    return min(max(wait, timedelta()), LONGEST_RETRY_AFTER)


def _date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@dataclass(slots=True)
class Pace:
    """How many pushes may be begun now. Times are monotonic seconds, passed in.

    *failures* in a row may be known from before. An endpoint that goes down costs at most `DOWN_AFTER` events an
    attempt, or as many as were under way.
    """

    concurrency: int
    failures: int = 0
    in_flight: int = field(default=0, init=False)
    _hold_until_s: float = field(default=0.0, init=False)
    _breaker: Breaker = field(init=False)

    def __post_init__(self) -> None:
        self._breaker = Breaker(
            threshold=DOWN_AFTER,
            first_wait_s=FIRST_PROBE_S,
            longest_wait_s=LONGEST_PROBE_S,
            failures=self.failures,
        )

    def probes(self, now_s: float) -> bool:
        """Say whether what is begun now is a probe of an endpoint that is down: its failure is nobody's attempt."""
        return self._breaker.state(now_s) is BreakerState.PROBING

    def room(self, now_s: float) -> int:
        """Return how many may be begun."""
        if now_s < self._hold_until_s or self._breaker.state(now_s) is BreakerState.OPEN:
            return 0
        return 1 if self.probes(now_s) else max(0, self._most() - self.in_flight)

    def _most(self) -> int:
        """Return how many may be under way: after a failure no more than it takes to count as down."""
        return min(self.concurrency, DOWN_AFTER - self.failures) if self.failures else self.concurrency

    def wait_s(self, now_s: float) -> float:
        """Return how long there is no room whatever comes back; 0 when that alone decides."""
        return max(0.0, self._hold_until_s - now_s, self._breaker.seconds_until_probe(now_s))

    def begun(self, count: int, *, probe: bool) -> None:
        """Note that *count* were begun."""
        self.in_flight += count
        if probe and count:
            self._breaker.probe()

    def ended(self, answer: Answer, now_s: float, *, probe: bool) -> None:
        """Note what one came to. While a probe is under way, only its own answer decides."""
        self.in_flight -= 1
        if answer.holds_all and answer.wait is not None:
            self._hold_until_s = max(self._hold_until_s, now_s + answer.wait.total_seconds())
        if answer.ok:
            self.failures = 0
            self._breaker.succeeded()
        elif probe or self._breaker.state(now_s) is BreakerState.CLOSED:
            self.failures += 1
            self._breaker.failed(now_s)

"""How fast a merchant's account may be asked: a token bucket, a share for repeats, a breaker.

Also what open streams may cost.

Times are monotonic seconds, passed in.
"""

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one merchant's questions to Midtrans.

    *repeat_share* of the rate is all that repeated questions after a 404 or an unproven pair may use together;
    the first question about an order is never held back by them.
    """

    rate_per_s: float = 200.0
    burst: int = 400
    in_flight: int = 16
    repeat_share: float = 0.1


class TokenBucket:
    """Holds up to *burst* tokens and gains *rate_per_s* of them each second."""

    def __init__(self, *, rate_per_s: float, burst: float, now_s: float) -> None:
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._tokens = burst
        self._at_s = now_s

    def available(self, now_s: float) -> int:
        """Return how many whole tokens there are."""
        passed_s = max(0.0, now_s - self._at_s)
        self._tokens = min(self._burst, self._tokens + passed_s * self._rate_per_s)
        self._at_s = now_s
        return int(self._tokens)

    def change(self, *, rate_per_s: float, burst: float, now_s: float) -> None:
        """Go on with another rate and size."""
        self.available(now_s)
        self._rate_per_s, self._burst = rate_per_s, burst
        self._tokens = min(self._tokens, burst)

    def take(self, count: int, now_s: float) -> None:
        """Take *count* tokens; a debt is paid by waiting."""
        self.available(now_s)
        self._tokens -= count

    def seconds_until_one(self, now_s: float) -> float:
        """Return how long until there is a token."""
        if self.available(now_s) >= 1:
            return 0.0
        return (1 - self._tokens) / self._rate_per_s


class BreakerState(StrEnum):
    """Whether questions pass."""

    CLOSED = "closed"  # all pass
    OPEN = "open"  # none pass until its time is over
    PROBING = "probing"  # one passes; its answer decides


class Breaker:
    """Stops asking after *threshold* failures in a row, then lets one question at a time probe.

    The first wait doubles with each probe that fails, up to the longest. The numbers are ours.

    What counts as a failure, the caller decides; *failures* in a row may be known from before.
    """

    def __init__(
        self,
        *,
        threshold: int = 10,
        first_wait_s: float = 1.0,
        longest_wait_s: float = 30.0,
        failures: int = 0,
    ) -> None:
        self._threshold = threshold
        self._first_wait_s = first_wait_s
        self._longest_wait_s = longest_wait_s
        self._failures = failures
        self._wait_s = first_wait_s
        self._open_until_s = 0.0
        self._probing = False

    def state(self, now_s: float) -> BreakerState:
        """Say whether questions pass."""
        if self._failures < self._threshold:
            return BreakerState.CLOSED
        if self._probing or now_s < self._open_until_s:
            return BreakerState.OPEN
        return BreakerState.PROBING

    def seconds_until_probe(self, now_s: float) -> float:
        """Return how long the breaker stays open; 0 when questions pass."""
        return 0.0 if self._failures < self._threshold else max(0.0, self._open_until_s - now_s)

    def probe(self) -> None:
        """Note that the one probing question is on its way."""
        self._probing = self._failures >= self._threshold

    def succeeded(self) -> None:
        """Note that what was asked is well."""
        self._failures = 0
        self._probing = False

    def failed(self, now_s: float) -> None:
        """Note a failure."""
        self._failures += 1
        if self._failures == self._threshold:
            self._wait_s = self._first_wait_s
        elif self._probing:  # those that were under way when it opened say nothing new
            self._wait_s = min(2 * self._wait_s, self._longest_wait_s)
        else:
            return
        self._probing = False
        self._open_until_s = now_s + self._wait_s

    def undecided(self) -> None:
        """Note that the probe ended without a word on the other side's health (it was never sent, say)."""
        self._probing = False


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """What streams may cost."""

    most: int = 1000
    heartbeat_s: float = 15.0
    stalled_s: float = 30.0
    """After so long a client that takes nothing is cut off."""
    retry_s: float = 3.0
    """How long a client waits before it comes back."""

"""Whether a merchant's account may be asked now: its limits, its breaker, and the pauses of a wrong set-up.

Times are monotonic seconds, passed in. Not safe under threads: who owns it locks it.
"""

from enum import StrEnum

from service.domain.limits import Breaker, BreakerState, Limits, TokenBucket

PROBE_EVERY_S = 60.0
WRONG_ENVIRONMENT_AFTER = 20
"""So many distinct orders in a row must be unknown, and none ever confirmed, before the environment is doubted."""


class Asked(StrEnum):
    """What a claim's questions brought."""

    FOUND = "found"
    MISSING = "missing"  # 404
    UNAVAILABLE = "unavailable"  # no usable answer, though Midtrans' servers are up
    FAILED = "failed"  # transport error, 5xx or 429: the breaker counts it
    REFUSED = "refused"  # 401 with every key
    LOST = "lost"  # somebody else has the claim, or a fault of our own: says nothing about Midtrans


class Pause(StrEnum):
    """Why a merchant's account is not asked."""

    KEYS_REFUSED = "keys_refused"  # 401 with every key
    WRONG_ENVIRONMENT = "wrong_environment"  # nothing that was notified is known there


class Pace:
    """The limits and pauses of one merchant.

    *confirmed* says that the present keys and environment have brought a payment before: then a row of 404s is
    no sign of a wrong environment.
    """

    def __init__(self, limits: Limits, *, confirmed: bool, pause: Pause | None, now_s: float) -> None:
        self._limits = limits
        self._all = TokenBucket(rate_per_s=limits.rate_per_s, burst=limits.burst, now_s=now_s)
        share = limits.repeat_share
        self._repeats = TokenBucket(
            rate_per_s=limits.rate_per_s * share, burst=max(1.0, limits.burst * share), now_s=now_s
        )
        self._breaker = Breaker()
        self._in_flight = 0
        self._part = 1.0
        self._probe_at_s = now_s
        self._misses: dict[str, None] = {}
        self._failed: set[str] = set()
        self.confirmed = confirmed
        self.pause = pause

    def share(self, part: float, now_s: float) -> None:
        """Use *part* of the limits, above 0 up to 1: the rest is for other processes."""
        if part == self._part:
            return
        self._part = part
        rate, burst, share = self._limits.rate_per_s, self._limits.burst, self._limits.repeat_share
        self._all.change(rate_per_s=rate * part, burst=max(1.0, burst * part), now_s=now_s)
        self._repeats.change(
            rate_per_s=rate * share * part, burst=max(1.0, burst * share * part), now_s=now_s
        )

    def breaker_state(self, now_s: float) -> BreakerState:
        """Say whether the breaker lets questions pass."""
        return self._breaker.state(now_s)

    def room(self, now_s: float, *, repeat: bool = False) -> int:
        """Return how many claims may be taken now, of the lane of repeats or of all others."""
        if self.pause is not None:
            return 0
        state = self._breaker.state(now_s)
        if state is not BreakerState.CLOSED:
            return int(state is BreakerState.PROBING and self._in_flight == 0)
        most = max(1, int(self._limits.in_flight * self._part))
        room = min(most - self._in_flight, self._all.available(now_s))
        return max(0, min(room, self._repeats.available(now_s)) if repeat else room)

    def may_probe(self, now_s: float) -> bool:
        """Say whether a paused account is to be asked about any one receipt, due or not."""
        return self.pause is not None and self._in_flight == 0 and now_s >= self._probe_at_s

    def wait_s(self, now_s: float, *, repeat: bool = False) -> float:
        """Return how long until there may be room again, if nothing ends before."""
        if self.pause is not None:
            return max(0.0, self._probe_at_s - now_s)
        wait_s = max(self._breaker.seconds_until_probe(now_s), self._all.seconds_until_one(now_s))
        return max(wait_s, self._repeats.seconds_until_one(now_s)) if repeat else wait_s

    def started(self, now_s: float, *, repeat: bool) -> None:
        """Note that a claim is being asked about."""
        self._in_flight += 1
        self._all.take(1, now_s)
        if repeat:
            self._repeats.take(1, now_s)
        self._breaker.probe()
        self._probe_at_s = now_s + PROBE_EVERY_S

    def ended(
        self,
        asked: Asked,
        *,
        order_id: str,
        questions: int,
        now_s: float,
        repeat: bool = False,
        notified: bool = True,
    ) -> bool:
        """Note what a claim's *questions* brought; return whether the pause or `confirmed` changed.

        A 404 says something of the environment only when the order was *notified*: reconcile's are not counted.
        """
        self._in_flight -= 1
        self._all.take(questions - 1, now_s)
        if repeat:
            self._repeats.take(questions - 1, now_s)
        self._note_health(asked, order_id, now_s)
        before = (self.pause, self.confirmed)
        self._note_account(asked, order_id if notified else None)
        return (self.pause, self.confirmed) != before

    def _note_health(self, asked: Asked, order_id: str, now_s: float) -> None:
        """Count each order once while the breaker is closed: an id that makes Midtrans fail must not open it alone."""
        if asked is Asked.FAILED:
            closed = self._breaker.state(now_s) is BreakerState.CLOSED
            if not closed or order_id not in self._failed:
                self._breaker.failed(now_s)
            if closed:
                self._failed.add(order_id)
        elif asked is Asked.LOST:
            self._breaker.undecided()
        else:
            self._breaker.succeeded()
            self._failed.clear()

    def _note_account(self, asked: Asked, order_id: str | None) -> None:
        if asked is Asked.FOUND:
            self._misses.clear()
            self.confirmed, self.pause = True, None
        elif asked is Asked.REFUSED:
            self.pause = Pause.KEYS_REFUSED
        elif asked is Asked.MISSING:
            if self.pause is Pause.KEYS_REFUSED:  # a 404 is an answer to an accepted key
                self.pause = None
            self._miss(order_id)

    def _miss(self, order_id: str | None) -> None:
        if self.confirmed or order_id is None:
            return
        self._misses[order_id] = None
        if len(self._misses) >= WRONG_ENVIRONMENT_AFTER:
            self.pause = Pause.WRONG_ENVIRONMENT

"""When to try again."""

from dataclasses import dataclass
from datetime import datetime, timedelta

FAILURE_FIRST_WAIT_S = 2.0
FAILURE_LONGEST_WAIT_S = 900.0


@dataclass(frozen=True, slots=True)
class Waits:
    """Waits between questions whose answers left a receipt open: the *first* ones, then every *then_s* for *for_s*.

    Answers are counted, not hours: a pause of the merchant or of this service uses nothing up.
    """

    first: tuple[float, ...] = (5.0, 15.0, 60.0, 300.0, 900.0)
    then_s: float = 3600.0
    for_s: float = 86_400.0

    @property
    def tries(self) -> int:
        """Return how many answers may leave a receipt open before it is parked."""
        return len(self.first) + int(self.for_s // self.then_s) + 1


def ask_again_at(answers: int, *, waits: Waits, now: datetime) -> datetime | None:
    """Return when to ask again after *answers* answers (from 1) left a receipt open; None: park it."""
    if answers <= len(waits.first):
        return now + timedelta(seconds=waits.first[answers - 1])
    return now + timedelta(seconds=waits.then_s) if answers < waits.tries else None


def retry_at(failures: int, *, now: datetime, jitter: float) -> datetime:
    """Return when to ask again after *failures* questions (from 1) without an answer; for as long as it takes.

    *jitter* is 0 to 1 and adds up to half of the wait, so that a thousand receipts do not come back together.
    """
    wait_s = min(FAILURE_FIRST_WAIT_S * 2 ** min(failures - 1, 20), FAILURE_LONGEST_WAIT_S)
    return now + timedelta(seconds=wait_s * (1 + jitter / 2))

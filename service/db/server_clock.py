"""One clock for all processes: the server's."""

import time
from datetime import UTC, datetime, timedelta

from service.errors import StoreUnavailable


class ServerClock:
    """Tells the server's time: as it was told last, and carried on by this machine's steady clock.

    No decision compares two machines' clocks: what one process writes as due, another compares with the same clock.
    """

    def __init__(self) -> None:
        self._told: tuple[datetime, float] | None = None

    def note(self, moment: datetime) -> None:
        """Take over the time that the server just told."""
        self._told = moment.astimezone(UTC), time.monotonic()

    def __call__(self) -> datetime:
        """Return the time; raise StoreUnavailable before it was ever told."""
        if self._told is None:
            raise StoreUnavailable("the server has not told its time yet")
        moment, at_s = self._told
        return moment + timedelta(seconds=time.monotonic() - at_s)

"""What relaying asks of the store and of a broker, as protocols."""

from collections.abc import Sequence
from typing import Protocol

from service.domain.relaying import Hold, Message, Reading
from service.errors import BrokerError


class Broker(Protocol):
    """A connection to a broker; `service.relays.base` says what it promises."""

    async def open(self, *, make: bool = True) -> None:
        """Connect and check, *make* what is missing; raise BrokerError."""

    async def publish(self, batch: Sequence[Message]) -> None:
        """Return once the broker keeps all of *batch*; raise BrokerError."""

    async def close(self) -> None:
        """Let go of the connection."""


class Place(Protocol):
    """One relay's place in the log. All but ``take`` and ``news`` raise RelayLost when it is another's by now."""

    async def take(self) -> Hold | None:
        """Hold the relay for a lease; None: another process does."""

    async def read(self, hold: Hold, after: int, *, limit: int) -> Reading:
        """Return what is behind *after*."""

    async def move(self, hold: Hold, position: int, *, published: bool) -> None:
        """Set the place, forwards alone, and lengthen the lease."""

    async def fail(self, hold: Hold, error: str | None) -> None:
        """Note why it does not go on; None: it does."""

    async def release(self, hold: Hold) -> None:
        """Let another process take it at once."""

    async def news(self, timeout_s: float) -> None:
        """Wait until a commit since the last ``read`` may have brought something, at most *timeout_s*."""


class Watcher(Protocol):
    """Who is told how it goes."""

    def published(self, name: str, count: int) -> None:
        """*count* events are kept by the broker of relay *name*."""

    def failed(self, name: str, error: BrokerError) -> None:
        """The relay *name* has to wait."""

    def stuck(self, name: str, error: BrokerError, *, refused: bool) -> None:
        """A person should look at it: the broker *refused*, or has failed for long. Told once until it goes on."""

    def recovered(self, name: str) -> None:
        """It goes on after a failure."""

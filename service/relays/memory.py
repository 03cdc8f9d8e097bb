"""A broker in memory, for tests: it keeps what was published, and fails as it is told to."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from service.domain.relaying import Message
from service.errors import BrokerError, BrokerUnavailable
from service.relays.base import publish_in_waves, unavailable


@dataclass
class MemoryBroker:
    """What outlives a connection: *kept*, each id once or more. *refuse_open* and *failing* are raised.

    *failing* and *fail_once* name a message's id, *failing* also ``*`` for every one. Each takes *send_s* seconds.
    """

    kept: list[Message] = field(default_factory=list)
    refuse_open: BrokerError | None = None
    failing: dict[str, BrokerError] = field(default_factory=dict)
    fail_once: set[str] = field(default_factory=set)
    send_s: float = 0.0
    connections: int = 0


class MemoryRelay:
    """A connection to a `MemoryBroker`."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker
        self._is_open = False
        self._turn = asyncio.Lock()

    async def open(self, *, make: bool = True) -> None:  # noqa: ARG002 (there is nothing to make)
        """Count the connection, or refuse it."""
        if self._broker.refuse_open is not None:
            raise self._broker.refuse_open
        self._broker.connections += 1
        self._is_open = True

    async def publish(self, batch: Sequence[Message]) -> None:
        """Keep *batch*."""
        await publish_in_waves(batch, self._send, _as_it_is)

    async def close(self) -> None:
        """Take nothing more."""
        self._is_open = False

    async def _send(self, message: Message) -> None:
        failing = self._broker.failing
        if (error := failing.get(message.id) or failing.get("*")) is not None:
            raise error
        if message.id in self._broker.fail_once:
            self._broker.fail_once.remove(message.id)
            raise BrokerUnavailable("cut off")
        if self._broker.send_s:
            await self._one_by_one()
        assert self._is_open, "published on a connection that is not open"  # noqa: S101 (for tests)
        self._broker.kept.append(message)

    async def _one_by_one(self) -> None:
        async with self._turn:
            await asyncio.sleep(self._broker.send_s)


def _as_it_is(error: BaseException) -> BrokerError:
    return type(error)(error.reason) if isinstance(error, BrokerError) else unavailable(error)

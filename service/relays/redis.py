"""Redis Streams: a batch is one transaction, so that all of it is added, in order, or nothing."""

import re
from collections.abc import Sequence
from typing import Final

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    NoPermissionError,
    OutOfMemoryError,
    RedisError,
    ResponseError,
)

from service.domain.relaying import Message, RedisOptions
from service.errors import BrokerError, BrokerRefused, BrokerUnavailable
from service.relays.base import CLIENT, CONFIRM_S, OPEN_S, close_soon, describe

_ABSENT: Final = b"none"
_STREAM: Final = b"stream"
_REPAIR: Final = (
    "WRONGTYPE",
    "NOAUTH",
    "WRONGPASS",
    "NOPERM",
    "DENIED",
    "invalid DB index",
    "invalid password",
)
_COMMAND: Final = re.compile(r"Command # \d+ \(.*?\) of pipeline caused error: ")


def connect(name: str, options: RedisOptions) -> "RedisRelay":
    """Return the relay *name*'s connection, not opened yet."""
    return RedisRelay(name, options)


class RedisRelay:
    """One connection. The client repeats nothing by itself: what timed out may have been added."""

    def __init__(self, name: str, options: RedisOptions) -> None:
        self._options = options
        self._redis: Redis = Redis.from_url(
            options.url,
            client_name=f"{CLIENT}-{name}",
            retry=Retry(NoBackoff(), 0),
            socket_connect_timeout=OPEN_S,
            socket_timeout=CONFIRM_S,
            max_connections=1,
        )

    async def open(self, *, make: bool = True) -> None:  # noqa: ARG002 (the first event makes it)
        """Connect and look whether the stream's key is free or a stream's."""
        try:
            kind = await self._redis.type(self._options.stream)
        except (RedisError, OSError) as error:
            raise self._translate(error) from error
        if kind not in (_ABSENT, _STREAM):
            raise BrokerRefused(
                f"key {self._options.stream!r} holds {kind!r}, no stream: name another one in the settings"
            )

    async def publish(self, batch: Sequence[Message]) -> None:
        """Add *batch* in one round trip."""
        pipeline = self._redis.pipeline(transaction=True)
        for message in batch:
            pipeline.xadd(
                self._options.stream,
                {
                    "id": message.id,
                    "type": message.type,
                    "subject": message.subject,
                    "partitionkey": message.partitionkey,
                    "event": message.body,
                },
                maxlen=self._options.maxlen,
                approximate=True,
            )
        try:
            await pipeline.execute()
        except (RedisError, OSError) as error:
            raise self._translate(error) from error

    async def close(self) -> None:
        """Let go of the connection."""
        await close_soon(self._redis.aclose())

    def _translate(self, error: BaseException) -> BrokerError:
        if isinstance(error, OutOfMemoryError):
            return BrokerUnavailable("the server is full: it would use more than maxmemory allows")
        reason = _COMMAND.sub("", describe(error, self._options.url))
        if isinstance(error, AuthenticationError | NoPermissionError):
            return BrokerRefused(reason)
        if isinstance(error, ResponseError) and any(word in reason for word in _REPAIR):
            return BrokerRefused(reason)
        return BrokerUnavailable(reason)

"""NATS JetStream: subject ``<subject>.<type>``, and the event's id as what the stream tells repeats by."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any, Final

import nats
import nats.errors
import nats.js.errors
import structlog
from nats.aio.client import Client
from nats.js.api import DiscardPolicy, StorageType, StreamConfig, StreamInfo
from nats.js.client import JetStreamContext

from service.domain.relaying import Message, NatsOptions
from service.errors import BrokerError, BrokerRefused, BrokerUnavailable
from service.relays.base import (
    CLIENT,
    CONFIRM_S,
    MEDIA_TYPE,
    OPEN_S,
    close_soon,
    describe,
    publish_in_waves,
)

log = structlog.get_logger()

DUPLICATE_WINDOW_S: Final = 600.0
"""For how long a stream that we make knows ids: longer than a relay takes to come back after a fault."""
SHORTEST_WINDOW_S: Final = 60.0
_ONE_ANY: Final = "*"
_ALL_ANY: Final = ">"
_REPAIR: Final = (
    nats.errors.AuthorizationError,
    nats.errors.InvalidUserCredentialsError,
    nats.errors.SecureConnRequiredError,
    nats.errors.SecureConnWantedError,
    nats.errors.MaxPayloadError,
)


def connect(name: str, options: NatsOptions) -> "NatsRelay":
    """Return the relay *name*'s connection, not opened yet."""
    return NatsRelay(name, options)


class NatsRelay:
    """One connection. It does not reconnect by itself: what it had not sent would then be sent late."""

    def __init__(self, name: str, options: NatsOptions) -> None:
        self._name = name
        self._options = options
        self._client = Client()
        self._stream: JetStreamContext | None = None
        self._waiting: set[asyncio.Future[Any]] = set()
        self._lost: BaseException | None = None

    async def open(self) -> None:
        """Connect; make the stream, or check the one that is there."""
        try:
            await asyncio.wait_for(self._open(), OPEN_S)
        except BrokerError:
            raise
        except Exception as error:
            raise self._translate(self._lost or error) from error

    async def publish(self, batch: Sequence[Message]) -> None:
        """Publish *batch*, each with its own acknowledgement of the stream."""
        await publish_in_waves(batch, self._send, self._translate)

    async def close(self) -> None:
        """Let go of the connection."""
        await close_soon(self._client.close())

    async def _open(self) -> None:
        await self._client.connect(
            self._options.url,
            name=f"{CLIENT} {self._name}",
            allow_reconnect=False,
            connect_timeout=int(OPEN_S),
            error_cb=self._on_error,
            closed_cb=self._on_closed,
        )
        self._stream = self._client.jetstream(timeout=CONFIRM_S, publish_async_max_pending=100_000)
        try:
            found = await self._stream.stream_info(self._options.stream)
        except nats.js.errors.NotFoundError:
            await self._make(self._stream)
        else:
            check_stream(found, self._options)

    async def _make(self, stream: JetStreamContext) -> None:
        await stream.add_stream(
            StreamConfig(
                name=self._options.stream,
                subjects=[f"{self._options.subject}.>"],
                storage=StorageType.FILE,
                discard=DiscardPolicy.NEW,  # a full stream refuses; it drops nothing that was not read
                duplicate_window=DUPLICATE_WINDOW_S,
            )
        )
        log.warning("relay_stream_made", relay=self._name, stream=self._options.stream)

    async def _send(self, message: Message) -> None:
        if self._stream is None or self._lost is not None:
            raise self._lost or nats.errors.ConnectionClosedError
        try:
            future = await self._stream.publish_async(
                f"{self._options.subject}.{message.type}",
                message.body,
                headers={"Nats-Msg-Id": message.id, "Content-Type": MEDIA_TYPE},
            )
        except nats.errors.MaxPayloadError as error:
            raise _too_large(message) from error
        self._waiting.add(future)
        try:
            answer = await future
        finally:
            self._waiting.discard(future)
        if answer.stream != self._options.stream:
            raise BrokerRefused(
                f"the subject belongs to stream {answer.stream!r}, not to {self._options.stream!r}"
            )

    async def _on_error(self, error: Exception) -> None:
        self._lost = self._lost or error

    async def _on_closed(self) -> None:
        """Let nobody wait for an answer that cannot come any more."""
        self._lost = self._lost or nats.errors.ConnectionClosedError()
        for future in self._waiting:
            if not future.done():
                with contextlib.suppress(asyncio.InvalidStateError):
                    future.set_exception(nats.errors.ConnectionClosedError())

    def _translate(self, error: BaseException) -> BrokerError:
        if isinstance(error, BrokerError):
            return error
        reason = describe(error, self._options.url)
        if isinstance(error, _REPAIR) or "authorization" in reason.lower():
            return BrokerRefused(reason)
        return BrokerUnavailable(reason)


def check_stream(found: StreamInfo, options: NatsOptions) -> None:
    """Raise BrokerRefused, saying what to do, unless the stream keeps what is published, and knows repeats."""
    config = found.config
    wanted = f"{options.subject}.>"
    name = f"stream {options.stream!r}"
    if not any(covers(subject, wanted) for subject in config.subjects or ()):
        raise BrokerRefused(
            f"{name} does not take {wanted!r}: add this subject to it, or change the settings"
        )
    if config.storage != StorageType.FILE:
        raise BrokerRefused(f"{name} is not stored in files: make it anew with file storage")
    if config.no_ack:
        raise BrokerRefused(f"{name} does not acknowledge (no_ack): switch that off")
    if config.sealed:
        raise BrokerRefused(f"{name} is sealed: nothing can be added to it")
    if config.duplicate_window < SHORTEST_WINDOW_S:
        raise BrokerRefused(
            f"{name} knows repeats for {config.duplicate_window:g} s only: set its duplicate window to at least "
            f"{SHORTEST_WINDOW_S:g} s"
        )


def covers(pattern: str, wanted: str) -> bool:
    """Say whether every subject that *wanted* (a name that ends in ``>``) stands for matches *pattern*."""
    theirs, ours = pattern.split("."), wanted.split(".")
    for index, token in enumerate(theirs):
        if token == _ALL_ANY:
            return index < len(ours)
        if index >= len(ours) or ours[index] == _ALL_ANY or token not in (_ONE_ANY, ours[index]):
            return False
    return False


def _too_large(message: Message) -> BrokerRefused:
    return BrokerRefused(
        f"event {message.id} has {len(message.body)} bytes, more than the server's max_payload: raise that"
    )

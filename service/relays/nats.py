"""NATS JetStream: subject ``<subject>.<type>``, and the event's id as what the stream tells repeats by."""

import asyncio
import itertools
import json
from collections.abc import Sequence
from typing import Final

import nats
import nats.errors
import nats.js.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
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
_NO_RESPONDERS: Final = "503"
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
        self._inbox = ""
        self._numbers = itertools.count()
        self._waiting: dict[str, asyncio.Future[Msg]] = {}
        self._lost: BaseException | None = None

    async def open(self, *, make: bool = True) -> None:
        """Connect; make the stream, or check the one that is there."""
        try:
            await asyncio.wait_for(self._open(make=make), OPEN_S)
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

    async def _open(self, *, make: bool) -> None:
        await self._connect()
        self._inbox = self._client.new_inbox()
        await self._client.subscribe(f"{self._inbox}.*", cb=self._on_answer)
        stream = self._client.jetstream(timeout=CONFIRM_S)
        try:
            found = await stream.stream_info(self._options.stream)
        except nats.js.errors.NotFoundError:
            if make:
                await self._make(stream)
        else:
            check_stream(found, self._options)

    async def _connect(self) -> None:
        """Connect to the first server that can be reached; each is tried twice, and no more than that."""
        servers = [url.strip() for url in self._options.url.split(",")]
        await self._client.connect(
            servers,
            name=f"{CLIENT} {self._name}",
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            connect_timeout=max(1, int(OPEN_S / len(servers))),
            error_cb=self._on_error,
            closed_cb=self._on_closed,
        )
        self._lost = None  # what the servers before this one had to say

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
        # The client's own publish_async leaves its futures open when the stream answers with an error.
        if self._lost is not None or not self._inbox:
            raise self._lost or nats.errors.ConnectionClosedError
        reply = f"{self._inbox}.{next(self._numbers)}"
        future = self._waiting[reply] = asyncio.get_running_loop().create_future()
        try:
            await self._client.publish(
                f"{self._options.subject}.{message.type}",
                message.body,
                reply=reply,
                headers={"Nats-Msg-Id": message.id, "Content-Type": MEDIA_TYPE},
            )
            self._judge(await future)
        except nats.errors.MaxPayloadError as error:
            raise _too_large(message) from error
        finally:
            self._waiting.pop(reply, None)

    def _judge(self, answer: Msg) -> None:
        """Return when the stream keeps the message."""
        if answer.headers and answer.headers.get("Status") == _NO_RESPONDERS:
            raise BrokerUnavailable(f"no stream takes the subject; is {self._options.stream!r} gone?")
        said = json.loads(answer.data)
        if (error := said.get("error")) is not None:
            raise BrokerUnavailable(
                f"stream {self._options.stream!r} says: {error.get('description', error)}"
            )
        if said.get("stream") != self._options.stream:
            raise BrokerRefused(
                f"the subject belongs to stream {said.get('stream')!r}, not to {self._options.stream!r}"
            )

    async def _on_answer(self, answer: Msg) -> None:
        future = self._waiting.get(answer.subject)
        if future is not None and not future.done():
            future.set_result(answer)

    async def _on_error(self, error: Exception) -> None:
        self._lose(error)

    async def _on_closed(self) -> None:
        self._lose(nats.errors.ConnectionClosedError())

    def _lose(self, error: Exception) -> None:
        """Let nobody wait for an answer that cannot come any more."""
        self._lost = self._lost or error
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(error)

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

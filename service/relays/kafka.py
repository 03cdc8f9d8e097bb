"""Kafka, experimental: an idempotent producer that waits for all replicas in sync; the payment is the key."""

import asyncio
from collections.abc import Sequence
from typing import Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import (
    AuthenticationFailedError,
    ClusterAuthorizationFailedError,
    MessageSizeTooLargeError,
    TopicAuthorizationFailedError,
)

from service.domain.relaying import KafkaOptions, Message
from service.errors import BrokerError, BrokerRefused, BrokerUnavailable
from service.relays.base import CLIENT, CONFIRM_S, MEDIA_TYPE, OPEN_S, close_soon, describe, publish_in_waves

_REPAIR = (AuthenticationFailedError, ClusterAuthorizationFailedError, TopicAuthorizationFailedError)
CANCELS: Final = 50
_HEADERS = [("content-type", MEDIA_TYPE.encode())]


def connect(name: str, options: KafkaOptions) -> "KafkaRelay":
    """Return the relay *name*'s connection, not opened yet."""
    return KafkaRelay(name, options)


class KafkaRelay:
    """One producer. After a failure it is thrown away, and with it what it would have repeated."""

    def __init__(self, name: str, options: KafkaOptions) -> None:
        self._name = name
        self._options = options
        self._producer: AIOKafkaProducer | None = None

    async def open(self, *, make: bool = True) -> None:  # noqa: ARG002 (topics are the cluster's business)
        """Connect, and see that the topic is there."""
        try:
            await asyncio.wait_for(self._open(), OPEN_S)
        except Exception as error:
            raise self._translate(error) from error

    async def publish(self, batch: Sequence[Message]) -> None:
        """Produce *batch*, one record of each payment at a time."""
        await publish_in_waves(batch, self._send, self._translate)

    async def close(self) -> None:
        """Let go of the connection."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await _give_up(producer)

    async def _open(self) -> None:
        self._producer = AIOKafkaProducer(
            bootstrap_servers=self._options.bootstrap_servers,
            client_id=f"{CLIENT}-{self._name}",
            enable_idempotence=True,
            acks="all",
            request_timeout_ms=int(CONFIRM_S * 1000),
        )
        await self._producer.start()
        if not await self._producer.partitions_for(self._options.topic):
            raise BrokerRefused(f"there is no topic {self._options.topic!r}: make it")

    async def _send(self, message: Message) -> None:
        if self._producer is None:
            raise BrokerUnavailable("the connection is not open")
        try:
            confirmed = await self._producer.send(
                self._options.topic,
                message.body,
                key=message.partitionkey.encode(),
                headers=_HEADERS,
            )
        except MessageSizeTooLargeError as error:
            raise BrokerRefused(
                f"event {message.id} has {len(message.body)} bytes, more than a record may have"
            ) from error
        await confirmed

    def _translate(self, error: BaseException) -> BrokerError:
        if isinstance(error, BrokerError):
            return error
        reason = describe(error)
        if isinstance(error, _REPAIR):
            return BrokerRefused(reason)
        return BrokerUnavailable(reason)


async def _give_up(producer: AIOKafkaProducer) -> None:
    """End *producer* without sending what waits, which its own ``stop`` would try to, for as long as it takes."""
    producer._closed = True  # noqa: SLF001 (else it warns of not having been stopped)
    sender = producer._sender.sender_task if producer._sender is not None else None  # noqa: SLF001
    for _ in range(CANCELS):
        if sender is None or sender.done():
            break
        sender.cancel()  # the first one makes it wait for its requests, the next ones end these
        await asyncio.wait((sender,), timeout=0.02)
    if sender is not None and sender.done() and not sender.cancelled():
        sender.exception()  # it is nobody's business any more
    await close_soon(producer.client.close())

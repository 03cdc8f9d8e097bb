"""RabbitMQ: a durable topic exchange; each message persistent, confirmed, and refused when no queue takes it."""

import asyncio
from collections.abc import Sequence

import aio_pika
from aio_pika.abc import AbstractConnection, AbstractExchange
from aio_pika.exceptions import (
    AuthenticationError,
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
    DeliveryError,
    ProbableAuthenticationError,
    PublishError,
)
from aiormq.exceptions import ChannelAccessRefused, ConnectionNotAllowed

from service.domain.relaying import Message, RabbitmqOptions
from service.errors import BrokerError, BrokerRefused, BrokerUnavailable
from service.relays.base import CLIENT, MEDIA_TYPE, OPEN_S, close_soon, describe, publish_in_waves

_REPAIR = (
    AuthenticationError,
    ProbableAuthenticationError,
    ConnectionNotAllowed,
    ChannelAccessRefused,
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
)


def connect(name: str, options: RabbitmqOptions) -> "RabbitmqRelay":
    """Return the relay *name*'s connection, not opened yet."""
    return RabbitmqRelay(name, options)


class RabbitmqRelay:
    """One connection with one channel. It does not reconnect by itself: the relay makes another one."""

    def __init__(self, name: str, options: RabbitmqOptions) -> None:
        self._name = name
        self._options = options
        self._connection: AbstractConnection | None = None
        self._exchange: AbstractExchange | None = None

    async def open(self, *, make: bool = True) -> None:
        """Connect; make the exchange, or check the one that is there."""
        try:
            await asyncio.wait_for(self._open(make=make), OPEN_S)
        except Exception as error:
            raise self._translate(error) from error

    async def publish(self, batch: Sequence[Message]) -> None:
        """Publish *batch*, each with its own confirm."""
        await publish_in_waves(batch, self._send, self._translate)

    async def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            await close_soon(self._connection.close())

    async def _open(self, *, make: bool) -> None:
        self._connection = await aio_pika.connect(
            self._options.url,
            timeout=OPEN_S,
            client_properties={"connection_name": f"{CLIENT} {self._name}"},
        )
        channel = await self._connection.channel(publisher_confirms=True, on_return_raises=True)
        try:
            self._exchange = await channel.declare_exchange(
                self._options.exchange, aio_pika.ExchangeType.TOPIC, durable=True, passive=not make
            )
        except ChannelNotFoundEntity:
            if make:
                raise

    async def _send(self, message: Message) -> None:
        if self._exchange is None:
            raise BrokerUnavailable("the connection is not open")
        try:
            await self._exchange.publish(
                aio_pika.Message(
                    message.body,
                    message_id=message.id,
                    content_type=MEDIA_TYPE,
                    delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
                ),
                routing_key=message.type,
                mandatory=True,
            )
        except PublishError as error:
            raise BrokerRefused(
                f"no queue takes event {message.id} ({message.type}): bind one to exchange {self._options.exchange!r}"
            ) from error
        except DeliveryError as error:
            raise BrokerUnavailable(
                f"a queue refuses event {message.id} ({message.type}): is one full (x-overflow)?"
            ) from error

    def _translate(self, error: BaseException) -> BrokerError:
        if isinstance(error, BrokerError):
            return error
        reason = describe(error, self._options.url)
        return BrokerRefused(reason) if isinstance(error, _REPAIR) else BrokerUnavailable(reason)

"""Every broker behind the same handles: what it keeps, and how it is taken away."""

import asyncio
import json
import struct
import subprocess
import sys
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from service.domain.relaying import (
    KafkaOptions,
    Message,
    NatsOptions,
    RabbitmqOptions,
    RedisOptions,
    RelaySpec,
)
from service.errors import BrokerUnavailable
from service.flow.relay_edges import Broker
from service.relays import connect
from service.relays.memory import MemoryBroker, MemoryRelay
from support import servers
from support.process import ROOT
from support.proxy import Proxy


@dataclass(frozen=True)
class Kept:
    """A message as a consumer finds it in the broker."""

    id: str
    body: bytes

    @property
    def payment(self) -> str:
        key: str = json.loads(self.body)["partitionkey"]
        return key


class UnderTest(ABC):
    """A broker behind a proxy."""

    kind: str

    def __init__(self, proxy: Proxy | None) -> None:
        self._proxy = proxy

    @property
    def proxy(self) -> Proxy:
        assert self._proxy is not None
        return self._proxy

    def spec(self, **changes: Any) -> RelaySpec:
        return replace(RelaySpec(self.kind, self.options(), start="beginning"), **changes)

    @abstractmethod
    def options(self) -> Any: ...

    def connect(self, name: str, spec: RelaySpec) -> Broker:
        return connect(name, spec)

    @abstractmethod
    def kept(self) -> list[Kept]: ...

    def down(self) -> None:
        self.proxy.down()

    def up(self) -> None:
        self.proxy.up()

    def stall(self) -> None:
        self.proxy.stall()

    def go_on(self) -> None:
        self.proxy.go_on()

    def cut_in_a_batch(self, batch: Sequence[Message]) -> None:
        self.proxy.cut_after(sum(len(message.body) for message in batch) // 2)

    def slow(self, messages_per_s: float | None) -> None:
        self.proxy.slow(messages_per_s and messages_per_s * 1000)

    def close(self) -> None:
        self.proxy.close()


class InMemory(UnderTest):
    kind = "memory"

    def __init__(self, _folder: Path) -> None:
        super().__init__(None)
        self.broker = MemoryBroker()

    def options(self) -> NatsOptions:
        return NatsOptions("nats://nowhere")

    def connect(self, _name: str, _spec: RelaySpec) -> Broker:
        return MemoryRelay(self.broker)

    def kept(self) -> list[Kept]:
        return [Kept(message.id, message.body) for message in list(self.broker.kept)]

    def down(self) -> None:
        self.broker.refuse_open = self.broker.failing["*"] = BrokerUnavailable("down")

    def up(self) -> None:
        self.broker.refuse_open = None
        self.broker.failing.clear()

    def stall(self) -> None:
        self.broker.send_s = 3600

    def go_on(self) -> None:
        self.broker.send_s = 0

    def cut_in_a_batch(self, batch: Sequence[Message]) -> None:
        self.broker.fail_once.add(batch[len(batch) // 2].id)

    def slow(self, messages_per_s: float | None) -> None:
        self.broker.send_s = 1 / messages_per_s if messages_per_s else 0

    def close(self) -> None:
        pass


class Nats(UnderTest):
    kind = "nats"

    def __init__(self, folder: Path, *more: str) -> None:
        self.server = servers.nats_server(folder / self.kind, *more)
        self.server.start()
        super().__init__(Proxy(self.server.port))

    def options(self) -> NatsOptions:
        return NatsOptions(f"nats://127.0.0.1:{self.proxy.port}")

    def kept(self) -> list[Kept]:
        return asyncio.run(self._kept())

    async def _kept(self) -> list[Kept]:
        import nats
        from nats.js.errors import NotFoundError

        client = await nats.connect(f"nats://127.0.0.1:{self.server.port}")
        stream, found = client.jetstream(), []
        try:
            state = (await stream.stream_info("MIDTRANS")).state
            for number in range(max(1, state.first_seq), state.last_seq + 1):
                message = await stream.get_msg("MIDTRANS", number)
                assert message.headers is not None
                assert message.headers["Content-Type"] == "application/cloudevents+json"
                found.append(Kept(message.headers["Nats-Msg-Id"], message.data or b""))
        except NotFoundError:
            pass
        await client.close()
        return found

    def close(self) -> None:
        super().close()
        self.server.kill()


class Redis(UnderTest):
    kind = "redis"

    def __init__(self, folder: Path, *more: str) -> None:
        self.server = servers.redis_server(folder / self.kind, *more)
        self.server.start()
        super().__init__(Proxy(self.server.port))

    def options(self) -> RedisOptions:
        return RedisOptions(f"redis://127.0.0.1:{self.proxy.port}/0")

    def kept(self) -> list[Kept]:
        import redis

        with redis.Redis(port=self.server.port) as client:
            found: Any = client.xrange("midtrans:events")
            return [Kept(fields[b"id"].decode(), fields[b"event"]) for _, fields in found]

    def close(self) -> None:
        super().close()
        self.server.kill()


class Rabbitmq(UnderTest):
    kind = "rabbitmq"

    def __init__(self, _folder: Path) -> None:
        self.port = servers.rabbitmq_port()
        self.name = f"midtrans-test-{uuid.uuid4().hex[:12]}"
        self._kept_so_far: list[Kept] = []
        super().__init__(Proxy(self.port))
        asyncio.run(self.declare())

    def options(self) -> RabbitmqOptions:
        return RabbitmqOptions(f"amqp://guest:guest@127.0.0.1:{self.proxy.port}/", self.name)

    async def declare(self, **arguments: Any) -> None:
        """Make the exchange and one queue that takes everything."""
        import aio_pika

        async with await aio_pika.connect(port=self.port) as connection:
            channel = await connection.channel()
            exchange = await channel.declare_exchange(self.name, aio_pika.ExchangeType.TOPIC, durable=True)
            queue = await channel.declare_queue(self.name, durable=True, arguments=arguments)
            await queue.bind(exchange, "midtrans.#")

    async def delete(self, *, exchange: bool = True) -> None:
        import aio_pika

        async with await aio_pika.connect(port=self.port) as connection:
            channel = await connection.channel()
            await channel.queue_delete(self.name)
            if exchange:
                await channel.exchange_delete(self.name)

    def kept(self) -> list[Kept]:
        asyncio.run(self._drain())
        return list(self._kept_so_far)

    async def _drain(self) -> None:
        import aio_pika

        async with await aio_pika.connect(port=self.port) as connection:
            queue = await (await connection.channel()).get_queue(self.name)
            while (message := await queue.get(no_ack=True, fail=False)) is not None:
                assert message.content_type == "application/cloudevents+json"
                assert message.delivery_mode == aio_pika.DeliveryMode.PERSISTENT
                self._kept_so_far.append(Kept(message.message_id or "", message.body))

    def close(self) -> None:
        super().close()
        asyncio.run(self.delete())


MOCK_CLUSTER = """
import sys
from confluent_kafka import Producer
producer = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "", "log_level": 0})
print(next(iter(producer.list_topics("midtrans.events", timeout=10).brokers.values())).port, flush=True)
sys.stdin.read()
"""


class Kafka(UnderTest):
    """The mock cluster of librdkafka, in a process of its own."""

    kind = "kafka"

    def __init__(self, _folder: Path, *_more: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", MOCK_CLUSTER],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())
        super().__init__(Proxy(self.port, rewrite=self._rewrite))

    def _rewrite(self, data: bytes, port: int) -> bytes:
        """Let clients find the broker behind the proxy: answers name its port."""
        return data.replace(struct.pack(">i", self.port), struct.pack(">i", port))

    def options(self) -> KafkaOptions:
        return KafkaOptions(f"127.0.0.1:{self.proxy.port}")

    def kept(self) -> list[Kept]:
        return asyncio.run(self._kept())

    async def _kept(self) -> list[Kept]:
        from aiokafka import AIOKafkaConsumer, TopicPartition

        consumer = AIOKafkaConsumer(bootstrap_servers=f"127.0.0.1:{self.port}", auto_offset_reset="earliest")
        await consumer.start()
        found: list[Kept] = []
        try:
            parts = [TopicPartition("midtrans.events", number) for number in range(4)]
            consumer.assign(parts)
            ends = await consumer.end_offsets(parts)
            for part in parts:
                while await consumer.position(part) < ends[part]:
                    for record in (await consumer.getmany(part, timeout_ms=500)).get(part, []):
                        assert dict(record.headers) == {"content-type": b"application/cloudevents+json"}
                        body = json.loads(record.value)
                        assert record.key.decode() == body["partitionkey"]
                        found.append(Kept(body["id"], record.value))
        finally:
            await consumer.stop()
        return found

    def close(self) -> None:
        super().close()
        self.process.kill()
        self.process.communicate()


BROKERS: dict[str, Callable[[Path], UnderTest]] = {
    "memory": InMemory,
    "nats": Nats,
    "redis": Redis,
    "rabbitmq": Rabbitmq,
    "kafka": Kafka,
}

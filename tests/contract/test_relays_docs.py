"""The consumers of docs/relays.md read what the relays publish, as a reader would run them."""

import asyncio
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from support.brokers import Kafka, Nats, Rabbitmq, Redis, UnderTest
from support.process import ROOT
from support.relaying import Log, relaying

from service.settings import load

pytestmark = pytest.mark.slow

PAGE = (ROOT / "docs" / "relays.md").read_text(encoding="utf-8")
HANDLE = """
def handle(event, once_per):
    assert event["id"] == once_per
    print(once_per, event["subject"], flush=True)

"""
ADDRESS = {
    "nats": "127.0.0.1:4222",
    "redis": "127.0.0.1:6379",
    "rabbitmq": "127.0.0.1:5672",
    "kafka": "127.0.0.1:9092",
}


def block(language: str, containing: str) -> str:
    (found,) = [
        text for text in re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL) if containing in text
    ]
    return str(found)


@pytest.mark.parametrize(
    ("kind", "containing"),
    [(Nats, "nats.connect"), (Redis, "xreadgroup"), (Rabbitmq, "aio_pika"), (Kafka, "AIOKafkaConsumer")],
)
def test_the_consumer_of_each_broker_handles_every_event_in_order(
    start: Callable[..., UnderTest], log: Log, kind: type[UnderTest], containing: str
) -> None:
    broker = start(kind)
    program = HANDLE + block("python", containing)
    assert ADDRESS[broker.kind] in program
    program = program.replace(ADDRESS[broker.kind], f"127.0.0.1:{port_of(broker)}")
    if isinstance(broker, Rabbitmq):
        program = program.replace('"midtrans.events"', f'"{broker.name}"').replace(
            '"shipping"', f'"{broker.name}-q"'
        )
    log.append("a", "b", "a", "a")
    with relaying(log, {"out": broker.spec()}, broker.connect):
        process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        try:
            if isinstance(broker, Rabbitmq):  # its queue is there only now
                wait_for_queue(broker)
                log.messages.clear()
                log.append("a", "b", "a", "a")
            lines = [process.stdout.readline().split() for _ in log.messages]
        finally:
            process.kill()
            process.communicate()
            if isinstance(broker, Rabbitmq):
                asyncio.run(drop_queue(broker))
    assert sorted(lines) == sorted([message.id, message.subject] for message in log.messages)
    of_a = [message.id for message in log.messages if message.subject == "order-of-a"]
    assert [identity for identity, order in lines if order == "order-of-a"] == of_a


def port_of(broker: Any) -> int:
    port: int = broker.server.port if hasattr(broker, "server") else broker.port
    return port


def wait_for_queue(broker: Rabbitmq) -> None:
    async def look() -> None:
        import aio_pika

        for _ in range(200):
            async with await aio_pika.connect(port=broker.port) as connection:
                try:
                    queue = await (await connection.channel()).get_queue(f"{broker.name}-q")
                except aio_pika.exceptions.ChannelNotFoundEntity:
                    pass
                else:
                    if queue.declaration_result.consumer_count:
                        return
            await asyncio.sleep(0.1)

    asyncio.run(look())


async def drop_queue(broker: Rabbitmq) -> None:
    import aio_pika

    async with await aio_pika.connect(port=broker.port) as connection:
        await (await connection.channel()).queue_delete(f"{broker.name}-q")


def test_the_settings_of_the_page_are_right(tmp_path: Any) -> None:
    path = tmp_path / "service.toml"
    path.write_text(block("toml", "[relays.nats]"))
    assert set(load({"SERVICE_CONFIG": str(path)}).relays) == {"nats", "audit"}

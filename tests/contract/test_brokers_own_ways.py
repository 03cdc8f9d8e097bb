"""What can happen to one kind of broker: started again, stopped, full, locked, set up otherwise, without a queue."""

import asyncio
import signal
from typing import Any

import aio_pika
import aio_pika.exceptions
import nats
import pytest
import redis
from nats.js.api import DiscardPolicy, StorageType, StreamConfig
from support.brokers import Kafka, Nats, Rabbitmq, Redis, UnderTest
from support.relaying import Alarms, Log, finish, is_done, relaying, until
from support.servers import free_port

from service.doctor import Level
from service.doctor.relays import check_relays
from service.domain.relaying import NatsOptions, RabbitmqOptions, RedisOptions, RelaySpec
from service.flow.relay_edges import Broker
from service.relays import connect

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("impatient")]

Start = Any
SECRET = "pass-word-1"


def stuck(log: Log, within: str) -> None:
    """Wait until the relay says that it does not go on for this reason."""
    until(lambda: within in log.error(), about=lambda: log.state("out"))


def seen(options: Any) -> Any:
    """Return a connect that publishes to *options*, whatever the settings say."""

    def connect_there(name: str, spec: RelaySpec) -> Broker:
        return connect(name, RelaySpec(spec.kind, options))

    return connect_there


async def of_nats(broker: Nats, config: StreamConfig, *, update: bool = False) -> None:
    client = await nats.connect(f"nats://127.0.0.1:{broker.server.port}")
    stream = client.jetstream()
    await (stream.update_stream(config) if update else stream.add_stream(config))
    await client.close()


@pytest.mark.parametrize("kind", [Nats, Redis])
def test_a_broker_that_is_killed_and_started_again_has_everything(
    start: Start, log: Log, kind: type[Nats] | type[Redis]
) -> None:
    broker = start(kind)
    with relaying(log, {"out": broker.spec()}, broker.connect):
        for _ in range(3):
            log.append_many(200, payments=20)
            broker.server.kill()
            log.append_many(50, payments=20)
            broker.server.start()
            finish(log, broker)


@pytest.mark.parametrize("kind", [Nats, Redis])
def test_a_broker_that_is_stopped_gets_everything_when_it_goes_on(
    start: Start, log: Log, kind: type[Nats] | type[Redis]
) -> None:
    broker = start(kind)
    log.append_many(20, payments=5)
    with relaying(log, {"out": broker.spec()}, broker.connect):
        finish(log, broker)
        broker.server.signal(signal.SIGSTOP)
        log.append_many(60, payments=5)
        until(log.error)
        broker.server.signal(signal.SIGCONT)
        finish(log, broker)


def test_a_full_redis_holds_the_relay_until_there_is_room(start: Start, log: Log) -> None:
    broker = start(Redis)
    admin = redis.Redis(port=broker.server.port)
    log.append_many(10, payments=2)
    with relaying(log, {"out": broker.spec()}, broker.connect):
        finish(log, broker)
        admin.config_set("maxmemory", "1mb")
        log.append_many(40, payments=3)
        stuck(log, "full")
        assert log.lag("out") == 40
        admin.config_set("maxmemory", "0")
        finish(log, broker)
    admin.close()


def test_a_full_stream_of_nats_holds_the_relay_until_there_is_room(start: Start, log: Log) -> None:
    broker = start(Nats)
    config = StreamConfig(
        name="MIDTRANS",
        subjects=["midtrans.>"],
        storage=StorageType.FILE,
        discard=DiscardPolicy.NEW,
        duplicate_window=120,
        max_msgs=25,
    )
    asyncio.run(of_nats(broker, config))
    log.append_many(40, payments=4)
    with relaying(log, {"out": broker.spec()}, broker.connect):
        stuck(log, "maximum messages exceeded")
        config.max_msgs = 1000
        asyncio.run(of_nats(broker, config, update=True))
        finish(log, broker)


def test_a_full_queue_of_rabbitmq_holds_the_relay_until_there_is_room(start: Start, log: Log) -> None:
    broker = start(Rabbitmq)
    asyncio.run(broker.delete(exchange=False))
    asyncio.run(broker.declare(**{"x-max-length": 10, "x-overflow": "reject-publish"}))
    log.append_many(30, payments=3)
    with relaying(log, {"out": broker.spec()}, broker.connect):
        stuck(log, "is one full")
        assert not is_done(log)
        finish(log, broker)  # reads, and so makes room


def test_an_event_that_no_queue_takes_holds_the_relay_and_calls_a_person(start: Start, log: Log) -> None:
    broker = start(Rabbitmq)
    asyncio.run(broker.delete(exchange=False))
    alarms = Alarms()
    (first, *_) = log.append("a", "b", "a")
    with relaying(log, {"out": broker.spec()}, broker.connect, alarms):
        stuck(log, f"no queue takes event {first.id} (midtrans.payment.settled)")
        until(lambda: alarms.names() == ["relay_refused"])
        assert log.position("out") == 0
        asyncio.run(broker.declare())
        finish(log, broker)
        assert alarms.names() == ["relay_refused"]


@pytest.mark.parametrize(("kind", "limit"), [(Nats, "max_payload"), (Kafka, "more than a record may have")])
def test_an_event_that_is_too_large_holds_the_relay_and_calls_a_person(
    start: Start, log: Log, kind: type[UnderTest], limit: str
) -> None:
    broker = start(kind)
    alarms = Alarms()
    log.append("a", "b")
    (large,) = log.append("a", size=1_500_000)
    log.append("a", "c")
    with relaying(log, {"out": broker.spec()}, broker.connect, alarms):
        stuck(log, f"event {large.id} has 1500")
        assert limit in log.error()
        until(lambda: log.position("out") == large.position - 1)
        assert alarms.names() == ["relay_refused"]
        assert [kept.id for kept in broker.kept()].count(log.messages[3].id) == 0  # nothing of "a" after it


def test_a_wrong_login_is_told_without_the_password(start: Start, log: Log, tmp_path: Any) -> None:
    (tmp_path / "nats.conf").write_text('authorization { user: "shop", password: "right" }\n')
    brokers: dict[str, tuple[UnderTest, Any]] = {}
    broker = start(Nats, "-c", str(tmp_path / "nats.conf"))
    brokers["nats"] = broker, NatsOptions(f"nats://shop:{SECRET}@127.0.0.1:{broker.proxy.port}")
    broker = start(Redis, "--requirepass", "right")
    brokers["redis"] = broker, RedisOptions(f"redis://:{SECRET}@127.0.0.1:{broker.proxy.port}")
    broker = start(Rabbitmq)
    brokers["rabbitmq"] = broker, RabbitmqOptions(f"amqp://guest:{SECRET}@127.0.0.1:{broker.proxy.port}/")
    log.append("a")
    for name, (broker, options) in brokers.items():
        alarms = Alarms()
        with relaying(log, {name: broker.spec()}, seen(options), alarms):
            until(alarms.names)
        assert alarms.names() == ["relay_refused"]
        assert log.position(name) == 0
        assert SECRET not in f"{alarms}{log.state(name)}"


def test_of_several_servers_of_nats_the_first_that_answers_is_taken(start: Start, log: Log) -> None:
    broker = start(Nats)
    url = f"nats://127.0.0.1:{free_port()}, nats://127.0.0.1:{broker.server.port}"
    log.append_many(20, payments=5)
    with relaying(log, {"out": broker.spec()}, seen(NatsOptions(url))):
        finish(log, broker)


def test_a_missing_stream_is_made_to_keep_everything(start: Start, log: Log) -> None:
    broker = start(Nats)
    log.append_many(10, payments=2)

    async def remove() -> StreamConfig:
        client = await nats.connect(f"nats://127.0.0.1:{broker.server.port}")
        config = (await client.jetstream().stream_info("MIDTRANS")).config
        await client.jetstream().delete_stream("MIDTRANS")
        await client.close()
        return config

    with relaying(log, {"out": broker.spec()}, broker.connect):
        until(lambda: is_done(log))
        config = asyncio.run(remove())
        (later,) = log.append("a")
        until(lambda: is_done(log))
        assert [kept.id for kept in broker.kept()] == [later.id]
    assert config.subjects == ["midtrans.events.>"]
    assert (config.storage, config.discard) == (StorageType.FILE, DiscardPolicy.NEW)
    assert config.duplicate_window == 600


@pytest.mark.parametrize(
    ("otherwise", "said"),
    [
        ({"subjects": ["other.>"]}, "does not take 'midtrans.events.>'"),
        ({"storage": StorageType.MEMORY}, "not stored in files"),
        ({"duplicate_window": 5}, "knows repeats for 5 s only"),
        ({"no_ack": True}, "does not acknowledge"),
    ],
)
def test_a_stream_of_another_set_up_is_told_and_left_alone(
    start: Start, log: Log, otherwise: dict[str, Any], said: str
) -> None:
    broker = start(Nats)
    config = StreamConfig(
        **{
            "name": "MIDTRANS",
            "subjects": ["midtrans.>"],
            "storage": StorageType.FILE,
            "duplicate_window": 120,
            **otherwise,
        }
    )
    asyncio.run(of_nats(broker, config))
    log.append("a")
    alarms = Alarms()
    with relaying(log, {"out": broker.spec()}, broker.connect, alarms):
        stuck(log, said)
        until(lambda: alarms.names() == ["relay_refused"])
    assert broker.kept() == []


def test_a_key_of_another_kind_is_told_and_left_alone(start: Start, log: Log) -> None:
    broker = start(Redis)
    with redis.Redis(port=broker.server.port) as admin:
        admin.set("midtrans:events", "mine")
        log.append("a")
        with relaying(log, {"out": broker.spec()}, broker.connect):
            stuck(log, "no stream")
        assert admin.get("midtrans:events") == b"mine"


def test_an_exchange_of_another_kind_is_told_and_left_alone(start: Start, log: Log) -> None:
    broker = start(Rabbitmq)
    spec = RelaySpec(
        "rabbitmq", RabbitmqOptions(f"amqp://127.0.0.1:{broker.proxy.port}/", f"{broker.name}-x")
    )

    async def fanout(*, make: bool) -> None:
        async with await aio_pika.connect(port=broker.port) as connection:
            channel = await connection.channel()
            if make:
                await channel.declare_exchange(f"{broker.name}-x", aio_pika.ExchangeType.FANOUT)
            else:
                await channel.exchange_delete(f"{broker.name}-x")

    asyncio.run(fanout(make=True))
    log.append("a")
    with relaying(log, {"out": spec}, connect):
        stuck(log, "PRECONDITION_FAILED")
    asyncio.run(fanout(make=False))


@pytest.mark.parametrize("kind", [Nats, Redis, Kafka])
def test_doctor_is_let_in_and_makes_nothing(start: Start, kind: type[UnderTest]) -> None:
    broker = start(kind)
    (finding,) = check_relays({"out": broker.spec()})
    assert finding.level in (Level.OK, Level.WARNING)  # Kafka is experimental
    assert "lets us in" in finding.says
    if isinstance(broker, Nats):
        assert asyncio.run(streams_of(broker)) == []


def test_doctor_makes_no_exchange(start: Start) -> None:
    broker = start(Rabbitmq)
    options = RabbitmqOptions(broker.options().url, f"{broker.name}-none")
    (finding,) = check_relays({"out": RelaySpec("rabbitmq", options)})
    assert finding.level is Level.OK
    with pytest.raises(aio_pika.exceptions.ChannelNotFoundEntity):
        asyncio.run(exchange_is_there(broker, f"{broker.name}-none"))


async def streams_of(broker: Nats) -> list[str]:
    client = await nats.connect(f"nats://127.0.0.1:{broker.server.port}")
    found = [str(stream.config.name) for stream in await client.jetstream().streams_info()]
    await client.close()
    return found


async def exchange_is_there(broker: Rabbitmq, name: str) -> None:
    async with await aio_pika.connect(port=broker.port) as connection:
        await (await connection.channel()).get_exchange(name)

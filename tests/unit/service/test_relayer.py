"""The loop that relays, over the real store and a broker in memory."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from support.brokers import InMemory
from support.relaying import Alarms, Log, relaying, until

from service.db.relays import Relays
from service.domain import relaying as domain
from service.domain.relaying import LEASE, NatsOptions, RelaySpec, back_off_s, first_missing, waves
from service.errors import BrokerRefused, BrokerUnavailable, SettingsInvalid, StoreUnavailable
from service.flow import relay as flow
from service.metrics import Metrics
from service.relayer import Relayer
from service.relays import base, check_installed


@pytest.fixture(autouse=True)
def _in_less_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(domain, "FIRST_WAIT_S", 0.02)
    monkeypatch.setattr(domain, "LONGEST_WAIT_S", 0.05)
    monkeypatch.setattr(flow, "LOOK_S", 0.1)
    monkeypatch.setattr(base, "CONFIRM_S", 0.5)
    monkeypatch.setattr(base, "GRACE_S", 0.05)
    monkeypatch.setattr(
        "service.relayer.is_dead", lambda _owner, *, seen_from: False
    )  # here two are one process


@pytest.fixture
def log(stored_at: str) -> Iterator[Log]:
    made = Log(stored_at)
    yield made
    made.store.close()


@pytest.fixture
def broker(tmp_path: Any) -> InMemory:
    return InMemory(tmp_path)


def done(log: Log) -> bool:
    return log.position("out") == log.messages[-1].position


def test_two_processes_that_name_a_relay_publish_once(log: Log, broker: InMemory) -> None:
    with (
        relaying(log, {"out": broker.spec()}, broker.connect),
        relaying(log, {"out": broker.spec()}, broker.connect),
    ):
        log.append_many(100, payments=10)
        until(lambda: done(log))
    assert len(broker.kept()) == 100
    assert broker.broker.connections == 1


def test_when_one_ends_the_other_goes_on(log: Log, broker: InMemory) -> None:
    with relaying(log, {"out": broker.spec()}, broker.connect):
        with relaying(log, {"out": broker.spec()}, broker.connect):
            log.append("a")
            until(lambda: done(log))
        log.append("b")
        until(lambda: done(log))
    assert len(broker.kept()) == 2


def test_what_was_published_and_not_noted_is_published_again(
    log: Log, broker: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    stands = threading.Event()
    move = Relays.move

    def stand(self: Relays, name: str, hold: Any, position: int, *, published: bool) -> None:
        if published and hold.fence == 1 and not stands.is_set():
            stands.set()
            raise StoreUnavailable("gone for a while")  # published, and not noted
        move(self, name, hold, position, published=published)

    monkeypatch.setattr(Relays, "move", stand)
    with relaying(log, {"out": broker.spec()}, broker.connect):
        log.append("a")
        until(lambda: done(log))
    assert [kept.id for kept in broker.kept()] == [log.messages[0].id] * 2
    assert log.state("out").fence >= 2


def test_a_hold_that_cannot_be_lengthened_in_time_is_not_used(
    log: Log, broker: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow, "LEASE", LEASE * 0)  # over as soon as it begins
    with relaying(log, {"out": broker.spec()}, broker.connect):
        log.append("a")
        time.sleep(0.5)
    assert broker.kept() == []


def test_a_refusal_calls_a_person_once_until_it_goes_on(log: Log, broker: InMemory) -> None:
    alarms = Alarms()
    (first, second, _) = log.append("a", "a", "b")
    broker.broker.failing[second.id] = BrokerRefused("no queue takes it")
    with relaying(log, {"out": broker.spec()}, broker.connect, alarms) as relayer:
        until(lambda: log.position("out") == first.position)
        until(lambda: relayer.problems() == "out: no queue takes it")
        time.sleep(0.3)
        assert alarms == [("relay_refused", {"relay": "out", "why": "no queue takes it"})]
        broker.broker.failing.clear()
        until(lambda: done(log))
        until(lambda: relayer.problems() is None)
    assert log.state("out").error is None


def test_one_that_fails_for_long_calls_a_person(
    log: Log, broker: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow, "STUCK_S", 0.3)
    alarms = Alarms()
    log.append("a")
    broker.down()
    with relaying(log, {"out": broker.spec()}, broker.connect, alarms):
        until(alarms.names)
        broker.up()
        until(lambda: done(log))
    assert alarms == [("relay_stuck", {"relay": "out", "why": "down"})]


def test_after_a_failure_in_the_middle_no_later_event_of_the_payment_goes_before(
    log: Log, broker: InMemory
) -> None:
    messages = log.append("a", "b", "a", "b", "a", "c")
    broker.broker.failing[messages[2].id] = BrokerUnavailable("not just now")
    with relaying(log, {"out": broker.spec()}, broker.connect):
        until(lambda: log.position("out") == messages[1].position)
        kept = {one.id for one in broker.kept()}
        assert messages[4].id not in kept
        assert messages[5].id in kept  # another payment's does not wait
        broker.up()
        until(lambda: done(log))


def test_paused_it_publishes_nothing_and_goes_on_when_told(log: Log, broker: InMemory) -> None:
    with relaying(log, {"out": broker.spec()}, broker.connect):
        log.append("a")
        until(lambda: done(log))
        log.store.write(lambda unit: unit.relays.pause("out", paused=True)).result(10)
        time.sleep(0.2)
        log.append("b")
        time.sleep(0.4)
        assert len(broker.kept()) == 1
        log.store.write(lambda unit: unit.relays.pause("out", paused=False)).result(10)
        until(lambda: done(log))
    assert len(broker.kept()) == 2


def test_a_seek_is_followed_by_who_relays(log: Log, broker: InMemory) -> None:
    log.append("a", "b")
    with relaying(log, {"out": broker.spec()}, broker.connect):
        until(lambda: done(log))
        log.store.write(lambda unit: unit.relays.seek("out", 0)).result(10)
        until(lambda: len(broker.kept()) == 4)
    assert [one.id for one in broker.kept()] == [message.id for message in log.messages] * 2


def test_what_a_client_raises_unforeseen_holds_back_its_relay_as_a_failure(
    log: Log, broker: InMemory
) -> None:
    class Broken:
        async def open(self, *, make: bool = True) -> None:
            raise KeyError("secret")

        async def close(self) -> None:
            return

    log.append("a")
    with relaying(log, {"out": broker.spec()}, lambda _name, _spec: Broken()):  # type: ignore[arg-type, return-value]
        until(log.error)
    assert log.error() == "its client failed: KeyError, see the log"


def test_without_relays_nothing_is_started(log: Log) -> None:
    relayer = Relayer(store=log.store, relays={}, metrics=Metrics(), alarm=print)
    before = threading.active_count()
    relayer.start()
    assert threading.active_count() == before
    assert relayer.problems() is None
    relayer.stop(1)


def test_a_kind_whose_client_is_not_installed_refuses_to_start(log: Log) -> None:
    spec = RelaySpec("pigeon", NatsOptions("nats://h"))
    with pytest.raises(SettingsInvalid, match=r"relays\.out\.kind is 'pigeon'.*make relays"):
        check_installed("out", spec)
    with pytest.raises(SettingsInvalid):
        Relayer(store=log.store, relays={"out": spec}, metrics=Metrics(), alarm=print).start()


def test_waits_grow_and_end_at_half_a_minute_and_jitter_adds_up_to_half(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()
    assert [back_off_s(failures, 0.0) for failures in (1, 2, 3, 6, 7, 50)] == [0.5, 1, 2, 16, 30, 30]
    assert back_off_s(1, 1.0) == 0.75


def test_waves_hold_one_of_each_payment_in_order(log: Log) -> None:
    messages = log.append("a", "b", "a", "c", "a", "b")
    assert waves(messages) == [[0, 1, 3], [2, 5], [4]]
    assert waves([]) == []


def test_how_much_of_a_batch_is_kept_from_its_beginning() -> None:
    assert [first_missing(3, kept) for kept in ([], [0], [1, 2], [0, 1, 2], [2, 0])] == [0, 1, 0, 3, 1]


@pytest.mark.parametrize(
    "url",
    [
        "nats://user:p%40ss-word@h:4222",
        "redis://:p%40ss-word@h",
        "nats://p%40ss-word@h",
        "amqps://u:p%40ss-word@h/?key=p%40ss-word",
        "nats://a:p%40ss-word@h,nats://b:p%40ss-word@i",
    ],
)
def test_no_error_tells_what_a_url_holds(url: str) -> None:
    error = ValueError(f"cannot use {url} of p%40ss-word with p@ss-word")
    assert "ss-word" not in base.describe(error, url)

"""What every broker promises, whatever happens to it: one list for all of them, the one in memory included."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from support.brokers import BROKERS, UnderTest
from support.process import ROOT
from support.relaying import Log, finish, is_done, relaying, until

from service.domain.relaying import RelaySpec
from service.flow import relay as flow
from service.flow.relay_edges import Broker
from service.relays.memory import MemoryBroker, MemoryRelay

pytestmark = pytest.mark.slow


of_processes = pytest.mark.parametrize(
    "broker", [kind for kind in BROKERS if kind != "memory"], indirect=True
)
"""Of brokers that are still there when the process that published is gone."""


@pytest.fixture(params=list(BROKERS))
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[UnderTest]:
    under_test = BROKERS[request.param](tmp_path / "broker")
    try:
        yield under_test
    finally:
        under_test.close()


def test_events_come_once_each_as_they_are_stored_in_order(broker: UnderTest, log: Log) -> None:
    log.append_many(700, payments=90)
    with relaying(log, {"out": broker.spec()}, broker.connect):
        finish(log, broker)
        log.append("payment-1", "new-1", "payment-1")  # heard of, not looked for
        finish(log, broker)
    assert len(broker.kept()) == len(log.messages)
    assert log.state("out").owner is None  # free for the next process


def test_a_relay_that_begins_now_leaves_out_what_was_before(broker: UnderTest, log: Log) -> None:
    old = log.append_many(5, payments=5)
    with relaying(log, {"out": broker.spec(start="now")}, broker.connect):
        until(lambda: log.position("out") == old[-1].position)
        new = log.append("payment-1")
        until(lambda: log.position("out") == new[-1].position)
    assert [kept.id for kept in broker.kept()] == [new[0].id]


def test_what_is_not_wanted_is_passed_over_and_the_place_moves(broker: UnderTest, log: Log) -> None:
    wanted = {"types": ("midtrans.payment.s*",), "merchants": ("shop-a",)}
    log.append_many(30, payments=3)
    with relaying(log, {"out": broker.spec(**wanted)}, broker.connect):
        until(lambda: is_done(log))
        log.append("shop-a/p1", type_="midtrans.payment.denied")
        (mine,) = log.append("shop-a/p1")
        log.append("shop-b/p2")
        until(lambda: is_done(log))
    assert [kept.id for kept in broker.kept()] == [mine.id]
    assert log.lag("out") == 0


@pytest.mark.usefixtures("impatient")
def test_what_comes_while_it_is_down_is_published_when_it_is_up(broker: UnderTest, log: Log) -> None:
    log.append_many(20, payments=4)
    with relaying(log, {"out": broker.spec()}, broker.connect) as relayer:
        finish(log, broker)
        broker.down()
        log.append_many(40, payments=4)
        until(log.error)
        assert relayer.problems() is not None
        assert log.lag("out") == 40
        broker.up()
        finish(log, broker)
        until(lambda: not log.error())
        until(lambda: relayer.problems() is None)
    assert log.state("out").failing_since is None


@pytest.mark.usefixtures("impatient")
def test_a_batch_that_is_cut_off_in_the_middle_is_whole_in_the_end(broker: UnderTest, log: Log) -> None:
    with relaying(log, {"out": broker.spec()}, broker.connect):
        for _ in range(3):
            batch = log.append_many(120, payments=7)
            broker.cut_in_a_batch(batch)
            finish(log, broker)


@pytest.mark.usefixtures("impatient")
def test_a_broker_that_stands_still_gets_everything_when_it_goes_on(broker: UnderTest, log: Log) -> None:
    log.append_many(20, payments=5)
    with relaying(log, {"out": broker.spec()}, broker.connect):
        finish(log, broker)
        broker.stall()
        log.append_many(60, payments=5)
        until(log.error)
        broker.go_on()
        finish(log, broker)


@pytest.mark.usefixtures("impatient")
def test_a_slow_broker_gets_everything(broker: UnderTest, log: Log) -> None:
    broker.slow(80)
    log.append_many(300, payments=40)
    with relaying(log, {"out": broker.spec()}, broker.connect):
        until(lambda: log.position("out") > log.messages[40].position, within_s=60)
        broker.slow(None)
        finish(log, broker)


@pytest.mark.usefixtures("impatient")
def test_one_that_is_down_holds_back_no_other(broker: UnderTest, log: Log) -> None:
    other = MemoryBroker()
    broker.down()

    def connect(name: str, spec: RelaySpec) -> Broker:
        return MemoryRelay(other) if name == "other" else broker.connect(name, spec)

    log.append_many(50, payments=5)
    with relaying(log, {"out": broker.spec(), "other": broker.spec()}, connect):
        until(lambda: is_done(log, "other"))
        assert log.position("out") == 0
        until(log.error)
    assert len(other.kept) == 50
    broker.up()


@of_processes
def test_killed_between_the_broker_and_the_place_it_is_published_again(broker: UnderTest, log: Log) -> None:
    log.append_many(40, payments=4)
    log.store.close()
    process = relay_process(broker, log, "stand-still")
    assert process.stdout is not None
    assert any(line == "published\n" for line in process.stdout)
    process.kill()
    process.communicate()
    before = broker.kept()
    again = Log(log.url)
    again.messages = log.messages
    assert again.position("out") == 0
    assert len(before) == 40
    try:
        with relaying(again, {"out": broker.spec()}, broker.connect):
            finish(again, broker)
    finally:
        again.store.close()
    kept = broker.kept()
    if broker.kind == "nats":
        assert len(kept) == 40  # told by their ids
    else:
        assert [one.id for one in kept].count(log.messages[0].id) == 2


def relay_process(broker: UnderTest, log: Log, *more: str) -> "subprocess.Popen[str]":
    """Start a process that relays."""
    script = ROOT / "tests" / "support" / "relay_process.py"
    return subprocess.Popen(
        [sys.executable, str(script), log.url, broker.kind, exchange_of(broker), *more],
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "PATH": "/usr/bin", "RELAY_URL": url_of(broker)},
        stdout=subprocess.PIPE,
        text=True,
    )


@of_processes
def test_a_process_that_was_stopped_and_wakes_moves_nothing_back(
    broker: UnderTest, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.db.relays.LEASE", timedelta(seconds=2))
    monkeypatch.setattr(flow, "LEASE", timedelta(seconds=2))
    process = relay_process(broker, log)
    try:
        log.append_many(300, payments=20)
        until(lambda: log.position("out") > 0)
        process.send_signal(signal.SIGSTOP)
        log.append_many(300, payments=20)
        with relaying(log, {"out": broker.spec()}, broker.connect):
            finish(log, broker)
            mine, position = log.state("out").owner, log.position("out")
            process.send_signal(signal.SIGCONT)
            time.sleep(1.0)
            assert log.state("out").owner == mine
            assert log.position("out") == position
            log.append_many(100, payments=20)
            finish(log, broker)
    finally:
        process.kill()
        process.communicate()


def url_of(broker: UnderTest) -> str:
    options = broker.options()
    return str(getattr(options, "url", None) or options.bootstrap_servers)


def exchange_of(broker: UnderTest) -> str:
    return str(getattr(broker.options(), "exchange", ""))

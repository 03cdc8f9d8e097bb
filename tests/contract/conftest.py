"""Turns are quick here, and every broker that a test starts ends with it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from support.brokers import UnderTest
from support.databases import migrated
from support.relaying import Log

from service.domain import relaying as domain
from service.flow import relay as flow
from service.relays import base

B = TypeVar("B", bound=UnderTest)
Start = Callable[..., B]


@pytest.fixture(autouse=True)
def _quick_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(domain, "LONGEST_WAIT_S", 0.5)
    monkeypatch.setattr(flow, "BEAT_S", 0.5)
    monkeypatch.setattr(flow, "LOOK_S", 0.2)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a broker given up soon: for tests in which one does not answer."""
    for module in ("nats", "redis", "kafka"):
        monkeypatch.setattr(f"service.relays.{module}.CONFIRM_S", 1.5)
    for module in ("nats", "redis", "rabbitmq", "kafka"):
        monkeypatch.setattr(f"service.relays.{module}.OPEN_S", 3.0)
    monkeypatch.setattr(base, "CONFIRM_S", 1.5)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    made = Log(f"sqlite:///{migrated(tmp_path / 'midtrans.db')}")
    yield made
    made.store.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start[UnderTest]]:
    """Return what starts a broker."""
    started: list[UnderTest] = []

    def make(kind: Callable[..., B], *arguments: str) -> B:
        broker = kind(tmp_path / "broker", *arguments)
        started.append(broker)
        return broker

    yield make
    for broker in started:
        broker.close()

"""Pushing to be tried out: the real store, pusher and sockets; a clock and a resolver that tests turn."""

import base64
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

from service.alarms import Alarms
from service.api.app import create_api
from service.api.consumers import view
from service.api.context import ApiContext, new_batch
from service.api.models import ConsumerView
from service.db.store import Store
from service.db.topic import Topic
from service.domain.push import PushSettings
from service.domain.records import ConsumerSpec, PushSpec
from service.domain.targets import Address
from service.flow import consumers
from service.metrics import Metrics
from service.push.pusher import Pusher
from support.api import Api, Clock

SECRET = "whsec_" + base64.b64encode(b"a secret of the tests, 32 bytes.").decode()
LOOPBACK = (ip_network("127.0.0.1/32"),)


class Names:
    """A resolver whose answers tests write; *asked* keeps the names."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Sequence[str] | OSError]] = {}
        self.asked: list[str] = []

    async def __call__(self, name: str) -> Sequence[Address]:
        """Return the next answer; the last one stays."""
        self.asked.append(name)
        answers = self.answers.get(name, [OSError("Name or service not known")])
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, OSError):
            raise answer
        return [ip_address(text) for text in answer]


class Recorded(Alarms):
    """Alarms that tests can look at."""

    def __init__(self, metrics: Metrics) -> None:
        super().__init__(metrics)
        self.sounded: list[tuple[str, dict[str, object]]] = []

    def sound(self, alarm: str, *, merchant: str, **facts: object) -> None:
        self.sounded.append((alarm, facts))
        super().sound(alarm, merchant=merchant, **facts)


class Pushing:
    """A log, its push consumers, and a pusher that runs."""

    def __init__(
        self, store: Store, clock: Clock, *, allow: Any, ca_file: Path | None, pause_after: Any
    ) -> None:
        self.store = store
        self.clock = clock
        self.metrics = Metrics()
        self.alarms = Recorded(self.metrics)
        self.names = Names()
        settings = PushSettings(allow=allow, ca_file=ca_file)
        if pause_after is not None:
            settings = PushSettings(allow=allow, ca_file=ca_file, pause_after=pause_after)
        context = ApiContext(store=store, metrics=self.metrics, alarms=self.alarms, push=settings)
        self.api = Api(create_api(context), store, clock)
        self.append = self.api.append
        self.pusher = Pusher(
            store=store,
            settings=settings,
            metrics=self.metrics,
            alarms=self.alarms,
            clock=clock,
            new_batch=new_batch,
            dice=lambda: 0.0,
            resolve=self.names,
            monotonic=lambda: time.monotonic() + clock.ahead.total_seconds(),
        )

    def put(
        self,
        url: str,
        name: str = "shipping",
        *,
        secrets: Sequence[str] = (SECRET,),
        timeout_seconds: float = 5,
        concurrency: int = 10,
        **spec: Any,
    ) -> None:
        """Make or change a push consumer; nothing is checked here."""
        push = PushSpec(url, tuple(secrets), timeout_seconds, concurrency)
        made = ConsumerSpec(start="beginning", push=push, **spec)
        self.store.write(lambda unit: consumers.put(unit, name, made, start="beginning")).result(10)

    def resume(self, name: str = "shipping") -> None:
        self.store.write(lambda unit: consumers.pause(unit, name, paused=False)).result(10)

    def look(self, name: str = "shipping") -> ConsumerView:
        return self.store.read(lambda unit: view(unit, unit.consumers.get(name), self.store.epoch))

    def forward(self, seconds: float) -> None:
        """Set the clock forward, and have everybody look at it."""
        self.clock.forward(seconds)
        self.store.write(lambda unit: unit.announce(Topic.EVENTS)).result(10)

    def until(
        self, is_so: Callable[[ConsumerView], bool], *, within_s: float = 10, name: str = "shipping"
    ) -> Any:
        """Wait until what the consumer says of itself *is_so*; return it."""
        deadline_s = time.monotonic() + within_s
        while not is_so(found := self.look(name)):
            assert time.monotonic() < deadline_s, found
            time.sleep(0.01)
        return found

    def until_done(self, name: str = "shipping", *, within_s: float = 10) -> None:
        """Wait until nothing is outstanding."""
        self.until(
            lambda found: not (found.lag or found.in_flight or found.waiting or found.held),
            within_s=within_s,
            name=name,
        )

    def until_alarm(self, alarm: str) -> dict[str, object]:
        """Wait for the alarm, which sounds once what it tells of has been committed; return its facts."""
        deadline_s = time.monotonic() + 10
        while not (found := [facts for name, facts in self.alarms.sounded if name == alarm]):
            assert time.monotonic() < deadline_s, self.alarms.sounded
            time.sleep(0.01)
        assert len(found) == 1
        return found[0]

    def count(self, metric: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(f"midtrans_{metric}", labels) or 0.0


@contextmanager
def make_pushing(
    store: Store,
    clock: Clock,
    *,
    allow: Any = LOOPBACK,
    ca_file: Path | None = None,
    pause_after: Any = None,
) -> Iterator[Pushing]:
    """Start a pusher before *store*, and stop it in the end."""
    pushing = Pushing(store, clock, allow=allow, ca_file=ca_file, pause_after=pause_after)
    pushing.pusher.start()
    try:
        yield pushing
    finally:
        pushing.pusher.end(0.2)
        pushing.pusher.join(10)

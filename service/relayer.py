"""The thread that relays: one event loop for all relays, each of which fails alone."""

import asyncio
import contextlib
import random
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial

import structlog

from service.db.store import Store
from service.db.topic import Topic
from service.db.unit import Unit
from service.domain.relaying import Hold, Reading, RelaySpec
from service.errors import BrokerError
from service.flow.relay import Relay
from service.flow.relay_edges import Broker
from service.metrics import Metrics
from service.owner import is_dead, new_owner
from service.relays import check_installed, connect

try:
    from uvloop import new_event_loop
except ImportError:  # Windows
    from asyncio import new_event_loop  # type: ignore[assignment]

log = structlog.get_logger()

STARTED_WITHIN_S = 10.0


class Relayer:
    """Relays the log to the brokers that the settings name, beside the other processes that do."""

    def __init__(
        self,
        *,
        store: Store,
        relays: Mapping[str, RelaySpec],
        metrics: Metrics,
        alarm: Callable[..., None],
        connect: Callable[[str, RelaySpec], Broker] = connect,
        dice: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._relays = relays
        self._metrics = metrics
        self._alarm = alarm
        self._connect = connect
        self._dice = dice
        self._owner = new_owner()
        self._errors: dict[str, str] = {}
        self._stopping = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main: asyncio.Task[None] | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="relays", daemon=True)

    def start(self) -> None:
        """Begin to relay; raise SettingsInvalid when a broker's client is not installed."""
        if not self._relays:
            return
        for name, spec in self._relays.items():
            check_installed(name, spec)
        self._thread.start()
        self._ready.wait(STARTED_WITHIN_S)

    def stop(self, timeout_s: float) -> None:
        """Leave what is under way, and let other processes take the relays at once."""
        self._stopping.set()
        if self._loop is not None and self._main is not None:
            self._call_soon(self._main.cancel)
            self._thread.join(timeout_s)

    def problems(self) -> str | None:
        """Say what holds relays of this process back; None when nothing does."""
        if self._thread.ident is not None and not self._thread.is_alive() and not self._stopping.is_set():
            return "the thread has died"
        return "; ".join(f"{name}: {error}" for name, error in sorted(self._errors.items())) or None

    # -- what happens to relays, told by them on the loop

    def published(self, name: str, count: int) -> None:
        """Count what a broker keeps."""
        self._metrics.relay_published.labels(name).inc(count)
        self._metrics.relay_last_published.labels(name).set(time.time())

    def failed(self, name: str, error: BrokerError) -> None:
        """Count and log a failure."""
        self._errors[name] = error.reason
        self._metrics.relay_failures.labels(name).inc()
        log.warning("relay_failed", relay=name, why=error.reason)

    def stuck(self, name: str, error: BrokerError, *, refused: bool) -> None:
        """Call a person."""
        if refused:
            self._alarm("relay_refused", merchant="*", relay=name, why=error.reason)
        else:
            self._alarm("relay_stuck", merchant="*", relay=name, why=error.reason)

    def recovered(self, name: str) -> None:
        """Tell that a relay goes on."""
        self._errors.pop(name, None)
        log.info("relay_recovered", relay=name)

    # -- the thread

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=new_event_loop) as runner:
                runner.run(self._relay_all())
        except asyncio.CancelledError:
            pass
        except Exception:
            log.exception("relaying_failed")

    async def _relay_all(self) -> None:
        self._loop, self._main = asyncio.get_running_loop(), asyncio.current_task()
        places = {
            name: _StoredPlace(self._store, name, spec, self._owner) for name, spec in self._relays.items()
        }
        unlisten = self._store.listen(Topic.EVENTS, lambda: self._call_soon(partial(_ring, places)))
        self._ready.set()
        relays = [
            Relay(
                name,
                place=places[name],
                connect=partial(self._connect, name, spec),
                watcher=self,
                dice=self._dice,
            ).run()
            for name, spec in self._relays.items()
        ]
        try:
            await asyncio.gather(*relays)
        finally:
            unlisten()

    def _call_soon(self, callback: Callable[[], object]) -> None:
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop has been closed: nobody waits
                self._loop.call_soon_threadsafe(callback)


class _StoredPlace:
    """A relay's row. Writes are units of the store's writer, reads run in threads: the loop never waits."""

    def __init__(self, store: Store, name: str, spec: RelaySpec, owner: str) -> None:
        self._store = store
        self._name = name
        self._spec = spec
        self._owner = owner
        self.bell = asyncio.Event()

    async def take(self) -> Hold | None:
        return await self._store.write_async(
            lambda unit: unit.relays.take(
                self._name,
                self._spec,
                owner=self._owner,
                is_dead=partial(is_dead, seen_from=self._owner),
            )
        )

    async def read(self, hold: Hold, after: int, *, limit: int) -> Reading:
        self.bell.clear()

        def query(unit: Unit) -> Reading:
            return unit.relays.read(self._name, hold, after, spec=self._spec, limit=limit)

        return await asyncio.to_thread(self._store.read, query)

    async def move(self, hold: Hold, position: int, *, published: bool) -> None:
        await self._store.write_async(
            lambda unit: unit.relays.move(self._name, hold, position, published=published)
        )

    async def fail(self, hold: Hold, error: str | None) -> None:
        await self._store.write_async(lambda unit: unit.relays.fail(self._name, hold, error))

    async def release(self, hold: Hold) -> None:
        await self._store.write_async(lambda unit: unit.relays.release(self._name, hold))

    async def news(self, timeout_s: float) -> None:
        try:
            await asyncio.wait_for(self.bell.wait(), timeout_s)
        except TimeoutError:
            return


def _ring(places: Mapping[str, _StoredPlace]) -> None:
    for place in places.values():
        place.bell.set()

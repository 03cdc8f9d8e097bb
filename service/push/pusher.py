"""The thread that pushes: one event loop, and a lane for each consumer whose events are pushed.

A loop, not threads: a hundred endpoints that take 15 s each are a hundred waiting sockets. Events under way are leased,
so any number of processes may push for the same consumers.
"""

import asyncio
import contextlib
import random
import threading
import time
from collections.abc import Callable
from typing import Final

import structlog

from service.alarms import Alarms
from service.clock import Clock
from service.db.store import Store
from service.db.unit import Topic
from service.domain.delivery import Consumer
from service.domain.push import PushSettings
from service.errors import StoreError
from service.metrics import Metrics
from service.push.lane import Lane, Tools
from service.push.network import Resolve, SystemResolver
from service.push.sender import trusted

log = structlog.get_logger(__name__)

SURVEY_S: Final = 1.0
"""How often it is looked which consumers are pushed to."""
STANDS_STILL_S: Final = 30.0


class Pusher:
    """Pushes the events of every push consumer, until it is stopped."""

    def __init__(
        self,
        *,
        store: Store,
        settings: PushSettings,
        metrics: Metrics,
        alarms: Alarms,
        clock: Clock,
        new_batch: Callable[[], str],
        dice: Callable[[], float] = random.random,
        resolve: Resolve | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._settings = settings
        self._metrics = metrics
        self._alarms = alarms
        self._clock = clock
        self._new_batch = new_batch
        self._dice = dice
        self._resolve = resolve
        self._monotonic = monotonic
        self._tools: Tools | None = None
        self._lanes: dict[Lane, asyncio.Task[None]] = {}
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._told_to_end: asyncio.Event | None = None
        self._grace_s = 0.0
        self._rung = False
        self._unlisten: Callable[[], None] | None = None
        self._surveyed_at_s = monotonic()

    def start(self) -> None:
        """Begin to push."""
        ready = threading.Event()
        self._surveyed_at_s = self._monotonic()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="push", daemon=True)
        self._thread.start()
        ready.wait()

    def end(self, grace_s: float) -> None:
        """Begin nothing more, and give what is under way *grace_s* to end; `join` waits for that."""
        self._grace_s = grace_s
        if self._loop is not None and self._told_to_end is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._told_to_end.set)

    def join(self, timeout_s: float) -> None:
        """Wait until nothing is under way."""
        if self._thread is not None:
            self._thread.join(timeout_s)

    def trouble(self) -> str | None:
        """Say what is wrong with the thread, None when nothing is. An endpoint that is down is no fault of it."""
        if self._thread is None or (self._told_to_end is not None and self._told_to_end.is_set()):
            return None
        if not self._thread.is_alive():
            return "the thread has died"
        stands_still = self._monotonic() - self._surveyed_at_s > STANDS_STILL_S
        return "the thread stands still" if stands_still else None

    # -- on the thread

    def _run(self, ready: threading.Event) -> None:
        try:
            asyncio.run(self._main(ready))
        except Exception:
            log.exception("pushing_ended")
        finally:
            ready.set()

    async def _main(self, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        told = self._told_to_end = asyncio.Event()
        ready.set()
        while not told.is_set():
            try:
                await self._survey()
            except StoreError as error:
                log.warning("pushing_waits", why=str(error))
            except Exception:
                log.exception("pushing_failed")
            self._surveyed_at_s = self._monotonic()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SURVEY_S):
                    await told.wait()
        await self._end_all()

    async def _survey(self) -> None:
        """Have a lane for each consumer that is pushed to, and none for others."""
        found = await asyncio.to_thread(self._store.read, lambda unit: unit.consumers.pushed())
        wanted = {consumer.name: consumer for consumer in found}
        for lane, task in list(self._lanes.items()):
            if task.done():
                del self._lanes[lane]
                if not task.cancelled() and (error := task.exception()) is not None:
                    log.error("pushing_failed", consumer=lane.name, exc_info=error)
            elif lane.name in wanted:
                lane.refresh(wanted[lane.name])
            else:
                lane.leave()
        there = {lane.name for lane in self._lanes}
        for consumer in found:
            if consumer.name not in there:
                await self._open(consumer)
        self._listen()

    async def _open(self, consumer: Consumer) -> None:
        if consumer.spec.push is None:
            return
        if self._tools is None:
            self._tools = await asyncio.to_thread(self._make_tools)
        lane = Lane(consumer, consumer.spec.push, self._tools)
        self._lanes[lane] = asyncio.ensure_future(lane.run())

    def _make_tools(self) -> Tools:
        """Return what lanes work with; made late, since most installations push nothing."""
        return Tools(
            store=self._store,
            settings=self._settings,
            metrics=self._metrics,
            alarms=self._alarms,
            tls=trusted(self._settings),
            resolve=self._resolve or SystemResolver(),
            clock=self._clock,
            dice=self._dice,
            new_batch=self._new_batch,
            monotonic=self._monotonic,
        )

    def _listen(self) -> None:
        """Listen to commits as long as there is somebody to push to: nobody else pays for it."""
        if self._lanes and self._unlisten is None:
            self._unlisten = self._store.listen(Topic.EVENTS, self._on_commit)
            self._ring()  # what came before is not heard
        elif not self._lanes and self._unlisten is not None:
            self._unlisten()
            self._unlisten = None

    def _on_commit(self) -> None:
        """Wake the loop, once for however many commits until it gets there; on the writer's thread."""
        if not self._rung and self._loop is not None:
            self._rung = True
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._ring)

    def _ring(self) -> None:
        self._rung = False
        for lane in self._lanes:
            lane.ring()

    async def _end_all(self) -> None:
        if self._unlisten is not None:
            self._unlisten()
        for lane in self._lanes:
            lane.leave()
        if self._lanes:
            _, late = await asyncio.wait(self._lanes.values(), timeout=self._grace_s)
            for lane, task in self._lanes.items():
                if task in late:
                    lane.cut()
            await asyncio.gather(*late, return_exceptions=True)

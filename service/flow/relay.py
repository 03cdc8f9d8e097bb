"""3b: log → broker. One relay: hold its place, read, publish in order, and move the place once it is confirmed.

What can end a process at any instruction costs repeats at most: an event is published again, with the same id, when
the place had not moved. Nobody moves a place whose fence is not his.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, NoReturn

import structlog

from service.domain.relaying import LEASE, Hold, Reading, back_off_s
from service.errors import BrokerError, BrokerRefused, BrokerUnavailable, RelayLost, StoreError
from service.flow.relay_edges import Broker, Place, Watcher

log = structlog.get_logger()

BATCH: Final = 500
"""Events that are published before the place moves, at most."""
BEAT_S: Final = LEASE.total_seconds() / 4
LOOK_S: Final = 1.0
"""How often the log is looked at, and a relay that another process holds is asked for, unless something is heard."""
STUCK_S: Final = 60.0
"""A broker that fails for so long is told of."""


@dataclass
class _Held:
    """The right to relay, and how far we are: *passed* may be ahead of the stored place."""

    hold: Hold
    until_s: float
    passed: int
    moving: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass
class _Trouble:
    """Failures in a row, on this process' clock."""

    failures: int = 0
    since_s: float = 0.0
    told: set[str] = field(default_factory=set)
    limit: int = BATCH
    """Fewer at once after each failure: a slow broker gets something confirmed in time."""


class Relay:
    """Relays the log to one broker for as long as it runs, while no other process does."""

    def __init__(
        self,
        name: str,
        *,
        place: Place,
        connect: Callable[[], Broker],
        watcher: Watcher,
        dice: Callable[[], float],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._place = place
        self._connect = connect
        self._watcher = watcher
        self._dice = dice
        self._monotonic = monotonic
        self._broker: Broker | None = None
        self._trouble = _Trouble()

    async def run(self) -> NoReturn:
        """Relay until cancelled; then the connection is closed and the relay is free for another process."""
        while True:
            try:
                asked_s = self._monotonic()
                hold = await self._place.take()
                if hold is not None:
                    await self._relay(_Held(hold, asked_s + LEASE.total_seconds(), hold.position))
            except RelayLost as error:
                log.warning("relay_lost", relay=self._name, why=str(error))
            except StoreError as error:
                log.warning("relaying_failed", relay=self._name, why=str(error))
            except Exception:
                log.exception("relaying_failed", relay=self._name)
            await asyncio.sleep(LOOK_S * (1 + self._dice()) / 2)

    async def _relay(self, held: _Held) -> None:
        """Relay until the hold is lost, or the store fails."""
        log.info("relay_taken", relay=self._name, fence=held.hold.fence, position=held.passed)
        tasks = [asyncio.ensure_future(self._beat(held)), asyncio.ensure_future(self._go(held))]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            with contextlib.suppress(
                StoreError
            ):  # first: to close a connection may take longer than there is time
                await self._place.release(held.hold)
            await self._disconnect()

    async def _beat(self, held: _Held) -> NoReturn:
        """Lengthen the lease, and store what was passed over; give up when it cannot be lengthened in time."""
        while True:
            await asyncio.sleep(BEAT_S)
            try:
                async with held.moving:
                    await self._move(held, held.passed, published=False)
            except StoreError:
                if self._monotonic() >= held.until_s:
                    raise

    async def _go(self, held: _Held) -> NoReturn:
        while True:
            reading = await self._place.read(held.hold, held.passed, limit=self._trouble.limit)
            if reading.paused:
                await self._place.news(LOOK_S)
                continue
            try:
                await self._publish(held, reading)
            except BrokerError as error:
                await self._wait_after(held, reading, error)
                continue
            if reading.until == reading.head:
                await self._place.news(LOOK_S)

    async def _publish(self, held: _Held, reading: Reading) -> None:
        if self._broker is None:
            self._broker = self._connect()
            await self._ask(self._broker.open())
        if reading.messages:
            if self._monotonic() >= held.until_s:  # this process stood still
                raise RelayLost(self._name)
            await self._ask(self._broker.publish(reading.messages))
            async with held.moving:
                await self._move(held, reading.until, published=True)
            self._watcher.published(self._name, len(reading.messages))
        held.passed = reading.until
        await self._recovered(held, reading)

    async def _ask(self, asked: Awaitable[None]) -> None:
        """Wait for the broker; what its client raises unforeseen holds back this relay as any failure does."""
        try:
            await asked
        except BrokerError:
            raise
        except Exception as error:
            log.exception("relay_client_failed", relay=self._name)
            raise BrokerUnavailable(f"its client failed: {type(error).__name__}, see the log") from error

    async def _recovered(self, held: _Held, reading: Reading) -> None:
        trouble = self._trouble
        if trouble.failures:
            if not reading.messages:
                await self._place.fail(held.hold, None)
            self._trouble = _Trouble(limit=trouble.limit)
            self._watcher.recovered(self._name)
        elif reading.messages:
            trouble.limit = min(BATCH, 2 * trouble.limit)

    async def _wait_after(self, held: _Held, reading: Reading, error: BrokerError) -> None:
        """Keep what was confirmed, tell of the failure, and wait, longer each time, before it is tried again."""
        await self._disconnect()
        trouble = self._trouble
        if error.confirmed:
            last = reading.messages[error.confirmed - 1].position
            async with held.moving:
                await self._move(held, last, published=True)
            held.passed = last
            self._watcher.published(self._name, error.confirmed)
            trouble.failures = 0
        else:
            trouble.limit = max(1, trouble.limit // 2)
        if not trouble.failures:
            trouble.since_s = self._monotonic()
        trouble.failures += 1
        self._watcher.failed(self._name, error)
        self._tell(error)
        await self._place.fail(held.hold, error.reason)
        await asyncio.sleep(back_off_s(trouble.failures, self._dice()))

    def _tell(self, error: BrokerError) -> None:
        refused = isinstance(error, BrokerRefused)
        long = self._monotonic() - self._trouble.since_s >= STUCK_S
        for word, is_so in (("refused", refused), ("stuck", long)):
            if is_so and word not in self._trouble.told:
                self._trouble.told.add(word)
                self._watcher.stuck(self._name, error, refused=word == "refused")

    async def _move(self, held: _Held, position: int, *, published: bool) -> None:
        asked_s = self._monotonic()
        await self._place.move(held.hold, position, published=published)
        held.until_s = asked_s + LEASE.total_seconds()

    async def _disconnect(self) -> None:
        broker, self._broker = self._broker, None
        if broker is not None:
            await broker.close()

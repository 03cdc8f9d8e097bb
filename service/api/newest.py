"""The newest events of the log in memory: one look at the database a wake-up, for all streams together."""

import asyncio
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple

import structlog
from fastapi.concurrency import run_in_threadpool

from service.api.bell import Bell
from service.db.events import EventFilter
from service.db.store import Store
from service.db.unit import Unit
from service.domain.patterns import matches
from service.domain.position import format_position
from service.domain.records import LoggedEvent

KEPT: Final = 2_000
KEPT_BYTES: Final = 4 * 1024 * 1024
"""How much is kept: a stream further behind reads the log itself."""
AT_ONCE: Final = 500
PAGE_BYTES: Final = 65_536
"""What a stream is handed at once: as much as a socket takes before it says that it is full."""
PAGES: Final = 64
"""How many pages are kept for streams that stand at the same place, until the next event."""
LOOK_AGAIN_S: Final = 5.0
"""How long a ring that got lost may be missed."""
PACE_S: Final = 0.01
PACE_OF_EACH_S: Final = 0.0001
LONGEST_PACE_S: Final = 0.03
"""Between two looks: the first event after a quiet time is sent at once, those of a flood travel together."""
AFTER_TROUBLE_S: Final = 1.0

log = structlog.get_logger(__name__)


class Frame(NamedTuple):
    """An event as it goes over the wire."""

    position: int
    type: str
    merchant: str
    text: bytes


class Page(NamedTuple):
    """What there is to send; *until* is the last place that has been looked at."""

    text: bytes
    until: int


def frame_of(event: LoggedEvent, epoch: str) -> Frame:
    """Return *event* as one block of a stream: JSON text holds no line ends."""
    head = f"id: {format_position(epoch, event.position)}\nevent: {event.type}\ndata: "
    return Frame(event.position, event.type, event.merchant, f"{head}{event.body}\n\n".encode())


def page_of(frames: Sequence[Frame], until: int) -> Page:
    """Return the first of *frames*, at least one, up to `PAGE_BYTES`; *until* counts when none is left over."""
    texts: list[bytes] = []
    size = 0
    for index, frame in enumerate(frames):
        texts.append(frame.text)
        size += len(frame.text)
        if size >= PAGE_BYTES and index + 1 < len(frames):
            return Page(b"".join(texts), frame.position)
    return Page(b"".join(texts), until)


def wants(only: EventFilter, frame: Frame) -> bool:
    """Say whether *only*, which names no order, lets the event through: as the database would."""
    if not (matches(only.types, frame.type) and matches(only.merchants, frame.merchant)):
        return False
    return only.within is None or any(
        matches(types, frame.type) and matches(merchants, frame.merchant) for types, merchants in only.within
    )


class Newest:
    """Follows the log while somebody reads it, and wakes those who wait for what they want."""

    def __init__(self, store: Store, bell: Bell) -> None:
        self._store = store
        self._bell = bell
        self._frames: list[Frame] = []
        self._size = 0
        self._since: int | None = None
        self._until = 0
        self._pages: dict[tuple[int, EventFilter], Page] = {}
        self._waiting: dict[EventFilter, set[asyncio.Future[int]]] = {}
        self._readers = 0
        self._following: asyncio.Task[None] | None = None

    @contextmanager
    def followed(self) -> Iterator[None]:
        """Follow the log meanwhile."""
        self._readers += 1
        if self._following is None or self._following.done():
            self._following = asyncio.ensure_future(self._follow())
        try:
            yield
        finally:
            self._readers -= 1
            if not self._readers and self._following is not None:
                self._following.cancel()
                self._following = None
                self._forget()

    def after(self, position: int, only: EventFilter) -> Page | None:
        """Return what is wanted behind *position*; None when that is more than is kept."""
        if self._since is None or position < self._since:
            return None
        key = (position, only)
        page = self._pages.get(key)
        if page is None:
            if len(self._pages) >= PAGES:
                self._pages.clear()
            first = bisect_right(self._frames, position, key=lambda frame: frame.position)
            found = [frame for frame in self._frames[first:] if wants(only, frame)]
            page = self._pages[key] = page_of(found, max(position, self._until))
        return page

    def is_last(self, position: int) -> bool:
        """Say whether nothing behind *position* is known."""
        return position >= self._until

    def next(self, only: EventFilter) -> "asyncio.Future[int]":
        """Return what is done, with the place up to which nothing was wanted, when there is something again.

        For one who has read until the last place. Whoever waits no longer resolves it himself with `until`.
        """
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(only, set()).add(future)
        return future

    def no_longer(self, only: EventFilter, future: "asyncio.Future[int]") -> None:
        """Forget *future*."""
        waiting = self._waiting.get(only)
        if waiting is not None:
            waiting.discard(future)
            if not waiting:
                del self._waiting[only]

    @property
    def until(self) -> int:
        """The last place that has been looked at."""
        return self._until

    async def _follow(self) -> None:
        clock = asyncio.get_running_loop().time
        while not self._bell.closed:
            began = clock()
            heard, ring = self._bell.rings, self._bell.next_ring()
            pause_s = min(PACE_S + PACE_OF_EACH_S * self._readers, LONGEST_PACE_S)
            try:
                await self._look()
            except Exception:  # those who wait would wait for ever
                log.exception("stream_log_unreadable")
                pause_s = AFTER_TROUBLE_S
            if self._bell.rings == heard:
                await asyncio.wait((ring,), timeout=LOOK_AGAIN_S)
            if not self._bell.closed:
                await asyncio.sleep(max(0.0, began + pause_s - clock()))

    async def _look(self) -> None:
        """Take in what has been added to the log."""
        while True:
            position = self._until if self._since is not None else None
            found, head = await run_in_threadpool(self._read, position)
            if self._since is None:
                self._begin(head)
                return
            last = found[-1].position if found else self._until
            self._take(found, last if len(found) == AT_ONCE else max(head, last))
            if len(found) < AT_ONCE:
                return

    def _read(self, position: int | None) -> tuple[list[Frame], int]:
        epoch = self._store.epoch

        def query(unit: Unit) -> tuple[list[Frame], int]:
            head = unit.log.last_position()
            if position is None or position >= head:
                return [], head
            return [frame_of(event, epoch) for event in unit.events.after(position, limit=AT_ONCE)], head

        return self._store.read(query)

    def _begin(self, head: int) -> None:
        """Begin behind *head*: who waits already may stand before it, and has to read on."""
        before, self._since, self._until = self._until, head, head
        for only in list(self._waiting):
            self._wake(only, before)

    def _take(self, frames: Sequence[Frame], until: int) -> None:
        before, self._until = self._until, until
        if not frames:
            return
        self._pages.clear()
        self._frames += frames
        self._size += sum(len(frame.text) for frame in frames)
        self._trim()
        for only in [only for only in self._waiting if any(wants(only, frame) for frame in frames)]:
            self._wake(only, before)

    def _wake(self, only: EventFilter, before: int) -> None:
        for future in self._waiting.pop(only):
            if not future.done():
                future.set_result(before)

    def _trim(self) -> None:
        gone = 0
        while len(self._frames) - gone > KEPT or self._size > KEPT_BYTES:
            self._size -= len(self._frames[gone].text)
            self._since = self._frames[gone].position
            gone += 1
        del self._frames[:gone]

    def _forget(self) -> None:
        self._frames.clear()
        self._pages.clear()
        self._since, self._until, self._size = None, 0, 0

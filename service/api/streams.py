"""Server-sent events: the log as it grows, over one response without an end.

No event is ever held for a client: what a socket takes is read from the log a page at a time, from where the client is.
One that does not read costs its socket's buffer and a page, until its time is over.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import structlog
from fastapi import Response
from fastapi.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from service.api.newest import Newest, Page, frame_of, page_of
from service.db.events import EventFilter
from service.db.store import Store
from service.db.unit import Unit
from service.domain.limits import StreamLimits
from service.domain.position import format_position
from service.errors import ServiceError, StreamsFull
from service.metrics import Metrics

try:
    import resource
except ImportError:  # not on Windows, which has no such limit
    resource = None  # type: ignore[assignment]

WINDOW: Final = 10_000
"""How many places one read goes through, however few of them are wanted."""
ROWS: Final = 100
READS: Final = 4
"""How many threads may read for streams that are behind."""
CHECK_EVERY_S: Final = 1.0
"""How often a token is looked at while events flow; a stream without events looks at each heartbeat."""
LAST_WRITE_S: Final = 0.5
"""How much longer a client that does not read may take once the process ends."""
UNLIMITED: Final = 1_000_000
MEDIA_TYPE: Final = "text/event-stream"
HEADERS: Final = {
    "cache-control": "no-store",
    "x-accel-buffering": "no",  # nginx would hold events back
}

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Asked:
    """What one stream sends: what *only* wants behind *position*.

    *check* raises a ServiceError when the caller may not read on, else says what it may see now.
    """

    position: int
    only: EventFilter
    check: Callable[[], Awaitable[EventFilter]]


class Streams:
    """The open streams of this process."""

    def __init__(self, store: Store, newest: Newest, metrics: Metrics, limits: StreamLimits) -> None:
        self.store = store
        self.newest = newest
        self.limits = limits
        self.most = min(limits.most, _descriptors() // 2)
        self.reads = asyncio.Semaphore(READS)
        self._metrics = metrics
        self._open: set[EventStream] = set()
        self.closed = False

    @contextmanager
    def place(self, stream: "EventStream") -> Iterator[None]:
        """Hold one of the places meanwhile; raise StreamsFull when all are taken."""
        if len(self._open) >= self.most:
            raise StreamsFull(self.most)
        self._open.add(stream)
        self._metrics.streams.inc()
        try:
            with self.newest.followed():
                yield
        finally:
            self._open.discard(stream)
            self._metrics.streams.dec()

    def stalled(self) -> None:
        """Count a client that was cut off because it read nothing."""
        self._metrics.streams_stalled.inc()

    def close(self) -> None:
        """End every stream, now and from now on: the process stops. Called on the loop."""
        self.closed = True
        for stream in self._open:
            stream.end()


def _descriptors() -> int:
    """Return how many files and connections this process may have open."""
    if resource is None:
        return UNLIMITED
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return UNLIMITED if soft == resource.RLIM_INFINITY else soft


class EventStream(Response):
    """One stream. Waiting, it holds a task and a timer; no thread and no connection to the database."""

    media_type = MEDIA_TYPE
    charset = "utf-8"

    def __init__(self, streams: Streams, asked: Asked) -> None:
        self.status_code = 200
        self.background = None
        self.init_headers(HEADERS)
        self._streams = streams
        self._newest = streams.newest
        self._limits = streams.limits
        self._epoch = streams.store.epoch
        self._at = asked.position
        self._only = asked.only
        self._check = asked.check
        self._clock = asyncio.get_running_loop().time
        self._over = streams.closed
        self._waiting: asyncio.Future[int] | None = None
        self._patience: asyncio.Timeout | None = None
        self._said = asked.position
        self._checked_at = self._clock()
        self._beat_at = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the client goes, its token ends, or the process does."""
        with self._streams.place(self):
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            watch = asyncio.ensure_future(self._watch(receive))
            try:
                await self._run(send)
            except TimeoutError:
                self._cut_off(scope)
                return
            except ServiceError as error:  # the client learns why when it comes back
                log.info("stream_ended", reason=str(error))
            finally:
                watch.cancel()
            with suppress(TimeoutError):
                await self._write(send, b"", more=False)

    def end(self) -> None:
        """Let it end soon; a client that does not read is not waited for."""
        self._over = True
        self._nudge()
        if self._patience is not None:
            self._patience.reschedule(self._clock() + LAST_WRITE_S)

    def _goes_on(self) -> bool:
        return not self._over

    async def _run(self, send: Send) -> None:
        opening = f": {self._epoch}\nretry: {int(self._limits.retry_s * 1000)}\nid: {self._place()}\n\n"
        await self._write(send, opening.encode())
        while self._goes_on():
            page = self._newest.after(self._at, self._only) or await self._read()
            if page.text:
                await self._look_at_the_token(CHECK_EVERY_S)
                await self._write(send, page.text)
                self._said = page.until
            self._at = page.until
            if self._goes_on() and self._newest.is_last(self._at):
                await self._wait()
            if self._clock() >= self._beat_at and self._goes_on():
                await self._look_at_the_token(0.0)
                await self._write(send, self._heartbeat())

    async def _read(self) -> Page:
        """Read a page of the log: this stream is further behind than what is kept in memory."""

        def query(unit: Unit) -> Page:
            until = min(self._at + WINDOW, unit.log.last_position())
            found = unit.events.after(self._at, limit=ROWS, only=self._only, until=until)
            frames = [frame_of(event, self._epoch) for event in found]
            return page_of(frames, found[-1].position if len(found) == ROWS else max(until, self._at))

        async with self._streams.reads:
            return await run_in_threadpool(self._streams.store.read, query)

    async def _wait(self) -> None:
        """Return when there is something to send or a heartbeat is due, or it is over."""
        self._waiting = self._newest.next(self._only)
        timer = asyncio.get_running_loop().call_at(self._beat_at, self._nudge)
        try:
            self._at = max(self._at, await self._waiting)
        finally:
            timer.cancel()
            self._newest.no_longer(self._only, self._waiting)
            self._waiting = None

    def _nudge(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(self._newest.until)

    async def _watch(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.end()

    async def _look_at_the_token(self, every_s: float) -> None:
        now = self._clock()
        if now - self._checked_at >= every_s:
            self._only = await self._check()
            self._checked_at = now

    def _heartbeat(self) -> bytes:
        """Return a comment; with the place when events that are not wanted have gone by since it was named.

        Without it a client that comes back after a quiet week would have the week's log gone through for it.
        """
        if self._at == self._said:
            return b":\n\n"
        self._said = self._at
        return f":\nid: {self._place()}\n\n".encode()

    def _place(self) -> str:
        return format_position(self._epoch, self._at)

    async def _write(self, send: Send, text: bytes, *, more: bool = True) -> None:
        """Hand *text* to the socket; raise TimeoutError when it does not take it in time."""
        message: dict[str, Any] = {"type": "http.response.body", "body": text, "more_body": more}
        try:
            async with asyncio.timeout(LAST_WRITE_S if self._over else self._limits.stalled_s) as patience:
                self._patience = patience
                await send(message)
        finally:
            self._patience = None
        self._beat_at = self._clock() + self._limits.heartbeat_s

    def _cut_off(self, scope: Scope) -> None:
        """Drop the connection: closed in order, it would wait for the client to read what is left."""
        self._streams.stalled()
        log.info("stream_stalled", client=str(scope.get("client")))
        abort = scope.get("extensions", {}).get("abort")
        if abort is not None:
            abort["now"]()

"""Wakes those who wait for something to lease; waiting holds no thread."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from service.db.store import Store
from service.db.topic import Topic


class Bell:
    """Rings on the event loop once after each commit that may have brought something to lease."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop_listening: Callable[[], None] | None = None
        self._next: asyncio.Future[None] | None = None
        self.rings = 0
        self.closed = False

    def next_ring(self) -> asyncio.Future[None]:
        """Return what is done at the next ring; shared by all who wait, so never cancel it."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._attach(loop)
        if self._next is None:
            self._next = loop.create_future()
            if self.closed:
                self._next.set_result(None)
        return self._next

    def close(self) -> None:
        """Let everybody who waits go, now and from now on: the process stops. Called on the loop."""
        self.closed = True
        if self._stop_listening is not None:
            self._stop_listening()
        self._ring()

    def close_soon(self) -> None:
        """Have `close` called on the loop; from any thread, a signal handler too."""
        if self._loop is None:
            self.closed = True
        else:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self.close)

    def _attach(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._stop_listening is not None:
            self._stop_listening()
        self._loop = loop
        self._next = None
        self._stop_listening = self._store.listen(Topic.EVENTS, self._ring_from_the_writer)

    def _ring_from_the_writer(self) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has been closed: nobody waits
                self._loop.call_soon_threadsafe(self._ring)

    def _ring(self) -> None:
        self.rings += 1
        ringing, self._next = self._next, None
        if ringing is not None and not ringing.done():
            ringing.set_result(None)

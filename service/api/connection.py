"""One connection: uvicorn's protocol, with an end to what a stranger may send before a request is complete.

Uvicorn bounds neither the size of a request's head nor the time that it takes: one connection could fill the
memory, many silent ones use up the file descriptors.
"""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

LONGEST_HEAD: Final = 65_536
"""Bytes of request line and headers, trailers included; whole pieces of the socket's reading are counted."""
HEAD_TIMEOUT_S: Final = 10.0
"""From a connection's beginning, or a further request's first byte, to the end of the head."""


class Connection(HttpToolsProtocol):
    """Closes connections whose head is too large or too slow; what is refused here never was a notification."""

    head_timeout_s = HEAD_TIMEOUT_S

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._in_head = True
        self._pieces = 0
        self._fields = 0
        self._turned = False  # a request ended in this read: what came is its body as well
        self._too_slow: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, and wait for a head."""
        super().connection_made(transport)
        self._start_clock()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the time."""
        self._stop_clock()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, counting what belongs to a head."""
        was_in_head, self._turned = self._in_head, False
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._in_head:
            if self._too_slow is None and self._pieces + self._fields:
                self._start_clock()
            self._pieces += len(data) if was_in_head and not self._turned else 0
        if max(self._pieces, self._fields) > LONGEST_HEAD:
            self.send_400_response("The request's head is too large.")

    def on_message_begin(self) -> None:
        """Begin to count."""
        self._in_head, self._pieces, self._fields = True, 0, 1
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header, or a trailer."""
        self._fields += len(name) + len(value)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Let the body come in its own time: the endpoint bounds it."""
        self._in_head = False
        self._stop_clock()
        # For a client that reads nothing: an orderly end would wait for it to read what is left.
        self.scope["extensions"] = {"abort": {"now": self.transport.abort}}
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Expect another head, whenever it begins."""
        super().on_message_complete()
        self._in_head, self._pieces, self._fields, self._turned = True, 0, 0, True

    @property
    def is_between_requests(self) -> bool:
        """Say whether nothing of a next request has come, after one that leaves the parser as it was at first."""
        return self._in_head and not self._fields and not self.parser.should_upgrade()

    def _start_clock(self) -> None:
        self._too_slow = self.loop.call_later(self.head_timeout_s, self._give_up)

    def _stop_clock(self) -> None:
        if self._too_slow is not None:
            self._too_slow.cancel()
            self._too_slow = None

    def _give_up(self) -> None:
        self._too_slow = None
        if not self.transport.is_closing():
            self.transport.close()

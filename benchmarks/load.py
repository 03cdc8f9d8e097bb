"""The load: keep-alive connections that each send a ready-made request when the last one is answered."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast

OK = 200
_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length:"


@dataclass
class Seen:
    """What came back while it was counted."""

    seconds: float = 0.0
    cpu_s: float = 0.0
    statuses: Counter[int] = field(default_factory=Counter)
    latencies_s: list[float] = field(default_factory=list)

    @property
    def answered(self) -> int:
        """Return how many answers there were."""
        return len(self.latencies_s)

    @property
    def not_200(self) -> int:
        """Return how many requests were not answered 200, or not at all."""
        return self.statuses.total() - self.statuses[OK]

    @property
    def rate(self) -> float:
        """Return answers a second."""
        return self.answered / self.seconds

    @property
    def cpu_us(self) -> float:
        """Return the server's CPU for each answer, in µs."""
        return self.cpu_s / max(1, self.answered) * 1e6

    def latency_ms(self, part: float) -> float:
        """Return the latency that *part* of all answers kept to."""
        return percentile(self.latencies_s, part) * 1e3


def percentile(values: Sequence[float], part: float) -> float:
    """Return the value that *part* of *values* do not pass; NaN when there are none."""
    if not values:
        return float("nan")
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]


class Load:
    """Sends *requests*, one after the other on each connection, as long as *may_send* says so."""

    def __init__(
        self, port: int, requests: Iterator[bytes], *, may_send: Callable[[], bool] = lambda: True
    ) -> None:
        self.sent_at: list[float] = []
        """When each request was sent, in their order."""
        self.seen = Seen()
        self.over = asyncio.Event()
        """There are no more requests."""
        self._port = port
        self._requests = requests
        self._may_send = may_send
        self._idle: list[_Connection] = []
        self._open: set[_Connection] = set()

    @property
    def sent(self) -> int:
        """Return how many requests were sent."""
        return len(self.sent_at)

    async def open(self, connections: int) -> None:
        """Open *connections* and begin."""
        loop = asyncio.get_running_loop()
        for _ in range(connections):
            await loop.create_connection(lambda: _Connection(self), "127.0.0.1", self._port)

    def close(self) -> None:
        """Send no more."""
        self.over.set()
        for connection in list(self._open):
            connection.close()

    def pump(self) -> None:
        """Let idle connections send what may be sent."""
        while self._idle and not self.over.is_set() and self._may_send():
            self._send(self._idle.pop())

    def _send(self, connection: "_Connection") -> None:
        request = next(self._requests, None)
        if request is None:
            self.over.set()
            return
        now_s = time.perf_counter()
        self.sent_at.append(now_s)
        connection.send(request, now_s)

    def ready(self, connection: "_Connection") -> None:
        """Take note that *connection* can send."""
        if self.over.is_set():
            return
        if self._may_send():
            self._send(connection)
        else:
            self._idle.append(connection)

    def opened(self, connection: "_Connection") -> None:
        """Take note of a connection."""
        self._open.add(connection)
        self.ready(connection)

    def answered(self, connection: "_Connection", status: int, seconds: float) -> None:
        """Take note of an answer."""
        self.seen.statuses[status] += 1
        self.seen.latencies_s.append(seconds)
        self.ready(connection)

    def lost(self, connection: "_Connection", *, waiting: bool) -> None:
        """Open another one in place of *connection*; a request that was not answered counts as status 0."""
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if not self.over.is_set():
            self.seen.statuses[0] += waiting
            self._again = asyncio.ensure_future(self.open(1))


class _Connection(asyncio.Protocol):
    def __init__(self, load: Load) -> None:
        self._load = load
        self._transport: asyncio.Transport
        self._buffer = b""
        self._sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._load.opened(self)

    def send(self, request: bytes, now_s: float) -> None:
        self._sent_at = now_s
        self._transport.write(request)

    def close(self) -> None:
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._buffer = buffer = self._buffer + data
        whole = length_of(buffer)
        if whole and len(buffer) >= whole:
            self._buffer = b""
            took_s, self._sent_at = time.perf_counter() - self._sent_at, 0.0
            self._load.answered(self, int(buffer[9:12]), took_s)

    def connection_lost(self, _error: Exception | None) -> None:
        self._load.lost(self, waiting=bool(self._sent_at))


def length_of(buffer: bytes) -> int:
    """Return how long the answer that begins in *buffer* is, with its head; 0 as long as nobody knows."""
    end = buffer.find(_HEAD_END)
    if end < 0:
        return 0
    head = buffer[:end].lower()
    begin = head.find(_LENGTH)
    if begin < 0:
        return end + len(_HEAD_END)
    line_end = head.find(b"\r\n", begin)
    length = head[begin + len(_LENGTH) : line_end if line_end > 0 else end]
    return end + len(_HEAD_END) + int(length)


async def measure(
    load: Load, *, connections: int, warm_s: float, seconds: float, cpu_s: Callable[[], float]
) -> Seen:
    """Send for *warm_s* unmeasured, then for *seconds* or until the requests are over; then close."""
    await load.open(connections)
    await asyncio.sleep(warm_s)
    load.seen = seen = Seen()
    began, cpu_before_s = time.perf_counter(), cpu_s()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(load.over.wait(), seconds)
    seen.seconds, seen.cpu_s = time.perf_counter() - began, cpu_s() - cpu_before_s
    load.close()
    return seen

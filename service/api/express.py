"""The short way of a notification that came whole in one read: no task, no ASGI messages, one write.

```text
a read ─┬─ its head came before, byte for byte ──────────────────────────────► judged ─► future ─► written
        └─ uvicorn's parser ─┬─ POST to a known path, plain, body whole ─────►    (one callback a commit)
                             └─ anything else ─► task ─► NotificationEndpoint, by ASGI
```
Both ways ask the same `Receiver`, count in the same place and send the same bytes; only the machinery around a
request differs. Measured on one core: 31 µs of CPU for uvicorn's parser, task, scope and messages alone.
"""

import asyncio
from collections.abc import Mapping
from functools import partial
from time import perf_counter
from typing import Any, ClassVar, Final, NamedTuple, cast

from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

from service.api.connection import Connection
from service.api.notifications import CLOSE, NotificationEndpoint
from service.api.posted import Scope, read_head
from service.domain.answers import Answer
from service.domain.receiving import Arrival
from service.domain.records import NewReceipt, StoredReceipt

MOST_HEADS: Final = 1024
LONGEST_HEAD: Final = 2048
"""Together: heads take 3 MB at most. Midtrans' own differ in their Content-Length alone."""
_HEAD_ENDS: Final = b"\r\n\r\n"


class _Nobody:
    """Waits for an event of a cycle."""

    def set(self) -> None:
        """Wake nobody."""


class _Openings:
    """Status lines and headers, made once a second: uvicorn's own headers (the date) change no oftener."""

    def __init__(self) -> None:
        self._defaults: object = None
        self._made: dict[tuple[object, ...], bytes] = {}

    def response(self, answer: Answer, defaults: list[tuple[bytes, bytes]], *, keep_alive: bool) -> bytes:
        """Return the whole response, as uvicorn would write it."""
        if defaults is not self._defaults:
            self._defaults, self._made = defaults, {}
        key = (answer.status, answer.headers, keep_alive)
        opening = self._made.get(key)
        if opening is None:
            headers = (*defaults, *answer.headers, *(() if keep_alive else (CLOSE,)))
            lines = (b"%s: %s\r\n" % header for header in headers)
            opening = self._made[key] = b"".join((STATUS_LINE[answer.status], *lines, b"\r\n"))
        return opening + answer.body


_OPENINGS: Final = _Openings()


class Known(NamedTuple):
    """What a head said that was parsed before; the same bytes say it again."""

    length: int
    merchant: str
    path: str
    kept: Mapping[str, str]
    forwarded_for: str


class Express(Connection):
    """A connection that answers plain notifications itself."""

    endpoint: ClassVar[NotificationEndpoint]
    heads: ClassVar[dict[bytes, Known]]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        app = self.config.loaded_app
        self._proxies = app.trusted_hosts if isinstance(app, ProxyHeadersMiddleware) else None
        self._may = self.limit_concurrency is None and not self.access_log  # else uvicorn has more to do
        self._at_start = True  # the parser is where it began; False as well after whatever was not plain
        self._is_parsing = False
        self._held: RequestResponseCycle | None = None
        self.waiting = cast(
            "set[asyncio.Future[StoredReceipt]]", self.tasks
        )  # waited for, or cancelled, at the end

    def data_received(self, data: bytes) -> None:
        """Answer what is known; parse the rest, and answer what is plain."""
        at_start, self._at_start = self._at_start, False
        if at_start and self._may and self._is_idle():
            head = data[: data.find(_HEAD_ENDS) + len(_HEAD_ENDS)]
            known = self.heads.get(head)
            if known is not None and len(data) - len(head) == known.length:
                source = self._source(known)
                if self._has_room(source):
                    self._at_start = True
                    self._stop_clock()
                    self._unset_keepalive_if_required()
                    self._take(known, data[len(head) :], source, keep_alive=True)
                    return
        self._is_parsing = True
        super().data_received(data)
        self._is_parsing = False
        cycle, self._held = self._held, None
        if cycle is not None:
            self._go_on(cycle, data if at_start else b"")

    def _is_idle(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is None or cycle.response_complete

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Wait with what may be plain for the end of this read: its body may be whole by then."""
        scope = cycle.scope
        if (
            self._is_parsing  # else it has waited in the pipeline, and is not of this read
            and self._may
            and scope["method"] == "POST"
            and scope["path"] in self.endpoint.merchant_of
            and not cycle.waiting_for_100_continue
        ):
            self._held = cycle
        else:
            super()._start_asgi_task(cycle, app)

    def send_400_response(self, msg: str) -> None:
        """Close the connection; a request that came before what is wrong is looked at first, as uvicorn does."""
        cycle, self._held = self._held, None
        if cycle is not None:
            super()._start_asgi_task(cycle, self.app)
        super().send_400_response(msg)

    def _go_on(self, cycle: RequestResponseCycle, data: bytes) -> None:
        """Take what is plain and whole; hand over the rest. *data* is the read if the request begins it."""
        known = self._read(cycle)
        source = self._source(known) if known else ""
        if known is None or not self._has_room(source):
            super()._start_asgi_task(cycle, self.app)
            return
        self._at_start = self.is_between_requests
        if self._at_start and cycle.keep_alive:
            self._learn(data, known)
        self._take(known, bytes(cycle.body), source, keep_alive=cycle.keep_alive)

    def _read(self, cycle: RequestResponseCycle) -> Known | None:
        """Return what the head of *cycle* says; None for what is not plain, or not whole."""
        if (
            cycle is not self.cycle or cycle.more_body
        ):  # another one came behind it, or its body is still to come
            return None
        scope = cast("Scope", cycle.scope)
        head = read_head(scope)
        if head.encoded or not head.length == len(cycle.body) <= self.endpoint.max_body_bytes:
            return None
        forwarded = b", ".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
        path = scope["path"]
        merchant = self.endpoint.merchant_of[path]
        return Known(head.length, merchant, path, head.kept, forwarded.decode("latin-1"))

    def _learn(self, data: bytes, known: Known) -> None:
        """Remember a head at the beginning of *data* that has exactly the rest of it as its body."""
        size = len(data) - known.length
        if size <= LONGEST_HEAD and data.find(_HEAD_ENDS) + len(_HEAD_ENDS) == size:
            while len(self.heads) >= MOST_HEADS:
                del self.heads[next(iter(self.heads))]  # the oldest
            self.heads[data[:size]] = known

    def _has_room(self, source: str) -> bool:
        """Say whether the client reads its answers, and the body has its place among those that are read."""
        return not self.flow.write_paused and self.endpoint.has_room_for(source)

    def _source(self, known: Known) -> str:
        """Return who calls, as uvicorn's middleware would tell."""
        peer = self.client[0] if self.client else ""
        if known.forwarded_for and self._proxies is not None and peer in self._proxies:
            return self._proxies.get_trusted_client_address(known.forwarded_for)[0] or peer
        return peer

    def _take(self, known: Known, raw: bytes, source: str, *, keep_alive: bool) -> None:
        arrival = self.endpoint.arrival(known.merchant, raw, source, known.path, known.kept)
        request = Request(self, arrival, keep_alive=keep_alive)
        self.cycle = request  # type: ignore[assignment]
        request.begin()


class Request:
    """One request on its way, in the place of uvicorn's cycle: what a connection asks of that, it has."""

    __slots__ = (
        "_arrival",
        "_connection",
        "_endpoint",
        "_started",
        "disconnected",
        "keep_alive",
        "response_complete",
    )
    message_event = _Nobody()

    def __init__(self, connection: Express, arrival: Arrival, *, keep_alive: bool) -> None:
        self._connection = connection
        self._endpoint = connection.endpoint
        self._arrival = arrival
        self._started = perf_counter()
        self.keep_alive = keep_alive
        self.disconnected = False
        self.response_complete = False

    def begin(self) -> None:
        """Judge; answer what is refused now, and what is taken in when it is on disk."""
        receiver = self._endpoint.receiver
        new: NewReceipt | None = None
        try:
            judged = receiver.judge(self._arrival)
            if isinstance(judged, NewReceipt):
                new = judged
                future = receiver.store(judged)
                self._connection.waiting.add(future)
                future.add_done_callback(partial(self._stored, judged))
                return
            answer = judged
        except Exception as error:  # noqa: BLE001  (nothing may escape)
            answer = receiver.not_taken_in(self._arrival, new, error)
        self._answer(answer)

    def _stored(self, new: NewReceipt, future: "asyncio.Future[StoredReceipt]") -> None:
        self._connection.waiting.discard(future)
        receiver = self._endpoint.receiver
        try:
            answer = receiver.taken_in(new, future.result())
        except BaseException as error:  # noqa: BLE001  (it is what the future says, cancellation included)
            answer = receiver.not_taken_in(self._arrival, new, error)
        self._answer(answer)

    def _answer(self, answer: Answer) -> None:
        self._endpoint.count(self._arrival, answer, perf_counter() - self._started)
        self.response_complete = True
        connection = self._connection
        if self.disconnected:
            return
        transport = connection.transport
        if not transport.is_closing():
            transport.write(
                _OPENINGS.response(
                    answer, connection.server_state.default_headers, keep_alive=self.keep_alive
                )
            )
            if not self.keep_alive:
                transport.close()
        connection.on_response_complete()


def express(endpoint: NotificationEndpoint) -> type[Express]:
    """Return the connections of a server whose app has *endpoint* in front."""

    class Connected(Express):
        """Connections that share what they learned."""

    Connected.endpoint, Connected.heads = endpoint, {}
    return Connected

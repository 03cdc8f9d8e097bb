"""The short way and the one through ASGI are one and the same to whoever sends, however the bytes come."""

import asyncio
import hashlib
import itertools
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
import uvicorn
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from service.api.connection import LONGEST_HEAD, Connection
from service.api.express import MOST_HEADS, Express, express
from service.api.notifications import NotificationEndpoint
from service.domain.merchant import Merchant
from service.domain.records import NewReceipt, Oddity, StoredReceipt
from service.errors import StoreUnavailable
from service.flow.receive import Receiver

KEY = "example-server-key"


class Line:
    """The transport of a connection whose other end reads everything."""

    def __init__(self) -> None:
        self.written = b""
        self.closing = False
        self.protocol: HttpToolsProtocol | None = None

    def get_extra_info(self, name: str) -> Any:
        return {"peername": ("127.0.0.1", 40_000), "sockname": ("127.0.0.1", 8_000)}.get(name)

    def write(self, data: bytes) -> None:
        if not self.closing:  # else nobody would get it
            self.written += data

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        if not self.closing:
            self.closing = True
            assert self.protocol is not None
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    abort = close

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Edges:
    """The disk, which answers when told to, the operators' view and the numbers."""

    def __init__(self) -> None:
        self.kept: dict[bytes, NewReceipt] = {}
        self.oddities: list[tuple[str, bytes, str, str]] = []
        self.counted: list[tuple[str, str]] = []
        self.waiting: list[asyncio.Future[StoredReceipt]] = []
        self.is_slow = False
        self.raises: Exception | None = None

    def receive(self, new: NewReceipt) -> "asyncio.Future[StoredReceipt]":
        if self.raises is not None:
            raise self.raises
        future: asyncio.Future[StoredReceipt] = asyncio.get_running_loop().create_future()
        first = self.kept.setdefault(new.digest, new)
        if self.is_slow:
            self.waiting.append(future)
        else:
            future.set_result(StoredReceipt(first.id, duplicate=first is not new))
        return future

    def keep(self, oddity: Oddity) -> None:
        self.oddities.append((oddity.reason, oddity.body, oddity.source_address, oddity.path))

    @property
    def seen(self) -> list[Any]:
        facts = [
            (new.merchant, new.raw, new.source_address, new.path, new.headers) for new in self.kept.values()
        ]
        return [facts, self.oddities, self.counted]

    def labels(self, merchant: str, answer: str, /) -> "Edges.Child":
        return Edges.Child(self.counted, (merchant, str(answer)))

    class Child:
        def __init__(self, counted: list[tuple[str, str]], labels: tuple[str, str]) -> None:
            self._counted, self._labels = counted, labels

        def inc(self) -> None:
            self._counted.append(self._labels)

    def observe(self, amount: float, /) -> None: ...


class Server:
    """One way of receiving, without a socket."""

    def __init__(self, way: str = "express") -> None:
        self.edges = Edges()
        merchants = {name: Merchant(name, (KEY,)) for name in ("default", "shop-a")}
        self.endpoint = NotificationEndpoint(
            Receiver(merchants, receipts=self.edges, oddities=self.edges),
            clock=lambda: datetime(2026, 11, 22, tzinfo=UTC),
            metrics=Metrics(self.edges),
            max_body_bytes=1_000,
        )
        self.connections = express(self.endpoint) if way == "express" else HttpToolsProtocol
        self.config = uvicorn.Config(
            self.endpoint.before(elsewhere), lifespan="off", log_config=None, access_log=False, ws="none"
        )
        self.config.load()
        self.state = ServerState()
        self.state.default_headers = [(b"date", b"Sun, 22 Nov 2026 00:00:00 GMT")]

    def connect(self) -> Line:
        line = Line()
        line.protocol = self.connections(
            config=self.config, server_state=self.state, app_state={}, _loop=asyncio.get_running_loop()
        )
        line.protocol.connection_made(line)  # type: ignore[arg-type]
        return line

    async def send(self, line: Line, *reads: bytes) -> None:
        for read in reads:
            if line.closing:
                return
            assert line.protocol is not None
            line.protocol.data_received(read)
            await settled()


class Metrics:
    def __init__(self, edges: Edges) -> None:
        self.notifications = self.receive_seconds = edges


async def elsewhere(scope: Any, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 204, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body"})


async def settled() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


def body(number: int = 1, *, key: str = KEY) -> bytes:
    order_id = f"order-{number:04}"
    signature = hashlib.sha512(f"{order_id}2001000.00{key}".encode()).hexdigest()
    fields = {"order_id": order_id, "status_code": "200", "gross_amount": "1000.00"}
    return json.dumps({**fields, "transaction_status": "settlement", "signature_key": signature}).encode()


def request(raw: bytes, *headers: str, line: str = "POST /notifications HTTP/1.1") -> bytes:
    lines = [line, "Host: x", "User-Agent: Veritrans", f"Content-Length: {len(raw)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + raw


def chunked(raw: bytes) -> bytes:
    head = b"POST /notifications HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(raw), raw)


REQUESTS = {
    "plain": request(body()),
    "another": request(body(2)),
    "another merchant's": request(body(3), line="POST /notifications/shop-a HTTP/1.1"),
    "slash and query": request(body(4), line="POST /notifications/?a=1 HTTP/1.1"),
    "percent": request(body(5), line="POST /notifications/shop%2Da HTTP/1.1"),
    "a stranger's": request(body(key="stranger")),
    "nobody's": request(body(), line="POST /notifications/nobody HTTP/1.1"),
    "put": request(body(), line="PUT /notifications HTTP/1.1"),
    "head": b"HEAD /notifications HTTP/1.1\r\nHost: x\r\n\r\n",
    "get elsewhere": b"GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n",
    "post elsewhere": request(b"abc", line="POST /v1/events HTTP/1.1"),
    "empty": request(b""),
    "no length": b"POST /notifications HTTP/1.1\r\nHost: x\r\n\r\n",
    "text": request(b"text"),
    "large": request(b"x" * 1_001),
    "as large as may be": request(b"x" * 1_000),
    "chunks": chunked(body(6)),
    "gzip": request(body(), "Content-Encoding: gzip"),
    "identity": request(body(7), "Content-Encoding: identity"),
    "forwarded": request(body(8), "X-Forwarded-For: 103.208.23.6"),
    "forwarded twice": request(body(9), "X-Forwarded-For: 1.1.1.1", "X-Forwarded-For: 8.8.8.8, 127.0.0.1"),
    "forwarded from nowhere": request(body(10), "X-Forwarded-For: "),
    "kept headers": request(body(11), "X-Signature: s", "Content-Type: application/json; a=\xe9"),
    "expect": request(body(12), "Expect: 100-continue"),
    "upgrade": request(body(), "Connection: Upgrade", "Upgrade: h2c"),
    "upgrade without a body": request(b"", "Connection: Upgrade", "Upgrade: h2c"),
    "close": request(body(13), "Connection: close"),
    "http 1.0": request(body(14), line="POST /notifications HTTP/1.0"),
    "http 1.0 kept alive": request(body(15), "Connection: keep-alive", line="POST /notifications HTTP/1.0"),
    "empty line before": b"\r\n" + request(body(16)),
    "two lengths": request(body(), "Content-Length: 1"),
    "no http": b"hello\r\n\r\n",
    "lines of another world": request(body(17)).replace(b"\r\n", b"\n"),
    "head in the body": request(request(body(18))),
}


async def received(way: str, reads: Sequence[bytes]) -> list[Any]:
    server = Server(way)
    line = server.connect()
    await server.send(line, *reads)
    answers = re.sub(rb"[0-9a-f]{8}-[0-9a-f-]{27}", b"an-id", line.written)
    return [answers, line.closing, *server.edges.seen, server.state.total_requests, len(server.state.tasks)]


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    names=st.lists(st.sampled_from(sorted(REQUESTS)), min_size=1, max_size=5),
    cuts=st.lists(st.integers(0, 3_000), max_size=4),
    whole=st.booleans(),
)
@example(names=["plain", "plain", "another", "plain"], cuts=[], whole=True)
@example(names=["plain", "plain", "upgrade without a body", "plain", "plain"], cuts=[], whole=True)
def test_both_ways_answer_the_same_bytes_and_keep_the_same(
    names: list[str], cuts: list[int], whole: bool
) -> None:
    sent = [REQUESTS[name] for name in names]
    if not whole:
        stream = b"".join(sent)
        places = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
        sent = [stream[begin:end] for begin, end in itertools.pairwise(places) if begin < end]
    assert asyncio.run(received("express", sent)) == asyncio.run(received("asgi", sent))


@pytest.mark.parametrize("name", REQUESTS)
def test_both_ways_answer_the_same_between_known_requests(name: str) -> None:
    sent = [REQUESTS["plain"], REQUESTS["plain"], REQUESTS[name], REQUESTS[name], REQUESTS["plain"]]
    assert asyncio.run(received("express", sent)) == asyncio.run(received("asgi", sent))


def parsed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return the reads that went to the parser."""
    reads: list[bytes] = []
    before = Connection.data_received

    def data_received(self: Connection, data: bytes) -> None:
        reads.append(data)
        before(self, data)

    monkeypatch.setattr(Connection, "data_received", data_received)
    return reads


async def test_a_head_that_came_before_is_not_parsed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    reads, server = parsed(monkeypatch), Server()
    for number in range(1, 4):  # each on a connection of its own
        await server.send(server.connect(), request(body(number)))
    assert reads == [request(body(1))]
    assert [new.raw for new in server.edges.kept.values()] == [body(1), body(2), body(3)]


@pytest.mark.parametrize(
    "second",
    [
        request(body(2)).replace(b"Veritrans", b"veritrans"),
        request(body(2)) + b" ",
        request(body(2))[:-1],
        request(body(2)) * 2,
        b"\r\n" + request(body(2)),
    ],
    ids=["one byte differs", "one byte more", "one byte less", "two", "a line before"],
)
async def test_all_but_the_same_head_and_the_length_it_tells_is_parsed(
    monkeypatch: pytest.MonkeyPatch, second: bytes
) -> None:
    reads, server = parsed(monkeypatch), Server()
    await server.send(server.connect(), request(body(1)))
    await server.send(server.connect(), second)
    assert reads == [request(body(1)), second]


async def test_a_known_head_inside_a_body_is_a_body() -> None:
    server, line = Server(), None
    await server.send(server.connect(), request(body(1)))
    line = server.connect()
    outer = request(b"x" * 20 + request(body(2)))
    begin = len(outer) - len(request(body(2)))
    await server.send(line, outer[:begin], outer[begin:])
    assert line.written.startswith(b"HTTP/1.1 400 ")
    assert [new.raw for new in server.edges.kept.values()] == [body(1)]


async def test_heads_that_differ_take_no_more_than_their_memory() -> None:
    server = Server()
    for number in range(MOST_HEADS + 10):
        await server.send(server.connect(), request(body(), f"X-Request-Id: {number}"))
    await server.send(server.connect(), request(body(), f"X-Long: {'x' * 3_000}"))
    assert issubclass(server.connections, Express)
    heads = vars(server.connections)["heads"]
    assert len(heads) == MOST_HEADS
    assert max(map(len, heads)) < 300


async def slow_server() -> tuple[Server, Line]:
    server = Server()
    server.edges.is_slow = True
    line = server.connect()
    await server.send(line, request(body()))
    return server, line


async def test_nothing_is_answered_before_it_is_on_disk() -> None:
    server, line = await slow_server()
    assert (line.written, len(server.state.tasks)) == (b"", 1)
    (new,) = server.edges.kept.values()
    server.edges.waiting[0].set_result(StoredReceipt(new.id, duplicate=False))
    await settled()
    assert line.written.endswith(b'{"status":"accepted","id":"%s"}' % str(new.id).encode())
    assert (len(server.state.tasks), server.state.total_requests) == (0, 1)


async def test_requests_behind_a_waiting_one_are_answered_after_it() -> None:
    server, line = await slow_server()
    server.edges.is_slow = False
    await server.send(line, request(body(2)), request(b"text"))
    assert line.written == b""
    (new, *_) = server.edges.kept.values()
    server.edges.waiting[0].set_result(StoredReceipt(new.id, duplicate=False))
    await settled()
    assert re.findall(rb"HTTP/1.1 (\d+)", line.written) == [b"200", b"200", b"400"]


async def test_a_request_under_way_when_the_server_closes_is_answered_and_the_connection_closed() -> None:
    server, line = await slow_server()
    idle = server.connect()
    for connection in list(server.state.connections):
        connection.shutdown()
    assert (idle.closing, line.closing) == (True, False)
    server.edges.waiting[0].set_result(
        StoredReceipt(next(iter(server.edges.kept.values())).id, duplicate=False)
    )
    await settled()
    assert line.written.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nconnection: close\r\n" in line.written
    assert line.closing
    assert server.state.connections == set()


async def test_a_request_cut_off_at_the_end_of_the_process_is_507() -> None:
    server, line = await slow_server()
    for task in server.state.tasks:
        task.cancel(msg="as uvicorn does")
    await settled()
    assert line.written.startswith(b"HTTP/1.1 507 ")
    assert b'"not_stored"' in line.written
    assert server.state.tasks == set()


async def test_a_client_that_has_gone_is_answered_nothing_and_counted() -> None:
    server, line = await slow_server()
    line.close()
    await settled()
    server.edges.waiting[0].set_result(
        StoredReceipt(next(iter(server.edges.kept.values())).id, duplicate=False)
    )
    await settled()
    assert line.written == b""
    assert server.edges.counted == [("default", "accepted")]


@pytest.mark.parametrize(
    ("error", "reason"), [(StoreUnavailable("full"), b"not_stored"), (KeyError("k"), b"failed")]
)
async def test_what_cannot_be_stored_is_507_at_once_or_later(error: Exception, reason: bytes) -> None:
    server, line = await slow_server()
    server.edges.waiting[0].set_exception(error)
    await settled()
    server.edges.raises = error
    await server.send(line, request(body(2)))
    assert line.written.count(b"HTTP/1.1 507 ") == line.written.count(b'"error":"%s"' % reason) == 2


async def test_an_idle_connection_is_closed_after_its_time_and_not_before() -> None:
    server = Server()
    server.config.timeout_keep_alive = 0
    line = server.connect()
    await server.send(line, request(body()))
    await asyncio.sleep(0.01)
    assert line.closing


async def test_a_head_of_a_known_kind_ends_the_time_for_it() -> None:
    server = Server()
    await server.send(server.connect(), request(body()))
    connections: Any = server.connections
    connections.head_timeout_s = 0.02
    line = server.connect()
    await server.send(line, request(body(2)))
    await asyncio.sleep(0.04)
    assert not line.closing


async def test_a_client_that_does_not_read_its_answers_is_left_to_uvicorn() -> None:
    server = Server()
    line = server.connect()
    await server.send(line, request(body()))
    assert line.protocol is not None
    line.protocol.pause_writing()
    written = line.written
    await server.send(line, request(body(2)))
    assert line.written == written
    line.protocol.resume_writing()
    await settled()
    assert line.written.count(b"HTTP/1.1 200 ") == 2


async def test_a_request_that_came_in_one_read_is_no_head_however_long_it_is() -> None:
    server = Server("express")
    line = server.connect()
    await server.send(
        line, request(b"x" * (2 * LONGEST_HEAD), line="POST /v1/events HTTP/1.1"), request(body())
    )
    assert re.findall(rb"HTTP/1.1 (\d+)", line.written) == [b"204", b"200"]

"""What goes over the wire: every row of the answer table, and whatever strangers send, through a real socket."""

import asyncio
import gzip
import hashlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
import uvicorn
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from service.api.express import express
from service.api.notifications import NotificationEndpoint
from service.domain.answers import ANSWERS
from service.domain.merchant import Merchant
from service.domain.records import NewReceipt, Oddity, ReceiptState, StoredReceipt
from service.errors import StoreBroken, StoreOverloaded, StoreUnavailable
from service.flow.receive import Receiver

KEY = "example-server-key-1"
OLD_KEY = "example-server-key-0"
OTHER_KEY = "example-server-key-of-shop-b"
MERCHANTS = {
    "default": Merchant("default", (KEY,)),
    "shop-a": Merchant("shop-a", (KEY, "example-second-key"), (OLD_KEY,)),
    "shop-b": Merchant("shop-b", (OTHER_KEY,)),
}
MEBIBYTE = 1 << 20


class FakeReceipts:
    """Keeps receipts as the database would: the first of equal bytes wins."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str, bytes], NewReceipt] = {}
        self.fails_with: BaseException | None = None
        self.raises: BaseException | None = None
        self.delay_s = 0.0

    def receive(self, new: NewReceipt) -> "asyncio.Future[StoredReceipt]":
        if self.raises is not None:
            raise self.raises
        future: asyncio.Future[StoredReceipt] = asyncio.get_running_loop().create_future()
        if isinstance(self.fails_with, asyncio.CancelledError):
            future.cancel()
        elif self.fails_with is not None:
            future.set_exception(self.fails_with)
        else:
            key = (new.merchant, new.kind, new.digest)
            first = self.kept.setdefault(key, new)
            asyncio.get_running_loop().call_later(
                self.delay_s, future.set_result, StoredReceipt(first.id, duplicate=first is not new)
            )
        return future

    @property
    def only(self) -> NewReceipt:
        (receipt,) = self.kept.values()
        return receipt


class FakeOddities:
    def __init__(self) -> None:
        self.kept: list[Oddity] = []
        self.raises: Exception | None = None

    def keep(self, oddity: Oddity) -> None:
        if self.raises is not None:
            raise self.raises
        self.kept.append(oddity)


class FakeMetrics:
    def __init__(self) -> None:
        self.counted: list[tuple[str, str]] = []
        self.observed: list[float] = []
        self.notifications = self
        self.receive_seconds = self

    def labels(self, merchant: str, answer: str, /) -> "Increment":
        return Increment(self.counted, (merchant, answer))

    def observe(self, amount: float, /) -> None:
        self.observed.append(amount)


@dataclass
class Increment:
    counted: list[tuple[str, str]]
    labels: tuple[str, str]

    def inc(self) -> None:
        self.counted.append(self.labels)


@dataclass
class Running:
    """The endpoint under uvicorn, as it runs in production, on a free port of loopback."""

    receipts: FakeReceipts = field(default_factory=FakeReceipts)
    oddities: FakeOddities = field(default_factory=FakeOddities)
    metrics: FakeMetrics = field(default_factory=FakeMetrics)
    port: int = 0

    def send(self, raw: bytes, *, responses: int = 1) -> list["Response"]:
        with self.connect() as client:
            client.sock.sendall(raw)
            return [client.response() for _ in range(responses)]

    def post(
        self, body: bytes, path: str = "/notifications", *headers: str, method: str = "POST"
    ) -> "Response":
        return self.send(request(body, path, *headers, method=method))[0]

    @contextmanager
    def connect(self) -> Iterator["Client"]:
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as sock:
            client = Client(sock)
            yield client
            client.close()


@dataclass
class Response:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def closes(self) -> bool:
        return self.headers.get("connection") == "close"


class Client:
    """A client that sends exactly the bytes it is given."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._file = sock.makefile("rb")

    def response(self, *, head: bool = False) -> Response:
        line = self._file.readline()
        assert line.startswith(b"HTTP/1.1 "), line
        headers: dict[str, str] = {}
        while (field_ := self._file.readline().strip()) != b"":
            name, _, value = field_.decode().partition(": ")
            headers[name] = value
        length = 0 if head else int(headers["content-length"])
        return Response(int(line.split()[1]), headers, self._file.read(length))

    def close(self) -> None:
        self._file.close()

    def is_closed_by_server(self) -> bool:
        return self._file.read(1) == b""


def request(body: bytes, path: str = "/notifications", *headers: str, method: str = "POST") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def chunked(chunks: Sequence[bytes], path: str = "/notifications") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    return head + b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in [*chunks, b""])


def sign(order_id: str, status_code: str, amount: str, key: str = KEY) -> str:
    return hashlib.sha512(f"{order_id}{status_code}{amount}{key}".encode()).hexdigest()


def notification(*, key: str = KEY, order_id: str = "order-1001", **fields: Any) -> dict[str, Any]:
    body = {
        "order_id": order_id,
        "transaction_id": "5b1ab5f4-6ad1-4f0a-8a0a-0c7c5c1f6a11",
        "transaction_status": "settlement",
        "payment_type": "qris",
        "status_code": "200",
        "gross_amount": "150000.00",
        **fields,
    }
    signed = sign(body["order_id"], str(body["status_code"]), str(body["gross_amount"]), key)
    return {"signature_key": signed, **body}


def raw(**fields: Any) -> bytes:
    return json.dumps(notification(**fields)).encode()


def without(name: str) -> bytes:
    body = notification()
    del body[name]
    return json.dumps(body).encode()


WAYS = ("asgi", "express")
"""By uvicorn's own protocol and the ASGI endpoint, or by the connections of production, which answer most alone."""


@contextmanager
def serving(way: str = "express", **options: Any) -> Iterator[Running]:
    running = Running()
    receiver = Receiver(MERCHANTS, receipts=running.receipts, oddities=running.oddities)
    endpoint = NotificationEndpoint(
        receiver, clock=lambda: datetime.now(UTC), metrics=running.metrics, **options
    )
    config = uvicorn.Config(
        endpoint.before(elsewhere),
        host="127.0.0.1",
        port=0,
        loop="uvloop",
        http=express(endpoint) if way == "express" else "httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    wait_until(lambda: server.started)
    running.port = server.servers[0].sockets[0].getsockname()[1]
    yield running
    server.should_exit = True
    thread.join()


async def elsewhere(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 418, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body"})


def wait_until(true: Callable[[], object], timeout_s: float = 5.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


@pytest.fixture(scope="module", params=WAYS)
def shared(request: pytest.FixtureRequest) -> Iterator[Running]:
    with serving(request.param) as running:
        yield running


@pytest.fixture
def server(shared: Running) -> Iterator[Running]:
    """The shared server with nothing kept; whatever a test makes it do is over with the test."""
    _forget(shared)
    yield shared
    _forget(shared)


def _forget(shared: Running) -> None:
    shared.receipts.kept.clear()
    shared.receipts.fails_with = shared.receipts.raises = shared.oddities.raises = None
    shared.receipts.delay_s = 0.0
    shared.oddities.kept.clear()
    shared.metrics.counted.clear()


@pytest.fixture(scope="module", params=WAYS)
def hasty(request: pytest.FixtureRequest) -> Iterator[Running]:
    """A server that waits 300 ms for a body."""
    with serving(request.param, body_timeout_s=0.3) as running:
        yield running


# Taken in


def test_a_notification_is_stored_as_it_came_and_then_accepted(server: Running) -> None:
    body = raw()
    response = server.post(
        body, "/notifications", "Content-Type: application/json", "User-Agent: Veritrans", "X-Secret: no"
    )
    receipt = server.receipts.only
    assert response.status == 200
    assert response.json == {"status": "accepted", "id": str(receipt.id)}
    assert receipt.raw == body
    assert receipt.digest == hashlib.sha256(body).digest()
    assert (receipt.merchant, receipt.kind, receipt.order_id) == ("default", "payment", "order-1001")
    assert (receipt.source_address, receipt.path) == ("127.0.0.1", "/notifications")
    assert receipt.headers == {"content-type": "application/json", "user-agent": "Veritrans"}
    assert (receipt.answer, receipt.state) == (200, ReceiptState.WAITING)
    assert server.oddities.kept == []
    assert server.metrics.counted == [("default", "accepted")]


def test_ids_sort_by_arrival(server: Running) -> None:
    ids = [UUID(server.post(raw(order_id=f"order-{n}")).json["id"]) for n in range(20)]
    assert ids == sorted(ids)
    assert {id_.version for id_ in ids} == {7}


def test_the_same_bytes_again_name_the_first_receipt(server: Running) -> None:
    first, second = server.post(raw()), server.post(raw())
    assert second.status == 200
    assert second.json == {"status": "duplicate", "id": first.json["id"]}
    assert len(server.receipts.kept) == 1


def test_other_bytes_of_the_same_payment_are_no_duplicate(server: Running) -> None:
    server.post(raw(bank_confirmed_at=""))
    assert server.post(raw(bank_confirmed_at="2026-11-22 10:00:00")).json["status"] == "accepted"


@pytest.mark.parametrize(
    "path", ["/notifications/shop-a", "/notifications/shop-a/", "/notifications/shop%2Da"]
)
def test_a_merchant_is_named_by_the_path_with_and_without_a_slash(server: Running, path: str) -> None:
    assert server.post(raw(), path).status == 200
    assert server.receipts.only.merchant == "shop-a"


@pytest.mark.parametrize(
    "path", ["/notifications", "/notifications/", "/notifications?x=1", "/notifications/default"]
)
def test_without_a_name_the_merchant_is_default(server: Running, path: str) -> None:
    assert server.post(raw(), path).status == 200
    assert server.receipts.only.merchant == "default"


@pytest.mark.parametrize("key", [KEY, "example-second-key", OLD_KEY])
def test_every_key_of_a_merchant_verifies_and_is_recorded(server: Running, key: str) -> None:
    assert server.post(raw(key=key), "/notifications/shop-a").status == 200
    expected = hashlib.sha256(b"midtrans-service\x00" + key.encode()).hexdigest()[:12]
    assert server.receipts.only.key_fingerprint == expected


@pytest.mark.parametrize(
    ("amount", "signed", "form"),
    [
        ('"10000.00"', "10000.00", "text"),
        ("10000", "10000", "source"),
        ("10000", "10000.00", "two_decimals"),
        ("10000.00", "10000.00", "source"),
        ("10000.0", "10000.00", "two_decimals"),
        ("1e4", "1e4", "source"),
    ],
)
def test_an_amount_is_hashed_as_written_or_with_two_decimals(
    server: Running, amount: str, signed: str, form: str
) -> None:
    body = notification(signature_key=sign("order-1001", "201", signed))
    body |= {"gross_amount": "AMOUNT", "status_code": 201}
    assert server.post(json.dumps(body).replace('"AMOUNT"', amount).encode()).status == 200
    assert server.receipts.only.amount_form == form


def test_an_amount_that_was_rewritten_does_not_verify(server: Running) -> None:
    body = notification(signature_key=sign("order-1001", "200", "10000.00"), gross_amount="10000")
    assert server.post(json.dumps(body).encode()).status == 403


def test_a_body_in_chunks_without_a_length_is_taken_in(server: Running) -> None:
    body = raw()
    assert server.send(chunked([body[:10], body[10:11], body[11:]]))[0].status == 200
    assert server.receipts.only.raw == body


def test_a_client_that_waits_for_100_continue_is_served(server: Running) -> None:
    with server.connect() as client:
        head, _, body = request(raw(), "/notifications", "Expect: 100-continue").partition(b"\r\n\r\n")
        client.sock.sendall(head + b"\r\n\r\n")
        assert client.sock.recv(64, socket.MSG_PEEK).startswith(b"HTTP/1.1 100 ")
        client.sock.recv(25)
        client.sock.sendall(body)
        assert client.response().status == 200


def test_a_body_lost_to_an_offered_upgrade_is_408_and_not_taken_for_an_empty_one(server: Running) -> None:
    """The server's parser takes what follows an ``Upgrade`` header for another protocol (Java's client sends one)."""
    offer = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")
    response = server.post(raw(), "/notifications", *offer)
    assert (response.status, response.closes) == (408, True)
    assert "Upgrade" in response.json["detail"]


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "x" * 3_000])
def test_the_content_type_decides_nothing(server: Running, content_type: str) -> None:
    assert server.post(raw(), "/notifications", f"Content-Type: {content_type}").status == 200
    assert server.receipts.only.headers["content-type"] == content_type[:1024]


@pytest.mark.parametrize("text", ["\\u0000", "\\ud800", "\\udc00\\ud800"])
def test_odd_text_in_a_field_nobody_reads_is_kept_as_it_came(server: Running, text: str) -> None:
    body = json.dumps(notification(custom_field1="TEXT")).replace("TEXT", text).encode()
    assert server.post(body).status == 200
    assert server.receipts.only.raw == body


def test_a_status_that_nobody_knows_is_stored_and_waits(server: Running) -> None:
    assert server.post(raw(transaction_status="levitated", payment_type="seashells")).status == 200
    receipt = server.receipts.only
    assert (receipt.state, receipt.transaction_status) == (ReceiptState.WAITING, "levitated")


def test_a_verified_body_of_no_known_kind_is_stored_and_parked(server: Running) -> None:
    assert server.post(without("transaction_status")).json["status"] == "accepted"
    receipt = server.receipts.only
    assert (receipt.kind, receipt.state, receipt.reason) == ("unknown", ReceiptState.PARKED, "kind_unknown")


# The dashboard's test button


@pytest.mark.parametrize(("key", "signature"), [(KEY, "good"), ("another-key-altogether", "bad")])
def test_the_dashboards_test_is_answered_200_and_only_shown(
    server: Running, key: str, signature: str
) -> None:
    response = server.post(raw(key=key, order_id="payment_notif_test_G1_5b1a"))
    assert (response.status, response.json) == (200, {"status": "test", "signature": signature})
    assert server.receipts.kept == {}
    (oddity,) = server.oddities.kept
    assert (oddity.reason, oddity.detail) == ("test", f"signature {signature}")


# Refused


def nested(levels: int) -> bytes:
    return b'{"a":' + b"[" * levels + b"]" * levels + b"}"


NOT_JSON = {
    "empty": b"",
    "white-space": b"  \n",
    "form": b"order_id=1&status_code=200",
    "array": b"[]",
    "text": b'"payment"',
    "number": b"1",
    "null": b"null",
    "cut": b'{"order_id": "1',
    "two": b"{}{}",
    "utf-16": '{"order_id": "1"}'.encode("utf-16"),
    "latin-1": '{"order_id": "é"}'.encode("latin-1"),
    "byte-order-mark": b"\xef\xbb\xbf{}",
    "raw-surrogate": b'{"a": "\xed\xa0\x80"}',
    "duplicate-key": b'{"order_id": "1", "order_id": "2"}',
    "duplicate-key-inside": b'{"a": {"b": 1, "b": 1}}',
    "duplicate-key-escaped": b'{"order_id": "1", "order\\u005fid": "2"}',
    "nan": b'{"a": NaN}',
    "infinity": b'{"a": -Infinity}',
    "deep": nested(40),
    "very-deep": nested(30_000),
    "deep-objects": b'{"a":' * 9_000 + b"1" + b"}" * 9_000,
    "raw-nul": b'{"a": "\x00"}',
    "binary": bytes(range(256)),
}


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON)
def test_what_is_no_json_object_as_text_is_400(server: Running, body: bytes) -> None:
    response = server.post(body)
    assert (response.status, response.json["error"]) == (400, "not_json")
    assert server.oddities.kept[0].body == body


def test_gzip_without_saying_so_is_400(server: Running) -> None:
    assert server.post(gzip.compress(raw())).status == 400


UNUSABLE = {
    "nothing": b"{}",
    "an-error-page-as-json": b'{"message": "hello"}',
    "no-order": without("order_id"),
    "no-signature": without("signature_key"),
    "no-status-code": without("status_code"),
    "no-amount": without("gross_amount"),
    "order-null": raw(order_id="x").replace(b'"x"', b"null"),
    "order-number": raw(order_id="77").replace(b'"77"', b"77"),
    "order-empty": raw(order_id=""),
    "order-object": raw(order_id="x").replace(b'"x"', b'{"a": 1}'),
    "order-nul": raw(order_id="a\0b"),
    "order-surrogate": raw(order_id="NAME").replace(b"NAME", b"\\ud800"),
    "transaction-surrogate": raw(transaction_id="NAME").replace(b"NAME", b"\\udfff"),
    "transaction-nul": raw(transaction_id="a\0"),
    "transaction-list": raw(transaction_id=["x"]),
    "status-nul": raw(transaction_status="pending\0"),
    "amount-true": raw(gross_amount="A").replace(b'"A"', b"true"),
    "amount-surrogate": raw(gross_amount="AMOUNT").replace(b"AMOUNT", b"1\\ud800"),
    "signature-list": raw(signature_key=["a"]),
    "order-of-a-novel": raw(order_id="o" * 5_000),
}


@pytest.mark.parametrize("body", UNUSABLE.values(), ids=UNUSABLE)
def test_a_json_object_that_cannot_be_used_is_422(server: Running, body: bytes) -> None:
    response = server.post(body)
    assert (response.status, response.json["error"]) == (422, "unusable")
    assert server.receipts.kept == {}


@pytest.mark.parametrize(
    "path",
    [
        "/notifications/nobody",
        "/notifications/SHOP-A",
        "/notifications/shop-a/deeper",
        "/notifications/shop-a//",
        "/notifications//",
        "/notifications//shop-a",
        "/notifications/shop-a%00",
        "/notifications/%ff%fe",
        "/notifications/../shop-a",
        "/notifications/" + "long" * 2_000,
    ],
)
def test_an_unknown_merchant_is_422_and_never_404(server: Running, path: str) -> None:
    response = server.post(raw(), path)
    assert (response.status, response.json["error"]) == (422, "unknown_merchant")
    (oddity,) = server.oddities.kept
    assert (oddity.merchant, oddity.path) == ("unknown", path[:512])
    assert server.metrics.counted == [("unknown", "unknown_merchant")]


@pytest.mark.parametrize("path", ["/notificationsX", "/notification", "/", "/healthz"])
def test_other_paths_belong_to_the_rest_of_the_app(server: Running, path: str) -> None:
    with server.connect() as client:
        client.sock.sendall(request(b"", path))
        assert client.response().status == 418


OTHER_KINDS = {
    "pay account": {"account_id": "a", "account_status": "ENABLED", "signature_key": "0" * 128},
    "recurring": {"event_name": "subscription.charge", "subscription": {}, "transaction": {}},
    "Iris": {"reference_no": "1", "amount": "10000.0", "status": "completed"},
    "BI-SNAP": {"originalReferenceNo": "1", "latestTransactionStatus": "00"},
}


@pytest.mark.parametrize("url", OTHER_KINDS)
def test_a_kind_that_is_not_switched_on_is_422_and_named_with_its_setting(server: Running, url: str) -> None:
    response = server.post(json.dumps(OTHER_KINDS[url]).encode())
    assert (response.status, response.json["error"]) == (422, "kind_not_enabled")
    assert f"{url} notification URL" in response.json["detail"] or "URL of Iris" in response.json["detail"]


FORGED = {
    "another-key": (raw(key="stranger"), "/notifications"),
    "another-merchants-key": (raw(key=OTHER_KEY), "/notifications/shop-a"),
    "right-key-at-the-wrong-merchant": (raw(), "/notifications/shop-b"),
    "no-key-at-all": (raw(key=""), "/notifications"),
    "upper-case": (raw(signature_key=notification()["signature_key"].upper()), "/notifications"),
    "surrogate": (raw(signature_key="KEY").replace(b"KEY", b"f\xc3\xa9" * 60), "/notifications"),
    "another-order": (raw(signature_key=sign("order-1", "200", "150000.00")), "/notifications"),
    "unknown-kind": (
        json.dumps({**json.loads(without("transaction_status")), "order_id": "x"}).encode(),
        "/notifications",
    ),
}


@pytest.mark.parametrize(("body", "path"), FORGED.values(), ids=FORGED)
def test_what_no_key_verifies_is_403_and_kept_to_be_tried_again(
    server: Running, body: bytes, path: str
) -> None:
    response = server.post(body, path)
    assert (response.status, response.json["error"]) == (403, "signature")
    assert server.receipts.kept == {}
    (oddity,) = server.oddities.kept
    assert (oddity.reason, oddity.body, oddity.size) == ("signature", body, len(body))


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])
@pytest.mark.parametrize("body", [b"", b"{}"], ids=["bodiless", "with-body"])
def test_other_methods_are_405_and_told_which_is_allowed(server: Running, method: str, body: bytes) -> None:
    response = server.post(body, "/notifications/shop-a", method=method)
    assert (response.status, response.headers["allow"]) == (405, "POST")
    assert response.json["error"] == "method_not_allowed"


def test_head_is_405_without_a_body(server: Running) -> None:
    with server.connect() as client:
        client.sock.sendall(b"HEAD /notifications HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert client.response(head=True).status == 405
        client.sock.sendall(request(raw()))
        assert client.response().status == 200


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "identity, gzip", "x"])
def test_an_encoded_body_is_415(server: Running, encoding: str) -> None:
    response = server.post(gzip.compress(raw()), "/notifications", f"Content-Encoding: {encoding}")
    assert (response.status, response.json["error"]) == (415, "content_encoding")


def test_the_identity_is_no_encoding(server: Running) -> None:
    assert server.post(raw(), "/notifications", "Content-Encoding: Identity").status == 200


# In the documented order


def test_the_method_is_checked_before_all_else(server: Running) -> None:
    assert (
        server.post(b"x" * 70_000, "/notifications/nobody", "Content-Encoding: gzip", method="PUT").status
        == 405
    )


def test_the_encoding_is_checked_before_the_merchant(server: Running) -> None:
    assert server.post(b"x", "/notifications/nobody", "Content-Encoding: gzip").status == 415


def test_the_merchant_is_checked_before_the_size(server: Running) -> None:
    assert server.post(b"x" * 70_000, "/notifications/nobody").status == 422


def test_the_kind_is_checked_before_the_signature_and_the_test_before_it(server: Running) -> None:
    body = notification(order_id="payment_notif_test_1", key="stranger")
    assert server.post(json.dumps(body).encode()).status == 200
    del body["gross_amount"]
    assert server.post(json.dumps(body).encode()).status == 422


# Size and time


def test_64_kib_are_taken_and_one_byte_more_is_not(server: Running) -> None:
    filled = raw(custom_field1="")
    filled = filled.replace(
        b'"custom_field1": ""', b'"custom_field1": "%s"' % (b"x" * (65_536 - len(filled)))
    )
    assert len(filled) == 65_536
    assert server.post(filled).status == 200
    assert server.post(filled + b" ").status == 413
    assert server.send(chunked([filled, b" "]))[0].status == 413


def test_a_body_that_says_it_is_too_large_is_refused_before_it_is_sent(server: Running) -> None:
    with server.connect() as client:
        client.sock.sendall(b"POST /notifications HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\n\r\n")
        response = client.response()
        assert (response.status, response.closes) == (413, True)


def test_a_client_that_asks_first_is_told_before_it_sends(server: Running) -> None:
    with server.connect() as client:
        head = (
            "POST /notifications HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 70000\r\n\r\n"
        )
        client.sock.sendall(head.encode())
        assert client.response().status == 413


def test_10_mb_are_answered_so_that_the_client_can_read_it(server: Running) -> None:
    with server.connect() as client:
        client.sock.sendall(request(b"x" * (10 * MEBIBYTE)))  # all of it, before a byte is read
        response = client.response()
        assert (response.status, response.closes) == (413, True)
        assert client.is_closed_by_server()


def test_10_mb_in_chunks_are_answered_so_that_the_client_can_read_it(server: Running) -> None:
    with server.connect() as client:
        client.sock.sendall(chunked([b"x" * MEBIBYTE] * 10))
        response = client.response()
        assert (response.status, response.closes) == (413, True)
        assert client.is_closed_by_server()


def test_a_slow_body_is_408(hasty: Running) -> None:
    with hasty.connect() as client:
        client.sock.sendall(request(raw())[:-20])
        started = time.monotonic()
        response = client.response()
        assert (response.status, response.closes) == (408, True)
        assert 0.2 < time.monotonic() - started < 2


def test_dripping_bytes_do_not_stretch_the_time(hasty: Running) -> None:
    with hasty.connect() as client:
        client.sock.sendall(b"POST /notifications HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
        for _ in range(6):
            client.sock.sendall(b" ")
            time.sleep(0.1)
        assert client.response().status == 408


@pytest.mark.parametrize("way", WAYS)
def test_one_body_too_many_at_once_is_429(way: str) -> None:
    with serving(way, most_reading=1) as server:
        with server.connect() as slow:
            slow.sock.sendall(request(raw())[:-20])
            wait_until(lambda: server.post(raw()).status == 429)
            response = server.post(raw())
            assert (response.json["error"], response.headers["retry-after"]) == ("overloaded", "5")
            assert response.closes
        wait_until(lambda: server.post(raw()).status == 200)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_a_thousand_slow_bodies_to_nobody_refuse_no_notification(way: str) -> None:
    with serving(way) as server, ExitStack() as stack:
        crowd = [stack.enter_context(server.connect()) for _ in range(1_000)]
        for number, client in enumerate(crowd):
            method, encoding = (("POST", ""), ("PUT", ""), ("POST", "Content-Encoding: gzip\r\n"))[number % 3]
            path = "/notifications" if encoding else "/notifications/nobody"
            head = f"{method} {path} HTTP/1.1\r\nHost: x\r\n{encoding}Content-Length: 100\r\n\r\n{{"
            client.sock.sendall(head.encode())
        assert server.post(raw()).status == 200
        assert {client.response().status for client in crowd} == {422, 405, 415}


# Storing


def test_an_overloaded_store_is_429_with_a_time_to_come_back(server: Running) -> None:
    for server.receipts.fails_with, server.receipts.raises in (
        (StoreOverloaded(5000), None),
        (None, StoreOverloaded(5000)),
    ):
        response = server.post(raw())
        assert (response.status, response.json["error"]) == (429, "overloaded")
        assert response.headers["retry-after"] == "5"


@pytest.mark.parametrize("error", [StoreUnavailable("disk is full at /secret"), StoreBroken("fsync failed")])
def test_what_cannot_be_stored_is_507(server: Running, error: Exception) -> None:
    server.receipts.fails_with = error
    response = server.post(raw())
    assert (response.status, response.json["error"]) == (507, "not_stored")
    assert b"secret" not in response.body


def test_any_unforeseen_failure_is_507_with_nothing_of_it_in_the_answer(server: Running) -> None:
    for server.receipts.fails_with, server.receipts.raises in (
        (ValueError("secret"), None),
        (None, RuntimeError("secret")),
        (asyncio.CancelledError(), None),
        (None, KeyError("secret")),
    ):
        response = server.post(raw())
        assert response.status == 507
        assert b"secret" not in response.body
    server.receipts.raises = None
    assert server.post(raw()).status == 200


def test_oddities_that_cannot_be_kept_are_507(server: Running) -> None:
    server.oddities.raises = RuntimeError("secret")
    response = server.post(b"")
    assert (response.status, response.json["error"]) == (507, "failed")


# Connections


REFUSALS = {
    "400": request(b"[]"),
    "403": request(raw(key="stranger")),
    "405": request(b"x", method="PUT"),
    "415": request(b"x", "/notifications", "Content-Encoding: gzip"),
    "422": request(b"{}"),
    "422-merchant": request(b"{}", "/notifications/nobody"),
}


@pytest.mark.parametrize("refused", REFUSALS.values(), ids=REFUSALS)
def test_a_connection_lives_on_after_a_refusal(server: Running, refused: bytes) -> None:
    with server.connect() as client:
        client.sock.sendall(refused)
        assert client.response().status >= 400
        client.sock.sendall(request(raw()))
        assert client.response().status == 200


def test_requests_in_a_pipeline_are_answered_in_order(server: Running) -> None:
    many = b"".join([*REFUSALS.values(), request(raw()), request(raw())])
    statuses = [response.status for response in server.send(many, responses=len(REFUSALS) + 2)]
    assert statuses == [400, 403, 405, 415, 422, 422, 200, 200]


def test_a_body_that_came_whole_is_stored_though_the_client_has_gone(server: Running) -> None:
    server.receipts.delay_s = 0.1
    with server.connect() as client:
        client.sock.sendall(request(raw()))
    wait_until(lambda: server.receipts.kept)
    wait_until(lambda: ("default", "accepted") in server.metrics.counted)
    assert server.post(raw()).json["status"] == "duplicate"


def test_a_client_that_stops_sending_half_way_leaves_nothing_behind(server: Running) -> None:
    with server.connect() as client:
        client.sock.sendall(request(raw())[:-20])
        client.sock.shutdown(socket.SHUT_WR)
        assert client.is_closed_by_server()
    assert server.receipts.kept == {}
    assert server.post(raw()).status == 200


def test_a_half_closed_connection_has_its_whole_body_stored(server: Running) -> None:
    with server.connect() as client:
        client.sock.sendall(request(raw()))
        client.sock.shutdown(socket.SHUT_WR)
        wait_until(lambda: server.receipts.kept)


def test_an_answer_quotes_neither_keys_nor_what_was_sent(server: Running) -> None:
    marker = "MARKER" * 50
    for body, path in [
        (raw(order_id=marker[:200], key="stranger"), "/notifications"),
        (json.dumps({marker: marker}).encode(), "/notifications"),
        (marker.encode(), f"/notifications/{marker}"),
    ]:
        response = server.post(body, path)
        assert b"MARKER" not in response.body
        assert KEY.encode() not in response.body


STATUSES = {row.status for row in ANSWERS.values()}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=300))
@example(body=b"\x00")
def test_any_bytes_are_answered_from_the_table(shared: Running, body: bytes) -> None:
    response = shared.post(body)
    assert response.status in STATUSES
    assert response.status in {400, 422}
    assert response.json.keys() == {"error", "detail"}


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    fields=st.dictionaries(st.sampled_from(sorted(notification())), JSON_VALUES, max_size=4),
    names=st.dictionaries(st.text(max_size=8), JSON_VALUES, max_size=2),
)
def test_any_fields_are_answered_from_the_table(shared: Running, fields: Any, names: Any) -> None:
    body = json.dumps({**notification(order_id=str(uuid4())), **names, **fields}).encode()
    assert shared.post(body).status in {200, 400, 403, 422}


def test_the_table_never_says_what_costs_repeats() -> None:
    assert not STATUSES & {404, 500, 503}
    assert not any(300 <= status < 400 for status in STATUSES)

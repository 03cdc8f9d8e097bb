from __future__ import annotations

import os
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, TypeVar

import httpx
import pytest
import respx

from django_midtrans import (
    Answer,
    MidtransAPIError,
    MidtransAuthenticationError,
    MidtransClient,
    MidtransDuplicateOrderError,
    MidtransError,
    MidtransRateLimitError,
    MidtransTransportError,
    MidtransValidationError,
    Timeouts,
    get_client,
)
from django_midtrans.client import reset_client
from django_midtrans.retry import LONGEST_RETRY_AFTER_S, parse_retry_after

T = TypeVar("T")
BASE = "https://api.sandbox.midtrans.com"
STATUS_URL = f"{BASE}/v2/order-1/status"
FOUND = {"status_code": "200", "transaction_status": "settlement"}


class Waits(list[float]):
    """Stands in for ``time.sleep``: notes the wait and comes back at once."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


@pytest.fixture
def midtrans() -> Iterator[respx.Router]:
    with respx.mock(assert_all_called=False) as router:
        yield router


@pytest.fixture
def waits() -> Waits:
    return Waits()


def make_client(waits: Waits | None = None, **options: Any) -> MidtransClient:
    options.setdefault("base_url", BASE)
    return MidtransClient(
        "SB-Mid-server-x", sleep=waits if waits is not None else Waits(), jitter=lambda: 1.0, **options
    )


def failing(call: Callable[[], object]) -> MidtransError:
    with pytest.raises(MidtransError) as caught:
        call()
    return caught.value


def answer_of(router: respx.Router, http_status: int, **content: Any) -> Any:
    """Return what get_status makes of one answer: the dict or the error."""
    router.get(STATUS_URL).respond(http_status, **content)
    try:
        return make_client(retries=0).get_status("order-1")
    except MidtransError as error:
        return error


@contextmanager
def server(*answers: bytes, gap_s: float = 0.0) -> Iterator[tuple[str, list[bytes]]]:
    """Serve each of *answers* to one connection, as raw bytes, then close it; keep what was received."""
    received: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for answer in answers:
                connection, _ = listener.accept()
                with connection:
                    received.append(connection.recv(65536))
                    for part in answer.split(b"<gap>"):
                        connection.sendall(part)
                        time.sleep(gap_s)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", received
        thread.join(5)


def http_ok(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body)


# What an answer means


@pytest.mark.parametrize("http_status", [200, 201, 202])
@pytest.mark.parametrize(
    "code", ["200", "201", "202", "204", "310", "407", 200, 201, 407, None, "odd", [], True]
)
def test_success_is_returned_as_it_came(midtrans: respx.Router, http_status: int, code: Any) -> None:
    body = {"status_code": code, "transaction_status": "deny"}
    assert answer_of(midtrans, http_status, json=body) == body


def test_a_body_without_status_code_is_returned(midtrans: respx.Router) -> None:
    assert answer_of(midtrans, 200, json={"success": True}) == {"success": True}


ERROR_CLASSES = [
    (400, MidtransValidationError),
    (401, MidtransAuthenticationError),
    (402, MidtransAPIError),
    (404, MidtransAPIError),
    (406, MidtransDuplicateOrderError),
    (409, MidtransAPIError),
    (412, MidtransAPIError),
    (429, MidtransRateLimitError),
    (500, MidtransAPIError),
    (503, MidtransAPIError),
]


@pytest.mark.parametrize(("code", "kind"), [*ERROR_CLASSES, (900, MidtransAPIError)])
@pytest.mark.parametrize("written", [str, int, float], ids=["text", "number", "float"])
def test_an_error_in_the_body_raises_although_http_said_200(
    midtrans: respx.Router, code: int, kind: type[MidtransError], written: type
) -> None:
    body = {"status_code": written(code), "status_message": "told why"}
    error = answer_of(midtrans, 200, json=body)
    assert type(error) is kind
    assert (error.status_code, error.http_status, error.data) == (code, 200, body)
    assert "told why" in error.message
    assert "get_status" in error.message


@pytest.mark.parametrize(
    ("http_status", "kind"), [*ERROR_CLASSES, (403, MidtransAPIError), (502, MidtransAPIError)]
)
@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"status_code": "200"}, 200),
        ({"status_code": "404"}, 404),
        ({"error_messages": ["no"]}, None),
        ({}, None),
    ],
)
def test_the_http_status_decides_before_the_body(
    midtrans: respx.Router,
    http_status: int,
    kind: type[MidtransError],
    body: dict[str, Any],
    code: int | None,
) -> None:
    error = answer_of(midtrans, http_status, json=body)
    assert type(error) is kind
    assert (error.http_status, error.status_code, error.data) == (http_status, code, body)


@pytest.mark.parametrize("http_status", [301, 302, 303, 307, 308, 304])
def test_a_redirect_is_never_followed_and_raises(midtrans: respx.Router, http_status: int) -> None:
    elsewhere = midtrans.get("https://elsewhere.example/").respond(json=FOUND)
    error = answer_of(midtrans, http_status, headers={"Location": "https://elsewhere.example/"}, json=FOUND)
    assert type(error) is MidtransAPIError
    assert error.http_status == http_status
    assert not elsewhere.called


def test_expired_is_an_answer_also_when_http_says_it(midtrans: respx.Router) -> None:
    body = {"status_code": "407", "transaction_status": "expire"}
    assert answer_of(midtrans, 407, json=body) == body


def test_a_proxy_that_wants_a_password_is_an_error(midtrans: respx.Router) -> None:
    assert type(answer_of(midtrans, 407, html="<h1>Proxy</h1>")) is MidtransAPIError


UNREADABLE = [
    pytest.param(b"", id="empty"),
    pytest.param(b"<html>Just a moment...</html>", id="html"),
    pytest.param(b'{"status_code": "200", "transa', id="cut"),
    pytest.param(b'["200"]', id="list"),
    pytest.param(b'"200"', id="text"),
    pytest.param(b"null", id="null"),
    pytest.param(b"200", id="number"),
    pytest.param(b'{"a": NaN}', id="nan"),
    pytest.param(b'{"a": Infinity}', id="infinity"),
    pytest.param(b"\xff\xfe{\x00}\x00", id="utf-16"),
    pytest.param(b'{"a": "\xff"}', id="broken-utf-8"),
    pytest.param(b'{"a":' * 200_000, id="deep"),
    pytest.param(b'{"a": ' + b"9" * 5_000 + b"}", id="endless-number"),
    pytest.param(b'{"a": 1} trailing', id="trailing"),
]


@pytest.mark.parametrize("content", UNREADABLE)
def test_an_unreadable_answer_is_a_transport_error(midtrans: respx.Router, content: bytes) -> None:
    error = answer_of(midtrans, 200, content=content)
    assert type(error) is MidtransTransportError
    assert (error.http_status, error.status_code, error.data) == (200, None, {})
    assert len(error.message) < 200


@pytest.mark.parametrize("content", UNREADABLE)
@pytest.mark.parametrize(
    ("http_status", "kind"), [(401, MidtransAuthenticationError), (404, MidtransAPIError)]
)
def test_with_an_unreadable_body_the_http_status_still_tells(
    midtrans: respx.Router, http_status: int, kind: type[MidtransError], content: bytes
) -> None:
    error = answer_of(midtrans, http_status, content=content)
    assert type(error) is kind
    assert (error.http_status, error.data) == (http_status, {})
    assert len(error.message) < 200


def test_no_content_is_success_for_what_changes_something_only(midtrans: respx.Router) -> None:
    midtrans.post(f"{BASE}/v2/pay/account/a/unbind").respond(204)
    assert make_client().unbind_pay_account("a") == {}
    assert type(answer_of(midtrans, 204)) is MidtransTransportError


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"status_message": "one", "validation_messages": ["two", "three"]}, "one; two; three"),
        ({"error_messages": ["one", "two"]}, "one; two"),
        ({"error_messages": "one"}, "one"),
        ({"errors": [{"message_title": "t", "message": "one"}]}, "one"),
        ({"message": "one"}, "one"),
    ],
)
def test_the_message_is_taken_from_each_shape_of_error(
    midtrans: respx.Router, body: dict[str, Any], expected: str
) -> None:
    assert answer_of(midtrans, 400, json=body).message == f"get_status: HTTP 400: {expected}"


@pytest.mark.parametrize(
    "body", [{"status_message": [{}, None, 5]}, {"errors": {"a": 1}}, {"error_messages": 7}]
)
def test_an_odd_shape_of_error_still_raises_its_class(midtrans: respx.Router, body: dict[str, Any]) -> None:
    assert answer_of(midtrans, 400, json=body).message == "get_status: HTTP 400"


def test_a_message_is_one_short_printable_line(midtrans: respx.Router) -> None:
    error = answer_of(midtrans, 400, json={"status_message": "a\nb\x1b[31m\x00" + "long " * 1000})
    assert error.message.isprintable()
    assert len(error.message) < 600


def test_the_bin_api_says_409_for_too_many_calls(midtrans: respx.Router) -> None:
    midtrans.get(f"{BASE}/v1/bins/455633").respond(409, json={"errors": [{"message": "slow down"}]})
    assert type(failing(lambda: make_client(retries=0).get_bin("455633"))) is MidtransRateLimitError


def test_the_bin_api_refuses_a_key_in_plain_text(midtrans: respx.Router) -> None:
    midtrans.get(f"{BASE}/v1/bins/455633").respond(401, text="Unauthorized")
    assert type(failing(lambda: make_client().get_bin("455633"))) is MidtransAuthenticationError


# Failing exchanges


@pytest.mark.parametrize(
    ("raised", "words"),
    [
        (httpx.ConnectTimeout, "timed out while connecting"),
        (httpx.ReadTimeout, "timed out while waiting for the answer"),
        (httpx.WriteTimeout, "timed out while sending"),
        (httpx.PoolTimeout, "free connection"),
        (httpx.ConnectError, "could not connect"),
        (httpx.ReadError, "the connection broke"),
        (httpx.RemoteProtocolError, "before a whole answer came"),
        (httpx.DecodingError, "content encoding"),
        (httpx.UnsupportedProtocol, "UnsupportedProtocol"),
    ],
)
def test_a_failed_exchange_is_a_transport_error_in_our_words(
    midtrans: respx.Router, raised: type[Exception], words: str
) -> None:
    midtrans.post(f"{BASE}/v2/charge").mock(side_effect=raised("text of the library"))
    error = failing(lambda: make_client().charge({}))
    assert type(error) is MidtransTransportError
    assert words in error.message
    assert (error.http_status, error.status_code) == (None, None)
    assert error.__cause__ is None
    assert error.__context__ is None
    assert "text of the library" not in "".join(traceback.format_exception(error))


def test_a_refused_connection_is_a_transport_error(free_port: int) -> None:
    error = failing(lambda: make_client(base_url=f"http://127.0.0.1:{free_port}", retries=0).get_status("o"))
    assert type(error) is MidtransTransportError


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"", id="closed-at-once"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{", id="shorter-than-said"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{", id="chunk-cut"),
        pytest.param(b"nonsense\r\n\r\n", id="not-http"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope", id="not-gzip"
        ),
    ],
)
def test_an_answer_that_breaks_off_is_a_transport_error(answer: bytes) -> None:
    with server(answer) as (url, _):
        assert type(failing(lambda: make_client(base_url=url).cancel("o"))) is MidtransTransportError


def test_a_server_that_does_not_answer_is_given_up(free_port: int) -> None:
    with socket.create_server(("127.0.0.1", free_port)):
        client = make_client(base_url=f"http://127.0.0.1:{free_port}", timeout=0.05, retries=0)
        assert "timed out" in failing(lambda: client.get_status("o")).message


def test_on_the_wire_an_id_stays_encoded_and_the_query_is_sent() -> None:
    with server(http_ok(b"{}"), http_ok(b"{}")) as (url, received):
        client = make_client(base_url=url, client_key="client/key")
        client.get_status("a/b %2F#\N{LATIN SMALL LETTER E WITH ACUTE}")
        client.get_card_token("4811 1111 1111 1114", "01", "2030", "123")
    assert received[0].split(b"\r\n")[0] == b"GET /v2/a%2Fb%20%252F%23%C3%A9/status HTTP/1.1"
    assert received[1].split(b"\r\n")[0] == (
        b"GET /v2/token?client_key=client%2Fkey&card_number=4811%201111%201111%201114"
        b"&card_exp_month=01&card_exp_year=2030&card_cvv=123 HTTP/1.1"
    )


# Trying again


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(httpx.ReadTimeout("slow"), id="timeout"),
        pytest.param(httpx.ConnectError("refused"), id="refused"),
        pytest.param(httpx.Response(500), id="500"),
        pytest.param(httpx.Response(503, html="<h1>busy</h1>"), id="503-html"),
        pytest.param(httpx.Response(429), id="429"),
        pytest.param(httpx.Response(200, json={"status_code": "503"}), id="503-in-the-body"),
        pytest.param(httpx.Response(200, content=b"<html>"), id="unreadable"),
    ],
)
def test_a_reading_call_is_repeated_after_passing_trouble(
    midtrans: respx.Router, waits: Waits, trouble: httpx.Response | Exception
) -> None:
    midtrans.get(STATUS_URL).side_effect = [trouble, trouble, httpx.Response(200, json=FOUND)]
    assert make_client(waits).get_status("order-1") == FOUND
    assert waits == [0.25, 0.5]


@pytest.mark.parametrize("http_status", [400, 401, 404, 409, 302])
def test_what_would_not_change_is_not_asked_again(
    midtrans: respx.Router, waits: Waits, http_status: int
) -> None:
    route = midtrans.get(STATUS_URL).respond(http_status, json={})
    failing(lambda: make_client(waits).get_status("order-1"))
    assert (route.call_count, waits) == (1, [])


@pytest.mark.parametrize("retries", [0, 1, 2, 5])
def test_retries_bounds_the_repeats(midtrans: respx.Router, waits: Waits, retries: int) -> None:
    route = midtrans.get(STATUS_URL).respond(500)
    error = failing(lambda: make_client(waits, retries=retries).get_status("order-1"))
    assert (route.call_count, len(waits), error.http_status) == (retries + 1, retries, 500)


def test_waits_double_up_to_a_limit_and_are_spread(midtrans: respx.Router, waits: Waits) -> None:
    midtrans.get(STATUS_URL).respond(500)
    failing(lambda: make_client(waits, retries=6).get_status("order-1"))
    assert waits == [0.25, 0.5, 1.0, 2.0, 4.0, 4.0]
    spread = Waits()
    client = MidtransClient("k", base_url=BASE, sleep=spread, jitter=lambda: 0.0, retries=1)
    failing(lambda: client.get_status("order-1"))
    assert spread == [0.125]


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("charge", ({},)),
        ("cancel", ("o",)),
        ("expire", ("o",)),
        ("capture", ("t", 1)),
        ("refund", ("o", "k", 1)),
        ("direct_refund", ("o", "k", 1)),
        ("approve", ("o",)),
        ("deny", ("o",)),
        ("create_invoice", ({},)),
        ("void_invoice", ("i",)),
        ("update_subscription", ("s", {})),
        ("get_card_token", ("4811111111111114", 1, 2030, "123")),
        ("register_card", ("4811111111111114", 1, 2030)),
    ],
)
@pytest.mark.parametrize("trouble", [httpx.ReadTimeout("slow"), httpx.Response(503), httpx.Response(429)])
def test_nothing_that_moves_money_or_carries_a_card_is_repeated(
    midtrans: respx.Router, waits: Waits, method: str, arguments: tuple[Any, ...], trouble: Any
) -> None:
    route = midtrans.route().mock(side_effect=[trouble, httpx.Response(200, json=FOUND)])
    client = make_client(waits, client_key="client-key", retries=5)
    failing(lambda: getattr(client, method)(*arguments))
    assert (route.call_count, waits) == (1, [])


@pytest.mark.parametrize("http_status", [429, 503])
def test_retry_after_in_seconds_is_obeyed(midtrans: respx.Router, waits: Waits, http_status: int) -> None:
    busy = httpx.Response(http_status, headers={"Retry-After": "7"})
    midtrans.get(STATUS_URL).side_effect = [busy, httpx.Response(200, json=FOUND)]
    make_client(waits).get_status("order-1")
    assert waits == [7.0]


def test_retry_after_as_a_date_is_obeyed(midtrans: respx.Router, waits: Waits) -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=10), usegmt=True)
    busy = httpx.Response(429, headers={"Retry-After": later})
    midtrans.get(STATUS_URL).side_effect = [busy, httpx.Response(200, json=FOUND)]
    make_client(waits).get_status("order-1")
    assert 8 < waits[0] <= 10


def test_a_long_retry_after_is_left_to_the_caller(midtrans: respx.Router, waits: Waits) -> None:
    route = midtrans.get(STATUS_URL).respond(429, headers={"Retry-After": "60"})
    error = failing(lambda: make_client(waits).get_status("order-1"))
    assert (error.retry_after_s, route.call_count, waits) == (60.0, 1, [])
    assert LONGEST_RETRY_AFTER_S < 60


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("", None),
        ("0", 0.0),
        (" 5 ", 5.0),
        ("-5", None),
        ("soon", None),
        ("\u0665", None),
        ("Sun, 22 Nov 2026 10:00:30 GMT", 30.0),
        ("Sun, 22 Nov 2026 10:00:30 -0000", 30.0),
        ("Sun, 22 Nov 2026 17:00:30 +0700", 30.0),
        ("Sun, 22 Nov 2026 09:00:00 GMT", 0.0),
        ("Sun, 99 Nov 2026 10:00:30 GMT", None),
    ],
)
def test_retry_after_is_read_in_both_forms(value: str | None, expected: float | None) -> None:
    assert parse_retry_after(value, now=datetime(2026, 11, 22, 10, tzinfo=UTC)) == expected


# Limits, pools, threads, forks


def test_timeouts_are_always_on(midtrans: respx.Router) -> None:
    midtrans.get(STATUS_URL).respond(json=FOUND)

    def sent_with(**options: Any) -> dict[str, float]:
        make_client(**options).get_status("order-1")
        timeout: dict[str, float] = midtrans.calls.last.request.extensions["timeout"]
        return timeout

    assert sent_with() == {"connect": 5.0, "read": 15.0, "write": 5.0, "pool": 5.0}
    assert sent_with(timeout=3) == dict.fromkeys(("connect", "read", "write", "pool"), 3)
    assert sent_with(timeout=Timeouts(read_s=1.0))["read"] == 1.0
    with httpx.Client(timeout=None) as unlimited:
        assert sent_with(http_client=unlimited)["read"] == 15.0


@pytest.mark.parametrize("timeout", [0, -1, float("inf"), float("nan"), Timeouts(pool_s=0)])
def test_an_unlimited_timeout_is_refused(timeout: Any) -> None:
    with pytest.raises(ValueError, match="timeout"):
        make_client(timeout=timeout)


def test_impossible_limits_are_refused() -> None:
    with pytest.raises(ValueError, match="retries"):
        make_client(retries=-1)
    with pytest.raises(ValueError, match="max_connections"):
        make_client(max_connections=0)


def test_every_answer_is_shown_before_it_is_judged(midtrans: respx.Router) -> None:
    seen: list[Answer] = []
    bodies = [b"<html>", b'{"status_code":"404"}']
    midtrans.get(STATUS_URL).side_effect = [httpx.Response(200, content=body) for body in bodies]
    failing(lambda: make_client(on_answer=seen.append).get_status("order-1"))
    assert [(answer.endpoint, answer.http_status, answer.content) for answer in seen] == [
        ("get_status", 200, body) for body in bodies
    ]
    assert all(0 < answer.elapsed_s < 5 for answer in seen)
    assert "404" not in repr(seen[1])


def test_what_the_observer_raises_reaches_the_caller(midtrans: respx.Router) -> None:
    midtrans.get(STATUS_URL).respond(json=FOUND)

    def refuse(answer: Answer) -> None:
        raise LookupError(answer.endpoint)

    with pytest.raises(LookupError):
        make_client(on_answer=refuse).get_status("order-1")


def test_an_injected_client_sends_and_stays_open() -> None:
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return (
            httpx.Response(302, headers={"Location": "/"})
            if len(requests) > 1
            else httpx.Response(200, json={})
        )

    with httpx.Client(
        transport=httpx.MockTransport(answer), auth=("someone", "else"), follow_redirects=True
    ) as ours:
        with make_client(http_client=ours) as client:
            assert client.get_status("order-1") == {}
            assert failing(lambda: client.get_status("order-1")).http_status == 302
        assert not ours.is_closed
    assert len(requests) == 2
    assert requests[0].headers["Authorization"].startswith("Basic U0ItTWlk")


def counted_closes(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Return what will hold each pool of httpx that is closed from here on."""
    closed: list[object] = []
    monkeypatch.setattr(httpx.HTTPTransport, "close", lambda pool: closed.append(pool))  # noqa: PLW0108 (bound)
    return closed


def test_a_closed_client_opens_again_for_the_next_call(
    midtrans: respx.Router, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = counted_closes(monkeypatch)
    midtrans.get(STATUS_URL).respond(json=FOUND)
    client = make_client()
    client.close()
    with client:
        first = client._pool.get()
        assert client.get_status("order-1") == FOUND
    assert closed == [first]
    assert client.get_status("order-1") == FOUND
    assert client._pool.get() is not first
    client.close()


def test_a_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []

    def proxy() -> None:
        connection, _ = listener.accept()
        with connection:
            asked.append(connection.recv(65536).partition(b"\r\n")[0])
            connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{listener.getsockname()[1]}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        thread = threading.Thread(target=proxy)
        thread.start()
        with MidtransClient("key", base_url="http://midtrans.invalid", retries=0) as client:
            failing(lambda: client.get_status("order-1"))
        thread.join(5)
    assert asked == [b"GET http://midtrans.invalid/v2/order-1/status HTTP/1.1"]


def test_a_connection_is_used_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                while connection.recv(65536):
                    connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        with make_client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=2) as client:
            for _ in range(5):
                assert client.get_status("o") == {}
        thread.join(5)
        assert not thread.is_alive()


def race(count: int, action: Callable[[], T]) -> list[T]:
    barrier = threading.Barrier(count)

    def one(_: int) -> T:
        barrier.wait(10)
        return action()

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(one, range(count)))


@pytest.fixture
def shared() -> Iterator[None]:
    reset_client()
    yield
    reset_client()


def test_fifty_threads_get_one_shared_client(shared: None, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[MidtransClient] = []
    original = MidtransClient.__init__

    def slow(self: MidtransClient, *arguments: Any, **options: Any) -> None:
        made.append(self)
        time.sleep(0.05)  # long enough for all to arrive
        original(self, *arguments, **options)

    monkeypatch.setattr(MidtransClient, "__init__", slow)
    assert len({id(client) for client in race(50, get_client)}) == 1
    assert len(made) == 1


def test_resetting_makes_the_next_one_read_the_settings_again(
    shared: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = get_client()
    assert get_client() is first
    reset_client()
    assert get_client() is not first


def test_fifty_threads_share_one_pool(midtrans: respx.Router) -> None:
    midtrans.get(STATUS_URL).respond(json=FOUND)
    client = make_client()
    assert len({id(pool) for pool in race(50, client._pool.get)}) == 1
    assert race(20, lambda: client.get_status("order-1")) == [FOUND] * 20
    client.close()


def in_child(action: Callable[[], bool]) -> bool:
    """Run *action* in a forked child, with a watchdog; return whether it came back with True."""
    pid = os.fork()
    if pid == 0:
        threading.Timer(10, lambda: os._exit(3)).start()
        try:
            os._exit(0 if action() else 1)
        except BaseException:  # noqa: BLE001 - whatever it is, the child must not run on as a second pytest
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_after_a_fork_the_child_has_connections_of_its_own(
    shared: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = counted_closes(monkeypatch)
    client = make_client()
    before = client._pool.get()
    assert in_child(lambda: client._pool.get() is not before and not closed)
    assert client._pool.get() is before
    client.close()


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_fork_while_others_hold_the_locks_leaves_no_child_waiting(shared: None) -> None:
    from django_midtrans import client as module

    client = make_client()
    with module._shared.lock, client._pool._lock:
        assert in_child(lambda: len({id(each) for each in race(50, get_client)}) == 1)
        assert in_child(lambda: client._pool.get() is client._pool.get())


def test_representation_shows_where_it_calls_and_no_key() -> None:
    client = make_client(client_key="client-secret")
    assert repr(client) == f"<MidtransClient of {BASE}>"

"""No key, card number or CVV shows in any log at DEBUG, error, chained exception or traceback."""

from __future__ import annotations

import asyncio
import base64
import logging
import re
import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from django_midtrans import AsyncMidtransClient, MidtransClient, MidtransError
from django_midtrans.redaction import MASK, hide_secrets_in_logs, in_flight, masked, safe_text

SERVER_KEY = "SB-Mid-server-GwUP_WGbJPXsDzsNEBRs8IYA"
CLIENT_KEY = "SB-Mid-client-61XuGAwQ/8Bj8LxSS"
PAN = "4811111111111114"
SPACED_PAN = "4811 1111 1111 1114"
CVV = "739"
BASIC = base64.b64encode(f"{SERVER_KEY}:".encode()).decode()
FORBIDDEN = [SERVER_KEY, BASIC, CLIENT_KEY, quote(CLIENT_KEY, safe=""), PAN, SPACED_PAN, quote(SPACED_PAN)]

Call = tuple[str, tuple[Any, ...]]
CALLS: list[Call] = [
    ("get_card_token", (PAN, "01", "2030", CVV)),
    ("get_card_token", (SPACED_PAN, "01", "2030", CVV)),
    ("register_card", (PAN, "01", "2030")),
    ("get_status", ("order-1",)),
    ("charge", ({"order_id": "order-1"},)),
]

# What a hostile or careless server may do with what it was sent: {line} is the request line, {head} all of it
ECHOES = {
    "fine": 'HTTP/1.1 200 OK\r\n\r\n{{"status_code": "200"}}',
    "told-in-the-body": 'HTTP/1.1 200 OK\r\n\r\n{{"status_code": "400", "status_message": "bad {line}"}}',
    "told-in-plain-words": (
        'HTTP/1.1 400 Bad\r\n\r\n{{"validation_messages": ["card ' + SPACED_PAN + ' {cvv}", "{key}"]}}'
    ),
    "redirected-with-the-query": "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1{target}\r\n\r\n",
    "redirected-badly": "HTTP/1.1 302 Found\r\nLocation: http://[{target}\r\n\r\n",
    "repeated-in-a-header": "HTTP/1.1 500 {target}\r\nX-Request: {line}\r\nX-Auth: {auth}\r\n\r\n",
    "repeated-as-a-page": "HTTP/1.1 404 No\r\n\r\n<html>{line}</html>",
    "repeated-instead-of-http": "{line} {auth}\r\n\r\n",
    "nothing": "",
}


def answer_to(request: bytes, echo: str) -> bytes:
    line = request.split(b"\r\n")[0].decode()
    auth = next((part for part in request.decode().split("\r\n") if part.startswith("Authorization")), "")
    cvv = CVV if f"cvv={CVV}" in line else ""
    fields = {
        "cvv": cvv,
        "line": line,
        "target": line.split(" ")[1],
        "auth": auth,
        "key": SERVER_KEY + CLIENT_KEY,
    }
    return echo.format(**fields).encode()


@contextmanager
def echoing_server(echo: str) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(answer_to(connection.recv(65536), echo))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def outcome_of(call: Call, url: str, **options: Any) -> MidtransError | None:
    method, arguments = call
    with MidtransClient(SERVER_KEY, client_key=CLIENT_KEY, base_url=url, retries=0, **options) as client:
        return caught_from(lambda: getattr(client, method)(*arguments))


def async_outcome_of(call: Call, url: str) -> MidtransError | None:
    async def run() -> Any:
        method, arguments = call
        async with AsyncMidtransClient(SERVER_KEY, client_key=CLIENT_KEY, base_url=url, retries=0) as client:
            return await getattr(client, method)(*arguments)

    return caught_from(lambda: asyncio.run(run()))


def caught_from(action: Callable[[], object]) -> MidtransError | None:
    try:
        action()
    except MidtransError as error:
        error.add_note(traceback.format_exc())  # everything that a log of it would show
        return error
    return None


def shown_by(error: BaseException | None) -> str:
    texts = []
    while error is not None:
        texts += [str(error), repr(error), *traceback.format_exception(error)]
        error = error.__cause__ or error.__context__
    return "\n".join(texts)


def shown_in(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join([caplog.text, *[f"{record.getMessage()} {record.args}" for record in caplog.records]])


def refuse_secrets(text: str) -> None:
    for secret in FORBIDDEN:
        assert secret not in text
    assert not re.search(rf"\b{CVV}\b", text)  # not in the middle of a port or an address


@pytest.fixture(autouse=True)
def _everything_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for name in list(logging.root.manager.loggerDict):
        caplog.set_level(logging.DEBUG, logger=name)


@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call[0]}-{len(str(call[1]))}")
@pytest.mark.parametrize("echo", ECHOES.values(), ids=ECHOES)
@pytest.mark.parametrize("run", [outcome_of, async_outcome_of], ids=["sync", "async"])
def test_nothing_shows_a_secret_whatever_the_server_does(
    caplog: pytest.LogCaptureFixture, call: Call, echo: str, run: Callable[[Call, str], MidtransError | None]
) -> None:
    with echoing_server(echo) as url:
        error = run(call, url)
    refuse_secrets(shown_in(caplog))
    refuse_secrets(shown_by(error))
    assert "httpcore.connection" in caplog.text  # the logs were on


def test_the_log_still_tells_which_page_was_asked(caplog: pytest.LogCaptureFixture) -> None:
    with echoing_server(ECHOES["fine"]) as url:
        outcome_of(CALLS[0], url)
    assert f"HTTP Request: GET {url}/v2/token " in caplog.text


@pytest.mark.parametrize("call", CALLS[:3], ids=["token", "spaced", "register"])
def test_a_server_that_is_not_there_makes_no_leak(
    caplog: pytest.LogCaptureFixture, call: Call, free_port: int
) -> None:
    error = outcome_of(call, f"http://127.0.0.1:{free_port}")
    assert error is not None
    refuse_secrets(shown_in(caplog) + shown_by(error))


@pytest.mark.parametrize("raised", [httpx.ReadTimeout, httpx.ProxyError, httpx.InvalidURL])
def test_an_exception_that_quotes_the_request_makes_no_leak(raised: type[Exception]) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise raised(f"while asking {request.url.raw_path.decode()}")

    with httpx.Client(transport=httpx.MockTransport(fail)) as ours:
        error = outcome_of(CALLS[0], "https://api.example", http_client=ours)
    assert error is not None
    refuse_secrets(shown_by(error))


def test_a_hook_that_prints_the_request_shows_no_query_and_the_query_is_sent() -> None:
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.raw_path.decode())
        return httpx.Response(200, json={})

    def show(request: httpx.Request) -> None:
        refuse_secrets(f"{request!r} {request.url} {request.url!r}")

    with httpx.Client(transport=httpx.MockTransport(answer), event_hooks={"request": [show]}) as ours:
        assert outcome_of(CALLS[0], "https://api.example", http_client=ours) is None
    assert PAN in seen[0]


@pytest.mark.parametrize("fields", [("\ud800" + PAN, "01", "2030", CVV), (PAN, "01", "2030", "\udfff" + CVV)])
def test_a_card_that_cannot_be_encoded_is_refused_without_showing_it(fields: tuple[str, ...]) -> None:
    error = outcome_of(("get_card_token", fields), "https://api.example")
    assert error is not None
    refuse_secrets(shown_by(error))


def test_representations_show_no_key() -> None:
    for kind in (MidtransClient, AsyncMidtransClient):
        client = kind(SERVER_KEY, client_key=CLIENT_KEY, base_url="https://api.example")
        refuse_secrets(f"{client} {client!r}")


def test_the_filter_masks_what_a_library_logs_during_a_call_and_nothing_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hide_secrets_in_logs()
    hide_secrets_in_logs()
    logger = logging.getLogger("httpcore.http11")
    token = in_flight.set((SERVER_KEY, CVV))
    logger.debug("sent %s with %s and 17390", SERVER_KEY, CVV)
    in_flight.reset(token)
    logger.debug("later %s", CVV)
    assert [record.getMessage() for record in caplog.records] == [
        f"sent {MASK} with {MASK} and 17390",
        f"later {CVV}",
    ]
    assert len({id(each) for each in logger.filters}) == len(logger.filters)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"card {PAN} refused", f"card {MASK} refused"),
        (f"card {SPACED_PAN}.", f"card {MASK}."),
        ("card 5211-1111-1111-1117", f"card {MASK}"),
        ("order 1554317097123 exists", "order 1554317097123 exists"),
        ("order 4811111111111115 exists", "order 4811111111111115 exists"),
        ("masked 481111-1114", "masked 481111-1114"),
    ],
)
def test_a_card_number_in_a_message_is_masked_and_other_numbers_are_not(text: str, expected: str) -> None:
    assert safe_text(text, ()) == expected


def test_a_secret_is_masked_before_the_text_is_cut() -> None:
    text = safe_text("x" * 490 + SERVER_KEY, (SERVER_KEY,))
    assert SERVER_KEY[:8] not in text


def test_a_percent_encoded_secret_is_masked_too() -> None:
    assert masked(f"?k={quote(CLIENT_KEY, safe='')}", (CLIENT_KEY,)) == f"?k={MASK}"


def test_a_proxy_is_told_the_host_and_nothing_of_the_card(caplog: pytest.LogCaptureFixture) -> None:
    received: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def refuse() -> None:
            connection, _ = listener.accept()
            with connection:
                received.append(connection.recv(65536))
                connection.sendall(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")

        thread = threading.Thread(target=refuse, daemon=True)
        thread.start()
        with httpx.Client(proxy=f"http://127.0.0.1:{listener.getsockname()[1]}") as ours:
            error = outcome_of(CALLS[0], "https://api.example", http_client=ours)
        thread.join(5)
    assert received[0].startswith(b"CONNECT api.example:443 ")
    refuse_secrets(received[0].decode() + shown_by(error) + shown_in(caplog))

"""What strangers send before a request is complete, through a real socket."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import uvicorn

from service.api.connection import LONGEST_HEAD, Connection


class Hasty(Connection):
    head_timeout_s = 0.3


async def app(scope: Any, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=0,
        http=Hasty,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    deadline = time.monotonic() + 5
    while not server.started:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join()


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=3) as sock:
        yield sock


def read_all(sock: socket.socket) -> bytes:
    """Read until the server closes; a timeout fails the test."""
    text = b""
    while piece := sock.recv(65_536):
        text += piece
    return text


def assert_is_cut_off(sock: socket.socket, piece: bytes) -> None:
    """Send far more than may come; the connection must break on the way, or right after what the kernel held."""
    try:
        for _ in range(20 * LONGEST_HEAD // len(piece)):
            sock.sendall(piece)
        answer = read_all(sock)
    except (ConnectionResetError, BrokenPipeError):
        return
    assert b"too large" in answer


HEAD = b"POST /notifications HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize("begun", [b"", b"POST /noti", HEAD + b"X: a"], ids=["silent", "line", "header"])
def test_a_head_that_does_not_come_is_given_up(port: int, begun: bytes) -> None:
    with connected(port) as sock:
        sock.sendall(begun)
        assert read_all(sock) == b""


def test_a_second_head_that_does_not_come_is_given_up(port: int) -> None:
    with connected(port) as sock:
        sock.sendall(HEAD + b"Content-Length: 0\r\n\r\n")
        assert sock.recv(65_536).endswith(b"ok")
        sock.sendall(HEAD)
        assert read_all(sock) == b""


@pytest.mark.parametrize(
    ("begin", "piece"),
    [(b"POST /", b"a" * 1000), (HEAD + b"X: ", b"a" * 1000), (HEAD, b"X: %s\r\n" % (b"a" * 995))],
    ids=["line", "one-header", "many-headers"],
)
def test_a_head_without_end_fills_no_memory(port: int, begin: bytes, piece: bytes) -> None:
    with connected(port) as sock:
        sock.sendall(begin)
        assert_is_cut_off(sock, piece)


def test_trailers_without_end_fill_no_memory(port: int) -> None:
    with connected(port) as sock:
        sock.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n")
        assert_is_cut_off(sock, b"X: %s\r\n" % (b"a" * 995))


@pytest.mark.slow
def test_a_waiting_connection_and_a_slow_body_outlive_the_heads_time(port: int) -> None:
    with connected(port) as sock:
        for _ in range(2):
            sock.sendall(HEAD + b"Content-Length: 4\r\n\r\nab")
            time.sleep(0.4)
            sock.sendall(b"cd")
            assert sock.recv(65_536).endswith(b"ok")
            time.sleep(0.4)


def test_a_large_body_behind_the_head_is_not_counted_as_head(port: int) -> None:
    body = b"a" * (3 * LONGEST_HEAD)
    with connected(port) as sock:
        sock.sendall((HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body) * 2)
        text = b""
        while text.count(b"ok") < 2:
            text += sock.recv(65_536)

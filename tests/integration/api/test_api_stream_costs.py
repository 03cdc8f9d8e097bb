"""What streams may cost over a real socket: places, threads, looks at the database, readers that do not read."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack, closing, contextmanager, suppress
from typing import Any

import pytest
from support.api import Api
from support.sse import came, refused, stream

from service.domain.limits import StreamLimits
from service.domain.records import Role
from service.errors import StoreUnavailable

PATH = "/v1/events/stream"


@contextmanager
def lazy_reader(api: Api, url: str) -> Iterator[socket.socket]:
    """Ask for the whole log, and read nothing of it."""
    host, port = url.removeprefix("http://").split(":")
    with closing(socket.socket()) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect((host, int(port)))
        connection.sendall(
            f"GET {PATH}?after=beginning HTTP/1.1\r\nHost: x\r\n"
            f"Authorization: {api.auth(Role.OPERATOR)['Authorization']}\r\n\r\n".encode()
        )
        yield connection


def open_streams(api: Api) -> int:
    return len(api.app.state.streams._open)


@pytest.mark.parametrize("limits", [StreamLimits(most=2)])
async def test_more_streams_than_may_be_are_429_and_a_place_is_free_when_a_client_goes(
    api: Api, served: str, limits: StreamLimits
) -> None:
    mine = api.auth(Role.OPERATOR)
    async with stream(served, mine):
        async with stream(served, mine):
            answer = await refused(served + PATH, mine)
            assert (answer.status_code, answer.headers["retry-after"]) == (429, "5")
            assert answer.json()["type"] == "urn:midtrans-service:problem:streams-full"
        assert await came(lambda: open_streams(api) == 1)
        async with stream(served, mine):
            pass


async def test_idle_streams_hold_no_thread_and_share_one_look_at_the_database(
    api: Api, served: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []
    async with AsyncExitStack() as stack:
        sources = [
            await stack.enter_async_context(
                stream(served, api.auth(Role.OPERATOR), types=f"midtrans.none.t{number % 3}")
            )
            for number in range(30)
        ]
        threads = threading.active_count()
        read = api.store.read

        def counted(query: Any) -> Any:
            reads.append(1)
            return read(query)

        await asyncio.sleep(0.2)
        monkeypatch.setattr(api.store, "read", counted)
        for number in range(10):
            await api.log(f"p{number}")
            await asyncio.sleep(0.05)
        assert not any(source.messages for source in sources)
        assert threading.active_count() <= threads + 1  # the thread of `append`
    assert len(reads) <= 12


@pytest.mark.parametrize("limits", [StreamLimits(stalled_s=1.0)])
async def test_a_reader_that_does_not_read_is_cut_off_and_goes_on_where_it_was(
    api: Api, served: str, limits: StreamLimits
) -> None:
    await api.log(*(f"{number}-" + "x" * 25_000 for number in range(200)))  # 15 MB
    positions = [position for position, _, _ in await api.logged()]
    with lazy_reader(api, served) as lazy:
        async with stream(served, api.auth(Role.OPERATOR)) as other:  # goes on meanwhile
            await api.log("small")
            await other.count(1)
        assert await came(lambda: open_streams(api) == 0)
        text = await asyncio.to_thread(_what_came, lazy)
    assert api.app.state.context.metrics.streams_stalled._value.get() == 1
    assert len(text) < 8_000_000  # what the sockets hold, not the log
    read = [line[4:] for line in text.split("\n") if line.startswith("id: ")][1:-1]  # the last one may be cut
    assert read == positions[: len(read)]
    last = read[-1] if read else "beginning"
    async with stream(served, api.auth(Role.OPERATOR), after=last) as again:
        await again.count(len(positions) + 1 - len(read))
        assert [one.id for one in again.messages[:-1]] == positions[len(read) :]


def _what_came(connection: socket.socket) -> str:
    pieces = []
    connection.settimeout(5)
    with suppress(ConnectionResetError):
        while piece := connection.recv(65_536):
            pieces.append(piece)
    return b"".join(pieces).decode("utf-8", "replace")


async def test_draining_ends_streams_in_order_also_one_that_is_not_read(api: Api, served: str) -> None:
    await api.log(*("x" * 25_000 for _ in range(200)))
    with lazy_reader(api, served):
        async with stream(served, api.auth(Role.OPERATOR)) as source:
            assert await came(lambda: open_streams(api) == 2)
            api.app.state.bell.close_soon()
            api.app.state.bell._loop.call_soon_threadsafe(api.app.state.streams.close)
            await source.until(lambda: source.ended)
            assert not source.failed  # the body came to its end
        assert await came(lambda: open_streams(api) == 0, within_s=3)


async def test_streams_outlast_a_log_that_cannot_be_read_for_a_while(
    api: Api, served: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.api.newest.AFTER_TROUBLE_S", 0.05)
    monkeypatch.setattr("service.api.newest.LOOK_AGAIN_S", 0.05)
    async with stream(served, api.auth(Role.OPERATOR)) as source:
        assert await came(lambda: api.app.state.streams.newest._since is not None)
        await asyncio.sleep(0.2)  # it waits for the next event now, and reads nothing by itself
        read = api.store.read

        def fail(_query: Any) -> Any:
            raise StoreUnavailable("the disk is away")

        monkeypatch.setattr(api.store, "read", fail)
        await api.log("a")
        await asyncio.sleep(0.2)
        assert not source.messages
        monkeypatch.setattr(api.store, "read", read)
        await source.count(1)
        assert not source.ended

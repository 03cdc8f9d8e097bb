"""The load counts what came back, whole answers only."""

import asyncio
import itertools
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from benchmarks.load import Load, length_of, measure, percentile

TURNS_S = 0.03


@asynccontextmanager
async def answering(status: int = 200) -> AsyncIterator[int]:
    """Answer every request, in pieces, on the port; the block closes its load."""
    clients: set[asyncio.StreamWriter] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        clients.add(writer)
        whole = f"HTTP/1.1 {status} X\r\nContent-Length: 4\r\n\r\nbody".encode()
        with suppress(ConnectionError):  # the load goes with answers on their way
            while await reader.read(100):
                for piece in (whole[:9], whole[9:-2], whole[-2:]):
                    writer.write(piece)
                    await asyncio.sleep(0)
            writer.close()
            await writer.wait_closed()
        writer.close()
        clients.discard(writer)

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
        async with asyncio.timeout(5):
            while clients:  # noqa: ASYNC110 (nobody tells)
                await asyncio.sleep(0.001)


@pytest.mark.parametrize(
    ("buffer", "length"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n", 0),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nX: y\r\n\r\n", 47),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\nabc", 51),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 27),
    ],
)
def test_the_length_of_an_answer_is_known_once_its_head_is_whole(buffer: bytes, length: int) -> None:
    assert length_of(buffer) == length


def test_percentiles_are_values_that_occurred() -> None:
    assert percentile([3.0, 1.0, 2.0, 4.0], 0.5) == 3.0
    assert percentile([1.0], 0.99) == 1.0
    assert math.isnan(percentile([], 0.5))


@pytest.mark.parametrize(("status", "not_200"), [(200, 0), (507, 10)])
async def test_every_answer_is_counted_though_it_comes_in_pieces(status: int, not_200: int) -> None:
    async with answering(status) as port:
        load = Load(port, itertools.repeat(b"GET", 10))
        await load.open(2)
        await load.over.wait()
        await asyncio.sleep(TURNS_S)
        load.close()
    assert (load.seen.answered, load.seen.not_200) == (10, not_200)


async def test_what_may_not_be_sent_yet_waits_for_the_pump() -> None:
    allowed = 0
    async with answering() as port:
        load = Load(port, itertools.repeat(b"GET"), may_send=lambda: load.sent < allowed)
        await load.open(3)
        await asyncio.sleep(TURNS_S)
        before = load.sent
        allowed = 2
        load.pump()
        await asyncio.sleep(TURNS_S)
        load.close()
    assert (before, load.sent) == (0, 2)


async def test_cpu_and_time_are_of_the_measured_seconds_alone() -> None:
    cpu = iter([5.0, 5.5])
    async with answering() as port:
        load = Load(port, itertools.repeat(b"GET"))
        seen = await measure(
            load, connections=1, warm_s=TURNS_S, seconds=2 * TURNS_S, cpu_s=lambda: next(cpu)
        )
    assert seen.cpu_s == 0.5
    assert 2 * TURNS_S <= seen.seconds < 1.0
    assert seen.answered < load.sent
    assert seen.rate == pytest.approx(seen.answered / seen.seconds)

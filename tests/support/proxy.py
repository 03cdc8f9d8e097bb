"""A TCP proxy in front of a broker, that cuts, stalls, slows and refuses as a test tells it to."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any


class Proxy:
    """Forwards 127.0.0.1:*port* to *upstream*. *rewrite* may change what the broker answers, to the same length."""

    def __init__(
        self, upstream: int, *, rewrite: Callable[[bytes, int], bytes] = lambda data, _: data
    ) -> None:
        self.upstream = upstream
        self.port = 0
        self.sent = 0  # bytes to the broker
        self._rewrite = rewrite
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._flows = asyncio.Event()
        self._cut_at: int | None = None
        self._rate: float | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._loop.call_soon_threadsafe(self._flows.set)
        self.up()

    def up(self) -> None:
        """Take connections, on the same port as before."""
        self._call(self._listen()).result(5)

    def down(self) -> None:
        """Refuse connections, and cut those there are."""
        self._call(self._unlisten()).result(5)

    def cut(self) -> None:
        """Reset every connection there is."""
        self._loop.call_soon_threadsafe(self._cut)

    def cut_after(self, count: int) -> None:
        """Reset every connection once *count* more bytes went to the broker."""
        self._cut_at = self.sent + count

    def stall(self) -> None:
        """Keep connections and pass nothing on, either way."""
        self._loop.call_soon_threadsafe(self._flows.clear)

    def go_on(self) -> None:
        self._loop.call_soon_threadsafe(self._flows.set)

    def slow(self, bytes_per_s: float | None) -> None:
        """Pass on so much a second to the broker."""
        self._rate = bytes_per_s

    def close(self) -> None:
        self.down()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def _call(self, work: Any) -> "Future[None]":
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def _unlisten(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        self._cut()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _cut(self) -> None:
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            back, forth = await asyncio.open_connection("127.0.0.1", self.upstream)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, forth}
        self._writers |= both
        ways = [
            asyncio.ensure_future(self._send(reader, forth)),
            asyncio.ensure_future(self._answer(back, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            return  # the proxy goes down
        finally:
            for way in ways:
                way.cancel()
            for one in both:
                one.transport.abort()
            self._writers -= both

    async def _send(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(4096):
                await self._flows.wait()
                if self._rate is not None:
                    await asyncio.sleep(len(data) / self._rate)
                if self._cut_at is not None and self.sent + len(data) >= self._cut_at:
                    data = data[: self._cut_at - self.sent]
                    writer.write(data)
                    await writer.drain()
                    await asyncio.sleep(0.05)  # what came through is worked on
                    self._cut_at = None
                    self._cut()
                    return
                self.sent += len(data)
                writer.write(data)
                await writer.drain()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                await self._flows.wait()
                writer.write(self._rewrite(data, self.port))
                await writer.drain()

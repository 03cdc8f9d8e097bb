"""An endpoint that events are pushed to, on a real socket, and that fails as it is told to."""

import asyncio
import contextlib
import json
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from support.services import wanted


@dataclass(frozen=True)
class Got:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int
    at_s: float = field(default_factory=time.monotonic)

    @property
    def event(self) -> Any:
        return json.loads(self.body)

    @property
    def payment(self) -> str:
        found: str = self.event["data"]["p"]
        return found

    @property
    def number(self) -> int:
        found: int = self.event["data"]["n"]
        return found


Behaviour = Callable[[Got, asyncio.StreamWriter], Awaitable[None]]


def reply(status: int = 200, body: bytes = b"", **headers: str) -> Behaviour:
    """Answer at once."""
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    head = f"HTTP/1.1 {status} Whatever\r\ncontent-length: {len(body)}\r\n{lines}\r\n"

    async def behave(_got: Got, writer: asyncio.StreamWriter) -> None:
        writer.write(head.encode() + body)

    return behave


def after(seconds: float, then: Behaviour) -> Behaviour:
    """Take a while first."""

    async def behave(got: Got, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(seconds)
        await then(got, writer)

    return behave


async def hang(_got: Got, _writer: asyncio.StreamWriter) -> None:
    """Never answer."""
    await asyncio.sleep(3600)


async def reset(_got: Got, writer: asyncio.StreamWriter) -> None:
    """Cut the connection off with a reset."""
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def hang_up(_got: Got, writer: asyncio.StreamWriter) -> None:
    """Close without a word."""
    writer.close()


async def babble(_got: Got, writer: asyncio.StreamWriter) -> None:
    """Answer what is no HTTP."""
    writer.write(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
    writer.close()


def endless(status: int = 200, *, headers: bool = False) -> Behaviour:
    """Answer, and never come to the end of the body (or of the headers)."""

    async def behave(_got: Got, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {status} Whatever\r\n".encode() + (b"" if headers else b"\r\n"))
        piece = b"x-more: " + b"a" * 100 + b"\r\n" if headers else b"a" * 10_000
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.001)

    return behave


class Receiver:
    """Listens on *host*; *behave* decides what each request gets. Requests are kept in *got*, in their order."""

    def __init__(self, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self.got: list[Got] = []
        self.behave: Callable[[Got], Behaviour] = lambda got: reply()
        self.most_at_once = 0
        self.connections = 0
        self.name = "127.0.0.1"
        self._at_once = 0
        self._writers: list[asyncio.StreamWriter] = []
        self._tls = tls
        self._host = host
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.port = 0

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self.name}:{self.port}/events"

    def wait_for(self, count: int, *, within_s: float = 10) -> list[Got]:
        """Return the requests once there are *count*."""
        deadline_s = time.monotonic() + within_s
        while len(self.got) < count:
            assert time.monotonic() < deadline_s, f"{len(self.got)} of {count} requests came"
            time.sleep(0.005)
        return list(self.got)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._main())
        self._loop.close()

    async def _main(self) -> None:
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._serve, self._host, self.port, ssl=self._tls)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0.01)  # transports that were closed take a turn of the loop to be so

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        self._writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while not writer.is_closing():
                got = await _read(reader, number)
                self.got.append(got)
                self._at_once += 1
                self.most_at_once = max(self.most_at_once, self._at_once)
                try:
                    await self.behave(got)(got, writer)
                    await writer.drain()
                finally:
                    self._at_once -= 1
        with contextlib.suppress(Exception):
            writer.close()


async def _read(reader: asyncio.StreamReader, connection: int) -> Got:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    request, *lines = head.rstrip("\r\n").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    method, path, _ = request.split(" ")
    return Got(method, path, headers, body, connection)


@dataclass(frozen=True)
class Authority:
    """A certificate authority of the test's own, and a server's certificate for *names*."""

    ca_file: Path
    server: ssl.SSLContext


@contextmanager
def make_authority(folder: Path, *, names: str) -> Iterator[Authority]:
    """Make an authority and a certificate with openssl; *names* as in ``DNS:receiver,IP:127.0.0.1``."""
    try:
        subprocess.run(["openssl", "version"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        wanted("openssl is not here: no certificate can be made")
    folder.mkdir(exist_ok=True)
    new = ("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    usage = ("-addext", "keyUsage=critical,keyCertSign,cRLSign")  # Python 3.13 and newer insist
    authority = ("-x509", "-days", "2", "-subj", "/CN=tests", *usage, "-keyout", "ca.key", "-out", "ca.pem")
    _run(*new, *authority, cwd=folder)
    _run(*new, "-subj", "/CN=server", "-keyout", "server.key", "-out", "server.csr", cwd=folder)
    (folder / "names").write_text(f"subjectAltName={names}\n", encoding="ascii")
    sign = ("openssl", "x509", "-req", "-days", "2", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial")
    _run(*sign, "-in", "server.csr", "-extfile", "names", "-out", "server.pem", cwd=folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    yield Authority(folder / "ca.pem", context)


def _run(*command: str, cwd: Path) -> None:
    done = subprocess.run(command, cwd=cwd, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

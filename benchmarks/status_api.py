"""A Midtrans that only answers get_status, of any payment of `bodies`, as cheaply as Python can.

Run as ``python -m benchmarks.status_api PORT DELAY_S``.
"""

import asyncio
import sys
from typing import cast

import uvloop

from benchmarks import bodies

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
_OTHER = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
_BEGIN, _END = b"GET /v2/", b"/status"


def answer_to(request: bytes) -> bytes:
    """Return the answer to the head of a request."""
    end = request.find(_END)
    if not request.startswith(_BEGIN) or end < 0:
        return _OTHER
    some_id = request[len(_BEGIN) : end].decode()
    body = bodies.status(bodies.number_of(some_id))
    return _HEAD % len(body) + body


class Connection(asyncio.Protocol):
    """One client, which sends a request when it has the last answer."""

    def __init__(self, delay_s: float) -> None:
        self._delay_s = delay_s
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer once the head is whole; a GET has no body."""
        self._buffer += data
        if not self._buffer.endswith(b"\r\n\r\n"):
            return
        request, self._buffer = self._buffer, b""
        if self._delay_s:
            self._loop.call_later(self._delay_s, self._answer, request)
        else:
            self._answer(request)

    def _answer(self, request: bytes) -> None:
        self._transport.write(answer_to(request))


async def serve(port: int, delay_s: float) -> None:
    """Answer until the process is ended."""
    server = await asyncio.get_running_loop().create_server(lambda: Connection(delay_s), "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), float(sys.argv[2])))

"""What was posted, read from ASGI within bounds: the head at once, the body up to a size and a time."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from enum import Enum
from typing import Any, Final, NamedTuple

from django_midtrans.values import storable

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LINGER_S: Final = 2.0
"""How long what a refused client still sends is read and thrown away.

Closing at once would make its system drop the answer before it was read (TCP resets on unread
bytes).
"""

_LONGEST_HEADER: Final = 1024
_LONGEST_PATH: Final = 512
_PLAIN: Final = frozenset({b"", b"identity"})
# What a verifier or an operator may need later, by the name it has on the wire.
_KEPT_HEADERS: Final[Mapping[bytes, str]] = {
    name.encode(): name
    for name in (
        "content-type",
        "user-agent",
        "x-forwarded-for",
        "x-signature",
        "x-timestamp",
        "iris-signature",
        "x-partner-id",
        "x-external-id",
        "channel-id",
    )
}


class Head(NamedTuple):
    """What the headers say, as far as anyone here needs it; *length* is 0 where none is given."""

    encoded: bool
    length: int
    has_body: bool
    kept: Mapping[str, str]


class End(Enum):
    """How reading a body ended."""

    WHOLE = "whole"
    TOO_LARGE = "too large"
    TOO_SLOW = "too slow"
    CUT = "shorter than it said"
    UNREAD = "not looked at"
    GONE = "the client went away"


class Body(NamedTuple):
    """What was read of a body; *more* says that the client may still be sending."""

    raw: bytes
    size: int
    end: End
    more: bool


def read_head(scope: Scope) -> Head:
    """Read the headers in one pass; values are cut at 1 KiB."""
    kept: dict[str, str] = {}
    encoded, length, chunked = False, 0, False
    for name, value in scope["headers"]:
        if name in _KEPT_HEADERS:
            kept[_KEPT_HEADERS[name]] = storable(value[:_LONGEST_HEADER].decode("latin-1"))
        elif name == b"content-length":
            length = int(value) if value.isdigit() else 0
        elif name == b"transfer-encoding":
            chunked = True
        elif name == b"content-encoding":
            encoded = encoded or value.strip().lower() not in _PLAIN
    return Head(encoded, length, chunked or length > 0, kept)


def path_as_sent(scope: Scope) -> str:
    """Return the path as it came, percent-encoded and cut: fit to be stored and shown."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode("utf-8", "replace")
    return storable(raw[:_LONGEST_PATH].decode("latin-1"))


class BodyReader:
    """Reads bodies of at most *max_bytes*, each in *timeout_s*, at most *most_at_once* of them together."""

    def __init__(self, *, max_bytes: int, timeout_s: float, most_at_once: int) -> None:
        self.max_bytes = max_bytes
        self.timeout_s = timeout_s
        self._most_at_once = most_at_once
        self._reading = 0

    @property
    def is_full(self) -> bool:
        """Whether another body would be one too many in memory."""
        return self._reading >= self._most_at_once

    async def read(self, head: Head, receive: Receive) -> Body:
        """Read one body, counting bytes as they come; one that says it is too large is not even begun."""
        if head.length > self.max_bytes:
            return Body(b"", head.length, End.TOO_LARGE, more=True)
        if self.is_full:
            return Body(b"", head.length, End.UNREAD, more=head.has_body)
        self._reading += 1
        try:
            body = await self._read(receive)
        finally:
            self._reading -= 1
        if (
            body.end is End.WHOLE and body.size < head.length
        ):  # a server that knows no upgrades drops the body
            return body._replace(end=End.CUT, more=True)
        return body

    async def _read(self, receive: Receive) -> Body:
        chunks: list[bytes] = []
        size = 0
        try:
            async with asyncio.timeout(self.timeout_s):
                while True:
                    message = await receive()
                    if message["type"] != "http.request":
                        return Body(b"".join(chunks), size, End.GONE, more=False)
                    chunk, more = message.get("body", b""), message.get("more_body", False)
                    chunks.append(chunk)
                    size += len(chunk)
                    if size > self.max_bytes:
                        return Body(b"".join(chunks), size, End.TOO_LARGE, more)
                    if not more:
                        return Body(b"".join(chunks), size, End.WHOLE, more=False)
        except TimeoutError:
            return Body(b"".join(chunks), size, End.TOO_SLOW, more=True)


async def drain(receive: Receive) -> None:
    """Throw away what still comes, until its end, the client's, or 2 s."""
    try:
        async with asyncio.timeout(LINGER_S):
            while (await receive()).get("more_body", False):
                pass
    except TimeoutError:
        return


NO_BODY: Final = Body(b"", 0, End.WHOLE, more=False)

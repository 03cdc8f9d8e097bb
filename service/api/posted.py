"""What was posted, read from ASGI within bounds: the head at once, the body up to a size and a time."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from enum import Enum
from ipaddress import IPv6Address, ip_address
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
    """Reads bodies of at most *max_bytes*, each in *timeout_s*, at most *most_at_once* of them together.

    One public address (an IPv6 network of 64 bits) gets a quarter of the places at most, so that a single
    stranger who sends slowly leaves room for Midtrans, which comes from many. Other addresses have no share of
    their own: behind a proxy or a tunnel that does not tell who calls, all callers look like one.
    """

    def __init__(self, *, max_bytes: int, timeout_s: float, most_at_once: int) -> None:
        self.max_bytes = max_bytes
        self.timeout_s = timeout_s
        self._most_at_once = most_at_once
        self._most_of_one = max(1, most_at_once // 4)
        self._reading = 0
        self._reading_of: dict[str, int] = {}

    async def read(self, head: Head, receive: Receive, source: str) -> Body:
        """Read one body from address *source*, counting bytes; one that says it is too large is not even begun."""
        if head.length > self.max_bytes:
            return Body(b"", head.length, End.TOO_LARGE, more=True)
        sender = _network(source)
        if not self._has_room_for(sender):
            return Body(b"", head.length, End.UNREAD, more=head.has_body)
        self._reading += 1
        self._reading_of[sender] = self._reading_of.get(sender, 0) + 1
        try:
            body = await self._read(receive)
        finally:
            self._leave(sender)
        if (
            body.end is End.WHOLE and body.size < head.length
        ):  # a server that knows no upgrades drops the body
            return body._replace(end=End.CUT, more=True)
        return body

    def has_room_for(self, source: str) -> bool:
        """Say whether a body from *source* would have a place now; one that is whole needs it for no time."""
        return not self._reading or self._has_room_for(_network(source))

    def _has_room_for(self, sender: str) -> bool:
        if self._reading >= self._most_at_once:
            return False
        return self._reading_of.get(sender, 0) < self._most_of_one or not _is_public(sender)

    def _leave(self, sender: str) -> None:
        self._reading -= 1
        self._reading_of[sender] -= 1
        if not self._reading_of[sender]:
            del self._reading_of[sender]

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


def _network(source: str) -> str:
    """Return what stands for the sender: an IPv4 address itself, of an IPv6 one the first 64 bits."""
    if ":" not in source:
        return source
    try:
        address = IPv6Address(source)
    except ValueError:
        return source
    return str(address.ipv4_mapped or IPv6Address(int(address) >> 64 << 64))


def _is_public(address: str) -> bool:
    try:
        return ip_address(address).is_global
    except ValueError:  # a socket's path, a test's name
        return False


async def drain(receive: Receive) -> None:
    """Throw away what still comes, until its end, the client's, or 2 s."""
    try:
        async with asyncio.timeout(LINGER_S):
            while (await receive()).get("more_body", False):
                pass
    except TimeoutError:
        return


NO_BODY: Final = Body(b"", 0, End.WHOLE, more=False)

"""The way out: a connection goes to an address that was looked at, whatever the name says the next time it is asked."""

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterable, Sequence
from ipaddress import ip_address
from typing import Any, Final

import httpcore

from service.domain.targets import Address, Network, refusal
from service.errors import NotPushedTo

LOOKUPS: Final = 32
"""How many names are looked up at once. A name that hangs keeps one thread, however many wait for it."""
TRIES: Final = 4
"""How many addresses of one name are tried."""
TRY_S: Final = 3.0
"""How long an address is tried before the next one."""
LAST_S: Final = 60.0
"""How long the last one is tried: the time of the whole request, which ends it earlier, is shorter."""

Resolve = Callable[[str], Awaitable[Sequence[Address]]]
"""Returns the addresses of a name; raises OSError when it has none."""


class SystemResolver:
    """Asks the system, on threads that nobody waits for when the process ends."""

    def __init__(self) -> None:
        self._under_way: dict[str, asyncio.Task[list[Address]]] = {}
        self._room = asyncio.Semaphore(LOOKUPS)

    async def __call__(self, name: str) -> Sequence[Address]:
        """Return the addresses of *name*; callers that ask at the same time share one lookup."""
        lookup = self._under_way.get(name)
        if lookup is None:
            lookup = self._under_way[name] = asyncio.ensure_future(self._look_up(name))
            lookup.add_done_callback(lambda done: self._ended(name, done))
        return await asyncio.shield(lookup)

    async def _look_up(self, name: str) -> list[Address]:
        async with self._room:
            loop = asyncio.get_running_loop()
            answer: asyncio.Future[list[Address]] = loop.create_future()
            threading.Thread(target=_ask, args=(name, loop, answer), name="look-up", daemon=True).start()
            return await answer

    def _ended(self, name: str, done: "asyncio.Task[list[Address]]") -> None:
        self._under_way.pop(name, None)
        if not done.cancelled():
            done.exception()  # those who wait were told


def _ask(name: str, loop: asyncio.AbstractEventLoop, answer: "asyncio.Future[list[Address]]") -> None:
    found: list[Address] = []
    error: OSError | None = None
    try:
        infos = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        found = [ip_address(info[4][0]) for info in infos]
    except (OSError, UnicodeError) as why:
        error = why if isinstance(why, OSError) else OSError("is no name")
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
        loop.call_soon_threadsafe(_tell, answer, found, error)


def _tell(answer: "asyncio.Future[list[Address]]", found: list[Address], error: OSError | None) -> None:
    if answer.done():
        return
    if error is None:
        answer.set_result(list(dict.fromkeys(found)))
    else:
        answer.set_exception(error)


class _Plain(httpcore.AsyncNetworkStream):
    """A connection before TLS, closed also when the handshake is cut short: httpcore forgets it then."""

    def __init__(self, inner: httpcore.AsyncNetworkStream) -> None:
        self._inner = inner

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 (httpcore's)
        return await self._inner.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 (likewise)
        await self._inner.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 (likewise)
    ) -> httpcore.AsyncNetworkStream:
        try:
            return await self._inner.start_tls(ssl_context, server_hostname, timeout)
        except BaseException:
            await self._inner.aclose()
            raise

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class CheckedNetwork(httpcore.AsyncNetworkBackend):
    """Connects to what may be pushed to, and to nothing else.

    A name is resolved here, once for each connection; its addresses are judged, and the connection is made to one of
    those very addresses, so that nothing can change in between. TLS and the Host header keep the name.
    """

    def __init__(self, allow: Iterable[Network], *, plain: bool, resolve: Resolve) -> None:
        self._allow = tuple(allow)
        self._plain = plain
        self._resolve = resolve
        self._inner = httpcore.AnyIOBackend()
        self._left: set[asyncio.Future[Any]] = set()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 (httpcore's)
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to *host*; raise NotPushedTo when none of its addresses may be pushed to."""
        addresses = await self._addresses(host)
        for address in addresses[:-1]:
            with contextlib.suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                return await self._connect(address, port, TRY_S, local_address, socket_options)
        return await self._connect(addresses[-1], port, timeout or LAST_S, local_address, socket_options)

    async def _connect(self, address: Address, *facts: Any) -> httpcore.AsyncNetworkStream:
        """Connect in a task of its own: a caller that is cancelled just then would lose an open connection."""
        connecting = asyncio.ensure_future(self._inner.connect_tcp(str(address), *facts))
        try:
            return _Plain(await asyncio.shield(connecting))
        except asyncio.CancelledError:
            self._left.add(connecting)
            connecting.add_done_callback(self._close)
            raise

    def _close(self, connected: "asyncio.Task[httpcore.AsyncNetworkStream]") -> None:
        """Close a connection that nobody waits for any more."""
        self._left.discard(connected)
        if not connected.cancelled() and connected.exception() is None:
            closing = asyncio.ensure_future(connected.result().aclose())
            self._left.add(closing)
            closing.add_done_callback(self._left.discard)

    async def connect_unix_socket(
        self,
        path: str,  # noqa: ARG002 (httpcore's)
        timeout: float | None = None,  # noqa: ARG002, ASYNC109 (likewise)
        socket_options: Iterable[Any] | None = None,  # noqa: ARG002 (likewise)
    ) -> httpcore.AsyncNetworkStream:
        """Refuse: nothing is pushed to a socket of this machine."""
        raise NotPushedTo("a socket of this machine")

    async def sleep(self, seconds: float) -> None:
        """Sleep."""
        await asyncio.sleep(seconds)

    async def _addresses(self, host: str) -> list[Address]:
        try:
            found: Sequence[Address] = [ip_address(host)]
        except ValueError:
            found = await self._resolve(host)
        why = {address: refusal(address, self._allow, plain=self._plain) for address in found}
        good = [address for address in found if why[address] is None]
        if not good:
            said = ", ".join(f"{address} is not pushed to ({what})" for address, what in why.items())
            raise NotPushedTo(said or "the name has no address")
        return good[:TRIES]

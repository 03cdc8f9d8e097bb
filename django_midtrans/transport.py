"""The one place that knows httpx: requests, connection pools, and what a failed exchange is called.

Everything else speaks of calls, answers and errors of this package, so that another HTTP library is a
change here.
"""

from __future__ import annotations

import base64
import logging
import math
import os
import threading
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol
from urllib.request import getproxies
from weakref import WeakKeyDictionary, WeakSet

import httpx

from django_midtrans._version import __version__
from django_midtrans.endpoints import Call
from django_midtrans.exceptions import MidtransTransportError
from django_midtrans.redaction import hide_secrets_in_logs

KEEP_ALIVE_S = 15.0  # shorter than servers keep an idle connection: reusing one they just closed fails a POST

_LOG = logging.getLogger("httpx")

FAILURES = (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError)
"""What httpx raises when an exchange fails."""


class Timeouts(NamedTuple):
    """Seconds for each step of a call; the read timeout is per piece of the answer, not for the whole."""

    connect_s: float = 5.0
    read_s: float = 15.0
    write_s: float = 5.0
    pool_s: float = 5.0  # waiting for a free connection of ours


def checked_timeouts(timeout: float | Timeouts) -> Timeouts:
    """Return the four limits; one number stands for all. There is no way to wait for ever."""
    timeouts = timeout if isinstance(timeout, Timeouts) else Timeouts(*[timeout] * 4)
    if not all(0 < limit < math.inf for limit in timeouts):
        raise ValueError("a timeout is a number of seconds above 0, or Timeouts of such numbers")
    return timeouts


class _QuietURL(httpx.URL):
    """A URL that sends its query and never shows it: httpx logs ``str(url)``, tracing tools record it."""

    def __str__(self) -> str:
        return str(self.copy_with(query=None))

    def __repr__(self) -> str:
        return f"URL({str(self)!r})"


class RequestMaker:
    """Makes httpx requests for one host and key; what does not change from call to call is made once."""

    def __init__(self, base_url: str, server_key: str | None, timeouts: Timeouts) -> None:
        self._base_url = base_url
        common = {
            "Host": httpx.URL(base_url).netloc.decode(),
            "Accept": "application/json",
            "Accept-Encoding": "gzip, deflate",
            "User-Agent": f"django-midtrans/{__version__}",
        }
        if server_key is not None:
            basic = base64.b64encode(f"{server_key}:".encode()).decode()
            common["Authorization"] = f"Basic {basic}"
            self.secrets: tuple[str, ...] = (server_key, basic)
        else:
            self.secrets = ()
        self._headers = httpx.Headers(common)
        self._json_headers = httpx.Headers({**common, "Content-Type": "application/json"})
        self._extensions: Mapping[str, object] = {
            "timeout": dict(zip(("connect", "read", "write", "pool"), timeouts, strict=True))
        }

    def request(self, call: Call) -> httpx.Request:
        """Return the request for *call*, with timeouts of its own whatever the sending client says."""
        headers = self._headers if call.body is None else self._json_headers
        if call.headers:
            headers = httpx.Headers([*headers.multi_items(), *call.headers])
        url = f"{self._base_url}{call.path}"
        request = httpx.Request(
            call.endpoint.method, url, headers=headers, content=call.body, extensions=self._extensions
        )
        if call.query:
            request.url = _QuietURL(f"{url}?{call.query}")
        return request


def failure(call: Call, error: Exception) -> MidtransTransportError:
    """Name what went wrong in words of our own: httpx's text may quote what was sent or received."""
    for kind, words in _WORDS:
        if isinstance(error, kind):
            return MidtransTransportError(f"{call.endpoint.name}: {words}")
    return MidtransTransportError(f"{call.endpoint.name}: the exchange failed ({type(error).__name__})")


_WORDS: tuple[tuple[type[Exception], str], ...] = (
    (httpx.ConnectTimeout, "timed out while connecting"),
    (httpx.PoolTimeout, "timed out while waiting for a free connection"),
    (httpx.WriteTimeout, "timed out while sending"),
    (httpx.TimeoutException, "timed out while waiting for the answer"),
    (httpx.ConnectError, "could not connect"),
    (httpx.RemoteProtocolError, "the connection ended before a whole answer came"),
    (httpx.NetworkError, "the connection broke"),
    (httpx.DecodingError, "the answer's content encoding is broken"),
)


def _limits(max_connections: int) -> httpx.Limits:
    if max_connections < 1:
        raise ValueError("max_connections is at least 1")
    return httpx.Limits(
        max_connections=max_connections,
        max_keepalive_connections=max_connections,
        keepalive_expiry=KEEP_ALIVE_S,
    )


class _Forgetful(Protocol):
    def forget(self) -> None: ...


class SyncPool:
    """One pool of connections for all threads; a new one after ``close`` and in a forked child.

    It is made at the first use. A *given* client belongs to who gave it: it is neither closed nor made again.
    Without one, and without proxies in the environment, httpx's transport is used by itself: what ``httpx.Client``
    adds to it (cookies, redirects, authentication, hooks) no call here wants, and it costs an eighth of an exchange.
    """

    def __init__(self, given: httpx.Client | None, max_connections: int) -> None:
        self._given = given
        self._limits = _limits(max_connections)
        self.forget()
        _FORGET_IN_CHILD.add(self)
        hide_secrets_in_logs()

    def forget(self) -> None:
        """Drop the connections without closing them: in a forked child they are still the parent's."""
        self._lock = threading.Lock()
        self._client: httpx.Client | httpx.HTTPTransport | None = self._given

    def get(self) -> httpx.Client | httpx.HTTPTransport:
        """Return what holds the connections; any number of threads at once get the same one."""
        pool = self._client
        if pool is not None:
            return pool
        with self._lock:
            if self._client is None:
                limits = self._limits
                # The client alone knows which address goes through which proxy.
                self._client = (
                    httpx.Client(limits=limits) if getproxies() else httpx.HTTPTransport(limits=limits)
                )
            return self._client

    def send(self, request: httpx.Request) -> httpx.Response:
        """Return the answer to *request*, read whole. Raises FAILURES."""
        pool = self.get()
        if isinstance(pool, httpx.Client):
            return pool.send(request, auth=None, follow_redirects=False)
        response = pool.handle_request(request)
        response.request = request
        try:
            response.read()
        except BaseException:
            response.close()
            raise
        _LOG.info(  # as httpx' client does
            'HTTP Request: %s %s "%s %d %s"',
            request.method,
            request.url,
            response.http_version,
            response.status_code,
            response.reason_phrase,
        )
        return response

    def close(self) -> None:
        """Close the connections; a later call opens new ones."""
        with self._lock:
            client, self._client = self._client, self._given
        if client is not None and client is not self._given:
            client.close()


class AsyncPool:
    """One ``httpx.AsyncClient`` per event loop, for connections cannot leave the loop that opened them."""

    def __init__(self, given: httpx.AsyncClient | None, max_connections: int) -> None:
        self._given = given
        self._limits = _limits(max_connections)
        self.forget()
        _FORGET_IN_CHILD.add(self)
        hide_secrets_in_logs()

    def forget(self) -> None:
        """Drop the connections without closing them: in a forked child they are still the parent's."""
        self._lock = threading.Lock()
        self._clients: WeakKeyDictionary[object, httpx.AsyncClient] = WeakKeyDictionary()

    def get(self) -> httpx.AsyncClient:
        """Return the client of the running loop."""
        if self._given is not None:
            return self._given
        loop = _running_loop()
        with self._lock:
            client = self._clients.get(loop)
            if client is None:
                client = self._clients[loop] = httpx.AsyncClient(limits=self._limits)
            return client

    async def close(self) -> None:
        """Close the connections of the running loop; a later call opens new ones."""
        with self._lock:
            client = self._clients.pop(_running_loop(), None)
        if client is not None:
            await client.aclose()


class _NoLoop:
    """Stands for the running loop where it is not asyncio's."""


_NO_LOOP = _NoLoop()


def _running_loop() -> object:
    import asyncio  # noqa: PLC0415 - slow to import, and there already wherever this is called

    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return _NO_LOOP


_FORGET_IN_CHILD: WeakSet[_Forgetful] = WeakSet()


def _after_fork() -> None:
    for pool in list(_FORGET_IN_CHILD):
        pool.forget()


def run_in_forked_child(action: Callable[[], None]) -> None:
    """Have *action* run right after a fork, where there is such a thing."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=action)


run_in_forked_child(_after_fork)

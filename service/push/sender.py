"""One event to one endpoint: a signed POST, and what came of it."""

import asyncio
import contextlib
import json
import re
import ssl
from collections.abc import AsyncIterator, Mapping
from typing import Final

import httpcore
import httpx
import structlog

from django_midtrans import __version__
from service.clock import Clock
from service.domain.push import Answer, PushSettings, Result, judge_status
from service.domain.records import PushSpec
from service.domain.targets import split_url
from service.domain.webhooks import headers, secret_key
from service.errors import NotPushedTo
from service.masking import mask_text
from service.push.network import CheckedNetwork, Resolve

log = structlog.get_logger(__name__)

KEEP_ALIVE_S: Final = 4.0
"""How long a connection is kept for the next event: shorter than the 5 s after which common servers close theirs."""
READ_BYTES: Final = 4096
READ_S: Final = 2.0
"""How much of an answer's body is read, and for how long: the status has said all that counts."""
SHOWN: Final = 200
"""Characters of a refusal's body that are shown to operators."""
_REDIRECT: Final = range(300, 400)
_UNSHOWN: Final = re.compile(r"[^\x21-\x7e\xa1-\U0010ffff]+")


class Sender:
    """Pushes to one endpoint, over connections of its own. *busy* are under way."""

    def __init__(
        self,
        push: PushSpec,
        *,
        settings: PushSettings,
        tls: ssl.SSLContext,
        resolve: Resolve,
        clock: Clock,
    ) -> None:
        target = split_url(push.url)
        self.push = push
        self.host = target.host
        self.busy = 0
        self._clock = clock
        self._keys = [secret_key(secret) for secret in push.secrets]
        self._url = httpcore.URL(
            scheme=target.scheme.encode(),
            host=target.host.encode(),
            port=target.port,
            target=target.path.encode(),
        )
        shown = f"[{target.host}]" if ":" in target.host else target.host
        usual = target.port == (80 if target.plain else 443)
        self._fixed = {
            "host": shown if usual else f"{shown}:{target.port}",
            "user-agent": f"midtrans-service/{__version__}",
            "content-type": "application/cloudevents+json",
            "accept-encoding": "identity",
        }
        self._extensions = {"sni_hostname": target.host.rstrip(".")}
        self._tls = tls
        self._network = CheckedNetwork(settings.allow, plain=target.plain, resolve=resolve)
        self._idle: list[httpcore.AsyncHTTPConnection] = []

    async def send(self, event: str) -> Answer:
        """POST the stored text of an event as it is; never raises but for being cancelled."""
        answer: Answer | None = None
        try:
            async with asyncio.timeout(self.push.timeout_seconds):
                body = event.encode()
                async with (
                    self._connection() as connection,
                    connection.stream(
                        "POST",
                        self._url,
                        headers=self._headers(body),
                        content=body,
                        extensions=self._extensions,
                    ) as response,
                ):
                    answer = self._judge(response, "")
                    answer = self._judge(response, await _read(response))
        except Exception as error:  # noqa: BLE001 (whatever it was, the event goes back)
            return answer or self._failed(error)
        return answer

    async def close(self) -> None:
        """Close every connection."""
        idle, self._idle = self._idle, []
        for connection in idle:
            await _close(connection)

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[httpcore.AsyncHTTPConnection]:
        """Lend a connection, the one that was used last if it can be used again.

        Not the pool of httpcore: it looks at every connection before and after each request, which costs more than
        the request.
        """
        connection = await self._known() or httpcore.AsyncHTTPConnection(
            self._url.origin,
            ssl_context=self._tls,
            keepalive_expiry=KEEP_ALIVE_S,
            network_backend=self._network,
        )
        try:
            yield connection
        finally:
            if connection.is_closed() or not connection.is_idle():
                await _close(connection)
            else:
                self._idle.append(connection)

    async def _known(self) -> httpcore.AsyncHTTPConnection | None:
        while self._idle and self._idle[0].has_expired():  # the one that has not been used for longest
            await _close(self._idle.pop(0))
        while self._idle:
            connection = self._idle.pop()
            if connection.is_available() and not connection.has_expired():
                return connection
            await _close(connection)
        return None

    def _headers(self, body: bytes) -> list[tuple[str, str]]:
        event_id = str(json.loads(body)["id"])
        signed = headers(self._keys, message_id=event_id, at=self._clock(), body=body)
        return [*self._fixed.items(), *signed.items()]

    def _judge(self, response: httpcore.Response, text: str) -> Answer:
        status = response.status
        what = f"HTTP {status}" + (", and redirects are not followed" if status in _REDIRECT else "")
        reason = f"{what}: {text}" if text else what
        return judge_status(status, _in_lower_case(response), reason=reason, now=self._clock())

    def _failed(self, error: Exception) -> Answer:
        if isinstance(error, NotPushedTo):
            return Answer(Result.NOT_ALLOWED, f"{self.host}: {error}; see [push] allow")
        if isinstance(error, TimeoutError):
            return Answer(Result.TIMEOUT, f"no answer within {self.push.timeout_seconds:g} s")
        if isinstance(error, OSError):
            return Answer(Result.UNREACHABLE, f"{self.host} cannot be looked up: {error.strerror or error}")
        if isinstance(error, httpcore.NetworkError | httpcore.ProtocolError | httpcore.TimeoutException):
            return Answer(Result.UNREACHABLE, _shown(f"{type(error).__name__}: {error}"))
        log.error("pushing_failed", exc_info=error)
        return Answer(Result.UNREACHABLE, "a fault of this service, see its log")


def trusted(settings: PushSettings) -> ssl.SSLContext:
    """Return whose certificates are believed: the authorities that browsers believe, and those of the settings."""
    context = httpx.create_ssl_context(trust_env=False)
    if settings.ca_file is not None:
        context.load_verify_locations(cafile=settings.ca_file)
    return context


async def _close(connection: httpcore.AsyncHTTPConnection) -> None:
    with contextlib.suppress(Exception):
        await connection.aclose()


async def _read(response: httpcore.Response) -> str:
    """Return the beginning of the body, fit to be shown; what is wrong with it changes nothing."""
    read = b""
    with contextlib.suppress(httpcore.NetworkError, httpcore.ProtocolError, TimeoutError):
        async with asyncio.timeout(READ_S):
            async for part in response.aiter_stream():
                read += part
                if len(read) >= READ_BYTES:
                    break
    return _shown(read[:READ_BYTES].decode("utf-8", "replace"))


def _shown(text: str) -> str:
    return mask_text(_UNSHOWN.sub(" ", text).strip()[:SHOWN])


def _in_lower_case(response: httpcore.Response) -> Mapping[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}

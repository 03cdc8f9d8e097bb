"""The public endpoint, plain ASGI in front of FastAPI: the hot path, and the only one open to strangers.

Whatever is sent, one of the answers of `service.domain.answers` goes back. An answer is composed whole before
its first byte is sent, so that nothing can fail half-way.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from time import perf_counter
from typing import Final, Protocol

from service.api.posted import (
    NO_BODY,
    App,
    Body,
    BodyReader,
    End,
    Head,
    Receive,
    Scope,
    Send,
    drain,
    path_as_sent,
    read_head,
)
from service.clock import Clock
from service.domain.answers import Answer, Happened
from service.domain.merchant import DEFAULT_MERCHANT
from service.domain.receiving import UNKNOWN_MERCHANT, Arrival, Refused
from service.flow.receive import Receiver

PREFIX: Final = "/notifications"
REFUSED_BODIES: Final = 64
REFUSED_BODY_TIMEOUT_S: Final = 1.0
_CUT: Final = "the body was shorter than its Content-Length; leave out the header Upgrade, or use HTTPS"
CLOSE: Final = (b"connection", b"close")


class Child(Protocol):
    """One labelled counter."""

    def inc(self) -> None:
        """Count one."""


class Counter(Protocol):
    """A counter with the labels merchant and answer, as prometheus_client has it."""

    def labels(self, merchant: str, answer: str, /) -> Child:
        """Return the counter of these labels."""


class Histogram(Protocol):
    """Durations in seconds."""

    def observe(self, amount: float, /) -> None:
        """Take one in."""


class ReceivingMetrics(Protocol):
    """What is counted here."""

    @property
    def notifications(self) -> Counter:
        """Requests by merchant and answer."""

    @property
    def receive_seconds(self) -> Histogram:
        """From the first line of a request to its composed answer: body, checks and commit."""


class NotificationEndpoint:
    """Answers every HTTP request to ``/notifications`` or below; `before` puts it before another app.

    *most_reading* bounds memory: so many bodies are read at once, each of at most *max_body_bytes*. What the head
    already refuses is read for operators to look at, and takes none of these places: it has few of its own, and
    little time. When they are taken, it is refused as ever and its body not kept.
    """

    def __init__(
        self,
        receiver: Receiver,
        *,
        clock: Clock,
        metrics: ReceivingMetrics,
        max_body_bytes: int = 65_536,
        body_timeout_s: float = 10.0,
        most_reading: int = 1_000,
    ) -> None:
        self.receiver = receiver
        self.max_body_bytes = max_body_bytes
        self.merchant_of = _paths(receiver.merchants)
        """The merchant of every path that belongs to one."""
        self._clock = clock
        self._metrics = metrics
        self._reader = BodyReader(
            max_bytes=max_body_bytes, timeout_s=body_timeout_s, most_at_once=most_reading
        )
        self._refused_reader = BodyReader(
            max_bytes=max_body_bytes,
            timeout_s=min(body_timeout_s, REFUSED_BODY_TIMEOUT_S),
            most_at_once=REFUSED_BODIES,
        )
        self._counters: dict[tuple[str, Happened], Child] = {}

    def before(self, app: App) -> App:
        """Return an app that answers notifications here and hands everything else to *app*."""

        async def dispatch(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http" and is_ours(scope["path"]):
                await self(scope, receive, send)
            else:
                await app(scope, receive, send)

        return dispatch

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; nothing is sent to a client that went away before its body was whole."""
        started = perf_counter()
        arrival: Arrival | None = None
        body = NO_BODY
        interruption: BaseException | None = None
        try:
            head = read_head(scope)
            refused = self._refused_by_head(scope, head)
            if refused is None:
                body = await self._reader.read(head, receive, _source(scope))
            elif head.has_body:
                body = await self._refused_reader.read(head, receive, _source(scope))
            if body.end is End.GONE:
                return
            arrival = self._read(scope, head, body)
            answer = await self._answer(arrival, refused or self._refused_by_body(body))
        except BaseException as error:  # noqa: BLE001  (nothing may escape as a 500, cancellation included)
            interruption = _interruption(error)
            answer = self.receiver.fail(arrival, error)
        self.count(arrival, answer, perf_counter() - started)
        await _send(answer, receive, send, more=body.more)
        if interruption is not None:
            raise interruption

    def has_room_for(self, source: str) -> bool:
        """Say whether a body from *source* would have a place among those that are read."""
        return self._reader.has_room_for(source)

    async def _answer(self, arrival: Arrival, refused: Refused | None) -> Answer:
        if refused is not None:
            return self.receiver.refuse(arrival, refused)
        return await self.receiver.receive(arrival)

    def _refused_by_head(self, scope: Scope, head: Head) -> Refused | None:
        """Return what needs no look at the body, in the documented order."""
        if scope["method"] != "POST":
            return Refused(Happened.METHOD)
        if head.encoded:
            return Refused(Happened.ENCODING)
        if scope["path"] not in self.merchant_of:
            return Refused(Happened.UNKNOWN_MERCHANT)
        return None

    def _refused_by_body(self, body: Body) -> Refused | None:
        if body.end is End.WHOLE:
            return None
        if body.end is End.TOO_LARGE:
            return Refused(Happened.TOO_LARGE, f"at most {self._reader.max_bytes} bytes are taken")
        if body.end is End.TOO_SLOW:
            return Refused(Happened.INCOMPLETE, f"the body was not whole within {self._reader.timeout_s:g} s")
        if body.end is End.CUT:
            return Refused(Happened.INCOMPLETE, _CUT)
        return Refused(Happened.OVERLOADED)

    def _read(self, scope: Scope, head: Head, body: Body) -> Arrival:
        merchant = self.merchant_of.get(scope["path"])
        path = scope["path"] if merchant else path_as_sent(scope)
        arrival = self.arrival(merchant or UNKNOWN_MERCHANT, body.raw, _source(scope), path, head.kept)
        return arrival if body.size == len(body.raw) else arrival._replace(size=body.size)

    def arrival(self, merchant: str, raw: bytes, source: str, path: str, kept: Mapping[str, str]) -> Arrival:
        """Return what came just now."""
        return Arrival(merchant, raw, len(raw), self._clock(), source, path, kept)

    def count(self, arrival: Arrival | None, answer: Answer, seconds: float) -> None:
        """Count an answer that took *seconds*; raises nothing."""
        key = (arrival.merchant if arrival else UNKNOWN_MERCHANT, answer.happened)
        try:
            counter = self._counters.get(key)
            if counter is None:
                counter = self._counters[key] = self._metrics.notifications.labels(*key)
            counter.inc()
            self._metrics.receive_seconds.observe(seconds)
        except Exception:  # noqa: BLE001, S110  (a number is never worth an answer)
            pass


def is_ours(path: str) -> bool:
    """Say whether *path* is ``/notifications`` or below it; ``/notificationsX`` is not."""
    return path.startswith(PREFIX) and path[len(PREFIX) : len(PREFIX) + 1] in {"", "/"}


async def _send(answer: Answer, receive: Receive, send: Send, *, more: bool) -> None:
    """Send *answer*; a client that may still be sending is heard out before the connection is closed."""
    headers = (*answer.headers, CLOSE) if more else answer.headers
    with suppress(OSError):  # the client has gone; what is stored is stored
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body, "more_body": more})
        if more:
            await drain(receive)
            await send({"type": "http.response.body", "body": b"", "more_body": False})


def _source(scope: Scope) -> str:
    client = scope.get("client")
    return client[0] if client else ""


def _interruption(error: BaseException) -> BaseException | None:
    """Return what has to go on after the answer: this task's own cancellation, the interpreter's end."""
    if isinstance(error, Exception):
        return None
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return error if task is not None and task.cancelling() else None  # else it was the store's future
    return error


def _paths(merchants: frozenset[str]) -> dict[str, str]:
    """Return the merchant of every path that belongs to one."""
    paths = {f"{PREFIX}/{name}{slash}": name for name in merchants for slash in ("", "/")}
    if DEFAULT_MERCHANT in merchants:
        paths |= {PREFIX: DEFAULT_MERCHANT, f"{PREFIX}/": DEFAULT_MERCHANT}
    return paths

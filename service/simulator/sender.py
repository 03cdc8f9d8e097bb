"""Posts notifications as Midtrans does: in the background, each delivery on its own, in no promised order."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx
import structlog

KEPT_DELIVERIES = 1_000
KEPT_ANSWER = 500  # characters of the receiver's answer
MOST_HOPS = 5
FOLLOWED = frozenset({307, 308})  # with POST and the same body
NEVER_RETRIED = frozenset({301, 302, 303})  # a failure for good: the merchant gets an e-mail instead
HEADERS: Mapping[str, str] = {
    "Content-Type": "application/json",
    "Accept": "application/json",
    "User-Agent": "Veritrans",
}

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Attempt:
    """One POST and what came back; *http_status* is None when nothing did."""

    at: datetime
    http_status: int | None
    answer: str


@dataclass
class Delivery:
    """One notification on its way to one URL; *state* is waiting, delivered or failed."""

    url: str
    merchant_id: str
    body: dict[str, Any]
    state: str = "waiting"
    attempts: list[Attempt] = field(default_factory=list)


class NotificationSender:
    """Sends in the running event loop; ``start`` lets other threads hand in work too.

    *retry_waits_s* are the seconds before each further attempt; an empty one means a single attempt.
    """

    def __init__(
        self,
        clock: Callable[[], datetime],
        *,
        timeout_s: float = 15.0,
        concurrency: int = 10,
        retry_waits_s: Sequence[float] = (1.0, 3.0, 9.0),
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.deliveries: deque[Delivery] = deque(maxlen=KEPT_DELIVERIES)
        self._clock = clock
        self._timeout_s = timeout_s
        self._retry_waits_s = tuple(retry_waits_s)
        self._slots = asyncio.Semaphore(concurrency)
        self._client = httpx.AsyncClient(transport=transport, timeout=timeout_s, trust_env=False)
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    def start(self) -> None:
        """Bind to the running loop."""
        self._loop = asyncio.get_running_loop()

    def send(self, body: dict[str, Any], *, merchant_id: str, urls: Sequence[str]) -> None:
        """Begin to deliver *body* to each of *urls*; returns at once. Does nothing once closed."""
        if self._closed:
            return
        loop = self._loop or asyncio.get_running_loop()
        for url in urls:
            delivery = Delivery(url, merchant_id, body)
            self.deliveries.append(delivery)
            loop.call_soon_threadsafe(self._begin, delivery)

    async def idle(self) -> None:
        """Return once every delivery so far has been delivered or given up."""
        await asyncio.sleep(0)  # deliveries handed in just now become tasks
        # only those not done: gathering finished ones does not let the loop run, and so would never end (3.12 on)
        while under_way := [task for task in self._tasks if not task.done()]:
            await asyncio.gather(*under_way, return_exceptions=True)

    async def aclose(self) -> None:
        """Stop: what is on its way is cut off, as when Midtrans' sender dies."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.aclose()

    def _begin(self, delivery: Delivery) -> None:
        task = asyncio.ensure_future(self._deliver(delivery))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, delivery: Delivery) -> None:
        for wait_s in (0.0, *self._retry_waits_s):
            await asyncio.sleep(wait_s)
            async with self._slots:
                attempt = await self._attempt(delivery)
            delivery.attempts.append(attempt)
            if attempt.http_status is not None and attempt.http_status // 100 == 2:  # noqa: PLR2004 - any 2xx
                delivery.state = "delivered"
                return
            self._log_failure(delivery, attempt)
            if attempt.http_status in NEVER_RETRIED:
                break
        delivery.state = "failed"

    async def _attempt(self, delivery: Delivery) -> Attempt:
        try:
            async with asyncio.timeout(self._timeout_s):
                response = await self._post(delivery)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            return Attempt(self._clock(), None, type(error).__name__)
        return Attempt(self._clock(), response.status_code, response.text[:KEPT_ANSWER])

    async def _post(self, delivery: Delivery) -> httpx.Response:
        content, url = json.dumps(delivery.body).encode(), httpx.URL(delivery.url)
        response = await self._client.post(url, content=content, headers=HEADERS)
        for _ in range(MOST_HOPS):
            if response.status_code not in FOLLOWED or "location" not in response.headers:
                break
            url = url.join(response.headers["location"])
            response = await self._client.post(url, content=content, headers=HEADERS)
        return response

    def _log_failure(self, delivery: Delivery, attempt: Attempt) -> None:
        log.warning(
            "notification_not_taken",
            order_id=delivery.body["order_id"],
            transaction_status=delivery.body["transaction_status"],
            http_status=attempt.http_status,
            attempt=len(delivery.attempts),
        )

"""Posts notifications as Midtrans does: in the background, each delivery on its own, in no promised order.

When to try again is ``django_midtrans.testing.retries``; the clock, the dice and the sleeping are passed in.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx
import structlog

from django_midtrans.testing.retries import (
    FOLLOWED,
    MOST_HOPS,
    TIMEOUT_S,
    is_success,
    next_attempt_in_s,
)

KEPT_DELIVERIES = 1_000
KEPT_ANSWER = 500  # characters of the receiver's answer
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
    """One notification on its way to one URL; *state* is waiting, delivered, failed, or lost on the way.

    It is held back for *hold_s*, or until one that ``lets_go`` of it has been tried.
    """

    url: str
    merchant_id: str
    body: dict[str, Any]
    state: str = "waiting"
    attempts: list[Attempt] = field(default_factory=list)
    hold_s: float = 0.0
    lets_go: Sequence[Delivery] = ()
    released: asyncio.Event = field(default_factory=asyncio.Event, repr=False)


class NotificationSender:
    """Sends in the running event loop; ``start`` lets other threads hand in work too.

    *dice* gives numbers from 0 to 1, which shift the waits. A *time_factor* of 60 makes a minute of Midtrans'
    waits a second; the 15 seconds that a receiver may take for its answer stay as they are.
    """

    def __init__(
        self,
        clock: Callable[[], datetime],
        *,
        dice: Callable[[], float],
        time_factor: float = 1.0,
        timeout_s: float = TIMEOUT_S,
        concurrency: int = 10,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.deliveries: deque[Delivery] = deque(maxlen=KEPT_DELIVERIES)
        self._clock = clock
        self._dice = dice
        self._time_factor = time_factor
        self._timeout_s = timeout_s
        self._sleep = sleep
        self._slots = asyncio.Semaphore(concurrency)
        self._client = httpx.AsyncClient(transport=transport, timeout=timeout_s, trust_env=False)
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    def start(self) -> None:
        """Bind to the running loop."""
        self._loop = asyncio.get_running_loop()

    def send(
        self,
        body: dict[str, Any],
        *,
        merchant_id: str,
        urls: Sequence[str],
        hold_s: float = 0.0,
        lets_go: Sequence[Delivery] = (),
    ) -> list[Delivery]:
        """Begin to deliver *body* to each of *urls*; returns at once. Does nothing once closed.

        *hold_s* holds the first attempt back; *lets_go* names deliveries to be held no longer than until then.
        """
        if self._closed:
            return []
        loop = self._loop or asyncio.get_running_loop()
        made = [Delivery(url, merchant_id, body, hold_s=hold_s, lets_go=lets_go) for url in urls]
        self.deliveries.extend(made)
        for delivery in made:
            loop.call_soon_threadsafe(self._begin, delivery)
        return made

    def lose(self, body: dict[str, Any], *, merchant_id: str, urls: Sequence[str]) -> None:
        """Send nothing, and show that."""
        self.deliveries.extend(Delivery(url, merchant_id, body, state="lost") for url in urls)

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
        if delivery.hold_s:
            await _held(delivery)
        wait_s: float | None = 0.0
        while wait_s is not None:
            await self._sleep(wait_s)
            async with self._slots:
                attempt = await self._attempt(delivery)
            delivery.attempts.append(attempt)
            for each in delivery.lets_go:
                each.released.set()
            wait_s = self._wait_s(attempt.http_status, len(delivery.attempts))
            if not is_success(attempt.http_status):
                self._log_failure(delivery, attempt)
        delivery.state = "delivered" if is_success(delivery.attempts[-1].http_status) else "failed"

    def _wait_s(self, http_status: int | None, attempts: int) -> float | None:
        wait_s = next_attempt_in_s(http_status, attempts=attempts, shift=self._dice())
        return None if wait_s is None else wait_s / self._time_factor

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


async def _held(delivery: Delivery) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(delivery.hold_s):
            await delivery.released.wait()

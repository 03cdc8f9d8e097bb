"""The simulator's application: the in-memory Midtrans, its sender and its routes, wired."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from service.simulator.control import control
from service.simulator.core_api import core_api, not_found
from service.simulator.page import page
from service.simulator.sender import NotificationSender
from service.simulator.simulator import Simulator

METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
EXPIRY_CHECK_S = 1.0


def utc_now() -> datetime:
    """Return the machine's time."""
    return datetime.now(UTC)


def create_app(
    *,
    notify_url: str | None = None,
    server_keys: Sequence[str] = (),
    public_url: str = "http://127.0.0.1:8001",
    clock: Callable[[], datetime] = utc_now,
    retry_waits_s: Sequence[float] = (1.0, 3.0, 9.0),
    timeout_s: float = 15.0,
    concurrency: int = 10,
    transport: httpx.AsyncBaseTransport | None = None,
) -> Starlette:
    """Return the application; its ``state.simulator`` is the Simulator.

    Without *server_keys* every key is served. *transport* replaces the network for notifications. Under the
    lifespan, payments expire by *clock* by themselves; without it (a bare ASGI transport) by ``POST
    /simulator/expire-due``.
    """
    sender = NotificationSender(
        clock, timeout_s=timeout_s, concurrency=concurrency, retry_waits_s=retry_waits_s, transport=transport
    )
    app = Starlette(
        routes=[
            Route("/", page, methods=["GET"]),
            Route("/healthz", _health, methods=["GET"]),
            Route("/v2/{rest:path}", core_api, methods=METHODS),
            Route("/simulator/{rest:path}", control, methods=METHODS),
        ],
        exception_handlers={404: _no_page},
        lifespan=_lifespan,
    )
    app.state.simulator = Simulator(
        clock, sender, notify_url=notify_url, server_keys=server_keys, public_url=public_url
    )
    return app


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    simulator: Simulator = app.state.simulator
    simulator.sender.start()
    expiring = asyncio.create_task(_expire_for_ever(simulator))
    try:
        yield
    finally:
        expiring.cancel()
        with suppress(asyncio.CancelledError):
            await expiring
        await simulator.sender.aclose()


async def _expire_for_ever(simulator: Simulator) -> None:
    while True:
        await asyncio.sleep(EXPIRY_CHECK_S)
        simulator.midtrans.expire_due()


async def _health(_request: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _no_page(_request: Request, _error: Exception) -> Response:
    return not_found()

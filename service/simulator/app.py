"""The simulator's application: the in-memory Midtrans, its sender and its routes, wired."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from django_midtrans.testing import SCENARIOS
from django_midtrans.testing.retries import TIMEOUT_S
from service.simulator.control import PAUSE_S, control
from service.simulator.core_api import core_api, not_found
from service.simulator.faults import NONE, Faults
from service.simulator.page import page
from service.simulator.sender import NotificationSender
from service.simulator.simulator import Simulator
from service.simulator.steps import fresh_order_id

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
    dice: Callable[[], float] = random.random,
    time_factor: float = 1.0,
    timeout_s: float = TIMEOUT_S,
    concurrency: int = 10,
    faults: Faults = NONE,
    run: Sequence[str] = (),
    pause_s: float = PAUSE_S,
    transport: httpx.AsyncBaseTransport | None = None,
) -> Starlette:
    """Return the application; its ``state.simulator`` is the Simulator.

    Without *server_keys* every key is served. *time_factor* shortens the waits between attempts to notify, which
    *dice* shift. *transport* replaces the network for notifications. Under the lifespan, payments expire by
    *clock* by themselves and the scenarios of *run* are played for the first key; without it (a bare ASGI
    transport) ``POST /simulator/expire-due`` and ``/simulator/scenarios/{name}`` do that.
    """
    sender = NotificationSender(
        clock,
        dice=dice,
        time_factor=time_factor,
        timeout_s=timeout_s,
        concurrency=concurrency,
        transport=transport,
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
        clock, sender, notify_url=notify_url, server_keys=server_keys, public_url=public_url, faults=faults
    )
    app.state.play_at_start = partial(_play, app.state.simulator, run, pause_s)
    return app


def _play(simulator: Simulator, names: Sequence[str], pause_s: float) -> None:
    for name in names:
        account = simulator.merchant(None)
        simulator.runs.start(SCENARIOS[name], account, fresh_order_id(name), pause_s=pause_s)


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    simulator: Simulator = app.state.simulator
    simulator.sender.start()
    app.state.play_at_start()
    expiring = asyncio.create_task(_expire_for_ever(simulator))
    try:
        yield
    finally:
        expiring.cancel()
        with suppress(asyncio.CancelledError):
            await expiring
        await simulator.runs.aclose()
        await simulator.sender.aclose()


async def _expire_for_ever(simulator: Simulator) -> None:
    while True:
        await asyncio.sleep(EXPIRY_CHECK_S)
        simulator.midtrans.expire_due()


async def _health(_request: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _no_page(_request: Request, _error: Exception) -> Response:
    return not_found()

"""The API in memory over a real store, and over a socket where it matters."""

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest
import uvicorn
from support.api import Api, Clock

from service.alarms import Alarms
from service.api.app import create_api, drain
from service.api.connection import Connection
from service.api.context import ApiContext
from service.db.store import Store
from service.domain.limits import StreamLimits
from service.domain.merchant import Merchant
from service.metrics import Metrics


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(stored_at: str, clock: Clock) -> Iterator[Store]:
    store = Store(stored_at, clock=clock)
    store.start()
    yield store
    store.close()


@pytest.fixture
def context(store: Store) -> ApiContext:
    metrics = Metrics()
    return ApiContext(
        store=store,
        metrics=metrics,
        alarms=Alarms(metrics),
        dice=lambda: 0.0,
        merchants={"default": Merchant("default", ("SB-Mid-server-of-the-api",))},
    )


@pytest.fixture
def limits() -> StreamLimits:
    """Return what streams may cost; a test names others by its parameters."""
    return StreamLimits()


@pytest.fixture
async def api(store: Store, clock: Clock, context: ApiContext, limits: StreamLimits) -> AsyncIterator[Api]:
    api = Api(create_api(replace(context, streams=limits)), store, clock)
    async with api.client:
        yield api


@pytest.fixture
def served(api: Api, free_port: int) -> Iterator[str]:
    """Serve the API on a socket of 127.0.0.1, as the service does; return its base URL."""
    server = Server(
        uvicorn.Config(api.app, port=free_port, log_level="critical", lifespan="off", http=Connection), api
    )
    thread = threading.Thread(target=asyncio.run, args=(server.serve(),))
    thread.start()
    until = time.monotonic() + 10
    while not server.started and time.monotonic() < until:
        time.sleep(0.005)
    yield f"http://127.0.0.1:{free_port}"
    server.should_exit = True
    thread.join(10)
    assert not thread.is_alive(), "a waiting call or an open stream keeps the process from ending"


class Server(uvicorn.Server):
    """Lets those who wait go before it ends."""

    def __init__(self, config: uvicorn.Config, api: Api) -> None:
        super().__init__(config)
        self._api = api

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        drain(self._api.app)
        await super().shutdown(sockets=sockets)

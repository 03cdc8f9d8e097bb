"""The API in memory over a real store, and over a socket where it matters."""

import asyncio
import shutil
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import uvicorn
from support.api import Api, Clock

from service.alarms import Alarms
from service.api.app import create_api
from service.api.context import ApiContext
from service.db.migrate import upgrade
from service.db.store import Store
from service.domain.merchant import Merchant
from service.metrics import Metrics


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def _migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("migrated") / "midtrans.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def store(_migrated: Path, tmp_path: Path, clock: Clock) -> Iterator[Store]:
    shutil.copy(_migrated, tmp_path / "midtrans.db")
    store = Store(f"sqlite:///{tmp_path / 'midtrans.db'}", clock=clock)
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
async def api(store: Store, clock: Clock, context: ApiContext) -> AsyncIterator[Api]:
    api = Api(create_api(context), store, clock)
    async with api.client:
        yield api


@pytest.fixture
def served(api: Api, free_port: int) -> Iterator[str]:
    """Serve the API on a socket of 127.0.0.1; return its base URL."""
    server = uvicorn.Server(uvicorn.Config(api.app, port=free_port, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=asyncio.run, args=(server.serve(),))
    thread.start()
    until = time.monotonic() + 10
    while not server.started and time.monotonic() < until:
        time.sleep(0.005)
    yield f"http://127.0.0.1:{free_port}"
    server.should_exit = True
    thread.join(10)

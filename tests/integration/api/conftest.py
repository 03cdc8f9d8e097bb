"""The API in memory over a real store, and over a socket where it matters."""

import asyncio
import itertools
import json
import threading
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from sqlalchemy import insert

from service.alarms import Alarms
from service.api.app import create_api
from service.api.context import ApiContext
from service.db.migrate import upgrade
from service.db.store import Store
from service.db.tables import events
from service.db.topic import Topic
from service.db.unit import Unit
from service.domain.records import Role
from service.metrics import Metrics


class Clock:
    """A clock that runs, and that tests set forward."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def forward(self, seconds: float) -> None:
        self.ahead += timedelta(seconds=seconds)


class Api:
    """A client with a token for every role, and a hand on the log behind it."""

    def __init__(self, app: FastAPI, store: Store, clock: Clock) -> None:
        self.app = app
        self.store = store
        self.clock = clock
        self.secrets = {
            role: store.write(lambda unit, role=role, names=names: unit.tokens.make(role, names)[1]).result()
            for role, names in (
                (Role.OPERATOR, ()),
                (Role.CONSUMER, ("shipping",)),
                (Role.SHOP, ("default",)),
            )
        }
        self._numbers = itertools.count(1)
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://api", headers=self.auth(Role.OPERATOR)
        )

    def auth(self, role: Role) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.secrets[role]}"}

    def append(
        self, *payments: str, type_: str = "midtrans.payment.settled", merchant: str = "default"
    ) -> None:
        """Log one event for each of *payments*, in order."""

        def work(unit: Unit) -> None:
            for payment in payments:
                unit.connection.execute(
                    insert(events).values(**self._row(payment, type_, merchant, unit.now))
                )
            unit.announce(Topic.EVENTS)

        self.store.write(work).result(10)

    def _row(self, payment: str, type_: str, merchant: str, now: datetime) -> dict[str, Any]:
        number = next(self._numbers)
        event_id = uuid.UUID(int=number)
        body = {
            "id": str(event_id),
            "type": type_,
            "subject": f"order-{payment}",
            "data": {"n": number, "p": payment},
        }
        return {
            "id": event_id,
            "merchant": merchant,
            "transaction_id": payment,
            "sequence": number,
            "order_id": f"order-{payment}",
            "type": type_,
            "made_at": now,
            "body": json.dumps(body, separators=(",", ":")),
        }

    async def make(self, name: str = "shipping", **spec: Any) -> None:
        answer = await self.client.put(f"/v1/consumers/{name}", json={"start": "beginning", **spec})
        assert answer.status_code in (200, 201), answer.text

    async def lease(self, name: str = "shipping", **body: Any) -> dict[str, Any]:
        answer = await self.client.post(f"/v1/consumers/{name}/lease", json={"wait_seconds": 0, **body})
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def post(self, path: str, **body: Any) -> Any:
        answer = await self.client.post(f"/v1/consumers/shipping/{path}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def look(self, name: str = "shipping") -> dict[str, Any]:
        answer = await self.client.get(f"/v1/consumers/{name}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Iterator[Store]:
    url = f"sqlite:///{tmp_path / 'midtrans.db'}"
    upgrade(url)
    store = Store(url, clock=clock)
    store.start()
    yield store
    store.close()


@pytest.fixture
def context(store: Store) -> ApiContext:
    metrics = Metrics()
    return ApiContext(store=store, metrics=metrics, alarms=Alarms(metrics), dice=lambda: 0.0)


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

"""The API in memory: a clock that tests set forward, and a client with a hand on the log behind it."""

import asyncio
import itertools
import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from fastapi import FastAPI
from sqlalchemy import insert

from service.db.store import Store
from service.db.tables import events
from service.db.topic import Topic
from service.db.unit import Unit
from service.domain.records import Role


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
            Role.OPERATOR: self._secret(Role.OPERATOR),
            Role.CONSUMER: self._secret(Role.CONSUMER, "shipping"),
            Role.SHOP: self._secret(Role.SHOP, "default"),
        }
        self._numbers = itertools.count(1)
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://api", headers=self.auth(Role.OPERATOR)
        )

    def _secret(self, role: Role, *names: str) -> str:
        return self.store.write(lambda unit: unit.tokens.make(role, names)).result(10)[1]

    def auth(self, role: Role) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.secrets[role]}"}

    def append(
        self, *payments: str, type_: str = "midtrans.payment.settled", merchant: str = "default"
    ) -> None:
        """Log one event for each of *payments*, in order."""

        def work(unit: Unit) -> None:
            rows = [self._row(payment, type_, merchant, unit.now) for payment in payments]
            unit.connection.execute(insert(events), rows)
            unit.announce(Topic.EVENTS)

        self.store.write(work).result(10)

    async def log(self, *payments: str, **event: str) -> None:
        """Log events without holding up the loop."""
        await asyncio.to_thread(self.append, *payments, **event)

    async def logged(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Return the log as GET /v1/events tells it: (position, type, event)."""
        answer = (await self.client.get("/v1/events", params={"limit": "1000"})).json()
        return [(one["position"], one["event"]["type"], one["event"]) for one in answer["events"]]

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

"""The API before the world of the flow: real store, Midtrans in memory, a clock that moves when told to."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from service.alarms import Alarms
from service.api.app import create_api
from service.api.context import ApiContext
from service.domain.merchant import Merchant
from service.domain.records import Role
from service.metrics import Metrics
from support.world import KEY, World, make_world

OPERATOR, SHOP = Role.OPERATOR, Role.SHOP


@dataclass
class Desk:
    """Who calls the API, and the world behind it."""

    world: World
    app: FastAPI
    secrets: dict[Role, str]

    def call(self, method: str, path: str, body: Any = None, *, role: Role = OPERATOR) -> httpx.Response:
        """Call the API once, on a loop of its own."""
        return asyncio.run(self._call(method, path, body, role))

    async def _call(self, method: str, path: str, body: Any, role: Role) -> httpx.Response:
        transport = httpx.ASGITransport(self.app)
        headers = {"Authorization": f"Bearer {self.secrets[role]}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://api", headers=headers) as client:
            content = None if body is None else json.dumps(body)
            return await client.request(method, path, content=content)

    def get(self, path: str) -> Any:
        """Return what a GET answers with 200."""
        answer = self.call("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def order(self, order_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.get(f"/v1/orders/default/{order_id}")
        return found

    def receipts(self, query: str = "") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get(f"/v1/receipts?{query}")["receipts"]
        return found

    def charge(self, order_id: str) -> str:
        """Charge 10,000 at Midtrans; return the transaction_id."""
        body = {
            "payment_type": "bank_transfer",
            "transaction_details": {"order_id": order_id, "gross_amount": 10_000},
            "bank_transfer": {"bank": "bca"},
        }
        transaction_id: str = self.world.account.charge(body)["transaction_id"]
        return transaction_id


@contextmanager
def make_desk(folder: Path) -> Iterator[Desk]:
    """Make the API before a new world."""
    with make_world(folder) as world:
        metrics = Metrics()
        context = ApiContext(
            store=world.store,
            metrics=metrics,
            alarms=Alarms(metrics),
            merchants={"default": Merchant("default", (KEY,), merchant_id="G1")},
            breakers=lambda: {"default": "closed"},
        )
        secrets = {role: _secret(world, role) for role in (OPERATOR, SHOP)}
        yield Desk(world, create_api(context), secrets)


def _secret(world: World, role: Role) -> str:
    return world.store.write(lambda unit: unit.tokens.make(role, ("default",))).result()[1]

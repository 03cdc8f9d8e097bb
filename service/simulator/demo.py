"""Payments in motion, to see the flow without a shop: through the simulator's HTTP alone."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx
import structlog

from django_midtrans.testing.payloads import charge_of

log = structlog.get_logger(__name__)
TIMEOUT_S = 10.0


@dataclass(frozen=True, kw_only=True)
class DemoShop:
    """A shop with customers: charges with its server key, pays through the control calls."""

    client: httpx.AsyncClient
    server_key: str
    pace_s: float

    async def charge(self, kind: str, amount: int) -> str:
        """Charge *amount* rupiah by a short name of ``testing.payloads``; return the order_id."""
        order_id = f"demo-{kind}-{secrets.token_hex(3)}"
        await self.call("POST", "/v2/charge", charge_of(kind, order_id, amount))
        return order_id

    async def act(self, order_id: str, action: str, payload: dict[str, Any] | None = None) -> None:
        """Call the shop's own side: expire, approve, refund."""
        await self.call("POST", f"/v2/{quote(order_id, safe='')}/{action}", payload or {})

    async def outside(self, order_id: str, step: str, options: dict[str, Any] | None = None) -> None:
        """Let the customer or the bank take *step*."""
        await self.call("POST", f"/simulator/{step}/{quote(order_id, safe='')}", options or {})

    async def wait(self, paces: float = 1.0) -> None:
        """Let time pass, so that a reader can follow."""
        await asyncio.sleep(self.pace_s * paces)

    async def call(self, method: str, path: str, payload: dict[str, Any]) -> None:
        """Make one call; a refusal is logged and ends nothing."""
        response = await self.client.request(method, path, json=payload, auth=(self.server_key, ""))
        code = response.json().get("status_code", "200") if response.is_success else str(response.status_code)
        if code >= "400" and code != "407":
            log.warning("demo_call_refused", path=path, status_code=code)


async def paid_bca(shop: DemoShop) -> None:
    """Pay a BCA virtual account."""
    order_id = await shop.charge("bca", 150_000)
    await shop.wait()
    await shop.outside(order_id, "pay")


async def expired_qris(shop: DemoShop) -> None:
    """Let a QRIS code go unpaid."""
    order_id = await shop.charge("qris", 50_000)
    await shop.wait(2)
    await shop.act(order_id, "expire")


async def refunded_gopay(shop: DemoShop) -> None:
    """Pay by GoPay, give it back, let the bank confirm."""
    order_id = await shop.charge("gopay", 80_000)
    await shop.wait()
    await shop.outside(order_id, "pay")
    await shop.wait(2)
    key = f"refund-{order_id}"
    await shop.act(order_id, "refund", {"refund_key": key, "amount": 80_000, "reason": "Out of stock"})
    await shop.wait(2)
    await shop.outside(order_id, "confirm-refund", {"refund_key": key})


async def challenged_card(shop: DemoShop) -> None:
    """Approve a card that the fraud check holds back, and settle it."""
    order_id = await shop.charge("card-challenge", 725_000)
    await shop.wait(3)
    await shop.act(order_id, "approve")
    await shop.wait(2)
    await shop.outside(order_id, "settle")


async def denied_card(shop: DemoShop) -> None:
    """Have a card refused by its bank."""
    await shop.charge("card-deny", 300_000)


async def late_permata(shop: DemoShop) -> None:
    """Pay a Permata virtual account after a while."""
    order_id = await shop.charge("permata", 210_000)
    await shop.wait(6)
    await shop.outside(order_id, "pay")


STORIES: tuple[Callable[[DemoShop], Awaitable[None]], ...] = (
    paid_bca,
    expired_qris,
    refunded_gopay,
    challenged_card,
    denied_card,
    late_permata,
)


async def run_demo(
    base_url: str,
    server_key: str,
    *,
    pace_s: float = 1.0,
    every_s: float | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> None:
    """Play every story once, overlapping, in about eight paces; a simulator must listen on *base_url*.

    With *every_s* it then plays one at random, again and again, until cancelled. A story that the network or
    the simulator breaks is logged; the others go on.
    """
    async with httpx.AsyncClient(
        base_url=base_url, transport=transport, timeout=TIMEOUT_S, trust_env=False
    ) as client:
        shop = DemoShop(client=client, server_key=server_key, pace_s=pace_s)
        async with asyncio.TaskGroup() as stories:
            for place, story in enumerate(STORIES):
                stories.create_task(_after(shop, place * 0.3, story))
        while every_s is not None:
            await asyncio.sleep(every_s)
            await _play(shop, random.choice(STORIES))  # noqa: S311 - no secret hangs on the choice


async def _after(shop: DemoShop, paces: float, story: Callable[[DemoShop], Awaitable[None]]) -> None:
    await shop.wait(paces)
    await _play(shop, story)


async def _play(shop: DemoShop, story: Callable[[DemoShop], Awaitable[None]]) -> None:
    try:
        await story(shop)
    except (httpx.HTTPError, ValueError) as error:  # ValueError: the answer is no JSON
        log.warning("demo_story_broken", error=type(error).__name__)

"""What /readyz finds out by a commit of its own."""

import asyncio
import gc
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest

from service.api import health
from service.errors import StoreUnavailable


def context(probe: "Future[None]") -> Any:
    return SimpleNamespace(store=SimpleNamespace(probe=lambda: probe))


async def test_a_commit_that_fails_says_why() -> None:
    probe: Future[None] = Future()
    probe.set_exception(StoreUnavailable("disk full"))
    assert await health._store_trouble(context(probe)) == "disk full"


async def test_a_commit_that_succeeds_is_no_trouble() -> None:
    probe: Future[None] = Future()
    probe.set_result(None)
    assert await health._store_trouble(context(probe)) is None


async def test_a_commit_that_takes_too_long_is_trouble_and_its_late_failure_no_news(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(health, "PROBE_S", 0.01)
    forgotten: list[Any] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, told: forgotten.append(told))
    probe: Future[None] = Future()
    probe.set_running_or_notify_cancel()
    assert await health._store_trouble(context(probe)) == "no commit within 0.01 s"
    probe.set_exception(StoreUnavailable("locked"))
    await asyncio.sleep(0.01)
    del probe  # it holds the futures made of it
    gc.collect()
    assert forgotten == []

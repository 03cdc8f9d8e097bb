"""Strangers with made-up tokens take no threads from those whose tokens are known."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from service.api import auth
from service.api.auth import LOOK_UPS, MISSES, Auth
from service.db.store import Store
from service.db.tokens import hash_of
from service.domain.records import Role, Token
from service.errors import Unauthenticated

GOOD = Token("t1", Role.OPERATOR, (), datetime(2026, 11, 22, tzinfo=UTC))


class SlowStore:
    """Knows one secret, and takes its time with every look."""

    def __init__(self, *, wait_s: float = 0.0) -> None:
        self.tokens = self
        self.looks: Counter[bytes] = Counter()
        self.at_once = self.most_at_once = 0
        self._wait_s = wait_s
        self._lock = threading.Lock()

    def read(self, query: Callable[[Any], Any]) -> Any:
        with self._lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        time.sleep(self._wait_s)
        with self._lock:
            self.at_once -= 1
        return query(self)

    def find(self, hashed: bytes) -> Token | None:
        self.looks[hashed] += 1
        return GOOD if hashed == hash_of("good") else None


def checking(store: SlowStore) -> Auth:
    return Auth(cast("Store", store))


async def test_an_unknown_token_is_not_looked_for_with_each_request() -> None:
    store = SlowStore(wait_s=0.01)
    one = checking(store)
    found = await asyncio.gather(*(one.check("bad") for _ in range(50)), return_exceptions=True)
    assert {type(refused) for refused in found} == {Unauthenticated}
    assert store.looks[hash_of("bad")] <= LOOK_UPS
    with pytest.raises(Unauthenticated):
        await one.check("bad")
    assert store.looks[hash_of("bad")] <= LOOK_UPS


async def test_a_flood_of_made_up_tokens_holds_few_threads_and_pushes_out_no_known_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(auth, "CACHE_S", 60.0)
    store = SlowStore(wait_s=0.002)
    one = checking(store)
    assert await one.check("good") is GOOD
    await asyncio.gather(*(one.check(f"bad-{n}") for n in range(100)), return_exceptions=True)
    assert store.most_at_once <= LOOK_UPS
    one._misses |= dict.fromkeys((bytes([n % 256, n // 256]) for n in range(MISSES)), 1e12)
    with pytest.raises(Unauthenticated):
        await one.check("one more")
    assert len(one._misses) <= MISSES
    assert await one.check("good") is GOOD
    assert store.looks[hash_of("good")] == 1


async def test_a_known_token_whose_time_is_over_does_not_queue_behind_strangers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(auth, "CACHE_S", 0.0)
    store = SlowStore(wait_s=0.01)
    one = checking(store)
    await one.check("good")
    flood = [asyncio.ensure_future(one.check(f"bad-{n}")) for n in range(200)]
    await asyncio.sleep(0)
    assert await one.check("good") is GOOD
    assert not all(stranger.done() for stranger in flood)
    await asyncio.gather(*flood, return_exceptions=True)


async def test_a_token_made_after_it_was_asked_for_counts_once_the_miss_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(auth, "CACHE_S", 0.02)
    store = SlowStore()
    one = checking(store)
    monkeypatch.setattr(store, "find", lambda _hashed: None)
    with pytest.raises(Unauthenticated):
        await one.check("good")
    monkeypatch.setattr(store, "find", lambda _hashed: GOOD)
    await asyncio.sleep(0.03)
    assert await one.check("good") is GOOD

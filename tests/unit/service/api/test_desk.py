"""Lease calls share units of work, and never each other's fate."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from service.api.desk import MOST_TOGETHER, Desk
from service.errors import NotFound, StoreUnavailable
from service.flow import lease
from service.flow.lease import Ask, Lent

NOW = datetime(2026, 11, 22, tzinfo=UTC)


class Held:
    """A store whose writer begins when it is told to."""

    def __init__(self) -> None:
        self.units: list[tuple[Callable[[Any], Any], asyncio.Future[Any]]] = []
        self.error: Exception | None = None

    def write_async(self, work: Callable[[Any], Any]) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.units.append((work, future))
        return future

    def go(self) -> None:
        units, self.units = self.units, []
        for work, future in units:
            if self.error is not None:
                future.set_exception(self.error)
                continue
            try:
                future.set_result(work(SimpleNamespace(now=NOW)))
            except Exception as error:  # noqa: BLE001
                future.set_exception(error)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Return the names of the consumers that each unit served."""
    units: list[list[str]] = []

    def lend_each(_unit: Any, asks: Sequence[Ask], *, dice: Any) -> list[Any]:
        units.append([ask.name for ask in asks])
        if any(ask.name == "broken" for ask in asks):
            raise ValueError("broken")
        return [
            NotFound("consumer", ask.name) if ask.name == "nobody" else Lent(more=bool(dice()))
            for ask in asks
        ]

    monkeypatch.setattr(lease, "lend_each", lend_each)
    return units


def ask(name: str, limit: int = 1) -> Ask:
    return Ask(name, "0" * 32, limit)


async def test_calls_that_wait_for_the_writer_are_one_unit(served: list[list[str]]) -> None:
    store = Held()
    desk = Desk(store, lambda: 1.0)  # type: ignore[arg-type]
    futures = [desk.lend(ask("a")), desk.lend(ask("b")), desk.lend(ask("a"))]
    store.go()
    assert [await future for future in futures] == [(Lent(more=True), NOW)] * 3
    assert served == [["a", "b", "a"]]


async def test_what_comes_after_the_writer_began_waits_for_the_next(served: list[list[str]]) -> None:
    store = Held()
    desk = Desk(store, lambda: 0.0)  # type: ignore[arg-type]
    first = desk.lend(ask("a"))
    store.go()
    second = desk.lend(ask("b"))
    assert first.get_loop() is second.get_loop()
    store.go()
    await asyncio.gather(first, second)
    assert served == [["a"], ["b"]]


async def test_a_unit_does_not_grow_beyond_what_the_writer_may_take(served: list[list[str]]) -> None:
    store = Held()
    desk = Desk(store, lambda: 0.0)  # type: ignore[arg-type]
    futures = [desk.lend(ask(name, MOST_TOGETHER // 2 + 1)) for name in ("a", "b", "c")]
    futures.append(desk.lend(ask("d", MOST_TOGETHER * 2)))
    store.go()
    await asyncio.gather(*futures)
    assert served == [["a"], ["b"], ["c"], ["d"]]


async def test_who_asks_for_nobody_is_told_alone(served: list[list[str]]) -> None:
    store = Held()
    desk = Desk(store, lambda: 0.0)  # type: ignore[arg-type]
    futures = [desk.lend(ask(name)) for name in ("a", "nobody", "b")]
    store.go()
    found = await asyncio.gather(*futures, return_exceptions=True)
    assert [type(one) for one in found] == [tuple, NotFound, tuple]
    assert len(served) == 1


async def test_one_that_fails_takes_nobody_along(served: list[list[str]]) -> None:
    store = Held()
    desk = Desk(store, lambda: 0.0)  # type: ignore[arg-type]
    futures = [desk.lend(ask(name)) for name in ("a", "broken", "b")]
    store.go()
    await asyncio.sleep(0)
    store.go()
    found = await asyncio.gather(*futures, return_exceptions=True)
    assert [type(one) for one in found] == [tuple, ValueError, tuple]
    assert served == [["a", "broken", "b"], ["a"], ["broken"], ["b"]]


async def test_when_nothing_can_be_stored_each_is_told_so(served: list[list[str]]) -> None:
    store = Held()
    store.error = StoreUnavailable("the disk is full")
    desk = Desk(store, lambda: 0.0)  # type: ignore[arg-type]
    futures = [desk.lend(ask(name)) for name in ("a", "b")]
    store.go()
    found = await asyncio.gather(*futures, return_exceptions=True)
    assert [type(one) for one in found] == [StoreUnavailable, StoreUnavailable]
    assert found[0] is not found[1]  # each gathers its own traceback
    assert not served
    store.error = None
    again = desk.lend(ask("a"))  # of a unit that the writer never began with nobody is a part
    store.go()
    assert (await asyncio.wait_for(again, 1))[1] == NOW
    assert served == [["a"]]


async def test_a_call_that_was_given_up_disturbs_nobody(served: list[list[str]]) -> None:
    store = Held()
    desk = Desk(store, lambda: 0.0)  # type: ignore[arg-type]
    gone, other = desk.lend(ask("a")), desk.lend(ask("b"))
    gone.cancel()
    store.go()
    assert (await other)[1] == NOW
    assert served == [["a", "b"]]

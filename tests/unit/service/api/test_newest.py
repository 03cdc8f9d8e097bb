"""The newest events in memory: who waits is woken for what he wants, and never told to pass over something."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.api import Api, Clock
from support.databases import migrated

from service.alarms import Alarms
from service.api.app import create_api
from service.api.context import ApiContext
from service.api.newest import Frame, Newest, page_of, wants
from service.db.events import EventFilter
from service.db.store import Store
from service.db.unit import Unit
from service.metrics import Metrics

SETTLED = EventFilter(("midtrans.payment.settled",))
PAYOUTS = EventFilter(("midtrans.payout.*",))


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    clock = Clock()
    store = Store(f"sqlite:///{migrated(tmp_path / 'midtrans.db')}", clock=clock)
    store.start()
    metrics = Metrics()
    yield Api(create_api(ApiContext(store=store, metrics=metrics, alarms=Alarms(metrics))), store, clock)
    store.close()


@pytest.fixture
def newest(api: Api) -> Newest:
    return Newest(api.store, api.app.state.bell)


async def test_who_waits_before_the_first_look_is_sent_back_to_the_log(api: Api, newest: Newest) -> None:
    with newest.followed():
        waits = newest.next(PAYOUTS)  # read until place 0; then, before anybody looked:
        api.append("a", type_="midtrans.payout.done")  # the loop stands still meanwhile
        assert await waits == 0
        assert newest.after(0, PAYOUTS) is None  # not kept: to be read in the log


async def test_only_those_are_woken_who_want_what_came(api: Api, newest: Newest) -> None:
    await asyncio.to_thread(api.append, "a")
    with newest.followed():
        assert await newest.next(SETTLED) == 0
        settled, payouts = newest.next(SETTLED), newest.next(PAYOUTS)
        await asyncio.to_thread(api.append, "b")
        assert await settled == 1
        assert not payouts.done()
        page = newest.after(1, SETTLED)
        assert page is not None
        assert page.until == 2
        assert b'"p":"b"' in page.text
        assert newest.after(1, PAYOUTS) == (b"", 2)
        assert newest.after(0, SETTLED) is None
        await asyncio.to_thread(api.append, "c", type_="midtrans.payout.done")
        assert await payouts == 2
    assert newest.after(2, SETTLED) is None  # nothing is kept for nobody


@pytest.mark.parametrize(
    "only",
    [
        EventFilter(),
        EventFilter(("midtrans.payment.*",), ("shop-a",)),
        EventFilter(("midtrans.payment.settled", "midtrans.p*"), ("shop-a", "shop-b")),
        EventFilter(within=()),
        EventFilter(within=((("midtrans.payout.*",), ("*",)), (("*",), ("shop-b",)))),
        EventFilter(("*",), ("shop-a",), within=((("midtrans.payment.expired",), ("*",)),)),
    ],
)
def test_what_is_wanted_in_memory_is_what_the_database_finds(api: Api, only: EventFilter) -> None:
    for type_ in ("midtrans.payment.settled", "midtrans.payment.expired", "midtrans.payout.done", "other"):
        for merchant in ("shop-a", "shop-b", "shop"):
            api.append("x", type_=type_, merchant=merchant)

    def both(unit: Unit) -> tuple[list[int], list[int]]:
        everything = unit.events.after(0, limit=100)
        kept = [Frame(one.position, one.type, one.merchant, b"") for one in everything]
        found = [one.position for one in unit.events.after(0, limit=100, only=only)]
        return [frame.position for frame in kept if wants(only, frame)], found

    in_memory, found = api.store.read(both)
    assert in_memory == found


def test_a_page_holds_one_event_at_least_and_tells_how_far_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.api.newest.PAGE_BYTES", 10)
    frames = [Frame(number, "t", "m", b"x" * 8) for number in (3, 5, 6)]
    assert page_of(frames, 9) == (b"x" * 16, 5)
    assert page_of(frames[:2], 9) == (b"x" * 16, 9)
    assert page_of([Frame(3, "t", "m", b"y" * 99), *frames], 9) == (b"y" * 99, 3)
    assert page_of([], 9) == (b"", 9)

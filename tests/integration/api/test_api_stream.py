"""The stream over a real socket: what is sent from where on, and who may read what."""

import asyncio
import threading
import time
from contextlib import AsyncExitStack
from functools import partial

import pytest
from support.api import Api
from support.sse import Source, refused, stream, told

from service.domain.limits import StreamLimits
from service.domain.records import Role

PATH = "/v1/events/stream"
QUICK = StreamLimits(heartbeat_s=0.2, retry_s=0.5)


# what is sent


async def test_a_stream_begins_now_and_sends_events_as_they_are_made(api: Api, served: str) -> None:
    await api.log("before")
    async with stream(served, api.auth(Role.OPERATOR)) as source:
        await api.log("a", "b")
        await api.log("c")
        await source.count(3)
        assert told(source.messages) == (await api.logged())[1:]
        headers = source.response.headers
        assert headers["content-type"] == "text/event-stream; charset=utf-8"
        assert (headers["cache-control"], headers["x-accel-buffering"]) == ("no-store", "no")
        assert source.parser.retry_ms == 3000
        assert all(len(message.data.splitlines()) == 1 for message in source.messages)


async def test_the_first_block_names_the_place_so_that_nothing_is_missed_before_the_first_event(
    api: Api, served: str
) -> None:
    await api.log("before")
    async with stream(served, api.auth(Role.OPERATOR)) as source:
        place = source.parser.last_id
    await api.log("while nobody read")
    async with stream(served, {**api.auth(Role.OPERATOR), "Last-Event-ID": place}) as again:
        assert [one[2]["data"]["p"] for one in told(await again.count(1))] == ["while nobody read"]


@pytest.mark.parametrize(
    ("after", "header", "first"),
    [
        ("beginning", None, 1),
        ("{2}", None, 3),
        ("beginning", "{3}", 4),
        ("now", "{1}", 2),
        ("2020-01-01T00:00:00Z", "", 1),
    ],
    ids=["beginning", "position", "the-header-wins", "the-header-alone", "a-time-and-an-empty-header"],
)
async def test_where_it_begins(api: Api, served: str, after: str, header: str | None, first: int) -> None:
    await api.log(*(f"p{number}" for number in range(5)))
    everything = await api.logged()

    def filled(text: str) -> str:
        return text.format(None, *(position for position, _, _ in everything))

    headers = {} if header is None else {"Last-Event-ID": filled(header)}
    async with stream(served, {**api.auth(Role.OPERATOR), **headers}, after=filled(after)) as source:
        await source.count(6 - first)
        assert told(source.messages) == everything[first - 1 :]


async def test_filters_by_type_and_merchant_repeated_or_with_commas(api: Api, served: str) -> None:
    for type_ in ("midtrans.payment.settled", "midtrans.payment.expired", "midtrans.payout.done"):
        for merchant in ("default", "shop-a", "shop-b"):
            await api.log("x", type_=type_, merchant=merchant)
    wanted = {"types": "midtrans.payout.*, midtrans.payment.expired", "merchants": ["shop-a", "shop-b"]}
    async with (
        stream(served, api.auth(Role.OPERATOR), after="beginning", **wanted) as stored,
        stream(served, api.auth(Role.OPERATOR), **wanted) as live,
    ):
        await stored.count(4)
        for type_ in ("midtrans.payout.done", "midtrans.payment.settled", "midtrans.payment.expired"):
            await api.log("y", type_=type_, merchant="shop-b")
        await api.log("y", type_="midtrans.payout.done", merchant="default")
        await api.log("last", type_="midtrans.payout.done", merchant="shop-a")
        await live.count(3)
        await stored.count(7)
        assert [one.event for one in live.messages] == [
            "midtrans.payout.done",
            "midtrans.payment.expired",
            "midtrans.payout.done",
        ]
        assert stored.messages[4:] == live.messages
        assert [one.event.split(".")[1] for one in stored.messages[:4]] == ["payment"] * 2 + ["payout"] * 2


@pytest.mark.parametrize("kept", [3, 100_000])
async def test_streams_opened_at_any_moment_tell_the_log_without_gap_or_repeat(
    api: Api, served: str, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    monkeypatch.setattr("service.api.newest.KEPT", kept)
    monkeypatch.setattr("service.api.newest.PAGE_BYTES", 700)
    monkeypatch.setattr("service.api.streams.ROWS", 7)
    monkeypatch.setattr("service.api.streams.WINDOW", 20)
    done = threading.Event()

    def write() -> None:
        for number in range(120):
            api.append(*(f"p{number % 7}" for _ in range(number % 5 + 1)))
        done.set()

    writer = asyncio.create_task(asyncio.to_thread(write))
    async with AsyncExitStack() as stack:
        sources: list[Source] = []
        while not done.is_set() and len(sources) < 24:
            after = "beginning" if len(sources) % 2 else "now"
            sources.append(
                await stack.enter_async_context(stream(served, api.auth(Role.OPERATOR), after=after))
            )
        await writer
        everything = await api.logged()
        assert len(everything) == 360
        for number, source in enumerate(sources):
            await source.until(partial(has_come_to, source, everything[-1][0]))
            found = told(source.messages)
            assert found == (everything[-len(found) :] if found else [])
            assert not number % 2 or len(found) == 360


def has_come_to(source: Source, position: str) -> bool:
    return source.parser.last_id == position


async def test_an_event_is_sent_within_50_ms_of_its_commit(api: Api, served: str) -> None:
    woken_s = []
    async with stream(served, api.auth(Role.OPERATOR)) as source:
        for number in range(7):
            await asyncio.sleep(0.1)
            await api.log(f"p{number}")
            committed = time.perf_counter()
            await source.count(number + 1)
            woken_s.append(time.perf_counter() - committed)
    assert sorted(woken_s)[3] < 0.050, woken_s  # not the slowest: the machine is shared


@pytest.mark.parametrize("limits", [QUICK])
async def test_heartbeats_are_comments_and_carry_the_place_past_what_is_not_wanted(
    api: Api, served: str, limits: StreamLimits
) -> None:
    async with stream(served, api.auth(Role.OPERATOR), types="midtrans.none") as source:
        assert source.parser.retry_ms == 500
        first = source.parser.last_id
        await source.until(lambda: source.parser.comments >= 3)
        assert source.parser.last_id == first
        await api.log("a", "b")
        await source.until(lambda: source.parser.last_id != first)
        assert (source.parser.last_id, source.messages) == ((await api.logged())[-1][0], [])


# who may read what


async def test_another_epoch_is_gone_with_how_to_go_on(api: Api, served: str) -> None:
    for url, headers in (
        (f"{PATH}?after=00000000-1", {}),
        (PATH, {"Last-Event-ID": "00000000-1"}),
    ):
        answer = await refused(served + url, {**api.auth(Role.OPERATOR), **headers})
        assert answer.status_code == 410
        assert "beginning" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("query", "headers", "field"),
    [
        ("after=yesterday", {}, "after"),
        ("after={epoch}-99", {}, "after"),
        ("", {"Last-Event-ID": "now"}, "Last-Event-ID"),
        ("", {"Last-Event-ID": "{epoch}-99"}, "Last-Event-ID"),
        ("types=", {}, "types"),
        ("types=a,,b", {}, "types"),
        ("types=*settled", {}, "types"),
        ("merchants=Shop", {}, "merchants"),
        ("types=" + ",".join(f"t{number}" for number in range(51)), {}, "types"),
    ],
)
async def test_what_cannot_be_used_is_named(
    api: Api, served: str, query: str, headers: dict[str, str], field: str
) -> None:
    epoch = api.store.epoch
    found = {name: value.format(epoch=epoch) for name, value in headers.items()}
    answer = await refused(
        f"{served}{PATH}?{query.format(epoch=epoch)}", {**api.auth(Role.OPERATOR), **found}
    )
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)


async def test_a_consumers_token_reads_what_its_consumers_let_through(api: Api, served: str) -> None:
    await api.make(types=["midtrans.payment.*"], merchants=["shop-a"])
    mine = api.auth(Role.CONSUMER)
    async with (
        stream(served, mine) as everything,
        stream(served, mine, types="*", merchants="shop-a") as some,
    ):
        await api.log("x", type_="midtrans.payment.settled", merchant="shop-b")
        await api.log("x", type_="midtrans.payout.done", merchant="shop-a")
        await api.log("mine", type_="midtrans.payment.settled", merchant="shop-a")
        for source in (everything, some):
            assert [one[2]["data"]["p"] for one in told(await source.count(1))] == ["mine"]


@pytest.mark.parametrize(
    "query",
    [
        "types=midtrans.*",
        "types=midtrans.payout.done",
        "merchants=shop-b",
        "merchants=shop-a,shop-b",
        "types=midtrans.payment.settled,midtrans.payout.done",
    ],
)
async def test_what_goes_beyond_is_refused(api: Api, served: str, query: str) -> None:
    await api.make(types=["midtrans.payment.*"], merchants=["shop-a"])
    answer = await refused(f"{served}{PATH}?{query}", api.auth(Role.CONSUMER))
    assert (answer.status_code, answer.json()["title"]) == (403, "This token may not do that")


async def test_a_token_without_a_consumer_is_refused(api: Api, served: str) -> None:
    assert (await refused(served + PATH, api.auth(Role.CONSUMER))).status_code == 403
    assert (await refused(served + PATH, api.auth(Role.SHOP))).status_code == 403


@pytest.mark.parametrize("limits", [QUICK])
async def test_a_revoked_token_ends_its_stream_with_and_without_events(
    api: Api, served: str, limits: StreamLimits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.api.auth.CACHE_S", 0.05)
    monkeypatch.setattr("service.api.streams.CHECK_EVERY_S", 0.05)
    await api.make()
    token, secret = api.store.write(lambda unit: unit.tokens.make(Role.CONSUMER, ["shipping"])).result()
    headers = {"Authorization": f"Bearer {secret}"}
    async with stream(served, headers) as idle, stream(served, headers, after="beginning") as lively:
        await api.log("a")
        await lively.count(1)
        await idle.count(1)
        assert api.store.write(lambda unit: unit.tokens.revoke(token.id)).result()
        await asyncio.sleep(0.1)
        await api.log("secret")
        await lively.until(lambda: lively.ended)
        await idle.until(lambda: idle.ended)
        assert "secret" not in lively.text + idle.text


@pytest.mark.parametrize("limits", [QUICK])
async def test_a_consumer_that_wants_less_by_now_ends_the_stream_that_asked_for_more(
    api: Api, served: str, limits: StreamLimits
) -> None:
    await api.make()
    mine = api.auth(Role.CONSUMER)
    async with stream(served, mine, types="midtrans.payment.*") as named, stream(served, mine) as all_of_it:
        await api.make(types=["midtrans.payout.*"])
        await named.until(lambda: named.ended)
        await all_of_it.until(lambda: all_of_it.parser.comments > 3)
        await api.log("x", type_="midtrans.payment.settled")
        await api.log("y", type_="midtrans.payout.done")
        assert [one.event for one in await all_of_it.count(1)] == ["midtrans.payout.done"]

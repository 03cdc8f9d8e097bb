from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import respx

from django_midtrans import (
    Answer,
    AsyncMidtransClient,
    MidtransAPIError,
    MidtransConfigurationError,
    MidtransDuplicateOrderError,
    MidtransError,
    MidtransTransportError,
    MidtransValidationError,
)
from django_midtrans.redaction import in_flight

BASE = "https://api.sandbox.midtrans.com"
STATUS_URL = f"{BASE}/v2/order-1/status"
FOUND = {"status_code": "200", "transaction_status": "settlement"}


@pytest.fixture
def midtrans() -> Iterator[respx.Router]:
    with respx.mock(assert_all_called=False) as router:
        yield router


class Waits(list[float]):
    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


def make_client(**options: Any) -> AsyncMidtransClient:
    options.setdefault("sleep", Waits())
    return AsyncMidtransClient("SB-Mid-server-x", base_url=BASE, jitter=lambda: 1.0, **options)


async def test_an_answer_is_returned_as_it_came(midtrans: respx.Router) -> None:
    midtrans.get(STATUS_URL).respond(json=FOUND)
    async with make_client() as client:
        assert await client.get_status("order-1") == FOUND


@pytest.mark.parametrize(("code", "kind"), [(404, MidtransAPIError), (406, MidtransDuplicateOrderError)])
async def test_errors_are_those_of_the_other_client(
    midtrans: respx.Router, code: int, kind: type[MidtransError]
) -> None:
    midtrans.get(STATUS_URL).respond(json={"status_code": str(code), "status_message": "why"})
    async with make_client() as client:
        with pytest.raises(kind, match="why") as caught:
            await client.get_status("order-1")
    assert (caught.value.status_code, caught.value.http_status) == (code, 200)


async def test_a_failed_exchange_leaves_no_trace_of_the_library(midtrans: respx.Router) -> None:
    midtrans.post(f"{BASE}/v2/charge").mock(side_effect=httpx.ReadTimeout("text of the library"))
    async with make_client() as client:
        with pytest.raises(MidtransTransportError, match="timed out") as caught:
            await client.charge({})
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


async def test_reading_is_repeated_and_moving_money_is_not(midtrans: respx.Router) -> None:
    waits = Waits()
    midtrans.get(STATUS_URL).side_effect = [httpx.Response(503), httpx.Response(200, json=FOUND)]
    charges = midtrans.post(f"{BASE}/v2/charge").respond(503)
    async with make_client(sleep=waits) as client:
        assert await client.get_status("order-1") == FOUND
        with pytest.raises(MidtransAPIError):
            await client.charge({})
    assert (waits, charges.call_count) == ([0.25], 1)


async def test_it_really_sleeps_between_tries(midtrans: respx.Router) -> None:
    midtrans.get(STATUS_URL).side_effect = [httpx.Response(503), httpx.Response(200, json=FOUND)]
    async with AsyncMidtransClient("k", base_url=BASE, jitter=lambda: 0.0) as client:
        started = asyncio.get_running_loop().time()
        await client.get_status("order-1")
        assert asyncio.get_running_loop().time() - started >= 0.1


async def test_a_bad_argument_is_refused_when_awaited() -> None:
    calls = [make_client().get_status(".."), make_client().refund("o", "k", 0)]
    for outcome in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(outcome, MidtransValidationError)


async def test_a_missing_key_is_told_by_the_first_call() -> None:
    with pytest.raises(MidtransConfigurationError, match="MIDTRANS_SERVER_KEY"):
        await AsyncMidtransClient().get_status("order-1")


async def test_every_answer_is_shown_to_the_observer(midtrans: respx.Router) -> None:
    seen: list[Answer] = []
    midtrans.get(STATUS_URL).respond(content=b'{"a": 1}')
    async with make_client(on_answer=seen.append) as client:
        await client.get_status("order-1")
    assert [(answer.endpoint, answer.content) for answer in seen] == [("get_status", b'{"a": 1}')]


async def test_many_coroutines_share_one_pool_and_each_gets_its_answer(midtrans: respx.Router) -> None:
    for number in range(30):
        midtrans.get(f"{BASE}/v2/o-{number}/status").respond(json={"order_id": f"o-{number}"})
    async with make_client() as client:
        answers = await asyncio.gather(*[client.get_status(f"o-{number}") for number in range(30)])
        assert client._pool.get() is client._pool.get()
    assert [answer["order_id"] for answer in answers] == [f"o-{number}" for number in range(30)]


async def test_a_cancelled_call_ends_at_once_and_leaves_nothing_behind(midtrans: respx.Router) -> None:
    async def never(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(60)
        raise AssertionError(request.method)

    midtrans.get(STATUS_URL).mock(side_effect=never)
    async with make_client() as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.get_status("order-1")
        assert in_flight.get() == ()


async def test_an_injected_client_sends_and_stays_open() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"path": request.url.path})

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as ours:
        async with make_client(http_client=ours) as client:
            assert await client.get_status("order-1") == {"path": "/v2/order-1/status"}
        assert not ours.is_closed


def test_each_event_loop_has_connections_of_its_own() -> None:
    client = make_client()

    async def use() -> httpx.AsyncClient:
        pool = client._pool.get()
        await client.close()
        return pool

    first, second = asyncio.run(use()), asyncio.run(use())
    assert first is not second
    assert first.is_closed
    assert second.is_closed


def test_one_client_serves_one_event_loop_after_another(midtrans: respx.Router) -> None:
    midtrans.get(STATUS_URL).respond(json=FOUND)
    client = make_client()

    async def ask() -> dict[str, Any]:
        async with client:
            return await client.get_status("order-1")

    assert [asyncio.run(ask()) for _ in range(2)] == [FOUND, FOUND]

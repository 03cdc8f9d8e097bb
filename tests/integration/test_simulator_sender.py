"""How the simulator posts notifications: what is tried again, what is followed, how it stops."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from service.simulator.sender import NotificationSender

BODY: dict[str, Any] = {"order_id": "o-1", "transaction_status": "pending"}
URL = "http://shop.test/a"


AT_ONCE = 1e9  # a time factor that leaves nothing of the waits


def make(handler: Callable[[httpx.Request], Any], **options: Any) -> NotificationSender:
    options = {"dice": lambda: 0.5, "time_factor": AT_ONCE, **options}
    return NotificationSender(lambda: datetime.now(UTC), transport=httpx.MockTransport(handler), **options)


async def deliver(sender: NotificationSender) -> tuple[str, list[int | None]]:
    sender.send(BODY, merchant_id="G1", urls=[URL])
    await sender.idle()
    await sender.aclose()
    (delivery,) = sender.deliveries
    return delivery.state, [attempt.http_status for attempt in delivery.attempts]


@pytest.mark.parametrize("code", [200, 201, 204, 299])
async def test_any_2xx_ends_it(code: int) -> None:
    assert await deliver(make(lambda _: httpx.Response(code))) == ("delivered", [code])


@pytest.mark.parametrize(
    ("code", "attempts"), [(500, 2), (400, 3), (404, 3), (503, 5), (401, 6), (403, 6), (429, 6), (507, 6)]
)
async def test_a_failure_is_tried_again_as_often_as_midtrans_does(code: int, attempts: int) -> None:
    assert await deliver(make(lambda _: httpx.Response(code))) == ("failed", [code] * attempts)


@pytest.mark.parametrize(("factor", "first_s"), [(1.0, 120.0), (600.0, 0.2)])
async def test_the_waits_are_midtrans_divided_by_the_time_factor(factor: float, first_s: float) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    await deliver(make(lambda _: httpx.Response(403), time_factor=factor, sleep=sleep))
    assert slept == [0.0, *(pytest.approx(first_s * times) for times in (1, 5, 15, 45, 105))]


async def test_the_dice_can_bring_the_first_retry_after_33_seconds() -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    await deliver(make(lambda _: httpx.Response(500), time_factor=1, sleep=sleep, dice=lambda: 0.0))
    assert slept == [0.0, 33.0]


async def test_the_latest_answer_decides_how_often() -> None:
    answers = iter([403, 403, 500])
    assert await deliver(make(lambda _: httpx.Response(next(answers)))) == ("failed", [403, 403, 500])


@pytest.mark.parametrize("code", [301, 302, 303])
async def test_a_redirect_that_would_lose_the_body_fails_at_once(code: int) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200 if request.url.path == "/b" else code, headers={"Location": "/b"})

    assert await deliver(make(handler)) == ("failed", [code])


@pytest.mark.parametrize("code", [307, 308])
async def test_307_and_308_are_followed_with_the_same_post(code: int) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        assert (request.method, json.loads(request.content)) == ("POST", BODY)
        if request.url.path == "/b":
            return httpx.Response(200)
        return httpx.Response(code, headers={"Location": "/b"})

    assert await deliver(make(handler)) == ("delivered", [200])


async def test_at_most_five_hops_are_followed() -> None:
    seen: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.path)
        return httpx.Response(307, headers={"Location": f"/{len(seen)}"})

    assert await deliver(make(handler)) == ("failed", [307] * 6)
    assert len(seen) == 6 * 6


async def test_a_receiver_that_comes_back_gets_it() -> None:
    answers = iter([503, None, 200])

    def handler(request: httpx.Request) -> httpx.Response:
        code = next(answers)
        if code is None:
            raise httpx.ReadError("reset", request=request)
        return httpx.Response(code)

    assert await deliver(make(handler)) == ("delivered", [503, None, 200])


async def test_an_answer_that_takes_too_long_is_a_failure() -> None:
    async def handler(_: httpx.Request) -> httpx.Response:
        await asyncio.sleep(30)
        return httpx.Response(200)

    assert await deliver(make(handler, timeout_s=0.01)) == ("failed", [None] * 6)


async def test_a_url_that_is_none_fails_and_harms_nothing() -> None:
    sender = make(lambda _: httpx.Response(200))
    sender.send(BODY, merchant_id="G1", urls=["http://shop.test:port/", URL])
    await sender.idle()
    assert [delivery.state for delivery in sender.deliveries] == ["failed", "delivered"]
    await sender.aclose()


async def test_no_more_than_the_allowed_number_are_on_their_way_at_once() -> None:
    now, most = 0, 0

    async def handler(_: httpx.Request) -> httpx.Response:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.001)
        now -= 1
        return httpx.Response(200)

    sender = make(handler, concurrency=3)
    for _ in range(20):
        sender.send(BODY, merchant_id="G1", urls=[URL])
    await sender.idle()
    await sender.aclose()
    assert most == 3
    assert {delivery.state for delivery in sender.deliveries} == {"delivered"}


async def test_a_receiver_that_is_waited_for_does_not_hold_up_the_others() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(500 if request.url.path == "/a" else 200)

    sender = make(handler, concurrency=1, time_factor=1)
    sender.send(BODY, merchant_id="G1", urls=[URL, "http://shop.test/b"])
    for _ in range(100):
        await asyncio.sleep(0.005)
        if sender.deliveries[1].state == "delivered":
            break
    assert [delivery.state for delivery in sender.deliveries] == ["waiting", "delivered"]
    await sender.aclose()


async def test_closing_cuts_off_what_waits_and_later_work_is_ignored() -> None:
    sender = make(lambda _: httpx.Response(500), time_factor=1)
    sender.send(BODY, merchant_id="G1", urls=[URL])
    await asyncio.sleep(0.01)
    await asyncio.wait_for(sender.aclose(), 1)
    sender.send(BODY, merchant_id="G1", urls=[URL])
    assert len(sender.deliveries) == 1


async def test_another_thread_may_hand_in_work() -> None:
    sender = make(lambda _: httpx.Response(200))
    sender.start()
    await asyncio.to_thread(sender.send, BODY, merchant_id="G1", urls=[URL])
    await sender.idle()
    assert sender.deliveries[0].state == "delivered"
    await sender.aclose()


async def test_what_is_held_back_goes_when_its_time_is_over() -> None:
    sender = make(lambda _: httpx.Response(200))
    sender.send(BODY, merchant_id="G1", urls=[URL], hold_s=0.02)
    await asyncio.sleep(0.005)
    assert sender.deliveries[0].state == "waiting"
    await sender.idle()
    assert sender.deliveries[0].state == "delivered"
    await sender.aclose()


async def test_what_is_held_back_goes_after_the_one_that_lets_it_go_was_tried() -> None:
    taken: list[str] = []

    def handler(request: httpx.Request) -> httpx.Response:
        taken.append(json.loads(request.content)["transaction_status"])
        return httpx.Response(200)

    sender = make(handler)
    earlier = sender.send(BODY, merchant_id="G1", urls=[URL], hold_s=60)
    later = {**BODY, "transaction_status": "settlement"}
    sender.send(later, merchant_id="G1", urls=[URL], lets_go=earlier)
    await asyncio.wait_for(sender.idle(), 5)
    assert taken == ["settlement", "pending"]
    await sender.aclose()


async def test_what_is_lost_is_shown_and_never_sent() -> None:
    sender = make(lambda _: pytest.fail("it was sent"))
    sender.lose(BODY, merchant_id="G1", urls=[URL])
    await sender.idle()
    assert [(each.state, each.attempts) for each in sender.deliveries] == [("lost", [])]
    await sender.aclose()

"""Waiting lease calls over a real socket: they wake at once, hold no thread, and lend nothing to the gone."""

import asyncio
import socket
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from support.api import Api
from support.sse import came

from service.domain.records import Role

LEASE = "/v1/consumers/shipping/lease"


def leases(answer: dict[str, Any]) -> list[str]:
    return [one["lease"] for one in answer["deliveries"]]


async def waiting(api: Api, url: str, **body: Any) -> "asyncio.Task[tuple[dict[str, Any], float]]":
    """Start a lease call that waits; its result comes with the moment at which it arrived."""

    async def call() -> tuple[dict[str, Any], float]:
        async with httpx.AsyncClient(base_url=url, headers=api.auth(Role.CONSUMER), timeout=60) as client:
            answer = await client.post(LEASE, json={"wait_seconds": 20, **body})
            return answer.json(), time.perf_counter()

    task = asyncio.create_task(call())
    await asyncio.sleep(0.3)
    assert not task.done()
    return task


@pytest.mark.slow
async def test_a_waiting_call_wakes_soon_after_the_event(api: Api, served: str) -> None:
    """50 ms are promised; on SQLite, where nothing goes through a server, less than half is taken."""
    limit_s = 0.020 if api.store.read(lambda unit: unit.connection.dialect.name) == "sqlite" else 0.050
    await api.make()
    woken_s = []
    for number in range(5):
        task = await waiting(api, served)
        await asyncio.to_thread(api.append, f"p{number}")
        committed = time.perf_counter()
        answer, arrived = await task
        assert len(answer["deliveries"]) == 1
        woken_s.append(arrived - committed)
    assert sorted(woken_s)[1] < limit_s, woken_s  # not the slowest: the machine is shared


async def test_a_call_that_waits_in_vain_comes_back_empty_in_time(api: Api, served: str) -> None:
    await api.make()
    began = time.perf_counter()
    answer, arrived = await (await waiting(api, served, wait_seconds=0.6))
    assert answer == {"deliveries": [], "acked": [], "ended": []}
    assert 0.5 < arrived - began < 2.5


async def test_nothing_is_lent_to_a_call_whose_token_was_revoked_while_it_waited(
    api: Api, served: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.api.auth.CACHE_S", 0.05)
    await api.make()
    token, secret = api.store.write(lambda unit: unit.tokens.make(Role.CONSUMER, ["shipping"])).result()
    headers = {"Authorization": f"Bearer {secret}"}
    async with httpx.AsyncClient(base_url=served, headers=headers, timeout=60) as client:
        task = asyncio.create_task(client.post(LEASE, json={"wait_seconds": 20}))
        await asyncio.sleep(0.3)
        assert not task.done()
        assert api.store.write(lambda unit: unit.tokens.revoke(token.id)).result()
        await asyncio.to_thread(api.append, "a")
        assert (await task).status_code == 401
    assert (await api.look())["in_flight"] == 0
    assert len(leases(await api.lease())) == 1


@pytest.mark.slow
async def test_an_ack_is_committed_before_the_call_waits(api: Api, served: str) -> None:
    api.append("a")
    await api.make()
    lent = leases(await api.lease())
    task = await waiting(api, served, ack=lent, wait_seconds=2)
    looked = await api.look()
    while looked["in_flight"] and not task.done():
        looked = await api.look()
    assert (looked["in_flight"], looked["lag"], task.done()) == (0, 0, False)
    assert (await task)[0]["acked"] == lent


async def test_an_ack_wakes_who_waits_for_the_next_event_of_the_payment(api: Api, served: str) -> None:
    api.append("a", "a")
    await api.make()
    lent = leases(await api.lease())
    task = await waiting(api, served)
    await api.post("ack", leases=lent)
    assert [one["event"]["data"]["n"] for one in (await task)[0]["deliveries"]] == [2]


@pytest.mark.parametrize("way", ["seek", "resume", "nack", "redrive"])
async def test_what_makes_an_event_due_wakes_who_waits(api: Api, served: str, way: str) -> None:
    api.append("a")
    await api.make(max_attempts=1 if way == "redrive" else 30)
    lent: list[str] = []
    if way == "resume":
        await api.post("pause")
    else:
        lent = leases(await api.lease())
    if way == "redrive":
        await api.post("nack", leases=lent)
    task = await waiting(api, served)
    calls: dict[str, dict[str, Any]] = {
        "seek": {"path": "seek", "to": "beginning"},
        "resume": {"path": "resume"},
        "nack": {"path": "nack", "leases": lent, "delay_seconds": 0},
        "redrive": {"path": "dead-letters/redrive", "positions": "all"},
    }
    began = time.perf_counter()
    await api.post(**calls[way])
    answer, arrived = await task
    assert len(answer["deliveries"]) == 1
    assert arrived - began < 1


async def test_a_waiting_call_gets_what_comes_due_meanwhile(api: Api, served: str) -> None:
    api.append("a")
    await api.make()
    await api.post("nack", leases=leases(await api.lease()), delay_seconds=0.8)
    began = time.perf_counter()
    answer, arrived = await (await waiting(api, served))
    assert answer["deliveries"][0]["attempt"] == 2
    assert 0.5 < arrived - began < 2.0


@pytest.mark.slow
async def test_nothing_is_lent_to_a_client_that_has_gone(api: Api, served: str) -> None:
    await api.make()
    await asyncio.to_thread(_call_and_hang_up, api, served)
    await asyncio.sleep(0.2)
    await asyncio.to_thread(api.append, "a")
    await asyncio.sleep(0.3)
    looked = await api.look()
    assert (looked["in_flight"], looked["lag"]) == (0, 1)


def _call_and_hang_up(api: Api, url: str) -> None:
    body = b'{"wait_seconds":30}'
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(
            f"POST {LEASE} HTTP/1.1\r\nHost: x\r\nAuthorization: {api.auth(Role.CONSUMER)['Authorization']}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        time.sleep(0.3)


@pytest.mark.slow
async def test_waiting_calls_hold_no_threads_and_one_event_goes_to_one_of_them(api: Api, served: str) -> None:
    await api.make()
    tasks = [await waiting(api, served, wait_seconds=3)]
    more = [asyncio.create_task(_short_wait(api, served)) for _ in range(60)]
    await asyncio.sleep(1)
    assert threading.active_count() < 60
    await asyncio.to_thread(api.append, "a")
    answers = [(await task)[0] for task in tasks] + list(await asyncio.gather(*more))
    assert sum(len(answer["deliveries"]) for answer in answers) == 1


async def _short_wait(api: Api, url: str, wait_seconds: float = 2) -> dict[str, Any]:
    async with httpx.AsyncClient(base_url=url, headers=api.auth(Role.CONSUMER), timeout=60) as client:
        answer: dict[str, Any] = (await client.post(LEASE, json={"wait_seconds": wait_seconds})).json()
        return answer


async def test_closing_the_bell_lets_everybody_go(api: Api, served: str) -> None:
    await api.make()
    task = await waiting(api, served)
    began = time.perf_counter()
    api.app.state.bell.close_soon()
    answer, arrived = await task
    assert answer["deliveries"] == []
    assert arrived - began < 1


@pytest.mark.slow
async def test_sixteen_threads_never_hold_the_same_event_or_payment_at_once(api: Api, served: str) -> None:
    names = [f"p{number % 60}" for number in range(600)]
    await asyncio.to_thread(api.append, *names)
    await api.make()
    lock = threading.Lock()
    held: set[str] = set()
    done: Counter[int] = Counter()
    order: dict[str, list[int]] = {}
    faults: list[str] = []

    def work() -> None:
        with httpx.Client(base_url=served, headers=api.auth(Role.CONSUMER), timeout=30) as client:
            acks: list[str] = []
            for _ in range(1000):
                answer = client.post(LEASE, json={"limit": 5, "wait_seconds": 0, "ack": acks}).json()
                with lock:
                    for one in answer["deliveries"]:
                        payment, number = one["event"]["data"]["p"], one["event"]["data"]["n"]
                        if payment in held:
                            faults.append(payment)
                        held.add(payment)
                        order.setdefault(payment, []).append(number)
                        done[number] += 1
                with lock:
                    held.difference_update(one["event"]["data"]["p"] for one in answer["deliveries"])
                acks = leases(answer)
                if len(done) == len(names) and not acks:
                    return

    with ThreadPoolExecutor(16) as pool:
        futures = [pool.submit(work) for _ in range(16)]
        await asyncio.gather(*(asyncio.wrap_future(future) for future in futures))
    assert not faults
    assert set(done.values()) == {1}
    assert len(done) == 600
    assert all(numbers == sorted(numbers) for numbers in order.values())


async def test_many_waiting_calls_share_their_looks_and_do_not_all_come_for_one_event(
    api: Api, served: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.make(types=["midtrans.payment.settled"])
    tasks = [asyncio.create_task(_short_wait(api, served, 4)) for _ in range(40)]
    assert await came(lambda: len(_turns(api)) == 40)
    reads: list[int] = []
    writes: list[int] = []
    read, write = api.store.read, api.store.write_async

    def counting_read(query: Any) -> Any:
        reads.append(1)
        return read(query)

    def counting_write(work: Any) -> Any:
        writes.append(1)
        return write(work)

    await asyncio.sleep(0.3)
    monkeypatch.setattr(api.store, "read", counting_read)
    monkeypatch.setattr(api.store, "write_async", counting_write)
    for number in range(10):
        await api.log(f"p{number}", type_="midtrans.payment.expired")
        await asyncio.sleep(0.03)
    assert not any(task.done() for task in tasks)
    assert len(reads) <= 12
    assert not writes
    await api.log("wanted")
    assert await came(lambda: any(task.done() for task in tasks))
    await asyncio.sleep(0.2)
    assert (
        len(writes) <= 1 + 2 + 1
    )  # the one that got it, its followers; and one more look may have been under way
    assert sum(len(answer["deliveries"]) for answer in await asyncio.gather(*tasks)) == 1


def _turns(api: Api) -> list[Any]:
    found: list[Any] = api.app.state.lookout._waiting.get("shipping", [])
    return found


async def test_every_one_of_many_waiting_calls_gets_its_event(api: Api, served: str) -> None:
    await api.make()
    body = {"limit": 1, "wait_seconds": 10}
    async with httpx.AsyncClient(
        base_url=served, headers=api.auth(Role.CONSUMER), timeout=60, limits=httpx.Limits()
    ) as client:
        tasks = [asyncio.create_task(client.post(LEASE, json=body)) for _ in range(20)]
        assert await came(lambda: len(_turns(api)) == 20)
        began = time.perf_counter()
        await api.log(*(f"p{number}" for number in range(20)))  # one commit, one ring
        answers = [(await task).json() for task in tasks]
    assert time.perf_counter() - began < 5
    assert {one["event"]["data"]["p"] for answer in answers for one in answer["deliveries"]} == {
        f"p{number}" for number in range(20)
    }


async def test_a_lease_that_is_lost_comes_to_who_waits_although_another_lent_it(
    api: Api, served: str
) -> None:
    await api.make(lease_seconds=1)
    first = await waiting(api, served)
    second = await waiting(api, served)
    await api.log("a")
    for task in (first, second):
        answer, _ = await task
        api.clock.forward(6)  # past the lease and the wait after it
        assert [one["event"]["data"]["p"] for one in answer["deliveries"]] == ["a"]


async def test_calls_that_wait_for_a_consumer_that_is_deleted_are_404(api: Api, served: str) -> None:
    await api.make()
    async with httpx.AsyncClient(base_url=served, headers=api.auth(Role.CONSUMER), timeout=60) as client:
        tasks = [asyncio.create_task(client.post(LEASE, json={"wait_seconds": 20})) for _ in range(3)]
        assert await came(lambda: len(_turns(api)) == 3)
        await api.client.delete("/v1/consumers/shipping")
        assert [(await task).status_code for task in tasks] == [404] * 3


async def test_a_ring_that_got_lost_is_made_up_for(
    api: Api, served: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.api.lookout.LOOK_AGAIN_S", 0.2)
    await api.make()
    task = await waiting(api, served)
    monkeypatch.setattr(api.app.state.bell, "_ring", lambda: None)
    await api.log("a")
    assert len((await asyncio.wait_for(task, 5))[0]["deliveries"]) == 1

"""The shortcut before FastAPI's routing changes nothing that a caller could see."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from support.api import Api

from service.domain.records import Role

SOME = b'"019aaa2c5c0070008000000000000001.0"'
CALLS = {
    "lease": b'{"wait_seconds": 0, "ack": [%s]}' % SOME,
    "ack": b'{"leases": [%s, %s]}' % (SOME, SOME),
    "nack": b'{"leases": [%s], "delay_seconds": 1.5, "reason": "no"}' % SOME,
    "extend": b'{"leases": [%s], "lease_seconds": 5}' % SOME,
}
BODIES = {
    "empty": b"",
    "null": b"null",
    "a list": b"[]",
    "cut": b'{"leases": [',
    "not UTF-8": b'{"leases": ["\xff"]}',
    "a lone surrogate": b'{"leases": ["\\ud800"]}',
    "an unknown field": b'{"leases": [%s], "more": 1}' % SOME,
    "no leases": b'{"leases": []}',
    "a number for a text": b'{"leases": [1]}',
    "a text for a number": b'{"limit": "1", "leases": [%s], "lease_seconds": "1"}' % SOME,
    "not a lease": b'{"leases": ["x"], "ack": ["x"]}',
    "too many": b'{"limit": 1001, "wait_seconds": 61, "lease_seconds": 0, "leases": ["x"]}',
    "a part of a number": b'{"limit": 1.5, "lease_seconds": 1.5, "leases": [%s]}' % SOME,
}


@pytest.fixture
async def long_way(api: Api) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(partial(FastAPI.__call__, api.app))
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
        yield client


async def answers(api: Api, long_way: httpx.AsyncClient, path: str, **request: Any) -> list[Any]:
    found = []
    for client in (api.client, long_way):
        answer = await client.post(path, **{"headers": api.auth(Role.OPERATOR), **request})
        found.append((answer.status_code, answer.headers.multi_items(), answer.content))
    return found


async def test_a_good_call_is_answered_the_same_both_ways(api: Api, long_way: httpx.AsyncClient) -> None:
    await api.make()
    for call, body in CALLS.items():
        short, long = await answers(api, long_way, f"/v1/consumers/shipping/{call}", content=body)
        assert short == long, call
        assert short[0] == 200, short


@pytest.mark.parametrize("call", CALLS)
async def test_a_bad_body_is_answered_the_same_both_ways(
    api: Api, long_way: httpx.AsyncClient, call: str
) -> None:
    await api.make()
    for name, body in BODIES.items():
        if (call, name) in {("lease", "empty"), ("lease", "null")}:
            continue  # nothing is wrong with it
        short, long = await answers(api, long_way, f"/v1/consumers/shipping/{call}", content=body)
        assert short == long, name
        assert short[0] in (400, 422), short


async def test_a_lease_call_needs_no_body(api: Api, long_way: httpx.AsyncClient) -> None:
    await api.make()
    for body in (BODIES["empty"], BODIES["null"]):
        for client in (api.client, long_way):
            api.append(f"{body!r}-{client is long_way}")
            answer = await client.post(
                "/v1/consumers/shipping/lease", content=body, headers=api.auth(Role.OPERATOR)
            )
            assert [one["attempt"] for one in answer.json()["deliveries"]] == [1]


@pytest.mark.parametrize("call", CALLS)
async def test_who_may_not_call_is_told_the_same_both_ways(
    api: Api, long_way: httpx.AsyncClient, call: str
) -> None:
    for role in (None, *Role):
        headers = api.auth(role) if role else {"Authorization": "Bearer mts_unknown"}
        for name in ("shipping", "billing", "UPPER", "shipping/more", "x" * 64):
            path = f"/v1/consumers/{name}/{call}"
            short, long = await answers(api, long_way, path, content=CALLS[call], headers=headers)
            assert short == long, (role, name)
            assert short[0] in (401, 403, 404, 422), short  # there is no such consumer


async def test_good_calls_do_take_the_shortcut(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    await api.make()
    monkeypatch.setattr(FastAPI, "__call__", None)
    for call, body in CALLS.items():
        answer = await api.client.post(f"/v1/consumers/shipping/{call}", content=body)
        assert answer.status_code == 200, call

"""Names are looked up on threads that hold nobody up."""

import asyncio
import socket
import threading
import time
from ipaddress import ip_address
from typing import Any

import pytest

from service.push.network import SystemResolver


async def test_the_system_is_asked() -> None:
    assert ip_address("127.0.0.1") in await SystemResolver()("localhost")


async def test_a_name_without_an_address_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", none)
    with pytest.raises(OSError, match="not known"):
        await SystemResolver()("nowhere.example.com")


async def test_what_is_no_name_at_all_is_an_error() -> None:
    with pytest.raises(OSError, match="is no name"):
        await SystemResolver()("a" * 70 + ".example.com")


async def test_a_name_that_hangs_keeps_one_thread_and_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    release = threading.Event()

    def slowly(name: str, *_: Any, **__: Any) -> Any:
        asked.append(name)
        if name.startswith("slow"):
            release.wait(10)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", slowly)
    resolve = SystemResolver()
    waiting = [asyncio.ensure_future(resolve("slow.example.com")) for _ in range(50)]
    await asyncio.sleep(0.05)
    waiting[0].cancel()  # who gives up takes nobody along
    began_s = time.monotonic()
    assert await resolve("fast.example.com") == [ip_address("127.0.0.1")]
    assert time.monotonic() - began_s < 1
    assert asked.count("slow.example.com") == 1
    release.set()
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(one) for one in found] == [asyncio.CancelledError] + [list] * 49
    await resolve("slow.example.com")
    assert asked.count("slow.example.com") == 2  # an answer is not kept

import asyncio
from typing import Any

import pytest

from service.api.posted import BodyReader, End, Head, path_as_sent, read_head


def reader(*, max_bytes: int = 10, timeout_s: float = 5.0, most_at_once: int = 1) -> BodyReader:
    return BodyReader(max_bytes=max_bytes, timeout_s=timeout_s, most_at_once=most_at_once)


def head(*, length: int = 0) -> Head:
    return Head(encoded=False, length=length, has_body=True, kept={})


class Chunks:
    def __init__(self, *chunks: bytes, gone: bool = False, waits: bool = False) -> None:
        self._messages: list[dict[str, Any]] = [
            {"type": "http.request", "body": chunk, "more_body": gone or waits or chunk is not chunks[-1]}
            for chunk in chunks
        ]
        if gone:
            self._messages.append({"type": "http.disconnect"})

    async def __call__(self) -> dict[str, Any]:
        if not self._messages:
            await asyncio.sleep(60)
        return self._messages.pop(0)


@pytest.mark.parametrize(
    ("receive", "length", "end", "raw"),
    [
        pytest.param(Chunks(b"abc", b"de"), 5, End.WHOLE, b"abcde", id="whole"),
        pytest.param(Chunks(b"abcde", b"fghij"), 0, End.WHOLE, b"abcdefghij", id="just-fits"),
        pytest.param(Chunks(b"abcde", b"fghijk"), 0, End.TOO_LARGE, b"abcdefghijk", id="one-more"),
        pytest.param(Chunks(b"abc"), 11, End.TOO_LARGE, b"", id="says-it-is-too-large"),
        pytest.param(Chunks(b"abc", gone=True), 5, End.GONE, b"abc", id="gone"),
        pytest.param(Chunks(b"abc"), 5, End.CUT, b"abc", id="cut"),
    ],
)
async def test_how_a_body_ends(receive: Chunks, length: int, end: End, raw: bytes) -> None:
    body = await reader().read(head(length=length), receive, "")
    assert (body.end, body.raw) == (end, raw)


async def test_a_body_has_one_time_for_all_its_chunks() -> None:
    body = await reader(timeout_s=0.02).read(head(), Chunks(b"abc", waits=True), "")
    assert (body.end, body.raw, body.more) == (End.TOO_SLOW, b"abc", True)


async def test_no_more_bodies_are_read_at_once_than_fit_into_memory() -> None:
    one = reader(timeout_s=0.05)
    first = asyncio.create_task(one.read(head(), Chunks(b"a", waits=True), ""))
    await asyncio.sleep(0)
    assert (await one.read(head(), Chunks(b"b"), "")).end is End.UNREAD
    await first
    assert (await one.read(head(), Chunks(b"b"), "")).end is End.WHOLE


@pytest.mark.parametrize(
    ("stranger", "other"),
    [
        pytest.param("8.8.8.8", "8.8.4.4", id="two addresses"),
        pytest.param("2600:1:2:3::1", "2600:1:2:4::1", id="two networks"),
        pytest.param("::ffff:8.8.8.8", "::ffff:8.8.4.4", id="two addresses in a socket of both kinds"),
    ],
)
async def test_a_stranger_leaves_three_quarters_of_the_places_to_others(stranger: str, other: str) -> None:
    one = reader(most_at_once=8)
    slow = [asyncio.create_task(one.read(head(), Chunks(b"a", waits=True), stranger)) for _ in range(2)]
    await asyncio.sleep(0)
    assert (await one.read(head(), Chunks(b"b"), stranger)).end is End.UNREAD
    assert (await one.read(head(), Chunks(b"b"), other)).end is End.WHOLE
    for task in slow:
        task.cancel()
    await asyncio.gather(*slow, return_exceptions=True)
    assert (await one.read(head(), Chunks(b"b"), stranger)).end is End.WHOLE


async def test_addresses_of_one_network_share_and_local_ones_have_no_share_to_use_up() -> None:
    one = reader(most_at_once=8)
    sources = ["2600:1:2:3::1", "2600:1:2:3::2", *["127.0.0.1"] * 3, *["10.0.0.7"] * 2]
    slow = [asyncio.create_task(one.read(head(), Chunks(b"a", waits=True), source)) for source in sources]
    await asyncio.sleep(0)
    assert (await one.read(head(), Chunks(b"b"), "2600:1:2:3::3")).end is End.UNREAD
    assert (await one.read(head(), Chunks(b"b"), "127.0.0.1")).end is End.WHOLE
    for task in slow:
        task.cancel()
    await asyncio.gather(*slow, return_exceptions=True)


def scope(*headers: tuple[bytes, bytes], **fields: Any) -> dict[str, Any]:
    return {"headers": list(headers), **fields}


def test_only_headers_that_a_verifier_may_need_are_kept_and_cut() -> None:
    kept = read_head(
        scope((b"x-signature", b"s" * 5_000), (b"authorization", b"secret"), (b"user-agent", b"V\xe9"))
    ).kept
    assert kept == {"x-signature": "s" * 1024, "user-agent": "Vé"}


@pytest.mark.parametrize(
    ("headers", "encoded"),
    [
        ([], False),
        ([b"identity"], False),
        ([b" Identity "], False),
        ([b"gzip"], True),
        ([b"gzip", b"identity"], True),
        ([b"identity", b"gzip"], True),
    ],
)
def test_any_encoding_but_the_identity_counts(headers: list[bytes], encoded: bool) -> None:
    assert read_head(scope(*[(b"content-encoding", value) for value in headers])).encoded is encoded


@pytest.mark.parametrize(
    ("header", "has_body"),
    [
        ((b"content-length", b"0"), False),
        ((b"content-length", b"1"), True),
        ((b"content-length", b"-1"), False),
        ((b"content-length", b"nonsense"), False),
        ((b"transfer-encoding", b"chunked"), True),
    ],
)
def test_a_body_is_known_by_its_length_or_its_chunks(header: tuple[bytes, bytes], has_body: bool) -> None:
    assert read_head(scope(header)).has_body is has_body


def test_a_path_is_kept_as_sent_and_cut() -> None:
    assert path_as_sent(scope(path="/a\0", raw_path=b"/a%00")) == "/a%00"
    assert len(path_as_sent(scope(path="/", raw_path=b"/" * 9_000))) == 512
    assert path_as_sent(scope(path="/a\0")) == "/a\N{REPLACEMENT CHARACTER}"

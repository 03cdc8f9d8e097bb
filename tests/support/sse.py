"""Server-sent events as a browser reads them: the standard's parser, and a source that comes back by itself."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import httpx

from support.shop import Companion


class Message(NamedTuple):
    """What a browser would hand to a listener."""

    id: str
    event: str
    data: str


@dataclass
class Parser:
    """The standard's algorithm (html.spec.whatwg.org, 9.2.6), fed with pieces of any length."""

    last_id: str = ""
    retry_ms: int | None = None
    comments: int = 0
    _rest: str = ""
    _id: str = ""
    _event: str = ""
    _data: list[str] = field(default_factory=list)

    def feed(self, text: str) -> Iterator[Message]:
        *lines, self._rest = (self._rest + text).replace("\r\n", "\n").replace("\r", "\n").split("\n")
        for line in lines:
            if line:
                self._field(line)
            else:
                yield from self._dispatch()

    def _field(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not name:
            self.comments += 1
        elif name == "id":
            self._id = value
        elif name == "event":
            self._event = value
        elif name == "data":
            self._data.append(value)
        elif name == "retry" and value.isdecimal():
            self.retry_ms = int(value)

    def _dispatch(self) -> Iterator[Message]:
        self.last_id = self._id
        if self._data:
            yield Message(self.last_id, self._event or "message", "\n".join(self._data))
        self._data, self._event = [], ""


def told(messages: Iterable[Message]) -> list[tuple[str, str, dict[str, Any]]]:
    """Return (position, type, event) of each."""
    return [(one.id, one.event, json.loads(one.data)) for one in messages]


class Source:
    """One connection, read in the background; `messages` grows."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.parser = Parser()
        self.messages: list[Message] = []
        self.text = ""
        self.ended = False
        """The body has come to its end, or has `failed`."""
        self.failed = False
        self._task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            async for piece in self.response.aiter_text():
                self.text += piece
                self.messages += self.parser.feed(piece)
        except httpx.TransportError:
            self.failed = True
        self.ended = True

    async def opened(self) -> None:
        await self.until(lambda: self.parser.last_id != "")

    async def until(self, happened: Callable[[], bool], within_s: float = 10) -> None:
        assert await came(happened, within_s), self.text[-2000:]

    async def count(self, number: int) -> list[Message]:
        """Return the messages once there are so many."""
        await self.until(lambda: len(self.messages) >= number)
        return self.messages

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def came(happened: Callable[[], bool], within_s: float = 10) -> bool:
    """Wait until *happened* says so; say whether it did in time."""
    deadline = asyncio.get_running_loop().time() + within_s
    while not happened():
        if asyncio.get_running_loop().time() > deadline:
            return False
        await asyncio.sleep(0.002)
    return True


async def refused(url: str, headers: Mapping[str, str]) -> httpx.Response:
    """Return the problem that stands in the place of a stream; *url* is its address with the parameters."""
    async with httpx.AsyncClient(headers=headers, timeout=10) as client:
        answer = await client.get(url)
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer


@asynccontextmanager
async def stream(url: str, headers: Mapping[str, str], **params: Any) -> AsyncIterator[Source]:
    """Open a stream; its first block has come."""
    async with (
        httpx.AsyncClient(base_url=url, timeout=30) as client,
        client.stream("GET", "/v1/events/stream", params=params, headers=headers) as response,
    ):
        assert response.status_code == 200, (await response.aread()).decode()
        source = Source(response)
        try:
            await source.opened()
            yield source
        finally:
            await source.close()


class Listener(Companion):
    """An EventSource: comes back after every end and failure, with the last id that it has seen."""

    def __init__(self, url: str, headers: Mapping[str, str], name: str = "listener", **params: str) -> None:
        super().__init__(name)
        self._client = httpx.Client(base_url=url, timeout=httpx.Timeout(5, read=2), headers=dict(headers))
        self._params = params
        self.read: list[Message] = []
        self.connections = 0
        self.last_id = ""

    def ids(self) -> list[str]:
        """Return the ids of the events, in the order in which they came."""
        return [json.loads(message.data)["id"] for message in self.read]

    def work(self) -> None:
        with self._client:
            while not self.stopping.is_set():
                try:
                    self._connection()
                except httpx.TransportError:
                    self.stopping.wait(0.02)

    def _connection(self) -> None:
        parser = Parser(last_id=self.last_id, _id=self.last_id)
        headers = {"Last-Event-ID": self.last_id} if self.last_id else {}
        with self._client.stream(
            "GET", "/v1/events/stream", params=self._params, headers=headers
        ) as response:
            if response.status_code == 503:
                return
            assert response.status_code == 200, response.read()
            self.connections += 1
            for piece in response.iter_text():
                self.read += parser.feed(piece)
                self.last_id = parser.last_id
                if self.stopping.is_set():
                    return

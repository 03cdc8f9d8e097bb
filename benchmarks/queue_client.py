"""A consumer that costs little: one connection, leases and acks."""

import asyncio
import json
from typing import Any, Final

from benchmarks.load import length_of
from benchmarks.servers import TOKEN

NAME: Final = "bench"


class Consumer:
    """Leases up to *limit* events a call; a call also acks what the one before brought."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, limit: int, name: str = NAME
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._limit = limit
        self._name = name
        self._leases: list[str] = []

    @classmethod
    async def open(cls, port: int, *, limit: int = 100, name: str = NAME) -> "Consumer":
        """Connect, and make the consumer *name* at the log's beginning."""
        made = cls(*await asyncio.open_connection("127.0.0.1", port, limit=2**24), limit=limit, name=name)
        await made._call("PUT", "", {"types": ["midtrans.payment.*"], "start": "beginning"})
        return made

    async def lease(self, *, wait_seconds: int) -> tuple[list[str], int]:
        """Return the orders of the events that were lent, and how many of the last ones are acked now."""
        asked = {"limit": self._limit, "wait_seconds": wait_seconds, "lease_seconds": 60, "ack": self._leases}
        answer = await self._call("POST", "/lease", asked)
        self._leases = [delivery["lease"] for delivery in answer["deliveries"]]
        orders = [delivery["event"]["subject"] for delivery in answer["deliveries"]]
        return orders, len(answer["acked"])

    def close(self) -> None:
        """Hang up."""
        self._writer.close()

    async def _call(self, method: str, path: str, body: dict[str, Any]) -> Any:
        raw = json.dumps(body).encode()
        head = (
            f"{method} /v1/consumers/{self._name}{path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f"Authorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\nContent-Length: {len(raw)}\r\n\r\n"
        )
        self._writer.write(head.encode() + raw)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        answer_body = await self._reader.readexactly(length_of(answer) - len(answer))
        if not answer.startswith(b"HTTP/1.1 2"):
            raise SystemExit(f"{method} {path or 'consumer'} was answered {answer_body!r}")
        return json.loads(answer_body)

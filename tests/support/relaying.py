"""A log of events, relays that publish it, and what must hold of what a broker keeps."""

import json
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import insert

from service.db.store import Store
from service.db.tables import events
from service.db.topic import Topic
from service.db.unit import Unit
from service.domain.relaying import Message, RelaySpec, RelayState
from service.flow.relay_edges import Broker
from service.metrics import Metrics
from service.relayer import Relayer
from support.brokers import Kept, UnderTest


def now() -> datetime:
    return datetime.now(UTC)


class Log:
    """A database with a log, and what was written to it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.store = Store(self.url, clock=now)
        self.store.start()
        self.messages: list[Message] = []

    def append(
        self, *payments: str, type_: str = "midtrans.payment.settled", size: int = 900
    ) -> list[Message]:
        """Log one event for each of *payments*, in order; return them as brokers are to keep them."""
        rows = [self._row(payment, type_, size) for payment in payments]

        def work(unit: Unit) -> int:
            first = unit.log.last_position() + 1
            unit.connection.execute(insert(events), rows)
            unit.announce(Topic.EVENTS)
            return first

        first = self.store.write(work).result(30)
        added = [
            Message(
                first + index,
                str(row["id"]),
                row["type"],
                row["order_id"],
                f"{row['merchant']}/{row['transaction_id']}",
                row["body"].encode(),
            )
            for index, row in enumerate(rows)
        ]
        self.messages += added
        return added

    def append_many(self, count: int, *, payments: int, **more: Any) -> list[Message]:
        """Log *count* events of so many *payments*, in turns."""
        return self.append(*(f"payment-{number % payments}" for number in range(count)), **more)

    def state(self, name: str) -> RelayState:
        return self.store.read(lambda unit: unit.relays.get(name))

    def error(self, name: str = "out") -> str:
        """Return why the relay does not go on; empty when it does, or was not begun yet."""
        states = self.store.read(lambda unit: unit.relays.all())
        return next((state.error or "" for state in states if state.name == name), "")

    def position(self, name: str) -> int:
        states = self.store.read(lambda unit: unit.relays.all())
        return next((state.position for state in states if state.name == name), 0)

    def lag(self, name: str) -> int:
        return self.store.read(lambda unit: unit.relays.ahead(unit.relays.get(name)))

    def _row(self, payment: str, type_: str, size: int) -> dict[str, Any]:
        event_id = uuid.uuid4()
        merchant, _, name = payment.rpartition("/")
        body = {
            "specversion": "1.0",
            "id": str(event_id),
            "type": type_,
            "subject": f"order-of-{name}",
            "partitionkey": f"{merchant or 'default'}/{name}",
            "data": {"order_id": f"order-of-{name}", "metadata": {"filler": "é" + "x" * size}},
        }
        return {
            "id": event_id,
            "merchant": merchant or "default",
            "transaction_id": name,
            "sequence": uuid.uuid4().int >> 97,
            "order_id": f"order-of-{name}",
            "type": type_,
            "made_at": now(),
            "body": json.dumps(
                body, ensure_ascii=False, separators=(", ", ":")
            ),  # not as anybody would write it
        }


class Alarms(list[tuple[str, dict[str, Any]]]):
    """What was sounded."""

    def sound(self, alarm: str, *, merchant: str, **facts: Any) -> None:
        self.append((alarm, facts))

    def names(self) -> list[str]:
        return [name for name, _ in self]


@contextmanager
def relaying(
    log: Log,
    relays: Mapping[str, RelaySpec],
    connect: Callable[[str, RelaySpec], Broker],
    alarms: Alarms | None = None,
) -> Iterator[Relayer]:
    """Relay while the block runs."""
    relayer = Relayer(
        store=log.store,
        relays=relays,
        metrics=Metrics(),
        alarm=(alarms if alarms is not None else Alarms()).sound,
        connect=connect,
    )
    relayer.start()
    try:
        yield relayer
    finally:
        relayer.stop(20)


def until(condition: Callable[[], Any], *, within_s: float = 30, about: Callable[[], Any] = str) -> None:
    """Wait until *condition* holds."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, about()
        time.sleep(0.02)


def check_kept(messages: list[Message], kept: list[Kept], *, up_to: int | None = None) -> None:
    """Check that the broker keeps *messages* (or those *up_to* a position): whole, as stored, each payment in order.

    An event may be there more than once: then it is the same one, byte for byte.
    """
    stored = {message.id: message for message in messages}
    first: dict[str, int] = {}
    for index, one in enumerate(kept):
        assert one.body == stored[one.id].body
        first.setdefault(one.id, index)
    missing = [
        message.position
        for message in messages
        if message.id not in first and (up_to is None or message.position <= up_to)
    ]
    assert missing == []
    order: dict[str, list[int]] = defaultdict(list)
    for identity in first:  # in the order in which they were kept first
        order[stored[identity].partitionkey].append(stored[identity].position)
    for positions in order.values():
        assert positions == sorted(positions)


def is_done(log: Log, name: str = "out") -> bool:
    return bool(log.messages) and log.position(name) >= log.messages[-1].position


def finish(log: Log, broker: UnderTest) -> None:
    """Wait until all is relayed, and look at the place and the broker again and again on the way."""
    deadline = time.monotonic() + 60
    while True:
        position = log.position("out")  # first: what the place says is kept by then
        check_kept(log.messages, broker.kept(), up_to=position)
        if is_done(log):
            break
        assert time.monotonic() < deadline, log.state("out")
        time.sleep(0.05)
    check_kept(log.messages, broker.kept())

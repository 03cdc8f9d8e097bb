"""Relaying: events of the log on their way to a broker, in order per payment, at least once.

```text
take (a fence) ─► read behind the place ─► publish, confirmed by the broker ─► move the place ─► read …
      ▲                                              │ down, full, refusing
      └──── another process, when the lease ends     └─► wait, longer each time, and publish it again
```
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

LEASE: Final = timedelta(seconds=15)
"""How long a relay is held without a sign of life; another process takes it over after it."""
FIRST_WAIT_S: Final = 0.5
LONGEST_WAIT_S: Final = 30.0
JITTER_SHARE: Final = 0.5


@dataclass(frozen=True, slots=True)
class NatsOptions:
    """Where a relay to NATS JetStream publishes: stream *stream*, subject ``<subject>.<type>``."""

    url: str = field(repr=False)
    stream: str = "MIDTRANS"
    subject: str = "midtrans.events"


@dataclass(frozen=True, slots=True)
class RedisOptions:
    """Where a relay to Redis adds; *maxlen* cuts the stream to about so many entries, read or not."""

    url: str = field(repr=False)
    stream: str = "midtrans:events"
    maxlen: int | None = None


@dataclass(frozen=True, slots=True)
class RabbitmqOptions:
    """Where a relay to RabbitMQ publishes: a durable topic exchange, by the event's type."""

    url: str = field(repr=False)
    exchange: str = "midtrans.events"


@dataclass(frozen=True, slots=True)
class KafkaOptions:
    """Where a relay to Kafka produces; *bootstrap_servers* is ``host:port``, several separated by commas."""

    bootstrap_servers: str
    topic: str = "midtrans.events"


Options = NatsOptions | RedisOptions | RabbitmqOptions | KafkaOptions


@dataclass(frozen=True, slots=True)
class RelaySpec:
    """What the settings say of a relay: the *kind* of broker, and which events it gets from where on."""

    kind: str
    options: Options
    types: tuple[str, ...] = ("midtrans.*",)
    merchants: tuple[str, ...] = ("*",)
    start: str = "now"


@dataclass(frozen=True, slots=True)
class Message:
    """An event as brokers get it; *body* is the CloudEvent's JSON, byte for byte as it is stored."""

    position: int
    id: str
    type: str
    subject: str
    partitionkey: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Hold:
    """The right to relay from *position* on, until somebody else's *fence* is higher or the epoch another."""

    fence: int
    epoch: str
    position: int


@dataclass(frozen=True, slots=True)
class Reading:
    """What the log holds behind a place: *messages* that are wanted, and *until* where it was read.

    *head* is the log's end; *paused*: an operator wants nothing to be published just now.
    """

    messages: tuple[Message, ...]
    until: int
    head: int
    paused: bool = False


@dataclass(frozen=True, slots=True)
class RelayState:
    """A relay as stored. *error* says why it does not go on, since *failing_since*."""

    name: str
    kind: str
    types: tuple[str, ...]
    merchants: tuple[str, ...]
    epoch: str
    position: int
    paused: bool
    owner: str | None
    fence: int
    leased_until: datetime | None
    error: str | None
    failing_since: datetime | None
    last_published_at: datetime | None
    created_at: datetime
    updated_at: datetime


def back_off_s(failures: int, jitter: float) -> float:
    """Return how long to wait after *failures* (from 1) in a row: half a second, doubling to 30 s.

    *jitter*, 0 to 1, adds up to half of it: relays of many processes do not come back together.
    """
    wait_s: float = min(FIRST_WAIT_S * 2 ** min(max(failures, 1) - 1, 10), LONGEST_WAIT_S)
    return wait_s * (1 + JITTER_SHARE * jitter)


def waves(batch: Sequence[Message]) -> list[list[int]]:
    """Return the places in *batch* in groups, of which each holds at most one message of a payment, in order.

    A group is published once the one before is confirmed: no message is under way while an earlier one of its
    payment may still fail, so what a broker keeps first of each payment is in order, whatever fails.
    """
    groups: list[list[int]] = []
    seen: dict[str, int] = {}
    for index, message in enumerate(batch):
        number = seen.get(message.partitionkey, 0)
        seen[message.partitionkey] = number + 1
        if number == len(groups):
            groups.append([])
        groups[number].append(index)
    return groups


def first_missing(count: int, kept: Iterable[int]) -> int:
    """Return how many messages from the beginning of a batch of *count* are among those *kept*."""
    found = set(kept)
    return next((index for index in range(count) if index not in found), count)

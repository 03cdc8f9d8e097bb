"""A process that relays. Told to, it stands still when a batch is kept by the broker and the place has not moved.

Its leases are short: a test that stops it does not wait long for another one to take over.
"""

import os
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from service.db import relays
from service.db.relays import Relays
from service.db.store import Store
from service.domain.relaying import (
    KafkaOptions,
    NatsOptions,
    Options,
    RabbitmqOptions,
    RedisOptions,
    RelaySpec,
)
from service.flow import relay as flow
from service.metrics import Metrics
from service.relayer import Relayer

SHORT = timedelta(seconds=2)


def stand_still(*_args: Any, published: bool, **_more: Any) -> None:
    if published:
        print("published", flush=True)  # noqa: T201
        time.sleep(600)


def shorten_leases() -> None:
    """Have leases last two seconds."""
    vars(relays)["LEASE"] = vars(flow)["LEASE"] = SHORT
    vars(flow).update(BEAT_S=SHORT.total_seconds() / 4, LOOK_S=0.1)


def main() -> None:
    url, kind, name, *more = sys.argv[1:]
    where = os.environ["RELAY_URL"]
    made: dict[str, Options] = {
        "nats": NatsOptions(where),
        "redis": RedisOptions(where),
        "rabbitmq": RabbitmqOptions(where, exchange=name),
        "kafka": KafkaOptions(where),
    }
    if "stand-still" in more:
        Relays.move = stand_still  # type: ignore[method-assign]
    shorten_leases()
    store = Store(url, clock=lambda: datetime.now(UTC))
    store.start()
    spec = RelaySpec(kind, made[kind], start="beginning")
    Relayer(store=store, relays={"out": spec}, metrics=Metrics(), alarm=print).start()
    time.sleep(600)


if __name__ == "__main__":
    main()

"""A process that relays, and stands still when a batch is kept by the broker and the place has not moved yet."""

import os
import sys
import time
from datetime import UTC, datetime
from typing import Any

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
from service.metrics import Metrics
from service.relayer import Relayer


def stand_still(*_args: Any, published: bool, **_more: Any) -> None:
    if published:
        print("published", flush=True)  # noqa: T201
        time.sleep(600)


def main() -> None:
    url, kind, name = sys.argv[1:]
    where = os.environ["RELAY_URL"]
    made: dict[str, Options] = {
        "nats": NatsOptions(where),
        "redis": RedisOptions(where),
        "rabbitmq": RabbitmqOptions(where, exchange=name),
        "kafka": KafkaOptions(where),
    }
    Relays.move = stand_still  # type: ignore[method-assign]
    store = Store(url, clock=lambda: datetime.now(UTC))
    store.start()
    spec = RelaySpec(kind, made[kind], start="beginning")
    Relayer(store=store, relays={"out": spec}, metrics=Metrics(), alarm=print).start()
    time.sleep(600)


if __name__ == "__main__":
    main()

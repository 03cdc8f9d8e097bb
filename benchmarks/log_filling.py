"""A log full of events, written past the flow: only what leasing reads is in it."""

import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine, create_engine, func, insert, select, update

from benchmarks.bodies import order_id, transaction_id
from service.db.engine import writer_engine
from service.db.migrate import upgrade
from service.db.tables import events, log
from service.db.unit import Unit

BYTES = 1024
"""Of each event's JSON."""
ROWS_A_COMMIT = 10_000
MERCHANT = "default"
_TYPE = "midtrans.payment.settled"
_SPACE = uuid.UUID("7d3f6a52-1f0e-4a8c-9a36-5f1c0b8e9d21")


def migrated(url: str) -> None:
    """Make the tables."""
    upgrade(url)


def fill(url: str, count: int) -> None:
    """Have the log hold *count* events, one a payment; those that are there stay. The service must not run."""
    engine = _engine(url)
    with engine.begin() as connection:
        there: int = connection.execute(select(func.count()).select_from(events)).scalar_one()
    for first in range(there, count, ROWS_A_COMMIT):
        with engine.begin() as connection:
            connection.execute(insert(events), list(_rows(first, min(first + ROWS_A_COMMIT, count))))
    with engine.begin() as connection:
        Unit(connection, datetime.now(UTC)).log.open()
        connection.execute(update(log).values(last_position=max(there, count)))
    engine.dispose()


def _engine(url: str) -> Engine:
    return writer_engine(url) if url.startswith("sqlite") else create_engine(url)


def _rows(first: int, end: int) -> Iterator[dict[str, Any]]:
    now = datetime.now(UTC)
    for number in range(first, end):
        event_id = uuid.uuid5(_SPACE, str(number))
        yield {
            "position": number + 1,
            "id": event_id,
            "merchant": MERCHANT,
            "transaction_id": transaction_id(number),
            "order_id": order_id(number),
            "sequence": 1,
            "type": _TYPE,
            "made_at": now,
            "body": _event(number, event_id),
        }


def _event(number: int, event_id: uuid.UUID) -> str:
    event = {
        "specversion": "1.0",
        "id": str(event_id),
        "source": f"/midtrans/{MERCHANT}",
        "type": _TYPE,
        "subject": order_id(number),
        "partitionkey": f"{MERCHANT}/{transaction_id(number)}",
        "sequence": "0000000001",
        "data": {"padding": ""},
    }
    event["data"] = {"padding": "x" * (BYTES - len(json.dumps(event, separators=(",", ":"))))}
    return json.dumps(event, separators=(",", ":"))

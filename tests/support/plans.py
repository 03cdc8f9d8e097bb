"""What the database does for a statement: its plan, on a file with some 2,000 rows of everything."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Column, Executable, Table, insert, text

from service.db.engine import writer_engine
from service.db.tables import consumers, log, merchant_states, metadata, relays, tokens
from service.db.types import UtcTime
from service.db.unit import Unit
from support.databases import migrated

ROWS = 2_000
START = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
NOW = START + timedelta(days=1)
SMALL = {table.name for table in (consumers, log, merchant_states, relays, tokens)}
"""Tables that do not grow with what comes in: reading one whole costs nothing."""
_SCAN = re.compile(r"SCAN (?P<name>\w+)")
_INDEX = re.compile(r"USING (?:COVERING )?INDEX (\w+)|USING (INTEGER PRIMARY KEY)")
_STATES = {
    "receipts": ("applied", "applied", "applied", "waiting", "parked"),
    "deliveries": (*("leased", "waiting") * 4, "held", "dead"),
    "payments": ("{}",),
}
_FIXED: Mapping[str, Any] = {
    "kind": "payment",
    "type": "midtrans.payment.settled",
    "status": "settled",
    "push": None,
    "names": "[]",
    "types": '["*"]',
    "merchants": '["*"]',
    "positions": "[1]",
    "role": "consumer",
    "revoked_at": None,
}


@contextmanager
def filled(path: Path, *, analyzed: bool = False) -> Iterator[Unit]:
    """Yield a unit on a migrated database at *path* with rows in every table; nothing of it is kept.

    Row ``n`` stands at position ``n`` and carries id ``n``; odd rows are of merchant ``default``, even ones of
    ``shop-b``, and both n and n + 1 (n even) are of ``order-<n>`` and ``payment-<n>``.
    """
    engine = writer_engine(f"sqlite:///{migrated(path)}")
    with engine.begin() as connection:
        for table in metadata.sorted_tables:
            connection.execute(insert(table), [_row(table, number) for number in _numbers(table)])
        if analyzed:
            connection.execute(text("ANALYZE"))
    with engine.connect() as connection, connection.begin() as transaction:
        yield Unit(connection, NOW)
        transaction.rollback()
    engine.dispose()


def plan(unit: Unit, statement: Executable, params: Mapping[str, Any] | None = None) -> list[str]:
    """Return the steps of *statement*'s plan, as SQLite words them: ``SEARCH events USING INDEX …``."""
    return plans(unit, lambda: unit.connection.execute(statement, params or {}))


def plans(unit: Unit, call: Callable[[], Any]) -> list[str]:
    """Return the steps of every statement that *call* runs on the unit's connection."""
    ran: list[str] = []
    driver: Any = unit.connection.connection.driver_connection
    driver.set_trace_callback(ran.append)
    try:
        call()
    finally:
        driver.set_trace_callback(None)
    return [step for sql in dict.fromkeys(ran) for step in _explain(unit, sql)]


def scans(steps: list[str]) -> set[str]:
    """Return the growing tables (or their aliases) that *steps* read from one end to the other."""
    found = {match["name"] for step in steps if (match := _SCAN.match(step))}
    return found - SMALL - {"CONSTANT"}


def indexes(steps: list[str]) -> set[str]:
    """Return the indexes that *steps* use; ``INTEGER PRIMARY KEY`` is SQLite's rowid."""
    return {match[1] or match[2] for step in steps for match in _INDEX.finditer(step)}


def _explain(unit: Unit, sql: str) -> list[str]:
    driver: Any = unit.connection.connection.driver_connection
    return [row[3] for row in driver.execute(f"EXPLAIN QUERY PLAN {sql}")]


def _numbers(table: Table) -> range:
    if table is log:
        return range(1, 2)
    return range(1, 3 if table.name in SMALL else ROWS + 1)


def _row(table: Table, number: int) -> dict[str, Any]:
    row = {column.name: _value(table, column, number) for column in table.columns}
    if row.get("state") in ("held", "dead"):
        row["due_at"] = None
    return row


def _value(table: Table, column: Column[Any], number: int) -> Any:
    name = column.name
    if name == "state":
        return _STATES[table.name][number % len(_STATES[table.name])]
    if name == "consumer":
        return ("shipping", "billing", "mail", "search")[number // 10 % 4]
    if name == "merchant":
        return "default" if number % 2 else "shop-b"
    if name in ("order_id", "transaction_id"):
        return f"{'order' if name == 'order_id' else 'payment'}-{number - number % 2}"
    if name in _FIXED:
        return _FIXED[name]
    return _of_type(column, number)


def _of_type(column: Column[Any], number: int) -> Any:
    if isinstance(column.type, UtcTime):
        return START + timedelta(seconds=number)
    made: dict[type, Any] = {
        UUID: UUID(int=number),
        bool: False,
        int: number,
        bytes: number.to_bytes(32, "big"),
    }
    return made.get(column.type.python_type, f"{column.name}-{number}")

"""Receipts on SQLite: a batch in few statements of many rows.

Each step of a statement lets go of the interpreter's lock and takes it again, which costs more than the row it stores
when others wait for it. So many rows share a statement, whose text is one of a few: the driver keeps them prepared.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Final
from uuid import UUID

from sqlalchemy import Connection

from service.db.receipt_rows import headers_text
from service.db.types import microseconds
from service.domain.records import NewReceipt, ReceiptState

MOST_ROWS: Final = 64  # of one statement; fewer are 32, 16, 8, 4, 2 and 1

_COLUMNS: Final = (
    "id, merchant, kind, digest, order_id, transaction_id, transaction_status, payment_type, received_at, "
    "source_address, path, headers, key_fingerprint, amount_form, answer, state, reason, due_at, "
    "repeat, answers, failures, seen_times, duplicates"
)
_RECEIPT: Final = f"({', '.join('?' * 18)}, 0, 0, 0, 0, 0)"
_BODY: Final = "(?, ?, ?)"
_IDENTITY: Final = "(?, ?, ?, ?, ?)"


def insert(connection: Connection, new: Sequence[NewReceipt]) -> set[UUID]:
    """Store what of *new*, no two of which are equal, is not there yet; return the ids of those.

    Raises what the driver raises, as it is: SQLAlchemy's own work around a statement would cost as much as storing
    two receipts, eight times a batch.
    """
    cursor = connection.connection.cursor()
    try:
        inserted = 0
        for part in _parts(new):
            values = tuple(chain.from_iterable(map(_receipt, part)))
            cursor.execute(_into_receipts(len(part)), values)
            inserted += cursor.rowcount
        added = new if inserted == len(new) else _there(connection, new)
        for part in _parts(added):
            cursor.execute(_into_bodies(len(part)), tuple(chain.from_iterable(map(_body, part))))
    finally:
        cursor.close()
    return {receipt.id for receipt in added}


def holders(connection: Connection, repeated: Sequence[NewReceipt]) -> dict[UUID, UUID]:
    """Return for each of *repeated*, by its id, which receipt holds the same bytes."""
    found: dict[UUID, UUID] = {}
    for part in _parts(repeated):
        values = tuple(chain.from_iterable(map(_identity, part)))
        for own, held in connection.exec_driver_sql(_holders_of(len(part)), values):
            found[UUID(bytes=own)] = UUID(bytes=held)
    return found


def _there(connection: Connection, new: Sequence[NewReceipt]) -> list[NewReceipt]:
    """Return those of *new* that have a row of their own: the others met one of the same bytes."""
    held = holders(connection, new)
    return [receipt for receipt in new if held[receipt.id] == receipt.id]


def _parts(new: Sequence[NewReceipt]) -> Iterator[Sequence[NewReceipt]]:
    """Cut *new* into stretches of as many rows as there is a statement for."""
    begin, size = 0, MOST_ROWS
    while begin < len(new):
        while size > len(new) - begin:
            size //= 2
        yield new[begin : begin + size]
        begin += size


@lru_cache
def _into_receipts(rows: int) -> str:
    return (
        f"INSERT INTO receipts ({_COLUMNS}) VALUES {', '.join([_RECEIPT] * rows)} "  # noqa: S608
        "ON CONFLICT (order_id, merchant, kind, digest) DO NOTHING"
    )


@lru_cache
def _into_bodies(rows: int) -> str:
    return f"INSERT INTO bodies (receipt_id, received_at, raw) VALUES {', '.join([_BODY] * rows)}"  # noqa: S608


@lru_cache
def _holders_of(rows: int) -> str:
    """Return the search for many: CROSS, so that each is looked up in the index, whatever has been counted."""
    return (
        f"WITH new (id, order_id, merchant, kind, digest) AS (VALUES {', '.join([_IDENTITY] * rows)}) "  # noqa: S608
        "SELECT new.id, receipts.id FROM new CROSS JOIN receipts USING (order_id, merchant, kind, digest)"
    )


def _receipt(receipt: NewReceipt) -> tuple[object, ...]:
    received_at = microseconds(receipt.received_at)
    return (
        receipt.id.bytes,
        receipt.merchant,
        receipt.kind,
        receipt.digest,
        receipt.order_id,
        receipt.transaction_id,
        receipt.transaction_status,
        receipt.payment_type,
        received_at,
        receipt.source_address,
        receipt.path,
        headers_text(tuple(receipt.headers.items())),
        receipt.key_fingerprint,
        receipt.amount_form,
        receipt.answer,
        receipt.state.value,
        receipt.reason,
        received_at if receipt.state is ReceiptState.WAITING else None,
    )


def _body(receipt: NewReceipt) -> tuple[object, ...]:
    return receipt.id.bytes, microseconds(receipt.received_at), receipt.raw


def _identity(receipt: NewReceipt) -> tuple[object, ...]:
    return receipt.id.bytes, receipt.order_id, receipt.merchant, receipt.kind, receipt.digest

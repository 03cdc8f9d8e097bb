"""Receipts on PostgreSQL: all of a batch, bodies too, in one statement, whoever else stores the same."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection

from service.db.receipt_rows import headers_text
from service.domain.records import NewReceipt, ReceiptState

# Each column is one array: the statement's text does not depend on how many receipts there are. An INSERT that meets
# a row which another transaction has not committed yet waits for it, and then does nothing.
_INSERT = """
WITH new AS (
    SELECT * FROM unnest(
        %s::uuid[], %s::text[], %s::text[], %s::bytea[], %s::text[], %s::text[], %s::text[], %s::text[],
        %s::timestamptz[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::smallint[], %s::text[],
        %s::text[], %s::timestamptz[], %s::bytea[]
    ) AS new (
        id, merchant, kind, digest, order_id, transaction_id, transaction_status, payment_type,
        received_at, source_address, path, headers, key_fingerprint, amount_form, answer, state,
        reason, due_at, raw
    )
), added AS (
    INSERT INTO receipts (
        id, merchant, kind, digest, order_id, transaction_id, transaction_status, payment_type,
        received_at, source_address, path, headers, key_fingerprint, amount_form, answer, state,
        reason, due_at, repeat, answers, failures, seen_times, duplicates
    )
    SELECT
        id, merchant, kind, digest, order_id, transaction_id, transaction_status, payment_type,
        received_at, source_address, path, headers, key_fingerprint, amount_form, answer, state,
        reason, due_at, false, 0, 0, 0, 0
    FROM new
    ON CONFLICT (order_id, merchant, kind, digest) DO NOTHING
    RETURNING id
), kept AS (
    INSERT INTO bodies (receipt_id, received_at, raw)
    SELECT new.id, new.received_at, new.raw FROM new JOIN added USING (id)
)
SELECT id FROM added
"""
_HOLDERS = """
SELECT new.id, receipts.id
FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::text[], %s::bytea[]) AS new (id, order_id, merchant, kind, digest)
JOIN receipts USING (order_id, merchant, kind, digest)
"""


def insert(connection: Connection, new: Sequence[NewReceipt], *, now: datetime) -> set[UUID]:
    """Store what of *new*, no two of which are equal, is not there yet, due *now*; return the ids of those."""
    # In one order everywhere: two batches with the same receipts must not wait for each other.
    rows = [_row(one, now) for one in sorted(new, key=_identity)]
    columns = tuple(list(column) for column in zip(*rows, strict=True))
    return set(connection.exec_driver_sql(_INSERT, columns).scalars())


def holders(connection: Connection, repeated: Sequence[NewReceipt]) -> dict[UUID, UUID]:
    """Return for each of *repeated*, by its id, which receipt holds the same bytes."""
    rows = [(one.id, *_identity(one)) for one in repeated]
    columns = tuple(list(column) for column in zip(*rows, strict=True))
    return {row[0]: row[1] for row in connection.exec_driver_sql(_HOLDERS, columns)}


def _identity(receipt: NewReceipt) -> tuple[str, str, str, bytes]:
    return receipt.order_id, receipt.merchant, receipt.kind, receipt.digest


def _row(receipt: NewReceipt, now: datetime) -> tuple[object, ...]:
    return (
        receipt.id,
        receipt.merchant,
        receipt.kind,
        receipt.digest,
        receipt.order_id,
        receipt.transaction_id,
        receipt.transaction_status,
        receipt.payment_type,
        receipt.received_at,
        receipt.source_address,
        receipt.path,
        headers_text(tuple(receipt.headers.items())),
        receipt.key_fingerprint,
        receipt.amount_form,
        receipt.answer,
        receipt.state.value,
        receipt.reason,
        now if receipt.state is ReceiptState.WAITING else None,
        receipt.raw,
    )

"""What the rows of receipts have in common on every database."""

import json
from collections.abc import Collection
from functools import lru_cache
from uuid import UUID

from sqlalchemy import Connection, select

from service.db.tables import receipts


@lru_cache(maxsize=64)  # Midtrans' differ little from one notification to the next
def headers_text(headers: tuple[tuple[str, str], ...]) -> str:
    """Return the kept headers as JSON."""
    return json.dumps(dict(headers))


def hold_receipts(connection: Connection, ids: Collection[UUID]) -> None:
    """Keep others from changing these receipts until the transaction ends.

    Whether a receipt has a body and whether it is open stand in two tables: who cuts the one or sets the other going
    decides by both, in a statement of its own that sees what was done before.
    """
    query = select(receipts.c.id).where(receipts.c.id.in_(ids)).order_by(receipts.c.id).with_for_update()
    connection.execute(query).all()

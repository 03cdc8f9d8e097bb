"""Expectations: what shops said they charged."""

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, delete, insert, select

from service.db.tables import expectations
from service.domain.records import Expectation

if TYPE_CHECKING:
    from service.db.unit import Unit


class Expectations:
    """What shops said they charged, one an order."""

    def __init__(self, unit: "Unit") -> None:
        self._unit = unit
        self._connection = unit.connection

    def put(self, expectation: Expectation) -> None:
        """Keep *expectation* in the place of an earlier one of the order."""
        self._connection.execute(
            delete(expectations).where(
                expectations.c.merchant == expectation.merchant,
                expectations.c.order_id == expectation.order_id,
            )
        )
        self._connection.execute(
            insert(expectations).values(
                merchant=expectation.merchant,
                order_id=expectation.order_id,
                gross_amount=f"{expectation.gross_amount:.2f}",
                expires_at=expectation.expires_at,
                transaction_id=expectation.transaction_id,
                created_at=self._unit.now,
                updated_at=self._unit.now,
            )
        )

    def of_order(self, merchant: str, order_id: str) -> Expectation | None:
        """Return what is expected of the order."""
        query = select(expectations).where(
            expectations.c.merchant == merchant, expectations.c.order_id == order_id
        )
        row = self._connection.execute(query).one_or_none()
        return None if row is None else _expectation(row)

    def order_of(self, merchant: str, transaction_id: str) -> str | None:
        """Return the order that an expectation names for the transaction."""
        query = select(expectations.c.order_id).where(
            expectations.c.merchant == merchant, expectations.c.transaction_id == transaction_id
        )
        order_id: str | None = self._connection.execute(query.limit(1)).scalar()
        return order_id


def _expectation(row: Row[Any]) -> Expectation:
    return Expectation(
        merchant=row.merchant,
        order_id=row.order_id,
        gross_amount=Decimal(row.gross_amount),
        expires_at=row.expires_at,
        transaction_id=row.transaction_id,
    )

"""Expectations: what shops said they charged."""

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, bindparam, delete, insert, select

from service.db.tables import expectations
from service.domain.records import Expectation

if TYPE_CHECKING:
    from service.db.unit import Unit


_OF_ORDER = select(expectations).where(
    expectations.c.merchant == bindparam("b_merchant"), expectations.c.order_id == bindparam("b_order_id")
)
_ORDER_OF = (
    select(expectations.c.order_id)
    .where(
        expectations.c.merchant == bindparam("b_merchant"),
        expectations.c.transaction_id == bindparam("b_transaction_id"),
    )
    .limit(1)
)


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
        row = self._connection.execute(
            _OF_ORDER, {"b_merchant": merchant, "b_order_id": order_id}
        ).one_or_none()
        return None if row is None else _expectation(row)

    def order_of(self, merchant: str, transaction_id: str) -> str | None:
        """Return the order that an expectation names for the transaction."""
        order_id: str | None = self._connection.execute(
            _ORDER_OF, {"b_merchant": merchant, "b_transaction_id": transaction_id}
        ).scalar()
        return order_id


def _expectation(row: Row[Any]) -> Expectation:
    return Expectation(
        merchant=row.merchant,
        order_id=row.order_id,
        gross_amount=Decimal(row.gross_amount),
        expires_at=row.expires_at,
        transaction_id=row.transaction_id,
    )

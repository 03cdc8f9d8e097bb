"""Expectations: what shops said they charged."""

from collections.abc import Collection
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, bindparam, insert, select, update

from django_midtrans.values import money_text
from service.db.tables import expectations
from service.domain.records import Expectation

if TYPE_CHECKING:
    from service.db.unit import Unit


_OF_ORDER = select(expectations).where(
    expectations.c.merchant == bindparam("b_merchant"), expectations.c.order_id == bindparam("b_order_id")
)
_OF_ORDERS = select(expectations).where(
    expectations.c.merchant == bindparam("b_merchant"),
    expectations.c.order_id.in_(bindparam("b_orders", expanding=True)),
)
_ORDER_OF = (
    select(expectations.c.order_id)
    .where(
        expectations.c.merchant == bindparam("b_merchant"),
        expectations.c.transaction_id == bindparam("b_transaction_id"),
    )
    .limit(1)
)


_UPDATE = (
    update(expectations)
    .where(
        expectations.c.merchant == bindparam("b_merchant"),
        expectations.c.order_id == bindparam("b_order_id"),
    )
    .values(
        {name: bindparam(name) for name in ("gross_amount", "expires_at", "transaction_id", "updated_at")}
    )
)


class Expectations:
    """What shops said they charged, one an order."""

    def __init__(self, unit: "Unit") -> None:
        self._unit = unit
        self._connection = unit.connection

    def put(self, expectation: Expectation) -> bool:
        """Keep *expectation* in the place of an earlier one of the order; say whether it is the first."""
        which = {"b_merchant": expectation.merchant, "b_order_id": expectation.order_id}
        facts = {
            "gross_amount": money_text(expectation.gross_amount),
            "expires_at": expectation.expires_at,
            "transaction_id": expectation.transaction_id,
            "updated_at": self._unit.now,
        }
        if self._connection.execute(_UPDATE, which | facts).rowcount:
            return False
        identity = {"merchant": expectation.merchant, "order_id": expectation.order_id}
        self._connection.execute(insert(expectations), identity | facts | {"created_at": self._unit.now})
        return True

    def of_order(self, merchant: str, order_id: str) -> Expectation | None:
        """Return what is expected of the order."""
        row = self._connection.execute(
            _OF_ORDER, {"b_merchant": merchant, "b_order_id": order_id}
        ).one_or_none()
        return None if row is None else _expectation(row)

    def of_orders(self, merchant: str, orders: Collection[str]) -> dict[str, Expectation]:
        """Return what is expected of those of *orders* that were announced, by order_id."""
        rows = self._connection.execute(_OF_ORDERS, {"b_merchant": merchant, "b_orders": list(orders)})
        return {row.order_id: _expectation(row) for row in rows}

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
        created_at=row.created_at,
        changed_at=row.updated_at,
    )

"""Checks: what reconcile is to ask about, and when. One row a payment, or an order of which nothing was heard."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, exists, func, insert, or_, select, update

from service.db.tables import checks, claims, receipts
from service.domain.records import Cause, Check, Claim, ReceiptState

if TYPE_CHECKING:
    from service.db.unit import Unit

DELETE = delete(checks).where(
    checks.c.merchant == bindparam("b_merchant"),
    checks.c.order_id == bindparam("b_order_id"),
    checks.c.transaction_id == bindparam("b_transaction_id"),
)
INSERT = insert(checks)
_HAS_OPEN_RECEIPTS = exists().where(
    receipts.c.state == ReceiptState.WAITING.value,
    receipts.c.merchant == checks.c.merchant,
    receipts.c.order_id == checks.c.order_id,
    or_(checks.c.transaction_id == "", receipts.c.transaction_id == checks.c.transaction_id),
)
"""Of what the check asks about: they ask anyway, and go first. Ones that name a made-up transaction do not."""

# Made once: each turn of the dispatcher asks both, and making them costs more than running them.
_ANY_DUE = (
    select(checks.c.due_at)
    .where(
        checks.c.merchant == bindparam("b_merchant"),
        checks.c.due_at <= bindparam("b_now"),
        ~_HAS_OPEN_RECEIPTS,
    )
    .limit(1)
)
_NEXT_DUE = (
    select(checks.c.due_at)
    .where(checks.c.merchant == bindparam("b_merchant"), ~_HAS_OPEN_RECEIPTS)
    .order_by(checks.c.due_at)
    .limit(1)
)


class Checks:
    """What is to be asked about although nobody notified it."""

    def __init__(self, unit: "Unit") -> None:
        self._unit = unit
        self._connection = unit.connection

    def put(self, check: Check, due_at: datetime | None, *, failures: int = 0) -> None:
        """Have *check* asked about at *due_at*; None: not any more."""
        self._unit.claims.hold(check.merchant, [check.order_id])
        self._connection.execute(DELETE, key(check))
        if due_at is not None:
            self._connection.execute(INSERT, plan(check, due_at, failures))

    def planned_at(self, merchant: str, order_id: str) -> datetime | None:
        """Return when the order is asked about next although nobody notified it; None: it is not."""
        query = select(func.min(checks.c.due_at)).where(
            checks.c.merchant == merchant, checks.c.order_id == order_id
        )
        moment: datetime | None = self._connection.execute(query).scalar()
        return moment

    def any_due(self, merchant: str) -> bool:
        """Say whether `take` may find anything: cheap, and asked outside the writer."""
        which = {"b_merchant": merchant, "b_now": self._unit.now}
        return self._connection.execute(_ANY_DUE, which).first() is not None

    def next_due_at(self, merchant: str) -> datetime | None:
        """Return when the next check of *merchant* is due."""
        moment: datetime | None = self._connection.execute(_NEXT_DUE, {"b_merchant": merchant}).scalar()
        return moment

    def take(self, *, owner: str, merchant: str, limit: int, leased_until: datetime) -> list[Claim]:
        """Claim up to *limit* orders whose checks are due, those with open receipts left out: these ask anyway."""
        busy = exists().where(
            claims.c.merchant == checks.c.merchant,
            claims.c.order_id == checks.c.order_id,
            claims.c.leased_until > self._unit.now,
        )
        query = (
            select(checks.c.order_id, checks.c.transaction_id, checks.c.failures)
            .where(
                checks.c.merchant == merchant,
                checks.c.due_at <= self._unit.now,
                ~busy,
                ~_HAS_OPEN_RECEIPTS,
            )
            .order_by(checks.c.due_at)
            .limit(limit)
            .with_for_update(of=checks, skip_locked=True)
        )
        due: dict[str, Check] = {}
        for row in self._connection.execute(query):
            check = Check(merchant, row.order_id, row.transaction_id or None, row.failures)
            due.setdefault(row.order_id, check)
        return self._claim(list(due.values()), owner, leased_until)

    def _claim(self, due: list[Check], owner: str, leased_until: datetime) -> list[Claim]:
        if not due:
            return []
        merchant = due[0].merchant
        orders = [check.order_id for check in due]
        fences = self._unit.claims.make(merchant, orders, owner, leased_until)
        due = [check for check in due if check.order_id in fences]
        for check in due:  # not due again before the claim's time is over
            self._connection.execute(
                update(checks)
                .where(
                    checks.c.merchant == check.merchant,
                    checks.c.order_id == check.order_id,
                    checks.c.transaction_id == (check.transaction_id or ""),
                )
                .values(due_at=leased_until)
            )
        transactions = [check.transaction_id for check in due if check.transaction_id]
        known = self._unit.payments.get_many(merchant, transactions)
        return [
            Claim(
                fence=fences[check.order_id],
                merchant=check.merchant,
                order_id=check.order_id,
                transaction_id=check.transaction_id,
                receipts=(),
                leased_until=leased_until,
                payment=known.get(check.transaction_id or ""),
                cause=Cause.RECONCILE,
                check=check,
            )
            for check in due
        ]


def key(check: Check) -> dict[str, Any]:
    """Return *check* in the terms of `DELETE`."""
    return {
        "b_merchant": check.merchant,
        "b_order_id": check.order_id,
        "b_transaction_id": check.transaction_id or "",
    }


def plan(check: Check, due_at: datetime, failures: int) -> dict[str, Any]:
    """Return *check* in the terms of `INSERT`."""
    return {
        "merchant": check.merchant,
        "order_id": check.order_id,
        "transaction_id": check.transaction_id or "",
        "due_at": due_at,
        "failures": failures,
    }

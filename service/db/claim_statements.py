"""The statements on claims and on the receipts under them, built once.

Each names one merchant: SQLite searches no index for pairs of columns in a list.
"""

from sqlalchemy import (
    ColumnElement,
    bindparam,
    delete,
    exists,
    func,
    insert,
    literal_column,
    select,
    update,
)
from sqlalchemy.dialects import postgresql

from service.db.tables import bodies, claims, expectations, receipts
from service.domain.records import ReceiptState

MOST_RECEIPTS = 100
"""Of one claim; the next one answers the rest. A genuine body can be altered without end: more would fill memory."""
MOST_RIVALS = 5
CUT = 500
"""Rows that one unit of work changes at most, so that the writer is soon free again."""

WAITING: ColumnElement[str] = literal_column(f"'{ReceiptState.WAITING.value}'")
"""Written out, so that partial indexes apply without a look at bound values."""

CHECK = select(claims.c.fence).where(claims.c.fence == bindparam("b_fence")).with_for_update()
"""Held until the transaction ends: who takes the order over waits until then, and finds it free or decided."""
FREE = delete(claims).where(claims.c.fence == bindparam("b_fence"))
DROP_ENDED = delete(claims).where(
    claims.c.merchant == bindparam("b_merchant"),
    claims.c.order_id.in_(bindparam("b_orders", expanding=True)),
    claims.c.leased_until <= bindparam("b_now"),
)
MAKE = insert(claims).returning(claims.c.order_id, claims.c.fence)
MAKE_AMONG_OTHERS = (
    postgresql.insert(claims)
    .on_conflict_do_nothing(index_elements=["merchant", "order_id"])
    .returning(claims.c.order_id, claims.c.fence)
)
"""Returns nothing of an order that another process claimed first, for which it waits."""
FIRST_DUE = select(func.min(receipts.c.due_at)).where(
    receipts.c.state == WAITING,
    receipts.c.merchant == bindparam("b_merchant"),
    receipts.c.repeat == bindparam("b_repeat"),
)
ASKED_NOW = exists().where(
    claims.c.merchant == receipts.c.merchant,
    claims.c.order_id == receipts.c.order_id,
    claims.c.leased_until > bindparam("b_now"),
)
_earlier = receipts.alias("earlier")
_FIRST_TRANSACTION = (
    select(_earlier.c.transaction_id)
    .where(
        _earlier.c.merchant == receipts.c.merchant,
        _earlier.c.order_id == receipts.c.order_id,
        _earlier.c.transaction_id.is_not(None),
    )
    .order_by(_earlier.c.id)
    .limit(1)
    .scalar_subquery()
    .label("first_transaction")
)
"""Of the order: the transaction that its first notification named."""
ANY = (
    select(receipts.c.id, receipts.c.order_id, receipts.c.transaction_id, _FIRST_TRANSACTION)
    .where(
        receipts.c.state == WAITING,
        receipts.c.merchant == bindparam("b_merchant"),
        receipts.c.repeat == bindparam("b_repeat"),
        ~ASKED_NOW,
    )
    .order_by(receipts.c.due_at)
    .limit(bindparam("b_limit"))
    .with_for_update(of=receipts, skip_locked=True)  # of several processes each takes others
)
DUE = ANY.where(receipts.c.due_at <= bindparam("b_now"))
FURTHER = (
    select(receipts.c.id)
    .where(
        receipts.c.state == WAITING,
        receipts.c.merchant == bindparam("b_merchant"),
        receipts.c.order_id == bindparam("b_order_id"),
        receipts.c.repeat == bindparam("b_repeat"),
        receipts.c.transaction_id.not_in(bindparam("b_not", expanding=True)),
    )
    .limit(CUT)
)
TO_REPEATS = update(receipts).where(receipts.c.id.in_(FURTHER)).values(repeat=True)
_OPEN = (
    select(
        receipts.c.id,
        receipts.c.order_id,
        receipts.c.transaction_id,
        receipts.c.due_at,
        receipts.c.answers,
        receipts.c.failures,
        receipts.c.reason,
        receipts.c.seen_status,
        receipts.c.seen_times,
        receipts.c.seen_since,
        receipts.c.repeat,
        bodies.c.raw,
    )
    .join(bodies, bodies.c.receipt_id == receipts.c.id)
    .where(receipts.c.state == WAITING, receipts.c.merchant == bindparam("b_merchant"))
)
# Unsorted: sorting by a column of the other index could make a database read all that is due.
OPEN_OF_ORDERS = _OPEN.where(receipts.c.order_id.in_(bindparam("b_orders", expanding=True))).limit(
    bindparam("b_most")
)
_OPEN_OF_ORDER = (
    _OPEN.where(receipts.c.order_id == bindparam("b_order_id"))
    .order_by(receipts.c.due_at)
    .limit(MOST_RECEIPTS)
)
OPEN = _OPEN_OF_ORDER.where(receipts.c.transaction_id == bindparam("b_transaction_id"))
OPEN_WITHOUT_TRANSACTION = _OPEN_OF_ORDER.where(receipts.c.transaction_id.is_(None))
EXPECTED = select(expectations.c.order_id, expectations.c.transaction_id).where(
    expectations.c.merchant == bindparam("b_merchant"),
    expectations.c.order_id.in_(bindparam("b_orders", expanding=True)),
)
RIVALS = (
    select(receipts.c.order_id)
    .where(
        receipts.c.state == WAITING,
        receipts.c.merchant == bindparam("b_merchant"),
        receipts.c.transaction_id == bindparam("b_transaction_id"),
        receipts.c.order_id != bindparam("b_order_id"),
        receipts.c.id < bindparam("b_first"),
    )
    .limit(MOST_RIVALS)
)
SETTLE = (
    update(receipts)
    .where(receipts.c.id == bindparam("b_id"), receipts.c.fence == bindparam("b_fence"))
    .values(
        state=bindparam("b_state"),
        reason=bindparam("b_reason"),
        due_at=bindparam("b_due_at"),
        repeat=bindparam("b_repeat"),
        answers=bindparam("b_answers"),
        failures=bindparam("b_failures"),
        seen_status=bindparam("b_seen_status"),
        seen_times=bindparam("b_seen_times"),
        seen_since=bindparam("b_seen_since"),
        ended_at=bindparam("b_ended_at"),
        fence=None,
    )
)
MARK = (
    update(receipts)
    .where(receipts.c.id == bindparam("b_id"))
    .values(fence=bindparam("b_fence"), due_at=bindparam("b_due_at"))
)
GIVE_BACK = (
    update(receipts)
    .where(
        receipts.c.id == bindparam("b_id"),
        receipts.c.fence == bindparam("b_fence"),
        receipts.c.state == WAITING,
    )
    .values(fence=None, due_at=bindparam("b_due_at"))
)

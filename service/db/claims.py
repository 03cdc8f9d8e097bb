"""Claims: the right to ask about one order, with a fence; and what a claim's answer makes of its receipts."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, and_, bindparam, delete, exists, func, insert, select, tuple_, update

from service.db.tables import bodies, claims, expectations, payments, receipts
from service.db.topic import Topic
from service.domain.confirmation import ReceiptStep
from service.domain.records import Claim, ClaimedReceipt, ReceiptState
from service.errors import ClaimLost

if TYPE_CHECKING:
    from service.db.unit import Unit

Order = tuple[str, str]
"""(merchant, order_id)"""

_WAITING = ReceiptState.WAITING.value
MOST_RECEIPTS = 100
"""Of one claim. A genuine body can be altered without end: more would fill memory and hold the writer."""
MOST_MOVED = 1000
"""Receipts that one `take` moves to the lane of repeats."""


class Claims:
    """Claims on orders and the receipts under them. All times are the unit's own: one clock decides."""

    def __init__(self, unit: "Unit") -> None:
        self._unit = unit
        self._connection = unit.connection

    def take(
        self,
        *,
        owner: str,
        merchants: Collection[str],
        limit: int,
        leased_until: datetime,
        repeat: bool,
        at_once: bool = False,
    ) -> list[Claim]:
        """Claim up to *limit* orders whose receipts are due, the longest due first.

        Each claim holds the open receipts of one transaction of its order, at most `MOST_RECEIPTS`, those due
        first; what arrives later is not in it.
        *at_once* takes what is not due yet too, of either lane: a paused account is probed so.
        """
        due = self._due(merchants, limit, repeat=repeat, at_once=at_once)
        if not repeat and not at_once and due:
            due = self._without_further_unproven(due) or self._without_further_unproven(
                self._due(merchants, limit, repeat=repeat, at_once=at_once)
            )
        if not due:
            return []
        fences = self.make(due.keys(), owner, leased_until)
        rows = self._open_receipts(due)
        self._mark(rows, fences, leased_until)
        return self._claims(due, fences, rows, leased_until)

    def make(self, orders: Collection[Order], owner: str, leased_until: datetime) -> dict[Order, int]:
        """Claim *orders*, none of which is claimed by a living process; return their fences."""
        self._connection.execute(
            delete(claims).where(
                tuple_(claims.c.merchant, claims.c.order_id).in_(orders),
                claims.c.leased_until <= self._unit.now,
            )
        )
        made = self._connection.execute(
            insert(claims).returning(claims.c.merchant, claims.c.order_id, claims.c.fence),
            [
                {"merchant": merchant, "order_id": order_id, "owner": owner, "leased_until": leased_until}
                for merchant, order_id in orders
            ],
        )
        return {(row.merchant, row.order_id): row.fence for row in made}

    def any_due(self, merchant: str, *, repeat: bool, at_once: bool = False) -> bool:
        """Say whether `take` may find anything: cheap, and asked outside the writer."""
        query = select(receipts.c.id).where(
            receipts.c.state == _WAITING,
            *((receipts.c.repeat.is_(repeat), receipts.c.due_at <= self._unit.now) if not at_once else ()),
            receipts.c.merchant == merchant,
        )
        return self._connection.execute(query.limit(1)).first() is not None

    def next_due_at(self, merchants: Collection[str]) -> datetime | None:
        """Return when the next receipt of *merchants* is due."""
        query = select(func.min(receipts.c.due_at)).where(
            receipts.c.state == _WAITING,
            receipts.c.repeat.in_((False, True)),
            receipts.c.merchant.in_(merchants),
        )
        moment: datetime | None = self._connection.execute(query).scalar()
        return moment

    def check(self, claim: Claim) -> None:
        """Raise ClaimLost unless *claim* still holds its order."""
        if self._connection.execute(_CHECK, {"b_fence": claim.fence}).scalar() is None:
            raise ClaimLost(f"claim {claim.fence} on order {claim.order_id!r} was taken over")

    def end(self, claim: Claim, steps: Sequence[ReceiptStep]) -> None:
        """Write what became of the claim's receipts and free the order."""
        if steps:
            self._connection.execute(_SETTLE, [self._settled(step, claim.fence) for step in steps])
        self._connection.execute(_FREE, {"b_fence": claim.fence})

    def give_back(self, claim: Claim) -> None:
        """Free the order without an answer: its receipts are due at once."""
        self._connection.execute(
            update(receipts)
            .where(receipts.c.fence == claim.fence, receipts.c.state == _WAITING)
            .values(due_at=self._unit.now, fence=None)
        )
        self._connection.execute(_FREE, {"b_fence": claim.fence})

    def owners(self) -> list[str]:
        """Return who holds claims."""
        return list(self._connection.execute(select(claims.c.owner).distinct()).scalars())

    def free(self, owner: str) -> None:
        """Free the orders that *owner*, who is gone, had claimed."""
        held = select(claims.c.fence).where(claims.c.owner == owner)
        self._connection.execute(
            update(receipts)
            .where(receipts.c.state == _WAITING, receipts.c.fence.in_(held))
            .values(due_at=self._unit.now, fence=None)
        )
        self._connection.execute(delete(claims).where(claims.c.owner == owner))

    def hurry(self, merchant: str) -> None:
        """Make what waits of *merchant* due at once: its account answers again."""
        self._connection.execute(
            update(receipts)
            .where(
                receipts.c.state == _WAITING,
                receipts.c.merchant == merchant,
                receipts.c.fence.is_(None),
                receipts.c.due_at > self._unit.now,
            )
            .values(due_at=self._unit.now)
        )
        self._unit.announce(Topic.RECEIPTS)

    def rivals(self, merchant: str, transaction_id: str, order_id: str, first: Any) -> tuple[str, ...]:
        """Return other orders whose open receipts claimed the transaction before receipt *first* arrived."""
        query = (
            select(receipts.c.order_id)
            .distinct()
            .where(
                receipts.c.state == _WAITING,
                receipts.c.merchant == merchant,
                receipts.c.transaction_id == transaction_id,
                receipts.c.order_id != order_id,
                receipts.c.id < first,
            )
        )
        return tuple(self._connection.execute(query).scalars())

    def _due(
        self, merchants: Collection[str], limit: int, *, repeat: bool, at_once: bool
    ) -> dict[Order, str | None]:
        """Return the orders to claim, each with the transaction to ask about."""
        asked_now = exists().where(
            claims.c.merchant == receipts.c.merchant,
            claims.c.order_id == receipts.c.order_id,
            claims.c.leased_until > self._unit.now,
        )
        query = (
            select(receipts.c.merchant, receipts.c.order_id, receipts.c.transaction_id)
            .where(
                receipts.c.state == _WAITING,
                *(
                    (receipts.c.repeat.is_(repeat), receipts.c.due_at <= self._unit.now)
                    if not at_once
                    else ()
                ),
                receipts.c.merchant.in_(merchants),
                ~asked_now,
            )
            .order_by(receipts.c.due_at)
            .limit(limit)
        )
        due: dict[Order, str | None] = {}
        for row in self._connection.execute(query):
            due.setdefault((row.merchant, row.order_id), row.transaction_id)
        return due

    def _without_further_unproven(self, due: dict[Order, str | None]) -> dict[Order, str | None]:
        """Move claims on a further transaction of an order, unproven so far, to the lane of repeats.

        One genuine body lets anyone name any number of transactions under its order; the first one and known
        payments are asked about at full speed. All that the orders hold is moved at once, so that it does not
        stand before the others.
        """
        if not due:
            return due
        earliest = (
            select(func.min(receipts.c.id).label("id"))
            .where(
                tuple_(receipts.c.merchant, receipts.c.order_id).in_(due.keys()),
                receipts.c.transaction_id.is_not(None),
            )
            .group_by(receipts.c.merchant, receipts.c.order_id)
            .subquery()
        )
        first = receipts.alias()
        query = (
            select(receipts.c.id, receipts.c.merchant, receipts.c.order_id, receipts.c.transaction_id)
            .join(
                first,
                and_(first.c.merchant == receipts.c.merchant, first.c.order_id == receipts.c.order_id),
            )
            .join(earliest, earliest.c.id == first.c.id)
            .where(
                receipts.c.state == _WAITING,
                receipts.c.repeat.is_(False),
                receipts.c.due_at <= self._unit.now,
                tuple_(receipts.c.merchant, receipts.c.order_id).in_(due.keys()),
                receipts.c.transaction_id != first.c.transaction_id,
                ~exists().where(
                    payments.c.merchant == receipts.c.merchant,
                    payments.c.transaction_id == receipts.c.transaction_id,
                    payments.c.order_id == receipts.c.order_id,
                ),
            )
            .order_by(receipts.c.due_at)
            .limit(MOST_MOVED)
        )
        rows = self._connection.execute(query).all()
        if rows:
            self._connection.execute(_REPEAT, [{"b_id": row.id} for row in rows])
        further = {(row.merchant, row.order_id, row.transaction_id) for row in rows}
        return {order: asked for order, asked in due.items() if (*order, asked) not in further}

    def _open_receipts(self, due: Mapping[Order, str | None]) -> dict[Order, list[Row[Any]]]:
        pair = (receipts.c.merchant, receipts.c.order_id)
        named = func.coalesce(receipts.c.transaction_id, "")
        place = func.row_number().over(partition_by=(*pair, named), order_by=receipts.c.due_at)
        open_ones = (
            select(receipts.c.id, place.label("place"))
            .where(
                receipts.c.state == _WAITING,
                tuple_(*pair).in_(due.keys()),
                named.in_({asked or "" for asked in due.values()}),
            )
            .subquery()
        )
        query = (
            select(receipts, bodies.c.raw)
            .join(bodies, bodies.c.receipt_id == receipts.c.id)
            .join(open_ones, open_ones.c.id == receipts.c.id)
            .where(open_ones.c.place <= MOST_RECEIPTS)
            .order_by(receipts.c.id)
        )
        found: dict[Order, list[Row[Any]]] = {order: [] for order in due}
        for row in self._connection.execute(query):
            order = (row.merchant, row.order_id)
            if row.transaction_id == due[order]:
                found[order].append(row)
        return found

    def _mark(
        self, rows: Mapping[Order, list[Row[Any]]], fences: Mapping[Order, int], leased_until: datetime
    ) -> None:
        """Note who will answer; not due again before the claim's time is over."""
        marks = [
            {"b_id": row.id, "b_fence": fences[order], "b_due_at": leased_until}
            for order, found in rows.items()
            for row in found
        ]
        self._connection.execute(_MARK, marks)

    def _claims(
        self,
        due: Mapping[Order, str | None],
        fences: Mapping[Order, int],
        rows: Mapping[Order, list[Row[Any]]],
        leased_until: datetime,
    ) -> list[Claim]:
        known = self._unit.payments.get_many(
            [(merchant, transaction_id) for (merchant, _), transaction_id in due.items() if transaction_id]
        )
        expected = self._expected(due)
        return [
            Claim(
                fence=fences[order],
                merchant=order[0],
                order_id=order[1],
                transaction_id=transaction_id,
                receipts=tuple(map(_claimed_receipt, rows[order])),
                leased_until=leased_until,
                payment=known.get((order[0], transaction_id or "")),
                expected_transaction=expected.get(order),
            )
            for order, transaction_id in due.items()
        ]

    def _expected(self, due: Iterable[Order]) -> dict[Order, str | None]:
        query = select(expectations.c.merchant, expectations.c.order_id, expectations.c.transaction_id).where(
            tuple_(expectations.c.merchant, expectations.c.order_id).in_(list(due))
        )
        return {(row.merchant, row.order_id): row.transaction_id for row in self._connection.execute(query)}

    def _settled(self, step: ReceiptStep, fence: int) -> dict[str, Any]:
        waiting = step.state is ReceiptState.WAITING
        return {
            "b_id": step.id,
            "b_fence": fence,
            "b_state": step.state.value,
            "b_reason": step.reason,
            "b_due_at": step.due_at,
            "b_repeat": step.repeat,
            "b_answers": step.answers,
            "b_failures": step.failures,
            "b_seen_status": step.seen_status,
            "b_seen_times": step.seen_times,
            "b_seen_since": step.seen_since,
            "b_ended_at": None if waiting else self._unit.now,
        }


# Made once: making a statement costs more than running it.
_CHECK = select(claims.c.fence).where(claims.c.fence == bindparam("b_fence"))
_FREE = delete(claims).where(claims.c.fence == bindparam("b_fence"))
_SETTLE = (
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
_REPEAT = update(receipts).where(receipts.c.id == bindparam("b_id")).values(repeat=True)
_MARK = (
    update(receipts)
    .where(receipts.c.id == bindparam("b_id"))
    .values(fence=bindparam("b_fence"), due_at=bindparam("b_due_at"))
)


def _claimed_receipt(row: Row[Any]) -> ClaimedReceipt:
    return ClaimedReceipt(
        id=row.id,
        raw=row.raw,
        received_at=row.received_at,
        answers=row.answers,
        failures=row.failures,
        seen_status=row.seen_status,
        seen_times=row.seen_times,
        seen_since=row.seen_since,
        repeat=row.repeat,
    )

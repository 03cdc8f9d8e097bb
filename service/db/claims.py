"""Claims: the right to ask about one order, with a fence; and what a claim's answer makes of its receipts.

Each query names one merchant: SQLite searches no index for pairs of columns in a list.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from operator import attrgetter
from typing import TYPE_CHECKING, Any
from uuid import UUID

from sqlalchemy import Row, select, update

from service.db import claim_statements as sql
from service.db.bulk import execute_many
from service.db.tables import claims, receipts
from service.db.topic import Topic
from service.domain.confirmation import ReceiptStep
from service.domain.records import Claim, ClaimedReceipt, PaymentRecord, ReceiptState
from service.errors import ClaimLost

if TYPE_CHECKING:
    from service.db.unit import Unit


class Claims:
    """Claims on orders and the receipts under them. All times are the unit's own: one clock decides."""

    def __init__(self, unit: "Unit") -> None:
        self._unit = unit
        self._connection = unit.connection

    def take(
        self,
        *,
        owner: str,
        merchant: str,
        limit: int,
        leased_until: datetime,
        repeat: bool,
        at_once: bool = False,
    ) -> list[Claim]:
        """Claim up to *limit* orders of *merchant* whose receipts are due, the longest due first.

        Each claim holds open receipts of one transaction of its order; what arrives later is not in it.
        *at_once* takes what is not due yet too, of either lane: a paused account is probed so.
        """
        due = self._due(merchant, limit, repeat=repeat, at_once=at_once)
        known = self._known(merchant, due)
        if due and not repeat and not at_once:
            due = self._without_further_unproven(merchant, due, known)
            if not due:  # what was moved stood before others
                due = self._due(merchant, limit, repeat=repeat, at_once=at_once)
                known = self._known(merchant, due)
                due = self._without_further_unproven(merchant, due, known)
        if not due:
            return []
        fences = self.make(merchant, due.keys(), owner, leased_until)
        if self._unit.shared:  # read again under the claim: others may have gone on until then
            due = {order_id: row for order_id, row in due.items() if order_id in fences}
            known = self._known(merchant, due)
        if not due:
            return []
        expected = self._expected(merchant, due.keys())
        opened = self._open_receipts(merchant, due)
        self._mark(opened, fences, leased_until)
        return [
            Claim(
                fence=fences[order_id],
                merchant=merchant,
                order_id=order_id,
                transaction_id=row.transaction_id,
                receipts=tuple(map(_claimed_receipt, opened[order_id])),
                leased_until=leased_until,
                payment=known.get(row.transaction_id),
                expected_transaction=expected.get(order_id),
            )
            for order_id, row in due.items()
        ]

    def make(
        self, merchant: str, orders: Collection[str], owner: str, leased_until: datetime
    ) -> dict[str, int]:
        """Claim *orders*, none of which was claimed by a living process; return the fences.

        Among several processes another one may have been faster: its orders are left out.
        """
        which = {"b_merchant": merchant, "b_orders": list(orders), "b_now": self._unit.now}
        self._connection.execute(sql.DROP_ENDED, which)
        made = self._connection.execute(
            sql.MAKE_AMONG_OTHERS if self._unit.shared else sql.MAKE,
            [
                {"merchant": merchant, "order_id": order_id, "owner": owner, "leased_until": leased_until}
                for order_id in sorted(orders)  # in one order everywhere: nobody waits in a circle
            ],
        )
        return {row.order_id: row.fence for row in made}

    def any_due(self, merchant: str, *, repeat: bool, at_once: bool = False) -> bool:
        """Say whether `take` may find anything: cheap, and asked outside the writer."""
        if at_once:
            return self.next_due_at(merchant) is not None
        due_at = self._first_due_at(merchant, repeat=repeat)
        return due_at is not None and due_at <= self._unit.now

    def next_due_at(self, merchant: str, *, repeat: bool | None = None) -> datetime | None:
        """Return when the next receipt of *merchant* is due, in one lane or in either."""
        lanes = (False, True) if repeat is None else (repeat,)
        moments = [self._first_due_at(merchant, repeat=lane) for lane in lanes]
        return min((moment for moment in moments if moment is not None), default=None)

    def check(self, claim: Claim) -> None:
        """Raise ClaimLost unless *claim* still holds its order; until the transaction ends nobody takes it over.

        Neither does anybody change what is expected of the order.
        """
        self.hold(claim.merchant, [claim.order_id])
        if self._connection.execute(sql.CHECK, {"b_fence": claim.fence}).scalar() is None:
            raise ClaimLost(f"claim {claim.fence} on order {claim.order_id!r} was taken over")

    def hold(self, merchant: str, orders: Iterable[str]) -> None:
        """Keep everybody else from deciding about *orders* until the transaction ends."""
        self._unit.hold(*(f"order/{merchant}/{order_id}" for order_id in orders))

    def end(self, claim: Claim, steps: Sequence[ReceiptStep]) -> None:
        """Write what became of the claim's receipts and free the order."""
        if steps:
            self._connection.execute(
                sql.SETTLE, [settled(step, claim.fence, self._unit.now) for step in steps]
            )
        self._connection.execute(sql.FREE, {"b_fence": claim.fence})

    def give_back(self, claim: Claim) -> None:
        """Free the order without an answer: its receipts are due at once. Nothing happens if it was taken over."""
        if rows := given_back(claim, self._unit.now):
            self._connection.execute(sql.GIVE_BACK, rows)
        self._connection.execute(sql.FREE, {"b_fence": claim.fence})

    def owners(self) -> list[str]:
        """Return who holds claims."""
        return list(self._connection.execute(select(claims.c.owner).distinct()).scalars())

    def free(self, owner: str) -> None:
        """Free the orders that *owner*, who is gone, had claimed."""
        held = self._connection.execute(select(claims).where(claims.c.owner == owner)).all()
        for claim in held:
            self._connection.execute(
                update(receipts)
                .where(
                    receipts.c.state == sql.WAITING,
                    receipts.c.merchant == claim.merchant,
                    receipts.c.order_id == claim.order_id,
                    receipts.c.fence == claim.fence,
                )
                .values(due_at=self._unit.now, fence=None)
            )
            self._connection.execute(sql.FREE, {"b_fence": claim.fence})

    def hurry(self, merchant: str, *, new: bool = False) -> int:
        """Make what waits of *merchant* due at once, `CUT` receipts at most; return how many.

        Its account answers again, or the clock was set back: then only what is *new*, never asked about, is due
        whatever its time says. To be called until it returns less than `CUT`.
        """
        later = (
            select(receipts.c.id)
            .where(
                receipts.c.state == sql.WAITING,
                receipts.c.merchant == merchant,
                receipts.c.repeat.in_((False, True)),
                receipts.c.due_at > self._unit.now,
                receipts.c.fence.is_(None),
                *((receipts.c.answers == 0, receipts.c.failures == 0) if new else ()),
            )
            .limit(sql.CUT)
        )
        hurried = self._connection.execute(
            update(receipts).where(receipts.c.id.in_(later)).values(due_at=self._unit.now)
        ).rowcount
        self._unit.announce(Topic.RECEIPTS)
        return hurried

    def rivals(self, merchant: str, transaction_id: str, order_id: str, first: UUID) -> tuple[str, ...]:
        """Return some other orders whose open receipts claimed the transaction before receipt *first* arrived."""
        which = {
            "b_merchant": merchant,
            "b_transaction_id": transaction_id,
            "b_order_id": order_id,
            "b_first": first,
        }
        return tuple(dict.fromkeys(self._connection.execute(sql.RIVALS, which).scalars()))

    def _first_due_at(self, merchant: str, *, repeat: bool) -> datetime | None:
        moment: datetime | None = self._connection.execute(
            sql.FIRST_DUE, {"b_merchant": merchant, "b_repeat": repeat}
        ).scalar()
        return moment

    def _due(self, merchant: str, limit: int, *, repeat: bool, at_once: bool) -> dict[str, Row[Any]]:
        """Return the orders to claim, each with the receipt that is due the longest."""
        lanes = (False, True) if at_once else (repeat,)
        due: dict[str, Row[Any]] = {}
        for lane in lanes:
            which = {
                "b_merchant": merchant,
                "b_repeat": lane,
                "b_now": self._unit.now,
                "b_limit": limit,
            }
            for row in self._connection.execute(sql.ANY if at_once else sql.DUE, which):
                due.setdefault(row.order_id, row)
        return dict(list(due.items())[:limit])

    def _known(self, merchant: str, due: Mapping[str, Row[Any]]) -> dict[str, PaymentRecord]:
        transactions = [row.transaction_id for row in due.values() if row.transaction_id]
        return self._unit.payments.get_many(merchant, transactions)

    def _without_further_unproven(
        self, merchant: str, due: Mapping[str, Row[Any]], known: Mapping[str, PaymentRecord]
    ) -> dict[str, Row[Any]]:
        """Move what names a further transaction of an order, unproven so far, to the lane of repeats.

        One genuine body lets anyone name any number of transactions under its order; the first one and known
        payments are asked about at full speed. All that the order holds is moved at once, so that it does not
        stand before the others.
        """
        kept: dict[str, Row[Any]] = {}
        for order_id, row in due.items():
            payment = known.get(row.transaction_id)
            first = row.first_transaction
            if row.transaction_id in (None, first) or (payment and payment.order_id == order_id):
                kept[order_id] = row
            else:
                proven = self._unit.payments.of_order(merchant, order_id)
                self._move_to_repeats(merchant, order_id, [*proven, first or ""])
        return kept

    def _move_to_repeats(self, merchant: str, order_id: str, all_but: Sequence[str]) -> None:
        which = {
            "b_merchant": merchant,
            "b_order_id": order_id,
            "b_repeat": False,
            "b_not": list(all_but),
        }
        self._connection.execute(sql.TO_REPEATS, which)

    def _open_receipts(self, merchant: str, due: Mapping[str, Row[Any]]) -> dict[str, list[Row[Any]]]:
        """Return the open receipts of each order's transaction, the longest due first, `MOST_RECEIPTS` at most."""
        most = sql.MOST_RECEIPTS + 2 * len(due)
        which = {"b_merchant": merchant, "b_orders": list(due), "b_most": most}
        rows = self._connection.execute(sql.OPEN_OF_ORDERS, which).all()
        if len(rows) == most:  # somebody floods an order: nobody else's receipts are left out for it
            return {order_id: self._open_of(merchant, row) for order_id, row in due.items()}
        opened: dict[str, list[Row[Any]]] = {order_id: [] for order_id in due}
        for row in sorted(rows, key=attrgetter("due_at")):
            if row.transaction_id == due[row.order_id].transaction_id:
                opened[row.order_id].append(row)
        return {order_id: found[: sql.MOST_RECEIPTS] for order_id, found in opened.items()}

    def _open_of(self, merchant: str, row: Row[Any]) -> list[Row[Any]]:
        which = {"b_merchant": merchant, "b_order_id": row.order_id}
        if row.transaction_id is None:
            return list(self._connection.execute(sql.OPEN_WITHOUT_TRANSACTION, which))
        return list(self._connection.execute(sql.OPEN, which | {"b_transaction_id": row.transaction_id}))

    def _mark(
        self, opened: Mapping[str, Sequence[Row[Any]]], fences: Mapping[str, int], leased_until: datetime
    ) -> None:
        """Note who will answer; not due again before the claim's time is over."""
        marks = [
            {"b_id": row.id, "b_fence": fences[order_id], "b_due_at": leased_until}
            for order_id, rows in opened.items()
            for row in rows
        ]
        execute_many(self._connection, sql.MARK, marks)

    def _expected(self, merchant: str, orders: Collection[str]) -> dict[str, str | None]:
        rows = self._connection.execute(sql.EXPECTED, {"b_merchant": merchant, "b_orders": list(orders)})
        return {row.order_id: row.transaction_id for row in rows}


def _claimed_receipt(row: Row[Any]) -> ClaimedReceipt:
    return ClaimedReceipt(
        id=row.id,
        raw=row.raw,
        reason=row.reason,
        answers=row.answers,
        failures=row.failures,
        seen_status=row.seen_status,
        seen_times=row.seen_times,
        seen_since=row.seen_since,
        repeat=row.repeat,
    )


def settled(step: ReceiptStep, fence: int, at: datetime) -> dict[str, Any]:
    """Return *step* in the terms of `SETTLE`."""
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
        "b_ended_at": None if waiting else at,
    }


def given_back(claim: Claim, at: datetime) -> list[dict[str, Any]]:
    """Return *claim*'s receipts in the terms of `GIVE_BACK`: due at once."""
    return [{"b_id": receipt.id, "b_fence": claim.fence, "b_due_at": at} for receipt in claim.receipts]

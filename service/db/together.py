"""What many claims bring, written at once: what they need is read with one query a table, and so is it written.

Each claim drafts what is to be written, on the rows as they are with the earlier drafts on top. A draft that fails
is dropped alone. All that are kept are written by `Together.write`, in an order in which each statement finds what
it rests on; should that fail, nothing of the unit stays, and each claim is to be written by itself.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar
from uuid import UUID

from sqlalchemy import bindparam, select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from django_midtrans.status import OUTCOME_OF, Outcome
from service.db import checks, claim_statements, claims, events, payments
from service.db.bulk import Statement, execute_many
from service.db.tables import claims as claims_table
from service.db.topic import Topic
from service.domain.confirmation import ReceiptStep
from service.domain.records import (
    Check,
    Claim,
    Expectation,
    NewConfirmation,
    NewTransition,
    PaymentRecord,
)
from service.errors import ClaimLost, NotTogether, PaymentMoved

if TYPE_CHECKING:
    from django_midtrans.events import PaymentEvent
    from service.db.unit import Unit

T = TypeVar("T")
_Key = tuple[str, str]
_HELD = (
    select(claims_table.c.fence)
    .where(claims_table.c.fence.in_(bindparam("b_fences", expanding=True)))
    .with_for_update()
)


@dataclass(slots=True)
class _Rows:
    """What is to be written, by statement; of payments also what is known of them then."""

    confirmations: list[dict[str, Any]] = field(default_factory=list)
    new_payments: list[dict[str, Any]] = field(default_factory=list)
    moved_payments: list[dict[str, Any]] = field(default_factory=list)
    transitions: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    planned: dict[tuple[str, str, str], dict[str, Any] | None] = field(default_factory=dict)
    settled: list[dict[str, Any]] = field(default_factory=list)
    given_back: list[dict[str, Any]] = field(default_factory=list)
    freed: list[dict[str, Any]] = field(default_factory=list)
    let_go: list[dict[str, Any]] = field(default_factory=list)
    records: dict[_Key, PaymentRecord] = field(default_factory=dict)

    def add(self, other: "_Rows") -> None:
        """Take over what *other* holds."""
        self.confirmations += other.confirmations
        self.new_payments += other.new_payments
        self.moved_payments += other.moved_payments
        self.transitions += other.transitions
        self.events += other.events
        self.planned |= other.planned
        self.settled += other.settled
        self.given_back += other.given_back
        self.freed += other.freed
        self.let_go += other.let_go
        self.records |= other.records


class Together:
    """The claims of one unit of work. *transactions* are those that the answers about them name."""

    def __init__(self, unit: "Unit", wanted: Collection[Claim], transactions: Iterable[_Key]) -> None:
        self.unit = unit
        self.rows = _Rows()
        self.known: dict[_Key, PaymentRecord | None] = dict.fromkeys(transactions)
        self.outcomes: dict[_Key, dict[str, Outcome]] = {}
        self.expected: dict[_Key, Expectation | None] = {}
        orders = _by_merchant((claim.merchant, claim.order_id) for claim in wanted)
        unit.hold(*(f"order/{merchant}/{name}" for merchant, names in orders.items() for name in names))
        fences = {"b_fences": [claim.fence for claim in wanted]}
        self.held: set[int] = set(unit.connection.execute(_HELD, fences).scalars())
        for merchant, names in orders.items():
            found = unit.expectations.of_orders(merchant, names)
            outcomes = unit.payments.of_orders(merchant, names)
            for name in names:
                self.expected[merchant, name] = found.get(name)
                self.outcomes[merchant, name] = outcomes.get(name, {})
        for merchant, names in _by_merchant(self.known).items():
            for name, record in unit.payments.get_many(merchant, names).items():
                self.known[merchant, name] = record

    def draft(self, work: Callable[["Draft"], T]) -> T | Exception:
        """Do *work* and keep what it wants written; if it raises, that is dropped and the error returned.

        An error of the database is raised: it concerns the whole transaction.
        """
        draft = Draft(self)
        try:
            result = work(draft)
        except SQLAlchemyError:
            raise
        except Exception as error:  # noqa: BLE001 (whatever it is, it concerns one claim)
            return error
        rows = draft.rows
        self.rows.add(rows)
        self.held -= {row["b_fence"] for row in (*rows.freed, *rows.let_go)}
        for key, record in rows.records.items():
            self.known[key] = record
            of_order = self.outcomes.get((record.merchant, record.order_id))
            if of_order is not None:
                of_order[record.transaction_id] = OUTCOME_OF[record.state.status]
        return result

    def write(self) -> None:
        """Write what the drafts hold.

        Raises:
            ClaimLost: A claim, or a payment, is not what was read: nothing of the unit may stay.
        """
        rows = self.rows
        self._execute(payments.ADD_CONFIRMATION, rows.confirmations)
        try:
            self._execute(payments.INSERT, rows.new_payments)
        except IntegrityError as error:  # another order's claim has made one of them meanwhile
            raise PaymentMoved("one of several") from error
        if self._execute(payments.UPDATE, rows.moved_payments) != len(rows.moved_payments):
            raise PaymentMoved("one of several")
        self._execute(payments.ADD_TRANSITION, rows.transitions)
        self._execute(checks.DELETE, [checks.key(Check(*which)) for which in rows.planned])
        self._execute(checks.INSERT, [plan for plan in rows.planned.values() if plan is not None])
        self._execute(events.INSERT, rows.events)
        self._execute(claim_statements.SETTLE, rows.settled)
        self._execute(claim_statements.GIVE_BACK, rows.given_back)
        self._execute(claim_statements.FREE, rows.let_go)
        if self._execute(claim_statements.FREE, rows.freed) != len(rows.freed):
            raise ClaimLost("one of several claims was taken over")
        if rows.events:
            self.unit.announce(Topic.EVENTS)

    def _execute(self, statement: Statement, rows: Sequence[Mapping[str, Any]]) -> int:
        return execute_many(self.unit.connection, statement, rows)


class Draft:
    """A unit of work for one claim that writes nothing yet. What it cannot know raises NotTogether."""

    def __init__(self, together: Together) -> None:
        self.now = together.unit.now
        self.rows = _Rows()
        self.claims = _Claims(together, self)
        self.checks = _Checks(self)
        self.payments = _Payments(together, self)
        self.events = _Events(together, self)
        self.expectations = _Expectations(together)
        self.merchants = _Merchants()


class _Claims:
    def __init__(self, together: Together, draft: Draft) -> None:
        self._together = together
        self._draft = draft

    def check(self, claim: Claim) -> None:
        """Raise ClaimLost unless *claim* still holds its order."""
        if claim.fence not in self._together.held:
            raise ClaimLost(f"claim {claim.fence} on order {claim.order_id!r} was taken over")

    def hold(self, merchant: str, orders: Iterable[str]) -> None:
        """Do nothing: the orders of all drafts are held since the beginning."""

    def end(self, claim: Claim, steps: Sequence[ReceiptStep]) -> None:
        """Write what became of the receipts and free the order."""
        self._draft.rows.settled += [claims.settled(step, claim.fence, self._draft.now) for step in steps]
        self._draft.rows.freed.append({"b_fence": claim.fence})

    def give_back(self, claim: Claim) -> None:
        """Free the order without an answer; nothing happens if it was taken over."""
        self._draft.rows.given_back += claims.given_back(claim, self._draft.now)
        self._draft.rows.let_go.append({"b_fence": claim.fence})

    def rivals(self, merchant: str, transaction_id: str, order_id: str, first: UUID) -> tuple[str, ...]:
        """Return other orders that claimed the transaction earlier; NotTogether if a draft may have ended that."""
        unit = self._together.unit
        rivals = unit.claims.rivals(merchant, transaction_id, order_id, first)
        if any((merchant, rival) in self._together.outcomes for rival in rivals):
            raise NotTogether
        return rivals


class _Checks:
    def __init__(self, draft: Draft) -> None:
        self._draft = draft

    def put(self, check: Check, due_at: datetime | None, *, failures: int = 0) -> None:
        """Have *check* asked about at *due_at*; None: not any more."""
        which = (check.merchant, check.order_id, check.transaction_id or "")
        plan = None if due_at is None else checks.plan(check, due_at, failures)
        self._draft.rows.planned[which] = plan


class _Payments:
    def __init__(self, together: Together, draft: Draft) -> None:
        self._together = together
        self._draft = draft

    def get(self, merchant: str, transaction_id: str) -> PaymentRecord | None:
        """Return the payment, or None when Midtrans never confirmed one."""
        key = merchant, transaction_id
        if key in self._draft.rows.records:
            return self._draft.rows.records[key]
        if key not in self._together.known:
            raise NotTogether
        return self._together.known[key]

    def of_order(self, merchant: str, order_id: str) -> dict[str, Outcome]:
        """Return the outcome of each payment of an order, by transaction_id."""
        if (merchant, order_id) not in self._together.outcomes:
            raise NotTogether
        drafted = {
            record.transaction_id: OUTCOME_OF[record.state.status]
            for record in self._draft.rows.records.values()
            if (record.merchant, record.order_id) == (merchant, order_id)
        }
        return self._together.outcomes[merchant, order_id] | drafted

    def save(self, record: PaymentRecord, *, known: PaymentRecord | None) -> None:
        """Write *record* over *known*; the version is compared when it is written."""
        rows, at = self._draft.rows, self._draft.now
        if known is None:
            rows.new_payments.append(payments.new(record, at))
        else:
            rows.moved_payments.append(payments.moved(record, known, at))
        rows.records[record.merchant, record.transaction_id] = record

    def add_confirmation(self, new: NewConfirmation, *, ordinal: int | None) -> None:
        """Keep a confirmation for ever after."""
        self._draft.rows.confirmations.append(payments.confirmation(new, ordinal))

    def add_transition(self, new: NewTransition) -> None:
        """Keep a transition, naming the confirmation that it rests on."""
        self._draft.rows.transitions.append(payments.transition(new, self._draft.now))


class _Events:
    def __init__(self, together: Together, draft: Draft) -> None:
        self._together = together
        self._draft = draft

    def append(
        self, *, event: "PaymentEvent", merchant: str, transaction_id: str, order_id: str, sequence: int
    ) -> None:
        """Add an event; it gets its place in the log with the commit."""
        identity = {
            "merchant": merchant,
            "transaction_id": transaction_id,
            "order_id": order_id,
            "sequence": sequence,
        }
        self._draft.rows.events.append(identity | events.row(event, self._draft.now))

    def has(self, event_id: UUID) -> bool:
        """Say whether this has been told; the same in two drafts fails when it is written."""
        return self._together.unit.events.has(event_id)


class _Expectations:
    def __init__(self, together: Together) -> None:
        self._together = together

    def put(self, *_: object, **__: object) -> NoReturn:
        """Confirming expects nothing."""
        raise NotTogether

    def of_order(self, merchant: str, order_id: str) -> Expectation | None:
        """Return what is expected of the order."""
        if (merchant, order_id) not in self._together.expected:
            raise NotTogether
        return self._together.expected[merchant, order_id]

    def order_of(self, merchant: str, transaction_id: str) -> str | None:
        """Return the order that an expectation names for the transaction: no draft changes that."""
        return self._together.unit.expectations.order_of(merchant, transaction_id)


class _Merchants:
    def put(self, *_: object, **__: object) -> NoReturn:
        """Confirming writes no merchant's state."""
        raise NotTogether


def _by_merchant(keys: Iterable[_Key]) -> dict[str, list[str]]:
    found: dict[str, dict[str, None]] = {}
    for merchant, name in keys:
        found.setdefault(merchant, {})[name] = None
    return {merchant: list(names) for merchant, names in found.items()}

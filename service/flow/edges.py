"""The edges that the steps act through, as protocols: the store, Midtrans, and the operators' bell."""

from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Future
from datetime import datetime
from typing import Any, Protocol, TypeVar
from uuid import UUID

from django_midtrans.events import PaymentEvent
from django_midtrans.status import Outcome
from service.domain.confirmation import ReceiptStep
from service.domain.inquiry import Reply
from service.domain.records import (
    Check,
    Claim,
    Expectation,
    MerchantState,
    NewConfirmation,
    NewTransition,
    PaymentRecord,
)

T = TypeVar("T")


class Gateway(Protocol):
    """Midtrans."""

    def get_status(self, merchant: str, asked: str) -> Reply:
        """Ask about an order_id or transaction_id; raises GatewayRefused or GatewayUnavailable."""


class Claims(Protocol):
    """Claims on orders."""

    def check(self, claim: Claim) -> None:
        """Raise ClaimLost unless *claim* still holds."""

    def hold(self, merchant: str, orders: Iterable[str]) -> None:
        """Keep everybody else from deciding about *orders* until the transaction ends."""

    def end(self, claim: Claim, steps: Sequence[ReceiptStep]) -> None:
        """Write what became of the receipts and free the order."""

    def give_back(self, claim: Claim) -> None:
        """Free the order without an answer."""

    def rivals(self, merchant: str, transaction_id: str, order_id: str, first: UUID) -> tuple[str, ...]:
        """Return other orders whose open receipts claimed the transaction earlier."""


class Checks(Protocol):
    """What reconcile is to ask about."""

    def put(self, check: Check, due_at: datetime | None, *, failures: int = 0) -> None:
        """Have *check* asked about at *due_at*; None: not any more."""


class Payments(Protocol):
    """Payments and what they rest on."""

    def get(self, merchant: str, transaction_id: str) -> PaymentRecord | None:
        """Return the payment, if any."""

    def of_order(self, merchant: str, order_id: str) -> dict[str, Outcome]:
        """Return the outcomes of an order's payments by transaction_id."""

    def save(self, record: PaymentRecord, *, known: PaymentRecord | None) -> None:
        """Write *record* over *known*; raises PaymentMoved when it moved."""

    def add_confirmation(self, new: NewConfirmation, *, ordinal: int | None) -> None:
        """Keep a confirmation."""

    def add_transition(self, new: NewTransition) -> None:
        """Keep a transition."""


class Events(Protocol):
    """The log."""

    def append(
        self, *, event: PaymentEvent, merchant: str, transaction_id: str, order_id: str, sequence: int
    ) -> None:
        """Add an event; the sequencer gives it its place before the commit."""

    def has(self, event_id: UUID) -> bool:
        """Say whether this has been told."""


class Expectations(Protocol):
    """What shops said they charged."""

    def put(self, expectation: Expectation) -> bool:
        """Keep it; say whether it is the order's first."""

    def of_order(self, merchant: str, order_id: str) -> Expectation | None:
        """Return what is expected of the order."""

    def order_of(self, merchant: str, transaction_id: str) -> str | None:
        """Return the order that an expectation names for the transaction."""


class MerchantStates(Protocol):
    """What outlives a restart of a merchant's account."""

    def put(self, state: MerchantState) -> None:
        """Keep *state*."""


class Unit(Protocol):
    """A unit of work: everything it writes is committed together or not at all."""

    @property
    def now(self) -> datetime:
        """The store's clock, read once."""

    @property
    def claims(self) -> Claims:
        """Claims on orders."""

    @property
    def checks(self) -> Checks:
        """What reconcile is to ask about."""

    @property
    def payments(self) -> Payments:
        """Payments."""

    @property
    def events(self) -> Events:
        """The log."""

    @property
    def expectations(self) -> Expectations:
        """Expectations."""

    @property
    def merchants(self) -> MerchantStates:
        """Merchants' states."""


class WholeUnit(Unit, Protocol):
    """A unit of work that can take in those of many claims."""

    def together(self, wanted: Collection[Claim], transactions: Iterable[tuple[str, str]]) -> "Together":
        """Read for many claims what they need; *transactions* (merchant, id) are all they may ask for."""


class Together(Protocol):
    """What many claims bring, drafted one by one and written at once."""

    def draft(self, work: Callable[[Any], T]) -> T | Exception:
        """Do *work* on a unit that keeps what it wants written; what it raises is returned and drops that."""

    def write(self) -> None:
        """Write what was drafted; should it raise, nothing may stay."""


class Store(Protocol):
    """The database."""

    def write(self, work: Callable[[Any], T]) -> Future[T]:
        """Run *work* in the writer; the future is resolved after the commit."""


class Alarm(Protocol):
    """Tells operators; every alarm has a line that says what to do."""

    def __call__(self, alarm: str, *, merchant: str, **facts: object) -> None:
        """Sound *alarm* about *merchant*."""

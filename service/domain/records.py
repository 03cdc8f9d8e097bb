"""Frozen values that cross the edge of `db/`: what is stored, without a word about how."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from django_midtrans.payment import PaymentState


class ReceiptState(StrEnum):
    """Where a receipt is: waiting, ended, or held for an operator or a duplicate."""

    WAITING = "waiting"  # will be asked about when due
    APPLIED = "applied"  # ended: its confirmation changed the payment
    UNCHANGED = "unchanged"  # ended: the payment was already what it says
    STALE = "stale"  # ended: older than what is known
    CONTRADICTED = "contradicted"  # ended: Midtrans said otherwise three times over ten minutes
    PARKED = "parked"  # held: asked for a day in vain, or of a kind that nobody here understands
    ANOMALY = "anomaly"  # held: the transaction does not belong to the order


ENDED = frozenset(
    {ReceiptState.APPLIED, ReceiptState.UNCHANGED, ReceiptState.STALE, ReceiptState.CONTRADICTED}
)
HELD = frozenset({ReceiptState.PARKED, ReceiptState.ANOMALY})


class Cause(StrEnum):
    """Why Midtrans was asked; events carry it as ``confirmed_by``."""

    NOTIFICATION = "notification"
    RECONCILE = "reconcile"


class NewReceipt(NamedTuple):
    """A verified notification on its way to the disk; *digest* is the SHA-256 of *raw*.

    *answer* is the HTTP status given when it is stored. *state* is waiting, or parked for what is kept and
    shown but not understood (then *reason* says why).
    """

    id: UUID
    merchant: str
    kind: str
    digest: bytes
    raw: bytes
    order_id: str
    transaction_id: str | None
    transaction_status: str | None
    payment_type: str | None
    received_at: datetime
    source_address: str
    path: str
    headers: Mapping[str, str]
    key_fingerprint: str
    amount_form: str
    answer: int = 200
    state: ReceiptState = ReceiptState.WAITING
    reason: str | None = None


class StoredReceipt(NamedTuple):
    """What became of a `NewReceipt`: *id* is the first one's when the same bytes were there before."""

    id: UUID
    duplicate: bool


@dataclass(frozen=True, slots=True)
class Oddity:
    """A body that was refused, or a dashboard test; *body* is cut at 16 KiB, *size* is what came."""

    merchant: str
    reason: str
    received_at: datetime
    source_address: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    size: int
    detail: str


@dataclass(frozen=True, slots=True)
class ClaimedReceipt:
    """A receipt that a claim will answer; *raw* is what Midtrans posted.

    *reason* is why it is still open; *answers* counts the answers that left it open, *failures* the questions
    without an answer, in a row.
    *seen_status*, *seen_times* and *seen_since* say which status was answered last, how often in a row, and
    since when.
    """

    id: UUID
    raw: bytes
    reason: str | None
    answers: int
    failures: int
    seen_status: str | None
    seen_times: int
    seen_since: datetime | None
    repeat: bool = False


@dataclass(frozen=True, slots=True)
class Dispute:
    """An answer that contradicts what is known: its *essence*, how often in a row it came, since when."""

    essence: str
    times: int
    since: datetime


@dataclass(frozen=True, slots=True)
class PaymentRecord:
    """A payment as stored. *version* moves with every change, *bound_by* says how the pair was proven."""

    merchant: str
    transaction_id: str
    order_id: str
    version: int
    confirmations: int
    bound_by: str
    state: PaymentState
    dispute: Dispute | None = None
    created_at: datetime | None = None
    """When it was first confirmed; None before it is stored."""


@dataclass(frozen=True, slots=True)
class Check:
    """A payment, or an order without one, that reconcile asks about; *failures* in a row brought no answer."""

    merchant: str
    order_id: str
    transaction_id: str | None
    failures: int = 0


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to ask about one order: *fence* only grows, *receipts* are all it will answer.

    With a *check* it is reconcile's, and has no receipts.
    """

    fence: int
    merchant: str
    order_id: str
    transaction_id: str | None
    receipts: tuple[ClaimedReceipt, ...]
    leased_until: datetime
    payment: PaymentRecord | None
    expected_transaction: str | None = None
    """The transaction that an expectation names for this order."""
    cause: Cause = Cause.NOTIFICATION
    check: Check | None = None


@dataclass(frozen=True, slots=True)
class NewConfirmation:
    """One question to Midtrans and what came back, as it is kept for ever after."""

    merchant: str
    order_id: str
    transaction_id: str | None
    cause: Cause
    fence: int
    asked: str
    asked_at: datetime
    answered_at: datetime
    http_status: int | None
    answer: bytes | None
    verdict: str


@dataclass(frozen=True, slots=True)
class PushSpec:
    """Where a consumer's events are pushed to. Every one of *secrets* signs; at most *concurrency* are under way."""

    url: str = field(repr=False)  # a path may hold a secret
    secrets: tuple[str, ...] = field(repr=False)
    timeout_seconds: float = 15.0
    concurrency: int = 10


@dataclass(frozen=True, slots=True)
class ConsumerSpec:
    """What an operator says of a consumer: patterns of types and merchants, and how it is lent to."""

    types: tuple[str, ...] = ("midtrans.*",)
    merchants: tuple[str, ...] = ("*",)
    start: str = "now"
    lease_seconds: int = 30
    max_attempts: int = 30
    on_dead: str = "hold"
    push: PushSpec | None = None
    """None: it is lent to whoever calls."""


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """An event with its place in the log; *body* is the CloudEvent's JSON text."""

    position: int
    merchant: str
    transaction_id: str
    order_id: str
    type: str
    body: str


class Role(StrEnum):
    """What a token may do."""

    SHOP = "shop"  # named merchants: expectations, its payments and orders
    CONSUMER = "consumer"  # named consumers: read the log, lease and ack
    OPERATOR = "operator"  # everything


@dataclass(frozen=True, slots=True)
class Token:
    """A stored token; its secret is kept as a hash only. *names* are merchants or consumers by role."""

    id: str
    role: Role
    names: tuple[str, ...] = ()
    created_at: datetime | None = field(default=None, compare=False)
    revoked_at: datetime | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class NewTransition:
    """A step of a payment, the *ordinal* of the confirmation that it rests on, and the event that tells of it."""

    merchant: str
    transaction_id: str
    sequence: int
    ordinal: int
    previous_status: str | None
    status: str
    irregular: bool
    event_id: UUID


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a shop said it charged; *gross_amount* is what the order costs."""

    merchant: str
    order_id: str
    gross_amount: Decimal
    expires_at: datetime | None = None
    transaction_id: str | None = None
    created_at: datetime | None = None
    """When the shop first said so; None before it is stored."""
    changed_at: datetime | None = None
    """When the shop last said something else than before; waits count from here."""


@dataclass(frozen=True, slots=True)
class MerchantState:
    """What outlives a restart of a merchant's account.

    *confirmed* says that its present keys and environment have brought a payment; *pause_reason* why it is not asked.
    """

    merchant: str
    access_fingerprint: str
    confirmed: bool = False
    pause_reason: str | None = None
    paused_at: datetime | None = field(default=None, compare=False)
    """Written by the store, at its own time."""

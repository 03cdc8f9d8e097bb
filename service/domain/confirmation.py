"""What get_status said → what becomes of the payment and of the receipts that asked. Pure: the tables decide."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from django_midtrans.facts import FactsUnreadable, PaymentFacts, alarms_of, problem_of, read_facts
from django_midtrans.payment import PaymentState, compare, merge
from django_midtrans.status import OUTCOME_OF, Outcome, Relation
from service.domain.backoff import Waits, ask_again_at, retry_at
from service.domain.records import ClaimedReceipt, Dispute, ReceiptState

EQUAL_ANSWERS = 3
EQUAL_FOR = timedelta(minutes=10)
"""So often, over so long, Midtrans must say the same before what contradicts the table is true."""


class Verdict(StrEnum):
    """What one answer of Midtrans meant; kept with its confirmation."""

    APPLIED = "applied"  # the payment changed
    UNCHANGED = "unchanged"  # it already was what the answer says
    STALE = "stale"  # the answer is older than what is known: never applied
    DISPUTED = "disputed"  # it contradicts what is known: asked again
    STATUS_UNKNOWN = "status_unknown"  # a word that we do not know: changes nothing
    PARTIAL_REFUND_WITHOUT_AMOUNT = "partial_refund_without_amount"
    AMOUNT_MISSING = "amount_missing"
    NOT_FOUND = "not_found"  # 404: not yet, or never
    ANOMALY = "anomaly"  # found, and not this order's
    EVIDENCE = "evidence"  # asked only to prove a pair


LEAVES_OPEN = frozenset(
    {
        Verdict.DISPUTED,
        Verdict.STATUS_UNKNOWN,
        Verdict.PARTIAL_REFUND_WITHOUT_AMOUNT,
        Verdict.AMOUNT_MISSING,
    }
)
"""Verdicts after which nobody knows what the payment is: every receipt is asked about again."""


@dataclass(frozen=True, slots=True)
class PaymentStep:
    """What one answer makes of a payment.

    *state* is what is to be stored, None when nothing is; *changed* says that an event may follow. *dispute* is to
    be stored as it is, None included.
    """

    verdict: Verdict
    state: PaymentState | None
    changed: bool = False
    irregular: bool = False
    dispute: Dispute | None = None
    alarms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReceiptStep:
    """What becomes of a receipt. *due_at* is set while it waits; *repeat*: it is asked in the lane of repeats."""

    id: UUID
    state: ReceiptState
    reason: str | None = None
    due_at: datetime | None = None
    answers: int = 0
    failures: int = 0
    seen_status: str | None = None
    seen_times: int = 0
    seen_since: datetime | None = None
    repeat: bool = False


def judge_payment(
    known: PaymentState | None, seen: PaymentFacts, dispute: Dispute | None, *, at: datetime
) -> PaymentStep:
    """Say what *seen*, which Midtrans answered at *at*, makes of a payment whose pair is proven."""
    problem = problem_of(seen)
    if problem is not None:
        return PaymentStep(Verdict(problem), None, dispute=dispute, alarms=(problem,))
    relation = compare(known, seen)
    if relation is Relation.BEHIND:
        return PaymentStep(Verdict.STALE, None)
    if relation is Relation.SAME:
        return PaymentStep(Verdict.UNCHANGED, merge(known, seen))
    if relation is Relation.NEXT:
        return PaymentStep(Verdict.APPLIED, merge(known, seen), changed=True, alarms=alarms_of(seen))
    return _dispute(known, seen, dispute, at=at)


def _dispute(
    known: PaymentState | None, seen: PaymentFacts, dispute: Dispute | None, *, at: datetime
) -> PaymentStep:
    """A customer who paid after expiry must not wait for ever; one odd answer must not undo a payment."""
    counted = _count(dispute, _essence(seen), at)
    if not _long_enough(counted.times, counted.since, at):
        return PaymentStep(Verdict.DISPUTED, None, dispute=counted)
    alarms = ("irregular", *alarms_of(seen))
    return PaymentStep(Verdict.APPLIED, merge(known, seen), changed=True, irregular=True, alarms=alarms)


def judge_receipt(
    receipt: ClaimedReceipt,
    body: Mapping[str, Any],
    payment: PaymentState,
    verdict: Verdict,
    *,
    at: datetime,
    waits: Waits,
) -> ReceiptStep:
    """Say what becomes of a receipt whose notification is *body*, now that *payment* is what is known.

    It is never quietly ended while it says more than the answer, or contradicts it.
    """
    if verdict in LEAVES_OPEN:
        return _left_open(receipt, verdict.value, _what_is_known(payment), at=at, waits=waits)
    said = _claim_of(body)
    if said is None:  # a word that we do not know decides nothing: the answer does
        return _ended(receipt, verdict)
    relation = compare(payment, said)
    if relation is Relation.SAME or (relation is Relation.BEHIND and verdict is Verdict.APPLIED):
        return _ended(receipt, verdict)
    if relation is Relation.BEHIND:
        return ReceiptStep(receipt.id, ReceiptState.STALE)
    reason = "behind" if relation is Relation.NEXT else "contradiction"
    step = _left_open(receipt, reason, _what_is_known(payment), at=at, waits=waits)
    if relation is Relation.CONTRADICTION and _given_up(said, step, at):
        return ReceiptStep(receipt.id, ReceiptState.CONTRADICTED, reason=f"Midtrans says {payment.status}")
    return step


def judge_missing(receipt: ClaimedReceipt, *, at: datetime, waits: Waits) -> ReceiptStep:
    """Say what becomes of a receipt whose transaction Midtrans does not know: it is asked again for a day."""
    return _left_open(receipt, Verdict.NOT_FOUND.value, "not_found", at=at, waits=waits, repeat=True)


def judge_failure(receipt: ClaimedReceipt, reason: str, *, at: datetime, jitter: float) -> ReceiptStep:
    """Say when to ask again after a question without an answer: with back-off, for as long as it takes."""
    failures = receipt.failures + 1
    return ReceiptStep(
        id=receipt.id,
        state=ReceiptState.WAITING,
        reason=reason,
        due_at=retry_at(failures, now=at, jitter=jitter),
        answers=receipt.answers,
        failures=failures,
        seen_status=receipt.seen_status,
        seen_times=receipt.seen_times,
        seen_since=receipt.seen_since,
        repeat=receipt.repeat,
    )


def judge_unaskable(receipt: ClaimedReceipt) -> ReceiptStep:
    """Say what becomes of a receipt about whose ids no question can be put: held at once, for a person."""
    return ReceiptStep(receipt.id, ReceiptState.PARKED, reason="cannot_be_asked")


def says_more(body: Mapping[str, Any], payments: Sequence[PaymentState]) -> bool:
    """Say whether a notification says more than all that is known of its payments, of which there are some.

    Seen is not done: a duplicate of such a one sets it going again, even if it has ended.
    """
    said = _claim_of(body)
    return (
        said is not None
        and bool(payments)
        and all(compare(payment, said) is Relation.NEXT for payment in payments)
    )


def judge_unproven(receipt: ClaimedReceipt, reason: str, *, at: datetime, waits: Waits) -> ReceiptStep:
    """Say what becomes of a receipt whose pair another order's earlier, open claim keeps from being proven."""
    return _left_open(receipt, reason, reason, at=at, waits=waits, repeat=True)


def judge_unknown(receipt: ClaimedReceipt, verdict: Verdict, *, at: datetime, waits: Waits) -> ReceiptStep:
    """Say what becomes of a receipt whose payment is not known at all and whose answer says nothing usable."""
    return _left_open(receipt, verdict.value, verdict.value, at=at, waits=waits)


def _left_open(
    receipt: ClaimedReceipt,
    reason: str,
    seen_status: str,
    *,
    at: datetime,
    waits: Waits,
    repeat: bool = False,
) -> ReceiptStep:
    found_at_last = receipt.reason == Verdict.NOT_FOUND.value != reason
    answers = 1 if found_at_last else receipt.answers + 1  # "behind" has a day of its own
    due_at = ask_again_at(answers, waits=waits, now=at)
    known = (
        Dispute(receipt.seen_status, receipt.seen_times, receipt.seen_since)
        if receipt.seen_status and receipt.seen_since
        else None
    )
    counted = _count(known, seen_status, at)
    return ReceiptStep(
        id=receipt.id,
        state=ReceiptState.PARKED if due_at is None else ReceiptState.WAITING,
        reason=reason,
        due_at=due_at,
        answers=answers,
        seen_status=counted.essence,
        seen_times=counted.times,
        seen_since=counted.since,
        repeat=repeat,
    )


def _ended(receipt: ClaimedReceipt, verdict: Verdict) -> ReceiptStep:
    changed = verdict is Verdict.APPLIED
    return ReceiptStep(receipt.id, ReceiptState.APPLIED if changed else ReceiptState.UNCHANGED)


def _claim_of(body: Mapping[str, Any]) -> PaymentFacts | None:
    try:
        said = read_facts(body)
    except FactsUnreadable:
        return None
    return None if said.status is None else said


def _given_up(said: PaymentFacts, step: ReceiptStep, at: datetime) -> bool:
    """Money is never given up: a body that says paid stays open until a person looks at it."""
    if said.status is None or OUTCOME_OF[said.status] is Outcome.PAID or step.seen_since is None:
        return False
    return _long_enough(step.seen_times, step.seen_since, at)


def _long_enough(times: int, since: datetime, at: datetime) -> bool:
    return times >= EQUAL_ANSWERS and at - since >= EQUAL_FOR


def _count(dispute: Dispute | None, essence: str, at: datetime) -> Dispute:
    if dispute is not None and dispute.essence == essence:
        return Dispute(essence, dispute.times + 1, dispute.since)
    return Dispute(essence, 1, at)


def _essence(seen: PaymentFacts) -> str:
    return f"{seen.status} {seen.amount} {seen.refund_amount} {seen.charged_back}"


def _what_is_known(state: PaymentState) -> str:
    return f"{state.status} {state.amount} {state.refunded} {state.charged_back}"

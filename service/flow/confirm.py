"""Step 2: a claim → a question to Midtrans, outside any transaction → what its answer means, inside one."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import structlog

from service.domain.backoff import retry_at
from service.domain.confirmation import Verdict, judge_failure, judge_unaskable
from service.domain.inquiry import Found, Inquiry, Reply
from service.domain.merchant import Merchant
from service.domain.pace import Asked
from service.domain.records import Claim, ReceiptState
from service.errors import (
    CannotBeAsked,
    ClaimLost,
    GatewayRefused,
    GatewayUnavailable,
    NotTogether,
    PaymentMoved,
    StoreError,
)
from service.flow.apply import Application, Report, Rules
from service.flow.ask import inquire
from service.flow.edges import Alarm, Gateway, Store, Unit, WholeUnit
from service.flow.reconcile import plan_anew

log = structlog.get_logger()

OWN_FAULT = "a fault of this service, see its log"


@dataclass(frozen=True, slots=True)
class Answered:
    """What a claim's questions brought, and how many there were: what the merchant's limits count."""

    asked: Asked
    questions: int = 1


@dataclass(frozen=True, slots=True)
class Finished:
    """A claim that was asked about, and the *work* that writes what follows, on the rows of *transactions*."""

    claim: Claim
    answered: Answered
    work: Callable[[Unit], Report | None]
    transactions: tuple[str, ...] = ()


class Confirmer:
    """Confirms claims: asks outside, decides and writes inside. Safe under threads.

    *on_report* is told the merchant and what a unit of work did, after its commit.
    """

    def __init__(
        self,
        *,
        merchants: Mapping[str, Merchant],
        gateway: Gateway,
        store: Store,
        alarm: Alarm,
        rules: Rules,
        jitter: Callable[[], float],
        on_report: Callable[[str, Report], None] = lambda _merchant, _report: None,
    ) -> None:
        self._merchants = merchants
        self._gateway = gateway
        self._store = store
        self._alarm = alarm
        self._rules = rules
        self._jitter = jitter
        self._on_report = on_report

    def confirm(self, claim: Claim, *, probe: bool = False) -> Answered:
        """Ask about *claim* and write what follows. Raises StoreError when it cannot be written."""
        finished = self.ask(claim, probe=probe)
        self._write_one(finished)
        return finished.answered

    def ask(self, claim: Claim, *, probe: bool = False) -> Finished:
        """Ask about *claim*, outside any transaction; what it brought is to be written.

        A *probe* asks whether a paused account works again: a 404 then uses up none of the receipts' tries.
        """
        counting = _Counting(self._gateway)
        asked, work, transactions = self._ask(claim, counting, probe=probe)
        return Finished(claim, Answered(asked, max(1, counting.questions)), work, transactions)

    def failed(self, claim: Claim, reason: str) -> Finished:
        """Have *claim*'s receipts asked about again later: nothing was learned."""
        return Finished(claim, Answered(Asked.LOST), self._failure(claim, reason))

    def unasked(self, claim: Claim) -> Finished:
        """Have *claim*'s order freed as if it had not been asked about."""
        return Finished(claim, Answered(Asked.LOST, 0), partial(_give_back, claim=claim))

    def write(self, finished: Sequence[Finished]) -> list[Finished]:
        """Write what claims brought, in one unit as far as that goes; return what could not be written at all.

        Each is atomic: one that fails, or whose claim was lost, leaves the others as they are.
        """
        if len(finished) == 1:
            return [one for one in finished if not self._written(one)]
        try:
            outcomes = self._store.write(partial(_draft_all, finished=finished)).result()
        except StoreError as error:
            log.warning("confirming_failed", claims=len(finished), why=str(error))
            return list(finished)
        except Exception as error:  # noqa: BLE001 (nothing of it was written, and who is at fault shows alone)
            log.info("written_one_by_one", claims=len(finished), why=type(error).__name__)
            return [one for one in finished if not self._written(one)]
        left = [
            again
            for one, outcome in zip(finished, outcomes, strict=True)
            if (again := self._after(one, outcome))
        ]
        return [one for one in left if not self._written(one)]

    def give_back(self, claim: Claim) -> None:
        """Free *claim*'s order as if it had not been asked about. Raises StoreError when it cannot be written."""
        self._write_one(self.unasked(claim))

    def _ask(
        self, claim: Claim, gateway: Gateway, *, probe: bool
    ) -> tuple[Asked, Callable[[Unit], Report | None], tuple[str, ...]]:
        give_back = partial(_give_back, claim=claim)
        try:
            inquiry = inquire(claim, merchant=self._merchants[claim.merchant], gateway=gateway)
        except GatewayUnavailable as error:
            asked = Asked.FAILED if error.trips_breaker else Asked.UNAVAILABLE
            return asked, self._failure(claim, error.reason), ()
        except CannotBeAsked as error:
            return Asked.LOST, partial(_hold, claim=claim, why=str(error)), ()
        except GatewayRefused:
            return Asked.REFUSED, give_back, ()
        found = any(isinstance(reply, Found) for reply in inquiry.replies)
        asked = Asked.FOUND if found else Asked.MISSING
        if probe and not found:
            return asked, give_back, ()
        return asked, partial(self._apply, claim=claim, inquiry=inquiry), _named(claim, inquiry)

    def _failure(self, claim: Claim, reason: str) -> Callable[[Unit], None]:
        """Return what has *claim* asked about again with back-off, for as long as it takes."""
        log.warning("question_failed", merchant=claim.merchant, order_id=claim.order_id, why=reason)
        return partial(_note_failure, claim=claim, reason=reason, jitter=self._jitter())

    def _apply(self, unit: Unit, claim: Claim, inquiry: Inquiry) -> Report:
        unit.claims.check(claim)
        merchant = self._merchants[claim.merchant]
        report = Application(unit, claim, inquiry, merchant=merchant, rules=self._rules).run()
        unit.claims.end(claim, report.receipts)
        plan_anew(unit, claim, self._rules.check_times)
        return report

    def _after(self, one: Finished, outcome: Report | Exception | None) -> Finished | None:
        """Tell what became of *one* among others; return what is left to be written by itself."""
        if isinstance(outcome, PaymentMoved):  # the answer is thrown away and asked anew
            _say_lost(one.claim, outcome)
            return self.unasked(one.claim)
        if isinstance(outcome, ClaimLost):
            _say_lost(one.claim, outcome)
        elif isinstance(outcome, Exception):
            return one
        elif outcome is not None:
            self._tell(one.claim, outcome)
        return None

    def _written(self, one: Finished) -> bool:
        """Write *one* by itself; a fault of our own has it asked about later. False: nothing can be written now."""
        try:
            try:
                self._write_one(one)
            except StoreError:
                raise
            except Exception:
                log.exception("confirming_failed", order_id=one.claim.order_id)
                self._write_one(self.failed(one.claim, OWN_FAULT))
        except StoreError as error:
            log.warning("confirming_failed", order_id=one.claim.order_id, why=str(error))
            return False
        return True

    def _write_one(self, one: Finished) -> None:
        try:
            report = self._store.write(one.work).result()
        except PaymentMoved as error:  # the answer is thrown away and asked anew
            _say_lost(one.claim, error)
            self._store.write(self.unasked(one.claim).work).result()
        except ClaimLost as error:
            _say_lost(one.claim, error)
        else:
            if report is not None:
                self._tell(one.claim, report)

    def _tell(self, claim: Claim, report: Report) -> None:
        """Tell of what is committed; a bell that cannot be rung undoes nothing and keeps nobody else's from ringing."""
        try:
            self._say(claim, report)
        except Exception:
            log.exception("telling_failed", merchant=claim.merchant, order_id=claim.order_id)

    def _say(self, claim: Claim, report: Report) -> None:
        log.info(
            "payment_confirmed",
            merchant=claim.merchant,
            order_id=claim.order_id,
            transaction_id=report.transaction_id,
            verdict=report.verdict.value,
            status=report.status,
            receipts=len(claim.receipts),
        )
        for event in report.events:
            log.info(
                "event_made",
                merchant=claim.merchant,
                type=event.type,
                order_id=event.order_id,
                transaction_id=event.transaction_id,
                event_id=event.id,
                amount=str(event.amount.value),
                currency=event.amount.currency,
            )
        self._on_report(claim.merchant, report)
        for sounded in report.alarms:
            self._alarm(sounded.alarm, merchant=claim.merchant, **sounded.facts)


class _Counting:
    """A gateway that counts the questions put through it."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self.questions = 0

    def get_status(self, merchant: str, asked: str) -> Reply:
        self.questions += 1
        return self._gateway.get_status(merchant, asked)


def _draft_all(unit: WholeUnit, finished: Sequence[Finished]) -> list[Report | Exception | None]:
    """Do the work of all; what failed by itself is in the place of its report."""
    named = {(one.claim.merchant, transaction) for one in finished for transaction in one.transactions}
    together = unit.together([one.claim for one in finished], sorted(named))
    outcomes: list[Report | Exception | None] = []
    for one in finished:
        # Behind one that has to be written by itself, all have to be: in the order in which they were answered.
        behind = bool(outcomes) and isinstance(outcomes[-1], NotTogether)
        outcomes.append(outcomes[-1] if behind else together.draft(one.work))
    together.write()
    return outcomes


def _named(claim: Claim, inquiry: Inquiry) -> tuple[str, ...]:
    """Return the transactions that the claim or an answer names: whose payments may be read or written."""
    answered = (reply.facts.transaction_id for reply in inquiry.replies if isinstance(reply, Found))
    return tuple({name for name in (claim.transaction_id, *answered) if name})


def _note_failure(unit: Unit, claim: Claim, reason: str, jitter: float) -> None:
    unit.claims.check(claim)
    at = unit.now
    steps = [judge_failure(receipt, reason, at=at, jitter=jitter) for receipt in claim.receipts]
    unit.claims.end(claim, steps)
    if claim.check is not None:
        failures = claim.check.failures + 1
        unit.checks.put(claim.check, retry_at(failures, now=at, jitter=jitter), failures=failures)


def _hold(unit: Unit, claim: Claim, why: str) -> Report:
    """Hold what cannot be asked about, for a person."""
    report = Report(Verdict.ANOMALY, transaction_id=claim.transaction_id)
    report.receipts = [judge_unaskable(receipt) for receipt in claim.receipts]
    report.alarm(ReceiptState.PARKED.value, order_id=claim.order_id, why=why)
    unit.claims.check(claim)
    unit.claims.end(claim, report.receipts)
    if claim.check is not None:
        unit.checks.put(claim.check, None)
    return report


def _give_back(unit: Unit, claim: Claim) -> None:
    unit.claims.give_back(claim)
    if claim.check is not None:
        unit.checks.put(claim.check, unit.now)


def _say_lost(claim: Claim, error: ClaimLost) -> None:
    log.warning("claim_lost", merchant=claim.merchant, order_id=claim.order_id, why=str(error))

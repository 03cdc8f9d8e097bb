"""Step 2: a claim → a question to Midtrans, outside any transaction → what its answer means, inside one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import structlog

from service.domain.backoff import retry_at
from service.domain.confirmation import Verdict, judge_failure, judge_unaskable
from service.domain.inquiry import Found, Inquiry, Reply
from service.domain.merchant import Merchant
from service.domain.pace import Asked
from service.domain.records import Claim, ReceiptState
from service.errors import CannotBeAsked, ClaimLost, GatewayRefused, GatewayUnavailable, PaymentMoved
from service.flow.apply import Application, Report, Rules
from service.flow.ask import inquire
from service.flow.edges import Alarm, Gateway, Store, Unit
from service.flow.reconcile import plan_anew

T = TypeVar("T")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Answered:
    """What a claim's questions brought, and how many there were: what the merchant's limits count."""

    asked: Asked
    questions: int = 1


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
        """Ask about *claim* and write what follows. Raises StoreError when it cannot be written.

        A *probe* asks whether a paused account works again: a 404 then uses up none of the receipts' tries.
        """
        counting = _Counting(self._gateway)
        asked = self._ask(claim, counting, probe=probe)
        return Answered(asked, max(1, counting.questions))

    def fail(self, claim: Claim, reason: str) -> None:
        """Have *claim*'s receipts asked about again later, with back-off, for as long as it takes."""
        log.warning("question_failed", merchant=claim.merchant, order_id=claim.order_id, why=reason)

        def note(unit: Unit) -> None:
            unit.claims.check(claim)
            at, jitter = unit.now, self._jitter()
            steps = [judge_failure(receipt, reason, at=at, jitter=jitter) for receipt in claim.receipts]
            unit.claims.end(claim, steps)
            if claim.check is not None:
                failures = claim.check.failures + 1
                unit.checks.put(claim.check, retry_at(failures, now=at, jitter=jitter), failures=failures)

        self._write(claim, note)

    def give_back(self, claim: Claim) -> None:
        """Free *claim*'s order as if it had not been asked about."""
        self._write(claim, lambda unit: _give_back(unit, claim))

    def _ask(self, claim: Claim, gateway: Gateway, *, probe: bool) -> Asked:
        try:
            inquiry = inquire(claim, merchant=self._merchants[claim.merchant], gateway=gateway)
        except GatewayUnavailable as error:
            self.fail(claim, error.reason)
            return Asked.FAILED if error.trips_breaker else Asked.UNAVAILABLE
        except CannotBeAsked as error:
            self._hold(claim, error)
            return Asked.LOST
        except GatewayRefused:
            self.give_back(claim)
            return Asked.REFUSED
        found = any(isinstance(reply, Found) for reply in inquiry.replies)
        if probe and not found:
            self.give_back(claim)
        else:
            self._settle(claim, inquiry)
        return Asked.FOUND if found else Asked.MISSING

    def _settle(self, claim: Claim, inquiry: Inquiry) -> None:
        try:
            report = self._write(claim, lambda unit: self._apply(unit, claim, inquiry))
        except PaymentMoved as error:  # the answer is thrown away and asked anew
            log.warning("claim_lost", merchant=claim.merchant, order_id=claim.order_id, why=str(error))
            self.give_back(claim)
            return
        if report is not None:
            self._tell(claim, report)

    def _apply(self, unit: Unit, claim: Claim, inquiry: Inquiry) -> Report:
        unit.claims.check(claim)
        merchant = self._merchants[claim.merchant]
        report = Application(unit, claim, inquiry, merchant=merchant, rules=self._rules).run()
        unit.claims.end(claim, report.receipts)
        plan_anew(unit, claim, self._rules.check_times)
        return report

    def _hold(self, claim: Claim, error: CannotBeAsked) -> None:
        report = Report(Verdict.ANOMALY, transaction_id=claim.transaction_id)
        report.receipts = [judge_unaskable(receipt) for receipt in claim.receipts]
        report.alarm(ReceiptState.PARKED.value, order_id=claim.order_id, why=str(error))

        def hold(unit: Unit) -> Report:
            unit.claims.check(claim)
            unit.claims.end(claim, report.receipts)
            if claim.check is not None:
                unit.checks.put(claim.check, None)
            return report

        if self._write(claim, hold) is not None:
            self._tell(claim, report)

    def _write(self, claim: Claim, work: Callable[[Unit], T]) -> T | None:
        """Have *work* committed; None when the claim is somebody else's by now."""
        try:
            return self._store.write(work).result()
        except PaymentMoved:
            raise
        except ClaimLost as error:
            log.warning("claim_lost", merchant=claim.merchant, order_id=claim.order_id, why=str(error))
            return None

    def _tell(self, claim: Claim, report: Report) -> None:
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


def _give_back(unit: Unit, claim: Claim) -> None:
    unit.claims.give_back(claim)
    if claim.check is not None:
        unit.checks.put(claim.check, unit.now)

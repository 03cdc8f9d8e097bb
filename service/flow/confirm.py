"""Step 2: a claim and Midtrans' answers → payment, transition and event, in one transaction."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

import structlog

from django_midtrans.events import OrderView, PaymentEvent, change, make_event, order_view
from django_midtrans.payment import PaymentState
from django_midtrans.proof import Disproof, Proof, prove
from django_midtrans.status import OUTCOME_OF, Outcome
from service.domain.backoff import Waits, retry_at
from service.domain.confirmation import (
    PaymentStep,
    ReceiptStep,
    Verdict,
    judge_failure,
    judge_missing,
    judge_payment,
    judge_receipt,
    judge_unaskable,
    judge_unknown,
    judge_unproven,
)
from service.domain.inquiry import Found, Inquiry, Reply
from service.domain.merchant import Merchant
from service.domain.pace import Asked
from service.domain.reconcile import CheckTimes
from service.domain.records import (
    Claim,
    Expectation,
    NewConfirmation,
    NewTransition,
    PaymentRecord,
    ReceiptState,
)
from service.errors import CannotBeAsked, ClaimLost, GatewayRefused, GatewayUnavailable
from service.flow.ask import agreeing_with, bodies_of, inquire, is_about, pair_of
from service.flow.edges import Alarm, Gateway, Store, Unit
from service.flow.reconcile import plan_anew, plan_payment

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Answered:
    """What a claim's questions brought, and how many there were: what the merchant's limits count."""

    asked: Asked
    questions: int = 1


@dataclass(frozen=True, slots=True)
class Alarmed:
    """An alarm to sound once the unit of work is committed."""

    alarm: str
    facts: Mapping[str, object]


@dataclass(slots=True)
class Report:
    """What a unit of work did, told after its commit."""

    verdict: Verdict
    receipts: Sequence[ReceiptStep] = ()
    status: str | None = None
    transaction_id: str | None = None
    events: list[PaymentEvent] = field(default_factory=list)
    alarms: list[Alarmed] = field(default_factory=list)

    def alarm(self, alarm: str, **facts: object) -> None:
        """Have *alarm* sounded after the commit."""
        self.alarms.append(Alarmed(alarm, facts))


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
        waits: Waits,
        jitter: Callable[[], float],
        check_times: CheckTimes = CheckTimes(),  # noqa: B008 (frozen)
        on_report: Callable[[str, Report], None] = lambda _merchant, _report: None,
    ) -> None:
        self._check_times = check_times
        self._on_report = on_report
        self._merchants = merchants
        self._gateway = gateway
        self._store = store
        self._alarm = alarm
        self._waits = waits
        self._jitter = jitter

    def confirm(self, claim: Claim, *, probe: bool = False) -> Answered:
        """Ask about *claim* and write what follows.

        A *probe* asks whether a paused account works again: a 404 then uses up none of the receipts' tries.
        """
        try:
            inquiry = inquire(claim, merchant=self._merchants[claim.merchant], gateway=self._gateway)
        except GatewayUnavailable as error:
            self.fail(claim, error.reason)
            return Answered(Asked.FAILED if error.trips_breaker else Asked.UNAVAILABLE)
        except CannotBeAsked as error:
            self._hold(claim, error)
            return Answered(Asked.LOST)
        except GatewayRefused:
            self._store.write(lambda unit: _give_back(unit, claim)).result()
            return Answered(Asked.REFUSED)
        asked = Asked.FOUND if any(isinstance(reply, Found) for reply in inquiry.replies) else Asked.MISSING
        try:
            if probe and asked is Asked.MISSING:
                self._store.write(lambda unit: _give_back(unit, claim)).result()
            else:
                self._tell(claim, self._store.write(lambda unit: self._apply(unit, claim, inquiry)).result())
        except ClaimLost as error:
            _log_lost(claim, error)
        return Answered(asked, len(inquiry.replies))

    def fail(self, claim: Claim, reason: str) -> None:
        """Have *claim*'s receipts asked about again later, with back-off, for as long as it takes."""

        def note(unit: Unit) -> None:
            unit.claims.check(claim)
            at, jitter = unit.now, self._jitter()
            steps = [judge_failure(receipt, reason, at=at, jitter=jitter) for receipt in claim.receipts]
            unit.claims.end(claim, steps)
            if claim.check is not None:
                failures = claim.check.failures + 1
                unit.checks.put(claim.check, retry_at(failures, now=at, jitter=jitter), failures=failures)

        log.warning("question_failed", merchant=claim.merchant, order_id=claim.order_id, why=reason)
        try:
            self._store.write(note).result()
        except ClaimLost as error:
            _log_lost(claim, error)

    def _hold(self, claim: Claim, error: CannotBeAsked) -> None:
        def hold(unit: Unit) -> None:
            unit.claims.check(claim)
            unit.claims.end(claim, [judge_unaskable(receipt) for receipt in claim.receipts])
            if claim.check is not None:
                unit.checks.put(claim.check, None)

        self._store.write(hold).result()
        self._alarm(ReceiptState.PARKED.value, merchant=claim.merchant, why=str(error))

    def _apply(self, unit: Unit, claim: Claim, inquiry: Inquiry) -> Report:
        unit.claims.check(claim)
        merchant = self._merchants[claim.merchant]
        report = _Application(unit, claim, inquiry, merchant, self._waits, self._check_times).run()
        unit.claims.end(claim, report.receipts)
        plan_anew(unit, claim, self._check_times)
        return report

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
            )
        self._on_report(claim.merchant, report)
        for sounded in report.alarms:
            self._alarm(sounded.alarm, merchant=claim.merchant, **sounded.facts)


def _give_back(unit: Unit, claim: Claim) -> None:
    unit.claims.give_back(claim)
    if claim.check is not None:
        unit.checks.put(claim.check, unit.now)


def _log_lost(claim: Claim, error: ClaimLost) -> None:
    log.warning("claim_lost", merchant=claim.merchant, order_id=claim.order_id, why=str(error))


class _Application:
    """One claim's answers on their way into the database. Lives as long as its unit of work."""

    def __init__(  # noqa: PLR0917 (made in one place)
        self,
        unit: Unit,
        claim: Claim,
        inquiry: Inquiry,
        merchant: Merchant,
        waits: Waits,
        check_times: CheckTimes,
    ) -> None:
        self.unit = unit
        self.claim = claim
        self.inquiry = inquiry
        self.merchant = merchant
        self.waits = waits
        self.check_times = check_times

    def run(self) -> Report:
        """Write what the answers mean; the caller ends the claim with the receipts of the report."""
        claim, by_transaction = self.claim, self.inquiry.by_transaction
        if claim.transaction_id is None:
            return self._by_order_alone()
        known = self.unit.payments.get(claim.merchant, claim.transaction_id)
        if (known and known.version) != (claim.payment and claim.payment.version):
            raise ClaimLost(f"payment {claim.transaction_id!r} moved while Midtrans was asked")
        if isinstance(by_transaction, Found) and is_about(by_transaction.facts, claim.transaction_id):
            return self._by_transaction(by_transaction, known)
        return self._by_order(known)

    def _by_order_alone(self) -> Report:
        """The notification names no transaction: the order's answer names it."""
        reply = self.inquiry.by_order
        if not isinstance(reply, Found) or reply.facts.transaction_id is None:
            return self._missing()
        known = self.unit.payments.get(self.claim.merchant, reply.facts.transaction_id)
        if known is not None and known.order_id != self.claim.order_id:
            return self._anomaly(reply, Disproof.BOUND_ELSEWHERE, known)
        return self._advance(reply, known, reply.facts.transaction_id, Proof.BY_ORDER)

    def _by_transaction(self, reply: Found, known: PaymentRecord | None) -> Report:
        asked, self.claim = self.claim, agreeing_with(reply.facts, self.claim)
        report = self._by_pair(reply, known)
        aside = [receipt for receipt in asked.receipts if receipt not in self.claim.receipts]
        if aside:
            reason = Disproof.OTHER_MERCHANT.value
            steps = [ReceiptStep(receipt.id, ReceiptState.ANOMALY, reason=reason) for receipt in aside]
            report.receipts = [*report.receipts, *steps]
            facts = {"order_id": asked.order_id, "transaction_id": asked.transaction_id}
            report.alarm("anomaly", **facts, why=reason)
        return report

    def _by_pair(self, reply: Found, known: PaymentRecord | None) -> Report:
        proof = self._prove(reply, known)
        self._keep_evidence(besides=reply)
        if isinstance(proof, Proof):
            return self._advance(reply, known, self._transaction_id, proof)
        if proof is Disproof.RIVAL_CLAIM:
            return self._rival(reply)
        return self._anomaly(reply, proof, known)

    def _by_order(self, known: PaymentRecord | None) -> Report:
        """The transaction is unknown (404); an answer about the order counts for the transaction it names."""
        reply = self.inquiry.by_order
        if not isinstance(reply, Found) or reply.facts.transaction_id is None:
            return self._missing()
        named = reply.facts.transaction_id
        if named != self._transaction_id:
            return self._advance_other(reply, named)
        if known is not None and known.order_id != self.claim.order_id:
            return self._anomaly(reply, Disproof.BOUND_ELSEWHERE, known)
        self._keep_evidence(besides=reply)
        return self._advance(reply, known, named, Proof.BY_ORDER)

    def _prove(self, reply: Found, known: PaymentRecord | None) -> Proof | Disproof:
        claim, unit = self.claim, self.unit
        by_order = self.inquiry.by_order
        expected = unit.expectations.of_order(claim.merchant, claim.order_id)
        needs_more = known is None and reply.facts.order_id != claim.order_id
        first = min((receipt.id for receipt in claim.receipts), default=None)
        pair = pair_of(
            replace(claim, payment=known, expected_transaction=expected.transaction_id if expected else None),
            bodies_of(claim),
            self.merchant,
            expected_order=unit.expectations.order_of(claim.merchant, self._transaction_id)
            if needs_more
            else None,
            rivals=unit.claims.rivals(claim.merchant, self._transaction_id, claim.order_id, first)
            if needs_more and first is not None
            else (),
        )
        about_order = by_order.facts if isinstance(by_order, Found) else None
        return prove(pair, reply.facts, about_order, self.merchant.server_keys)

    def _advance(
        self, reply: Found, known: PaymentRecord | None, transaction_id: str, proof: Proof
    ) -> Report:
        """The pair is proven: the answer counts, and every receipt of the claim is judged by it."""
        at = self.unit.now
        step = judge_payment(
            known.state if known else None, reply.facts, known.dispute if known else None, at=at
        )
        report = Report(step.verdict, transaction_id=transaction_id)
        state = self._write(
            reply, known, transaction_id=transaction_id, proof=proof, step=step, report=report
        )
        if state is None:
            report.receipts = [
                judge_unknown(receipt, step.verdict, at=at, waits=self.waits)
                for receipt in self.claim.receipts
            ]
        else:
            report.status = state.status.value
            report.receipts = [
                judge_receipt(receipt, body, state, step.verdict, at=at, waits=self.waits)
                for receipt, body in zip(self.claim.receipts, bodies_of(self.claim), strict=True)
            ]
        self._alarm_receipts(report)
        return report

    def _advance_other(self, reply: Found, named: str) -> Report:
        """The order's answer says nothing of the notified transaction, but may advance the one it names."""
        self._keep_evidence(besides=reply)
        report = self._missing(keep=False)
        known = self.unit.payments.get(self.claim.merchant, named)
        proven = reply.facts.order_id == self.claim.order_id or known is not None
        if not proven or (known is not None and known.order_id != self.claim.order_id):
            self._keep(reply, Verdict.EVIDENCE)
            return report
        step = judge_payment(
            known.state if known else None,
            reply.facts,
            known.dispute if known else None,
            at=self.unit.now,
        )
        self._write(reply, known, transaction_id=named, proof=Proof.NAMED, step=step, report=report)
        return report

    def _write(
        self,
        reply: Found,
        known: PaymentRecord | None,
        *,
        transaction_id: str,
        proof: Proof,
        step: PaymentStep,
        report: Report,
    ) -> PaymentState | None:
        """Write confirmation, payment, transition and event; return what is known of the payment now."""
        for alarm in step.alarms:
            report.alarm(alarm, order_id=self.claim.order_id, transaction_id=transaction_id)
        state = step.state or (known.state if known else None)
        if state is None:
            self._keep(reply, step.verdict)
            return None
        previous = known.state if known else None
        record = PaymentRecord(
            merchant=self.claim.merchant,
            transaction_id=transaction_id,
            order_id=self.claim.order_id,
            version=(known.version if known else 0) + 1,
            confirmations=(known.confirmations if known else 0) + 1,
            bound_by=known.bound_by if known else proof.value,
            state=state,
            dispute=step.dispute,
            created_at=known.created_at if known else self.unit.now,
        )
        expectation = self.unit.expectations.of_order(record.merchant, record.order_id)
        event = self._event(record, previous, step, expectation) if step.changed else None
        if event is not None:
            record = replace(record, state=replace(state, sequence=event.sequence))
        confirmation_id = self._keep(
            reply, step.verdict, transaction_id=transaction_id, ordinal=record.confirmations
        )
        self.unit.payments.save(record, known=known)
        plan_payment(self.unit, record, known, self.check_times, expected=expectation is not None)
        if event is not None:
            self._tell(event, confirmation_id, report)
        return state

    def _tell(self, event: PaymentEvent, confirmation_id: int, report: Report) -> None:
        self.unit.payments.add_transition(
            NewTransition(
                merchant=event.merchant,
                transaction_id=event.transaction_id,
                sequence=event.sequence,
                confirmation_id=confirmation_id,
                previous_status=event.previous_status.value if event.previous_status else None,
                status=event.status.value,
                irregular=event.irregular,
                event_id=UUID(event.id),
            )
        )
        self.unit.events.append(
            event=event,
            merchant=event.merchant,
            transaction_id=event.transaction_id,
            order_id=event.order_id,
            sequence=event.sequence,
        )
        report.events.append(event)
        if event.outcome_changed and event.outcome is Outcome.PAID and event.order.paid_payments > 1:
            report.alarm("two_payments", order_id=event.order_id, transaction_id=event.transaction_id)

    def _event(
        self,
        record: PaymentRecord,
        previous: PaymentState | None,
        step: PaymentStep,
        expectation: Expectation | None,
    ) -> PaymentEvent | None:
        """Return the event of the step; None when nothing happened that was not told before."""
        if change(previous, record.state) is None:
            return None
        sequence = (previous.sequence if previous else 0) + 1
        event = make_event(
            merchant=record.merchant,
            order_id=record.order_id,
            transaction_id=record.transaction_id,
            previous=previous,
            state=replace(record.state, sequence=sequence),
            order=self._order(record, expectation),
            irregular=step.irregular,
            confirmed_at=self.unit.now,
            confirmed_by=self.claim.cause.value,
        )
        # Forced there and back again within one status, the same thing happened again, and ids say what happened.
        told = step.irregular and self.unit.events.has(UUID(event.id))
        return None if told else event

    def _order(self, record: PaymentRecord, expectation: Expectation | None) -> OrderView:
        outcomes = self.unit.payments.of_order(record.merchant, record.order_id)
        outcomes[record.transaction_id] = OUTCOME_OF[record.state.status]
        return order_view(
            list(outcomes.values()),
            expected=expectation.gross_amount if expectation else None,
            amount=record.state.amount,
            amount_before_fee=record.state.amount_before_fee,
        )

    def _missing(self, *, keep: bool = True) -> Report:
        if keep:
            self._keep_evidence(besides=None)
        at = self.unit.now
        receipts = [judge_missing(receipt, at=at, waits=self.waits) for receipt in self.claim.receipts]
        report = Report(Verdict.NOT_FOUND, receipts, transaction_id=self.claim.transaction_id)
        self._alarm_receipts(report)
        return report

    def _rival(self, reply: Found) -> Report:
        """Another order claimed the transaction first and is still open: this one waits for that to be decided."""
        self._keep(reply, Verdict.ANOMALY)
        at, reason = self.unit.now, Disproof.RIVAL_CLAIM.value
        receipts = [
            judge_unproven(receipt, reason, at=at, waits=self.waits) for receipt in self.claim.receipts
        ]
        report = Report(Verdict.ANOMALY, receipts, transaction_id=self.claim.transaction_id)
        self._alarm_receipts(report)
        return report

    def _anomaly(self, reply: Found, disproof: Disproof, known: PaymentRecord | None) -> Report:
        """The transaction was found and is not this order's: held, without an event, until a person looks."""
        self._keep(reply, Verdict.ANOMALY)
        receipts = [
            ReceiptStep(receipt.id, ReceiptState.ANOMALY, reason=disproof.value)
            for receipt in self.claim.receipts
        ]
        report = Report(Verdict.ANOMALY, receipts, transaction_id=self.claim.transaction_id)
        facts = {"order_id": self.claim.order_id, "transaction_id": self.claim.transaction_id}
        if known is not None and known.bound_by == Proof.ALONE.value:
            report.alarm("rival_claim", **facts, bound_to=known.order_id)
        else:
            report.alarm("anomaly", **facts, why=disproof.value)
        return report

    def _alarm_receipts(self, report: Report) -> None:
        for step in report.receipts:
            if step.state in (ReceiptState.PARKED, ReceiptState.CONTRADICTED):
                report.alarm(
                    step.state.value, order_id=self.claim.order_id, receipt=str(step.id), why=step.reason
                )

    def _keep_evidence(self, *, besides: Reply | None) -> None:
        for reply in self.inquiry.replies:
            if reply is not besides:
                found = isinstance(reply, Found)
                self._keep(reply, Verdict.EVIDENCE if found else Verdict.NOT_FOUND)

    def _keep(
        self,
        reply: Reply,
        verdict: Verdict,
        *,
        transaction_id: str | None = None,
        ordinal: int | None = None,
    ) -> int:
        return self.unit.payments.add_confirmation(
            NewConfirmation(
                merchant=self.claim.merchant,
                order_id=self.claim.order_id,
                transaction_id=transaction_id,
                cause=self.claim.cause,
                fence=self.claim.fence,
                asked=reply.asked,
                asked_at=reply.asked_at,
                answered_at=reply.answered_at,
                http_status=reply.http_status,
                answer=reply.raw,
                verdict=verdict.value,
            ),
            ordinal=ordinal,
        )

    @property
    def _transaction_id(self) -> str:
        return self.claim.transaction_id or ""

"""Step 2b: Midtrans' answers about a claim on their way into the database, inside one unit of work."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from django_midtrans.events import PaymentEvent, change, make_event
from django_midtrans.order import OrderView, order_view
from django_midtrans.payment import PaymentState
from django_midtrans.proof import Disproof, Pair, Proof, prove, prove_by_answer
from django_midtrans.status import OUTCOME_OF, Outcome
from service.domain.backoff import Waits
from service.domain.confirmation import (
    PaymentStep,
    ReceiptStep,
    Verdict,
    judge_missing,
    judge_payment,
    judge_receipt,
    judge_unknown,
    judge_unproven,
)
from service.domain.inquiry import Found, Inquiry, Reply
from service.domain.merchant import Merchant
from service.domain.reconcile import CheckTimes
from service.domain.records import (
    Claim,
    Expectation,
    NewConfirmation,
    NewTransition,
    PaymentRecord,
    ReceiptState,
)
from service.errors import PaymentMoved
from service.flow.ask import agreeing_with, bodies_of, is_about, pair_of
from service.flow.edges import Unit
from service.flow.reconcile import plan_payment


@dataclass(frozen=True, slots=True)
class Rules:
    """What the settings say of confirming."""

    waits: Waits = field(default_factory=Waits)
    check_times: CheckTimes = field(default_factory=CheckTimes)


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


class Application:
    """One claim's answers; lives as long as its unit of work."""

    def __init__(
        self, unit: Unit, claim: Claim, inquiry: Inquiry, *, merchant: Merchant, rules: Rules
    ) -> None:
        self._unit = unit
        self._claim = claim
        self._inquiry = inquiry
        self._merchant = merchant
        self._rules = rules

    def run(self) -> Report:
        """Write what the answers mean; the caller ends the claim with the receipts of the report.

        Raises PaymentMoved when the payment is not what it was when it was claimed.
        """
        claim = self._claim
        reply = self._inquiry.by_transaction
        if isinstance(reply, Found) and is_about(reply.facts, claim.transaction_id or ""):
            return self._beside_other_merchants(reply, claim.transaction_id or "")
        reply = self._inquiry.by_order
        if not isinstance(reply, Found) or reply.facts.transaction_id is None:
            return self._missing()
        if claim.transaction_id in (None, reply.facts.transaction_id):
            return self._beside_other_merchants(reply, reply.facts.transaction_id)
        return self._advance_other(reply, reply.facts.transaction_id)

    def _beside_other_merchants(self, reply: Found, transaction_id: str) -> Report:
        """An altered body that names another merchant_id is held, and does not speak for those beside it."""
        asked, self._claim = self._claim, agreeing_with(reply.facts, self._claim)
        report = self._by_pair(reply, transaction_id)
        aside = [receipt for receipt in asked.receipts if receipt not in self._claim.receipts]
        if aside:
            reason = Disproof.OTHER_MERCHANT.value
            steps = [ReceiptStep(receipt.id, ReceiptState.ANOMALY, reason=reason) for receipt in aside]
            report.receipts = [*report.receipts, *steps]
            report.alarm("anomaly", order_id=asked.order_id, transaction_id=transaction_id, why=reason)
        return report

    def _by_pair(self, reply: Found, transaction_id: str) -> Report:
        known = self._known(transaction_id)
        proof = self._prove(reply, known, transaction_id)
        self._keep_evidence(besides=reply)
        if isinstance(proof, Proof):
            return self._advance(reply, known, transaction_id, proof)
        if proof is Disproof.RIVAL_CLAIM:
            return self._rival(reply)
        return self._anomaly(reply, proof, known)

    def _known(self, transaction_id: str) -> PaymentRecord | None:
        claim = self._claim
        known = self._unit.payments.get(claim.merchant, transaction_id)
        if claim.transaction_id is not None and (known and known.version) != (
            claim.payment and claim.payment.version
        ):
            raise PaymentMoved(transaction_id)
        return known

    def _prove(self, reply: Found, known: PaymentRecord | None, transaction_id: str) -> Proof | Disproof:
        claim, unit = self._claim, self._unit
        by_order = self._inquiry.by_order
        expected = unit.expectations.of_order(claim.merchant, claim.order_id)
        needs_more = known is None and reply.facts.order_id != claim.order_id
        first = min((receipt.id for receipt in claim.receipts), default=None)
        pair = pair_of(
            replace(
                claim,
                transaction_id=transaction_id,
                payment=known,
                expected_transaction=expected.transaction_id if expected else None,
            ),
            bodies_of(claim),
            self._merchant,
            expected_order=unit.expectations.order_of(claim.merchant, transaction_id) if needs_more else None,
            rivals=unit.claims.rivals(claim.merchant, transaction_id, claim.order_id, first)
            if needs_more and first is not None
            else (),
        )
        about_order = by_order.facts if isinstance(by_order, Found) else None
        return prove(pair, reply.facts, about_order, self._merchant.server_keys)

    def _advance(
        self, reply: Found, known: PaymentRecord | None, transaction_id: str, proof: Proof
    ) -> Report:
        """The pair is proven: the answer counts, and every receipt of the claim is judged by it."""
        at, waits = self._unit.now, self._rules.waits
        step = self._judge(reply, known)
        report = Report(step.verdict, transaction_id=transaction_id)
        state = self._write(reply, known, transaction_id, proof=proof, step=step, report=report)
        receipts = self._claim.receipts
        if state is None:
            report.receipts = [
                judge_unknown(receipt, step.verdict, at=at, waits=waits) for receipt in receipts
            ]
        else:
            report.status = state.status.value
            report.receipts = [
                judge_receipt(receipt, body, state, step.verdict, at=at, waits=waits)
                for receipt, body in zip(receipts, bodies_of(self._claim), strict=True)
            ]
        self._alarm_receipts(report)
        return report

    def _advance_other(self, reply: Found, named: str) -> Report:
        """The order's answer says nothing of the notified transaction, but may advance the one it names."""
        self._keep_evidence(besides=reply)
        report = self._missing(keep=False)
        claim = self._claim
        known = self._unit.payments.get(claim.merchant, named)
        pair = Pair(
            order_id=claim.order_id,
            transaction_id=named,
            amount=None,
            merchant_ids=(self._merchant.merchant_id,) if self._merchant.merchant_id else (),
            bound_to=known.order_id if known else None,
        )
        proof = prove_by_answer(pair, reply.facts, self._merchant.server_keys)
        if isinstance(proof, Proof):
            step = self._judge(reply, known)
            self._write(reply, known, named, proof=proof, step=step, report=report)
        else:
            self._keep(reply, Verdict.EVIDENCE)
        return report

    def _judge(self, reply: Found, known: PaymentRecord | None) -> PaymentStep:
        if known is None:
            return judge_payment(None, reply.facts, None, at=self._unit.now)
        return judge_payment(known.state, reply.facts, known.dispute, at=self._unit.now)

    def _write(
        self,
        reply: Found,
        known: PaymentRecord | None,
        transaction_id: str,
        *,
        proof: Proof,
        step: PaymentStep,
        report: Report,
    ) -> PaymentState | None:
        """Write confirmation, payment, transition and event; return what is known of the payment now."""
        for alarm in step.alarms:
            report.alarm(alarm, order_id=self._claim.order_id, transaction_id=transaction_id)
        state = step.state or (known.state if known else None)
        if state is None:
            self._keep(reply, step.verdict)
            return None
        record = PaymentRecord(
            merchant=self._claim.merchant,
            transaction_id=transaction_id,
            order_id=self._claim.order_id,
            version=(known.version if known else 0) + 1,
            confirmations=(known.confirmations if known else 0) + 1,
            bound_by=known.bound_by if known else proof.value,
            state=state,
            dispute=step.dispute,
            created_at=known.created_at if known else self._unit.now,
        )
        expectation = self._unit.expectations.of_order(record.merchant, record.order_id)
        event = self._event(record, known, step, expectation) if step.changed else None
        if event is not None:
            record = replace(record, state=replace(state, sequence=event.sequence))
        self._keep(reply, step.verdict, transaction_id=transaction_id, ordinal=record.confirmations)
        self._unit.payments.save(record, known=known)
        plan_payment(self._unit, record, known, self._rules.check_times, expected=expectation is not None)
        if event is not None:
            self._tell(event, record.confirmations, report)
        return state

    def _event(
        self,
        record: PaymentRecord,
        known: PaymentRecord | None,
        step: PaymentStep,
        expectation: Expectation | None,
    ) -> PaymentEvent | None:
        """Return the event of the step; None when nothing happened that was not told before."""
        previous = known.state if known else None
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
            confirmed_at=self._unit.now,
            confirmed_by=self._claim.cause.value,
        )
        # Forced there and back again within one status, the same thing happened again, and ids say what happened.
        told = known is not None and self._unit.events.has(UUID(event.id))
        return None if told else event

    def _order(self, record: PaymentRecord, expectation: Expectation | None) -> OrderView:
        outcomes = self._unit.payments.of_order(record.merchant, record.order_id)
        outcomes[record.transaction_id] = OUTCOME_OF[record.state.status]
        return order_view(
            list(outcomes.values()),
            expected=expectation.gross_amount if expectation else None,
            amount=record.state.amount,
            amount_before_fee=record.state.amount_before_fee,
        )

    def _tell(self, event: PaymentEvent, ordinal: int, report: Report) -> None:
        self._unit.payments.add_transition(
            NewTransition(
                merchant=event.merchant,
                transaction_id=event.transaction_id,
                sequence=event.sequence,
                ordinal=ordinal,
                previous_status=event.previous_status.value if event.previous_status else None,
                status=event.status.value,
                irregular=event.irregular,
                event_id=UUID(event.id),
            )
        )
        self._unit.events.append(
            event=event,
            merchant=event.merchant,
            transaction_id=event.transaction_id,
            order_id=event.order_id,
            sequence=event.sequence,
        )
        report.events.append(event)
        if event.outcome_changed and event.outcome is Outcome.PAID and event.order.paid_payments > 1:
            report.alarm("two_payments", order_id=event.order_id, transaction_id=event.transaction_id)

    def _missing(self, *, keep: bool = True) -> Report:
        if keep:
            self._keep_evidence(besides=None)
        at, waits = self._unit.now, self._rules.waits
        receipts = [judge_missing(receipt, at=at, waits=waits) for receipt in self._claim.receipts]
        report = Report(Verdict.NOT_FOUND, receipts, transaction_id=self._claim.transaction_id)
        self._alarm_receipts(report)
        return report

    def _rival(self, reply: Found) -> Report:
        """Another order claimed the transaction first and is still open: this one waits for that to be decided."""
        self._keep(reply, Verdict.ANOMALY)
        at, waits, reason = self._unit.now, self._rules.waits, Disproof.RIVAL_CLAIM.value
        receipts = [judge_unproven(receipt, reason, at=at, waits=waits) for receipt in self._claim.receipts]
        report = Report(Verdict.ANOMALY, receipts, transaction_id=self._claim.transaction_id)
        self._alarm_receipts(report)
        return report

    def _anomaly(self, reply: Found, disproof: Disproof, known: PaymentRecord | None) -> Report:
        """The transaction was found and is not this order's: held, without an event, until a person looks."""
        self._keep(reply, Verdict.ANOMALY)
        claim = self._claim
        receipts = [
            ReceiptStep(receipt.id, ReceiptState.ANOMALY, reason=disproof.value) for receipt in claim.receipts
        ]
        report = Report(Verdict.ANOMALY, receipts, transaction_id=claim.transaction_id)
        facts = {"order_id": claim.order_id, "transaction_id": claim.transaction_id}
        if known is not None and known.bound_by == Proof.ALONE.value:
            report.alarm("rival_claim", **facts, bound_to=known.order_id)
        else:
            report.alarm("anomaly", **facts, why=disproof.value)
        return report

    def _alarm_receipts(self, report: Report) -> None:
        order_id = self._claim.order_id
        for step in report.receipts:
            if step.state in (ReceiptState.PARKED, ReceiptState.CONTRADICTED):
                report.alarm(step.state.value, order_id=order_id, receipt=str(step.id), why=step.reason)

    def _keep_evidence(self, *, besides: Reply | None) -> None:
        for reply in self._inquiry.replies:
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
    ) -> None:
        self._unit.payments.add_confirmation(
            NewConfirmation(
                merchant=self._claim.merchant,
                order_id=self._claim.order_id,
                transaction_id=transaction_id,
                cause=self._claim.cause,
                fence=self._claim.fence,
                asked=reply.asked,
                asked_at=reply.asked_at,
                answered_at=reply.answered_at,
                http_status=reply.http_status,
                answer=reply.raw,
                verdict=verdict.value,
            ),
            ordinal=ordinal,
        )

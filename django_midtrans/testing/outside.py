"""What the rest of the world does to a payment: customers, banks, card holders, time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from django_midtrans.testing import bodies
from django_midtrans.testing.bodies import Body
from django_midtrans.testing.charging import add_fee, decide_card
from django_midtrans.testing.transaction import Refund, Step, Transaction

KEPT_NOTIFICATIONS = 10_000


class ImpossibleStep(Exception):
    """The test asked for something that Midtrans has no way to do, or named no payment."""


@dataclass
class Surroundings:
    """What all accounts of one ``InMemoryMidtrans`` share."""

    clock: Callable[[], datetime]
    new_id: Callable[[], str]
    public_url: str
    signs_charged: bool
    on_notification: Callable[[str, Body], None] | None
    lock: threading.RLock = field(default_factory=threading.RLock)

    def now(self) -> datetime:
        """Return the clock's time; refuse one without a zone, whose Jakarta time would be a guess."""
        moment = self.clock()
        if moment.tzinfo is None:
            raise ValueError("the clock must give aware datetimes")
        return moment


class OutsideWorld:
    """The half of an account that no API call reaches. Each method returns the notification it made."""

    def __init__(self, server_key: str, merchant_id: str, surroundings: Surroundings) -> None:
        self.server_key = server_key
        self.merchant_id = merchant_id
        self.notifications: deque[Body] = deque(maxlen=KEPT_NOTIFICATIONS)
        self._world = surroundings
        self._by_transaction: dict[str, Transaction] = {}
        self._by_order: dict[str, list[Transaction]] = {}
        self._open: dict[str, Transaction] = {}  # what may still expire
        self._unsent: list[Body] = []
        self._refund_count = 0

    def pay(self, id_: str, *, amount_paid: Decimal | int | None = None, after_expiry: bool = False) -> Body:
        """Let the customer pay: settlement.

        *amount_paid* above the amount is a customer-imposed fee, which raises gross_amount. *after_expiry*
        lets an expired payment be paid, which Midtrans documents neither as possible nor as impossible.
        """
        with self._turn():
            payment = self._known(id_)
            late = after_expiry and payment.status == "expire"
            if not late:
                self._must(payment, Step.PAY)
            self._take_money(payment, amount_paid)
            return self._advance(payment, "settlement")

    def complete_3ds(self, id_: str, *, success: bool = True) -> Body:
        """End the card's 3DS page: what the card's number stands for, or a denial when it was not passed."""
        with self._turn():
            payment = self._step(id_, Step.COMPLETE_3DS)
            payment.expiry_time = None
            if success:
                decide_card(payment, self._world.now())
            else:
                payment.status = "deny"
            return self._advance(payment, payment.status)

    def settle(self, id_: str) -> Body:
        """Run the bank's batch over a captured card: settlement, or cancel where a challenge is open."""
        with self._turn():
            payment = self._step(id_, Step.SETTLE)
            if payment.challenged:
                return self._advance(payment, "cancel")
            payment.settlement_time = self._world.now()
            return self._advance(payment, "settlement")

    def reverse(self, id_: str) -> Body:
        """Take a settlement back: deny, settlement_time kept. Permata, Mandiri bill, Indomaret only."""
        return self._simple(id_, Step.REVERSE, "deny")

    def chargeback(self, id_: str) -> Body:
        """Let the card holder dispute the whole payment."""
        with self._turn():
            payment = self._step(id_, Step.CHARGEBACK)
            payment.charged_back = payment.gross_amount
            return self._advance(payment, "chargeback")

    def partial_chargeback(self, id_: str, amount: Decimal | int) -> Body:
        """Let the card holder dispute *amount*. No documented body names it, so none here does."""
        with self._turn():
            payment = self._step(id_, Step.PARTIAL_CHARGEBACK)
            if not 0 < Decimal(amount) < payment.gross_amount - payment.charged_back:
                raise ImpossibleStep(f"{amount} is no part of what is left of {payment.transaction_id}")
            payment.charged_back += Decimal(amount)
            return self._advance(payment, "partial_chargeback")

    def confirm_refund(self, id_: str, refund_key: str) -> Body:
        """Let the bank confirm a refund: same status and signature, ``bank_confirmed_at`` added."""
        with self._turn():
            payment = self._step(id_, Step.CONFIRM_REFUND)
            refund = self._unconfirmed(payment, refund_key)
            refund.bank_confirmed_at = self._world.now()
            return self._notify(payment)

    def fail(self, id_: str) -> Body:
        """Let the provider break: failure."""
        return self._simple(id_, Step.FAIL, "failure")

    def deny_payment(self, id_: str) -> Body:
        """Let the bank or the provider refuse a pending payment or an authorisation: deny."""
        return self._simple(id_, Step.DENY_PAYMENT, "deny")

    def expire_due(self) -> list[Body]:
        """Expire every pending payment and every authorisation whose expiry_time the clock has reached."""
        with self._turn():
            now = self._world.now()
            due = [
                payment
                for payment in self._open.values()
                if payment.expiry_time is not None and payment.expiry_time <= now
            ]
            return [self._advance(payment, "expire") for payment in due]

    def refuse_next_capture(self, id_: str) -> None:
        """Make the bank refuse the next capture: it answers deny while GET status keeps authorize."""
        self.find(id_).refuse_next.add(Step.CAPTURE)

    def refuse_next_refund(self, id_: str) -> None:
        """Make the bank refuse the next refund: 202, status unchanged, no notification."""
        self.find(id_).refuse_next.add(Step.REFUND)

    def find(self, id_: str) -> Transaction:
        """Return a payment by transaction_id, or an order's latest, swapped or not; raises ImpossibleStep."""
        with self._world.lock:
            return self._known(id_)

    def transactions(self) -> tuple[Transaction, ...]:
        """Return every payment, oldest first."""
        with self._world.lock:
            return tuple(self._by_transaction.values())

    def steps(self, id_: str) -> frozenset[Step]:
        """Return what may happen to the payment now."""
        return self.find(id_).steps()

    def notification(self, id_: str) -> Body:
        """Return the body for the payment's present state without sending it: what a repeat would bring."""
        return self._signed(self.find(id_))

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Hold the lock; hand out the notifications made once it is free, so that a receiver may ask back."""
        with self._world.lock:
            yield
            unsent, self._unsent = self._unsent, []
        if self._world.on_notification is not None:
            for body in unsent:
                self._world.on_notification(self.server_key, body)

    def _known(self, id_: str) -> Transaction:
        payment = self._by_transaction.get(id_) or next(reversed(self._by_order.get(id_, [])), None)
        if payment is None:
            raise ImpossibleStep(f"no payment has the id {id_!r}")
        return payment

    def _must(self, payment: Transaction, step: Step) -> None:
        if step not in payment.steps():
            raise ImpossibleStep(f"{step} is not open to {payment.transaction_id}: {payment.status}")

    def _step(self, id_: str, step: Step) -> Transaction:
        payment = self._known(id_)
        self._must(payment, step)
        return payment

    def _simple(self, id_: str, step: Step, status: str) -> Body:
        with self._turn():
            return self._advance(self._step(id_, step), status)

    def _take_money(self, payment: Transaction, amount_paid: Decimal | int | None) -> None:
        now = self._world.now()
        fee = Decimal(0) if amount_paid is None else Decimal(amount_paid) - payment.gross_amount
        if fee < 0:
            raise ImpossibleStep("Midtrans' channels take the whole amount or nothing")
        payment.gross_amount += fee
        add_fee(payment, fee)
        payment.settlement_time = now
        if payment.channel == "bni" and payment.payment_type == "bank_transfer":
            paid = {"paid_at": bodies.local_time(now), "amount": bodies.money(payment.gross_amount)}
            payment.when_paid["payment_amounts"] = [paid]

    def _unconfirmed(self, payment: Transaction, refund_key: str) -> Refund:
        for refund in payment.refunds:
            if refund.key == refund_key and refund.bank_confirmed_at is None:
                return refund
        raise ImpossibleStep(f"no unconfirmed refund has the key {refund_key!r}")

    def _advance(self, payment: Transaction, status: str) -> Body:
        payment.advance(status)
        return self._notify(payment)

    def _notify(self, payment: Transaction) -> Body:
        if payment.status in {"pending", "authorize"}:
            self._open[payment.transaction_id] = payment
        else:
            self._open.pop(payment.transaction_id, None)
        body = self._signed(payment)
        self.notifications.append(body)
        self._unsent.append(body)
        return body

    def _signed(self, payment: Transaction) -> Body:
        return bodies.notification(payment, merchant_id=self.merchant_id, server_key=self.server_key)

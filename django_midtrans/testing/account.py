"""One merchant account as its shop sees it: the Core API's calls, answering the bodies Midtrans answers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from django_midtrans.testing import bodies
from django_midtrans.testing.bodies import Body
from django_midtrans.testing.charging import Making, lacks_card_token, open_transaction, problems_of
from django_midtrans.testing.outside import OutsideWorld
from django_midtrans.testing.transaction import FULL_REFUND_ONLY, Refund, Step, Transaction

_REFUND_KEY = re.compile(r"[A-Za-z0-9_-]+")
_LONGEST_REASON = 255
_MESSAGES: Mapping[str, str] = {
    "404": "Transaction doesn't exist.",
    "406": "A transaction or refund with this id was made before",
    "411": "Credit card token is missing, invalid or timed out",
    "412": "The transaction's status does not allow this",
    "414": "The refund amount is invalid",
}


class Account(OutsideWorld):
    """State and calls of one server key. Safe under threads; an answer's nested objects are not copied."""

    def charge(self, payload: Mapping[str, Any], *, same_order: bool = False, customer_fee: int = 0) -> Body:
        """Make a payment, or refuse: 400, 406 for an order_id used before, 411 for a card without a token.

        *same_order* allows the repeated order_id, as Snap does after a denied attempt. *customer_fee* is
        added to gross_amount and named in the metadata.
        """
        with self._turn():
            problems = problems_of(payload)
            if problems:
                return self._error("400", "One or more parameters in the payload is invalid.", problems)
            if payload["transaction_details"]["order_id"] in self._by_order and not same_order:
                return self._error("406")
            if lacks_card_token(payload):
                return self._error("411")
            payment = open_transaction(self._making(payload, customer_fee))
            self._by_transaction[payment.transaction_id] = payment
            self._by_order.setdefault(payment.order_id, []).append(payment)
            self._notify(payment)
            return bodies.charge(payment, merchant_id=self.merchant_id)

    def status(self, id_: str) -> Body:
        """Answer GET status by transaction_id, or by order_id: an order's latest payment."""
        with self._turn():
            payment = self._sought(id_)
            return self._error("404") if payment is None else self._status(payment)

    def status_b2b(self, id_: str, *, page: int = 0, per_page: int = 10) -> Body:
        """Answer GET status/b2b: the payments of the id's order, newest first, *page* counting from 0."""
        with self._turn():
            payment = self._sought(id_)
            if payment is None:
                return self._error("404")
            newest_first = self._by_order[payment.order_id][::-1]
            shown = newest_first[page * per_page : (page + 1) * per_page]
            found = bodies.error("200", "Success, transaction is found", self._world.new_id())
            return {**found, "transactions": [self._status(each) for each in shown]}

    def cancel(self, id_: str) -> Body:
        """Answer POST cancel: for pending, authorize and capture."""
        return self._end(id_, Step.CANCEL, "cancel", "Success, transaction is canceled")

    def expire(self, id_: str) -> Body:
        """Answer POST expire: success is 407, while the notification says 202."""
        return self._end(id_, Step.EXPIRE, "expire", "Success, transaction has expired", code="407")

    def approve(self, id_: str) -> Body:
        """Answer POST approve: a challenged card becomes money."""
        return self._judge(id_, Step.APPROVE, ("capture", "accept"), "Success, transaction is approved")

    def deny(self, id_: str) -> Body:
        """Answer POST deny: a challenged card is refused."""
        return self._judge(id_, Step.DENY, ("deny", "deny"), "Success, transaction is denied")

    def capture(self, payload: Mapping[str, Any]) -> Body:
        """Answer POST capture of an authorisation: ``gross_amount``, at most the reserved, replaces it."""
        with self._turn():
            payment = self._by_transaction.get(str(payload.get("transaction_id")))
            refused = self._refusal(payment, Step.CAPTURE)
            if payment is None or refused is not None:
                return refused or self._error("404")
            amount = _amount(payload.get("gross_amount"), payment.gross_amount)
            if amount is None or not 0 < amount <= payment.gross_amount:
                return self._error(
                    "400", "One or more parameters in the payload is invalid.", ["gross_amount"]
                )
            if Step.CAPTURE in payment.refuse_next:
                return self._refused(payment, Step.CAPTURE, "deny")
            payment.gross_amount, payment.expiry_time = amount, None
            self._advance(payment, "capture")
            return self._action(payment, "200", "Success, Credit Card transaction is successful")

    def refund(self, id_: str, payload: Mapping[str, Any] | None = None) -> Body:
        """Answer POST refund. *payload* may name ``refund_key``, ``amount`` (else what is left), ``reason``.

        400 for a malformed key, 406 for one used before, 412 where there is nothing to refund, 414 for a
        wrong amount.
        """
        return self._refund(id_, payload or {}, method="offline")

    def direct_refund(self, id_: str, payload: Mapping[str, Any] | None = None) -> Body:
        """Answer POST refund/online/direct: as ``refund``, through the provider."""
        return self._refund(id_, payload or {}, method="online")

    def _refund(self, id_: str, payload: Mapping[str, Any], *, method: str) -> Body:
        with self._turn():
            payment = self._sought(id_)
            refused = self._refusal_of_refund(payment, payload)
            if payment is None or refused is not None:
                return refused or self._error("404")
            if Step.REFUND in payment.refuse_next:
                return self._refused(payment, Step.REFUND, payment.status)
            refund = self._new_refund(payment, payload, method)
            payment.refunds.append(refund)
            self._advance(payment, "refund" if payment.refunded == payment.gross_amount else "partial_refund")
            return bodies.refunded(payment, refund, merchant_id=self.merchant_id)

    def _refusal_of_refund(self, payment: Transaction | None, payload: Mapping[str, Any]) -> Body | None:
        if payment is None:
            return self._error("404")
        problems = _problems_of_refund(payload)
        if problems:
            return self._error("400", "One or more parameters in the payload is invalid.", problems)
        if any(refund.key == payload.get("refund_key") for refund in payment.refunds):
            return self._error("406")
        if Step.REFUND not in payment.steps():
            return self._error("412")
        left = payment.gross_amount - payment.refunded
        amount = _amount(payload.get("amount"), left)
        partial_of_whole = payment.payment_type in FULL_REFUND_ONLY and amount != left
        if amount is None or not 0 < amount <= left or partial_of_whole:
            return self._error("414")
        return None

    def _new_refund(self, payment: Transaction, payload: Mapping[str, Any], method: str) -> Refund:
        now, left = self._world.now(), payment.gross_amount - payment.refunded
        stamp = re.sub(r"\D", "", bodies.local_time(now))  # 14 digits; with the count's four they are 18
        self._refund_count += 1
        return Refund(
            key=payload.get("refund_key") or self._world.new_id(),
            amount=_amount(payload.get("amount"), left) or left,
            chargeback_id=int(f"{stamp}{self._refund_count % 10_000:04d}"),
            chargeback_uuid=self._world.new_id(),
            created_at=now,
            method=method,
            reason=payload.get("reason"),
        )

    def _end(self, id_: str, step: Step, status: str, message: str, *, code: str = "200") -> Body:
        with self._turn():
            payment = self._sought(id_)
            refused = self._refusal(payment, step)
            if payment is None or refused is not None:
                return refused or self._error("404")
            self._advance(payment, status)
            return self._action(payment, code, message)

    def _judge(self, id_: str, step: Step, verdict: tuple[str, str], message: str) -> Body:
        with self._turn():
            payment = self._sought(id_)
            refused = self._refusal(payment, step)
            if payment is None or refused is not None:
                return refused or self._error("404")
            status, payment.fraud_status = verdict
            self._advance(payment, status)
            return self._action(payment, "200", message)

    def _refusal(self, payment: Transaction | None, step: Step) -> Body | None:
        if payment is None:
            return self._error("404")
        return None if step in payment.steps() else self._error("412")

    def _refused(self, payment: Transaction, step: Step, status_word: str) -> Body:
        payment.refuse_next.discard(step)
        return bodies.refused_action(payment, merchant_id=self.merchant_id, status_word=status_word)

    def _sought(self, id_: str) -> Transaction | None:
        """Return what an API call finds: swapped channels answer to their transaction_id alone."""
        by_order = [each for each in self._by_order.get(id_, ()) if not each.swapped]
        return self._by_transaction.get(id_) or next(reversed(by_order), None)

    def _making(self, payload: Mapping[str, Any], customer_fee: int) -> Making:
        return Making(
            payload=payload,
            now=self._world.now(),
            transaction_id=self._world.new_id(),
            number=len(self._by_transaction) + 1,
            public_url=self._world.public_url,
            customer_fee=Decimal(customer_fee),
        )

    def _status(self, payment: Transaction) -> Body:
        return bodies.status(
            payment,
            merchant_id=self.merchant_id,
            server_key=self.server_key,
            signs_charged=self._world.signs_charged,
        )

    def _action(self, payment: Transaction, code: str, message: str) -> Body:
        return bodies.action(payment, merchant_id=self.merchant_id, code=code, message=message)

    def _error(self, code: str, message: str = "", problems: list[str] | None = None) -> Body:
        return bodies.error(code, message or _MESSAGES[code], self._world.new_id(), problems)


def _amount(value: object, default: Decimal) -> Decimal | None:
    """Return an optional amount of a payload, *default* when it is left out, None when it is no amount."""
    if value is None:
        return default
    if isinstance(value, bool):
        return None
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        return None
    return amount if amount.is_finite() else None


def _problems_of_refund(payload: Mapping[str, Any]) -> list[str]:
    problems = []
    key, reason = payload.get("refund_key"), payload.get("reason", "")
    if key is not None and (not isinstance(key, str) or not _REFUND_KEY.fullmatch(key)):
        problems.append("refund_key may hold A-Z, a-z, 0-9, - and _ only")
    if not isinstance(reason, str) or len(reason) > _LONGEST_REASON:
        problems.append(f"reason must be text of at most {_LONGEST_REASON} characters")
    return problems

"""Step 2a: ask Midtrans about a claim, outside any transaction: by transaction, and by order where that must prove."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from functools import lru_cache
from typing import Any

from django_midtrans.facts import PaymentFacts
from django_midtrans.notification import parse_object
from django_midtrans.proof import Pair, prove_by_answer
from django_midtrans.values import read_money, read_text
from service.domain.inquiry import Found, Inquiry, Missing, Reply
from service.domain.merchant import Merchant
from service.domain.records import Claim
from service.errors import GatewayUnavailable
from service.flow.edges import Gateway

Body = dict[str, Any]


def inquire(claim: Claim, *, merchant: Merchant, gateway: Gateway) -> Inquiry:
    """Ask what decides *claim*, with one question where one is enough.

    Raises GatewayRefused or GatewayUnavailable.
    """
    if claim.transaction_id is None:
        return Inquiry(None, _naming_a_transaction(gateway.get_status(claim.merchant, claim.order_id)))
    reply = gateway.get_status(claim.merchant, claim.transaction_id)
    if isinstance(reply, Found) and is_about(reply.facts, claim.transaction_id):
        agreeing = agreeing_with(reply.facts, claim)
        pair = pair_of(agreeing, bodies_of(agreeing), merchant, expected_order=None)
        if prove_by_answer(pair, reply.facts, merchant.server_keys) is not None:
            return Inquiry(reply, None)
    if claim.transaction_id == claim.order_id:  # the same question would bring the same answer
        return Inquiry(reply, None)
    return Inquiry(reply, _naming_a_transaction(gateway.get_status(claim.merchant, claim.order_id)))


def bodies_of(claim: Claim) -> list[Body]:
    """Return the notifications of the claim's receipts; they were parsed before they were stored."""
    return [_parsed(receipt.raw) for receipt in claim.receipts]


def pair_of(
    claim: Claim,
    bodies: Sequence[Body],
    merchant: Merchant,
    *,
    expected_order: str | None,
    rivals: tuple[str, ...] = (),
) -> Pair:
    """Return the pair that the claim's notifications speak of. One amount counts: differing ones prove nothing."""
    amounts: set[Decimal | None] = {read_money(body.get("gross_amount")) for body in bodies}
    notified = {read_text(body, "merchant_id") for body in bodies} | {merchant.merchant_id}
    return Pair(
        order_id=claim.order_id,
        transaction_id=claim.transaction_id or "",
        amount=amounts.pop() if len(amounts) == 1 else None,
        merchant_ids=tuple(merchant_id for merchant_id in notified if merchant_id),
        bound_to=claim.payment.order_id if claim.payment else None,
        expected_order=expected_order,
        expected_transaction=claim.expected_transaction,
        rivals=rivals,
    )


def agreeing_with(answer: PaymentFacts, claim: Claim) -> Claim:
    """Return *claim* without the receipts that name another merchant_id than the answer, unless all of them do.

    The signature does not cover merchant_id: an altered body must not speak for the genuine ones beside it.
    """
    kept = tuple(
        receipt
        for receipt, body in zip(claim.receipts, bodies_of(claim), strict=True)
        if answer.merchant_id is None or read_text(body, "merchant_id") in (None, answer.merchant_id)
    )
    return replace(claim, receipts=kept) if 0 < len(kept) < len(claim.receipts) else claim


def is_about(facts: PaymentFacts, transaction_id: str) -> bool:
    """Say whether an answer speaks of *transaction_id*: asked with an order_id in its place, it names another."""
    return facts.transaction_id in (None, transaction_id)


@lru_cache(maxsize=128)
def _parsed(raw: bytes) -> Body:
    """Return what is read several times on the way from the question to its application; nobody changes it."""
    return parse_object(raw)


def _naming_a_transaction(reply: Reply) -> Reply:
    if isinstance(reply, Missing) or reply.facts.transaction_id:
        return reply
    raise GatewayUnavailable("the answer names no transaction", http_status=200, trips_breaker=False)

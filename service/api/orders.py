"""Orders: what a shop says it charged, and what is known of an order."""

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import AfterValidator

from django_midtrans.order import Money
from django_midtrans.status import Outcome
from django_midtrans.values import money_text, parse_money_text
from service.api import order_models as models
from service.api import texts
from service.api.auth import Caller, check_merchant, shop
from service.api.context import ApiContext, Context
from service.api.describe import COMMON, errors
from service.api.models import PaymentView
from service.api.payments import shown
from service.db.payment_reads import PaymentReads, PaymentRow
from service.db.receipt_reads import ReceiptReads, ReceiptRow
from service.db.unit import Unit
from service.domain.orders import Charged, order_now
from service.domain.records import Expectation, Token
from service.errors import NotFound
from service.flow.expect import expect

router = APIRouter(prefix="/v1", tags=["orders"], dependencies=[Depends(shop)], responses=COMMON)

Merchant = Annotated[str, Path(max_length=63, examples=["default"])]
OrderId = Annotated[
    str,
    Path(min_length=1, max_length=255, description="Percent-encoded; may hold `/`.", examples=["order-1001"]),
    AfterValidator(models.read_id),
]


@router.put(
    "/expectations/{merchant}/{order_id:path}",
    response_model=models.Expected,
    summary='Say "a charge was made"',
    responses={201: {"model": models.Expected, "description": "It is the order's first."}, **errors(404)},
)
async def put_expectation(
    context: Context, caller: Caller, merchant: Merchant, order_id: OrderId, body: models.ExpectationBody
) -> Response:
    """Keep what the order costs (201), or put it in the place of what was said before (200). Harmless to repeat.

    An order that nothing is heard of is asked for: 15 minutes after the first PUT, and 2 minutes, an hour and a day
    after its expiry. Events made from now on say whether the amount matches. Held receipts of the order go on.
    """
    _check(context, caller, merchant)
    expectation = Expectation(
        merchant=merchant,
        order_id=order_id,
        gross_amount=body.gross_amount,
        expires_at=body.expires_at,
        transaction_id=body.transaction_id,
    )

    def work(unit: Unit) -> tuple[bool, models.Expected]:
        first = expect(unit, expectation, context.check_times)
        return first, _expected(unit, expectation)

    first, answer = await context.store.write_async(work)
    return texts.answer(answer.model_dump_json(), 201 if first else 200)


@router.get(
    "/orders/{merchant}/{order_id:path}",
    response_model=models.OrderDetail,
    summary="Look at an order",
    responses=errors(404),
)
async def get_order(context: Context, caller: Caller, merchant: Merchant, order_id: OrderId) -> Response:
    """Return the whole order as known now: its payments, its notifications, what was asked and is expected."""
    check_merchant(caller, merchant)
    detail = await run_in_threadpool(context.store.read, lambda unit: _order(unit, merchant, order_id))
    return texts.answer(detail.model_dump_json())


def _check(context: ApiContext, caller: Token, merchant: str) -> None:
    check_merchant(caller, merchant)
    if merchant not in context.merchants:
        raise NotFound("merchant", merchant)


def _expected(unit: Unit, said: Expectation) -> models.Expected:
    kept = unit.expectations.of_order(said.merchant, said.order_id) or said
    return models.Expected(
        **_facts(kept, unit).model_dump(),
        merchant=kept.merchant,
        order_id=kept.order_id,
        next_check_at=unit.checks.planned_at(kept.merchant, kept.order_id),
    )


def _facts(expectation: Expectation, unit: Unit) -> models.ExpectationView:
    return models.ExpectationView(
        gross_amount=money_text(expectation.gross_amount),
        expires_at=expectation.expires_at,
        transaction_id=expectation.transaction_id,
        created_at=expectation.created_at or unit.now,
    )


def _order(unit: Unit, merchant: str, order_id: str) -> models.OrderDetail:
    reads = PaymentReads(unit)
    payments = reads.of_order(merchant, order_id)
    receipts = ReceiptReads(unit).of_order(merchant, order_id)
    expectation = unit.expectations.of_order(merchant, order_id)
    if not (payments or receipts or expectation):
        raise NotFound("order", order_id)
    expected = expectation.gross_amount if expectation else None
    known = order_now([_charged(row) for row in payments], expected=expected)
    currency = payments[0].state["currency"] if payments else "IDR"
    return models.OrderDetail(
        merchant=merchant,
        order_id=order_id,
        outcome=known.outcome.value if known else None,
        paid_payments=known.paid_payments if known else 0,
        expected=None if expected is None else models.MoneyView(**Money(expected, currency).to_dict()),
        amount_matches=known.amount_matches if known else None,
        payments=[PaymentView(**shown(row)) for row in payments],
        receipts=[_receipt(row) for row in receipts],
        questions=[
            models.Question(answered_at=step.at, **step.facts) for step in reads.questions(merchant, order_id)
        ],
        expectation=_facts(expectation, unit) if expectation else None,
        next_check_at=unit.checks.planned_at(merchant, order_id),
    )


def _charged(row: PaymentRow) -> Charged:
    before_fee = row.state["amount_before_fee"]
    return Charged(
        Outcome(row.outcome),
        parse_money_text(row.state["amount"]),
        None if before_fee is None else parse_money_text(before_fee),
    )


def _receipt(row: ReceiptRow) -> models.OrderReceipt:
    return models.OrderReceipt(
        id=str(row.id),
        transaction_id=row.transaction_id,
        transaction_status=row.transaction_status,
        state=row.state,
        reason=row.reason,
        due_at=row.due_at,
        duplicates=row.duplicates,
        received_at=row.received_at,
        ended_at=row.ended_at,
    )

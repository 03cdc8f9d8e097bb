"""Payments: state and timeline."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Response
from fastapi.concurrency import run_in_threadpool

from django_midtrans.status import PaymentStatus
from service.api import models, texts
from service.api.auth import Caller, check_merchant, shop
from service.api.context import Context
from service.api.describe import COMMON, errors
from service.db.payment_reads import PaymentReads, PaymentRow, TimelineStep
from service.db.unit import Unit
from service.domain.records import Role
from service.errors import NotFound

router = APIRouter(prefix="/v1/payments", tags=["payments"], dependencies=[Depends(shop)], responses=COMMON)


@router.get("", response_model=models.PaymentsAnswer, summary="List payments")
async def list_payments(
    *,
    context: Context,
    caller: Caller,
    merchant: Annotated[str | None, Query(max_length=63)] = None,
    order_id: Annotated[str | None, Query(max_length=255)] = None,
    status: PaymentStatus | None = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    after: Annotated[str | None, Query(max_length=1000, description="The `next` of the page before.")] = None,
) -> Response:
    """Return payments, the latest change first. A shop's token sees its merchants' payments."""
    if merchant is not None:
        check_merchant(caller, merchant)
    own = None if caller.role is Role.OPERATOR else caller.names
    merchants = own if merchant is None else (merchant,)

    def query(unit: Unit) -> tuple[list[PaymentRow], str | None]:
        return PaymentReads(unit).page(
            merchants=merchants, order_id=order_id, status=status, limit=limit, after=after
        )

    rows, next_ = await run_in_threadpool(context.store.read, query)
    answer = models.PaymentsAnswer(payments=[models.PaymentView(**shown(row)) for row in rows], next=next_)
    return texts.answer(answer.model_dump_json())


@router.get(
    "/{merchant}/{transaction_id:path}",
    response_model=models.PaymentDetail,
    summary="Look at a payment",
    responses=errors(404),
)
async def get_payment(
    context: Context,
    caller: Caller,
    merchant: Annotated[str, Path(examples=["default"])],
    transaction_id: Annotated[str, Path(examples=["0f6f3b0e-7a53-4f0e-9a3d-2f7c4f1f9a10"])],
) -> Response:
    """Return a payment's state, and what happened to it: receipts, confirmations and transitions in order."""
    check_merchant(caller, merchant)

    def query(unit: Unit) -> tuple[PaymentRow, list[TimelineStep]]:
        reads = PaymentReads(unit)
        payment = reads.get(merchant, transaction_id)
        if payment is None:
            raise NotFound("payment", transaction_id)
        return payment, reads.timeline(payment)

    payment, steps = await run_in_threadpool(context.store.read, query)
    timeline = [models.Step(at=step.at, what=_what(step), facts=step.facts) for step in steps]
    detail = models.PaymentDetail(**shown(payment), bound_by=payment.bound_by, timeline=timeline)
    return texts.answer(detail.model_dump_json())


def shown(row: PaymentRow) -> dict[str, Any]:
    """Return the fields of the payment's `PaymentView`."""
    return {
        "merchant": row.merchant,
        "transaction_id": row.transaction_id,
        "order_id": row.order_id,
        "status": row.status,
        "outcome": row.outcome,
        "payment_type": row.payment_type or None,
        "state": row.state,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    }


def _what(step: TimelineStep) -> Literal["receipt", "confirmation", "transition"]:
    if step.what == "receipt":
        return "receipt"
    return "confirmation" if step.what == "confirmation" else "transition"

"""Receipts: what did not fit, and setting it going again. For operators alone."""

from functools import partial
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Response
from fastapi.concurrency import run_in_threadpool

from service.api import receipt_models as models
from service.api import texts
from service.api.auth import operator
from service.api.context import ApiContext, Context
from service.api.describe import COMMON, errors
from service.db.receipt_reads import ReceiptFilter, ReceiptReads, ReceiptRow
from service.domain.receiving import KIND_UNKNOWN
from service.domain.records import ReceiptState
from service.errors import CountMoved, NotFound, RequestInvalid
from service.flow.retry import cuts, retry, sort_out
from service.masking import mask, mask_body

router = APIRouter(
    prefix="/v1/receipts", tags=["receipts"], dependencies=[Depends(operator)], responses=COMMON
)


@router.get("", response_model=models.ReceiptsAnswer, summary="List receipts")
async def list_receipts(
    *,
    context: Context,
    state: ReceiptState | None = None,
    merchant: Annotated[str | None, Query(max_length=63)] = None,
    order_id: Annotated[str | None, Query(max_length=255)] = None,
    reason: Annotated[str | None, Query(max_length=200)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    after: Annotated[UUID | None, Query(description="The `next` of the page before.")] = None,
) -> Response:
    """Return receipts, the newest first. A page may be short or empty and `next` still go on."""
    wanted = ReceiptFilter(state, merchant, order_id, reason)
    rows, next_ = await run_in_threadpool(
        context.store.read, lambda unit: ReceiptReads(unit).page(wanted, limit=limit, after=after)
    )
    answer = models.ReceiptsAnswer(
        receipts=[_view(row) for row in rows], next=None if next_ is None else str(next_)
    )
    return texts.answer(answer.model_dump_json())


@router.get(
    "/{receipt_id}", response_model=models.ReceiptDetail, summary="Look at a receipt", responses=errors(404)
)
async def get_receipt(
    context: Context, receipt_id: Annotated[UUID, Path(examples=[models.RECEIPT_EXAMPLE])]
) -> Response:
    """Return a receipt with the headers and the body that came."""
    found = await run_in_threadpool(context.store.read, lambda unit: ReceiptReads(unit).get(receipt_id))
    if found is None:
        raise NotFound("receipt", str(receipt_id))
    row, raw = found
    detail = models.ReceiptDetail(
        **_view(row).model_dump(),
        headers=mask("headers", row.headers),
        body=None if raw is None else mask_body(raw.decode("utf-8", "backslashreplace")),
    )
    return texts.answer(detail.model_dump_json())


@router.post(
    "/retry",
    response_model=models.RetryAnswer,
    summary="Have receipts asked about again",
    responses=errors(409),
)
async def retry_receipts(context: Context, body: models.RetryBody) -> models.RetryAnswer:
    """Set receipts going again, due at once, their tries counted anew.

    By `ids`: held and ended ones. By `filter`: held ones; without `count` nothing is changed and `matching` is
    answered, with this number as `count` it is done. Should another number match by then, nothing is changed (409).
    Receipts of a kind that is not confirmed (`kind_unknown`) cannot be retried.
    """
    if body.ids is not None:
        return await _by_ids(context, body.ids)
    return await _by_filter(context, body.filter or models.RetryFilter(), body.count)


async def _by_ids(context: ApiContext, ids: list[UUID]) -> models.RetryAnswer:
    known = await run_in_threadpool(context.store.read, lambda unit: ReceiptReads(unit).states(ids))
    going, left = sort_out(ids, known)
    retried = await _retry(context, going)
    return models.RetryAnswer(
        matching=len(going),
        retried=retried,
        cannot_be_asked=sum(why == "cannot_be_asked" for why in left.values()),
        left=[models.LeftView(id=str(one), why=why.value) for one, why in left.items()],
    )


async def _by_filter(context: ApiContext, which: models.RetryFilter, count: int | None) -> models.RetryAnswer:
    if which.reason == KIND_UNKNOWN:
        raise RequestInvalid(
            "filter.reason", "receipts of a kind that is not known are never confirmed and cannot be retried"
        )
    wanted = ReceiptFilter(
        ReceiptState(which.state) if which.state else None, which.merchant, which.order_id, which.reason
    )
    ids, others = await run_in_threadpool(
        context.store.read,
        lambda unit: (ReceiptReads(unit).retryable(wanted), ReceiptReads(unit).count_unretryable(wanted)),
    )
    if count is not None and count != len(ids):
        raise CountMoved(count, len(ids))
    retried = None if count is None else await _retry(context, ids)
    return models.RetryAnswer(matching=len(ids), retried=retried, cannot_be_asked=others, left=[])


async def _retry(context: ApiContext, ids: list[UUID]) -> int:
    """Set *ids* going, a cut at a time; what was done stays done should a later cut fail."""
    retried = 0
    for cut in cuts(ids):
        retried += await context.store.write_async(partial(retry, ids=cut))
    return retried


def _view(row: ReceiptRow) -> models.ReceiptView:
    return models.ReceiptView(
        id=str(row.id),
        **{name: getattr(row, name) for name in models.ReceiptView.model_fields if name != "id"},
    )

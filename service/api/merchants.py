"""Merchants: how each account fares, and what came for it and was refused. For operators alone."""

from collections.abc import Collection, Iterable
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response
from fastapi.concurrency import run_in_threadpool

from service.alarms import ALARMS
from service.api import receipt_models as models
from service.api import texts
from service.api.auth import operator
from service.api.context import ApiContext, Context
from service.api.describe import COMMON, errors
from service.db.oddities import KeptOddity, OddityCount
from service.db.receipt_reads import ReceiptReads
from service.db.unit import Unit
from service.domain.answers import Happened
from service.domain.merchant import Merchant, fingerprint
from service.domain.receiving import UNKNOWN_MERCHANT
from service.domain.records import MerchantState
from service.errors import NotFound
from service.masking import mask, mask_body

router = APIRouter(
    prefix="/v1/merchants", tags=["merchants"], dependencies=[Depends(operator)], responses=COMMON
)


@router.get("", response_model=models.MerchantsAnswer, summary="List merchants")
async def list_merchants(context: Context) -> Response:
    """Return each configured merchant: set-up, what holds confirming back, what waits, what was refused."""
    answer = await run_in_threadpool(context.store.read, lambda unit: _merchants(unit, context))
    return texts.answer(answer.model_dump_json())


@router.get(
    "/{merchant}/oddities",
    response_model=models.OdditiesAnswer,
    summary="Read what was refused",
    responses=errors(404),
)
async def list_oddities(
    context: Context,
    merchant: Annotated[
        str,
        Path(
            max_length=63, description="`unknown`: for names that are not configured.", examples=["default"]
        ),
    ],
    reason: Happened | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 20,
) -> Response:
    """Return refused bodies and dashboard tests, the newest first. They are written within a second or a few."""
    if merchant not in context.merchants and merchant != UNKNOWN_MERCHANT:
        raise NotFound("merchant", merchant)

    def query(unit: Unit) -> list[KeptOddity]:
        return unit.oddities.newest(merchant=merchant, reason=reason and reason.value, limit=limit)

    found = await run_in_threadpool(context.store.read, query)
    return texts.answer(models.OdditiesAnswer(oddities=[_oddity(one) for one in found]).model_dump_json())


def _merchants(unit: Unit, context: ApiContext) -> models.MerchantsAnswer:
    counts = unit.oddities.summary()
    breakers = context.breakers()
    return models.MerchantsAnswer(
        merchants=[
            _view(unit, merchant, breakers.get(name), [one for one in counts if one.merchant == name])
            for name, merchant in context.merchants.items()
        ],
        unknown=_odd(one for one in counts if one.merchant == UNKNOWN_MERCHANT),
    )


def _view(
    unit: Unit, merchant: Merchant, breaker: str | None, counts: Collection[OddityCount]
) -> models.MerchantView:
    state = unit.merchants.get(merchant.name)
    if state is not None and state.access_fingerprint != merchant.access_fingerprint:
        state = None  # it was kept of other keys
    standing = ReceiptReads(unit).standing(merchant.name)
    oldest_at = standing.oldest_waiting_at
    return models.MerchantView(
        name=merchant.name,
        environment=merchant.environment,
        merchant_id=merchant.merchant_id,
        server_keys=[fingerprint(key) for key in merchant.server_keys],
        verification_keys=[fingerprint(key) for key in merchant.verification_keys],
        confirmed=state is not None and state.confirmed,
        paused=_paused(state),
        breaker=breaker,
        waiting=standing.waiting,
        parked=standing.parked,
        anomaly=standing.anomaly,
        oldest_waiting_seconds=oldest_at and max(0.0, (unit.now - oldest_at).total_seconds()),
        dashboard_test=_test(counts),
        oddities=_odd(one for one in counts if one.reason != Happened.TEST),
    )


def _paused(state: MerchantState | None) -> models.PausedView | None:
    if state is None or state.pause_reason is None or state.paused_at is None:
        return None
    reason = state.pause_reason
    return models.PausedView(reason=reason, since=state.paused_at, to_do=ALARMS.get(reason, ""))


def _test(counts: Iterable[OddityCount]) -> models.DashboardTestView | None:
    found = next((one for one in counts if one.reason == Happened.TEST), None)
    if found is None:
        return None
    signature = found.detail.removeprefix("signature ")
    return models.DashboardTestView(count=found.count, newest_at=found.newest_at, signature=signature)


def _odd(counts: Iterable[OddityCount]) -> list[models.OddityCountView]:
    return [
        models.OddityCountView(reason=one.reason, count=one.count, newest_at=one.newest_at) for one in counts
    ]


def _oddity(kept: KeptOddity) -> models.OddityView:
    oddity = kept.oddity
    return models.OddityView(
        reason=oddity.reason,
        detail=oddity.detail,
        received_at=oddity.received_at,
        source_address=oddity.source_address,
        path=oddity.path,
        headers=mask("headers", oddity.headers),
        size=oddity.size,
        body=mask_body(oddity.body.decode("utf-8", "backslashreplace")),
    )

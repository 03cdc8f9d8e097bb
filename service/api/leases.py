"""Lease, ack, nack, extend: what consumers call all day."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Annotated, TypeVar

from fastapi import APIRouter, Body, Depends, Request, Response

from service.api import models, texts
from service.api.auth import Name, of_consumer
from service.api.context import ApiContext, Context
from service.api.describe import COMMON, errors
from service.api.long_poll import Call, Gone, report_dead
from service.db.unit import Unit
from service.domain.delivery import Lease, parse_leases
from service.flow import lease
from service.flow.give_back import Nacked

T = TypeVar("T")
FORGET_EVERY = 100

router = APIRouter(
    prefix="/v1/consumers/{name}", tags=["queue"], dependencies=[Depends(of_consumer)], responses=COMMON
)


@router.post(
    "/lease",
    response_model=models.LeaseAnswer,
    summary="Lease events",
    responses=errors(404, 409),
    openapi_extra={"x-long-poll": True},
)
async def lease_events(
    request: Request, name: Name, context: Context, body: Annotated[models.LeaseBody | None, Body()] = None
) -> Response:
    """Lend up to `limit` events, in order per payment, waiting up to `wait_seconds` for the first one.

    An event that is not acked before its lease ends is lent again after 5 s, doubling to 1 h with each attempt.
    A call holds at most one event of a payment, and none while an earlier one is outstanding. `ack` ends earlier
    leases before anything is lent or waited for.
    """
    gone = Gone(request)
    try:
        got = await Call(
            context,
            request.app.state.bell,
            request.app.state.lookout,
            name,
            body or models.LeaseBody(),
            desk=request.app.state.desk,
            gone=gone,
            check_again=request.state.check_again,
        ).run()
    finally:
        gone.stop()
    if got is None:
        return Response(status_code=204)  # nobody reads it
    await _forget_now_and_then(context, request, len(got.acked))
    return texts.answer(texts.lease_answer(got.deliveries, got.acked, got.ended, context.store.epoch))


@router.post("/ack", response_model=models.AckAnswer, summary="Ack leases", responses=errors(404))
async def ack_leases(request: Request, name: Name, context: Context, body: models.AckBody) -> Response:
    """End deliveries for good. Also after a lease's end, while its event has not been lent again.

    A lease that was acked before answers `acked` again for at least an hour; the others are `ended`.
    """
    parts = await _in_parts(
        context, parse_leases(body.leases), lambda some: lambda unit: lease.ack(unit, name, some)
    )
    acked = [str(one) for part in parts for one in part.acked]
    context.metrics.acked.labels(name).inc(len(acked))
    await _forget_now_and_then(context, request, len(acked))
    answer = models.AckAnswer(acked=acked, ended=[str(one) for part in parts for one in part.ended])
    return texts.answer(answer.model_dump_json())


@router.post("/nack", response_model=models.NackAnswer, summary="Nack leases", responses=errors(404))
async def nack_leases(_request: Request, name: Name, context: Context, body: models.NackBody) -> Response:
    """Give events back, to be lent again after `delay_seconds`, or 5 s doubling to 1 h with each attempt.

    After the consumer's last attempt the event is dead; `reason` stands in its dead letter.
    """
    delay = None if body.delay_seconds is None else timedelta(seconds=body.delay_seconds)

    def work(some: Sequence[Lease]) -> Callable[[Unit], Nacked]:
        return lambda unit: lease.nack(unit, name, some, delay=delay, reason=body.reason, dice=context.dice)

    parts = await _in_parts(context, parse_leases(body.leases), work)
    for part in parts:
        context.metrics.nacked.labels(name).inc(len(part.nacked))
        report_dead(context, name, part.died)
    answer = models.NackAnswer(
        nacked=[str(one) for part in parts for one in part.nacked],
        ended=[str(one) for part in parts for one in part.ended],
    )
    return texts.answer(answer.model_dump_json())


@router.post("/extend", response_model=models.ExtendAnswer, summary="Extend leases", responses=errors(404))
async def extend_leases(_request: Request, name: Name, context: Context, body: models.ExtendBody) -> Response:
    """Let leases end `lease_seconds` from now. Also after their end, while the event has not been lent again."""

    def work(some: Sequence[Lease]) -> Callable[[Unit], lease.Extended]:
        return lambda unit: lease.extend(
            unit, name, some, lease_seconds=body.lease_seconds, dice=context.dice
        )

    parts = await _in_parts(context, parse_leases(body.leases), work)
    answer = models.ExtendAnswer(
        extended=[
            models.ExtendedView(lease=str(one), leased_until=part.leased_until)
            for part in parts
            for one in part.extended
        ],
        ended=[str(one) for part in parts for one in part.ended],
    )
    return texts.answer(answer.model_dump_json())


async def _in_parts(
    context: ApiContext, leases: Sequence[Lease], work: Callable[[Sequence[Lease]], Callable[[Unit], T]]
) -> list[T]:
    """Do *work* for so many leases at once that nobody waits long for the writer."""
    size = lease.MOST_AT_ONCE
    starts = range(0, len(leases), size)
    return [await context.store.write_async(work(leases[start : start + size])) for start in starts]


async def _forget_now_and_then(context: ApiContext, request: Request, acked: int) -> None:
    """Forget old acks once for every hundred new ones: a cut at a time, and nobody waits for it."""
    state = request.app.state
    state.acks_since_forgetting += acked
    if state.acks_since_forgetting >= FORGET_EVERY:
        state.acks_since_forgetting = 0
        context.store.write(lambda unit: unit.deliveries.acks.forget())

"""Consumers: make, look at, pause, seek, and what to do with their dead letters."""

import os
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response
from fastapi.concurrency import run_in_threadpool

from service.api import models, texts
from service.api.auth import Caller, Name, of_consumer, operator, reader
from service.api.context import ApiContext, Context
from service.api.describe import COMMON, errors
from service.db.events import COUNTED
from service.db.unit import Unit
from service.domain.delivery import Consumer
from service.domain.patterns import check_merchants, check_types
from service.domain.position import format_position, parse_place, parse_position
from service.domain.push import Streak
from service.domain.records import ConsumerSpec, PushSpec, Role
from service.domain.targets import check_url
from service.domain.webhooks import MADE, check_secrets, fingerprint, secret_text
from service.flow import consumers

router = APIRouter(prefix="/v1/consumers", tags=["consumers"], responses=COMMON)
for_operators = APIRouter(
    prefix="/v1/consumers", tags=["consumers"], dependencies=[Depends(operator)], responses=COMMON
)


@router.get(
    "", response_model=models.ConsumersAnswer, summary="List consumers", dependencies=[Depends(reader)]
)
async def list_consumers(context: Context, caller: Caller) -> models.ConsumersAnswer:
    """Return every consumer that the caller may see: an operator all of them, a consumer's token its own."""

    def query(unit: Unit) -> list[models.ConsumerView]:
        everything = caller.role is Role.OPERATOR
        found = unit.consumers.all() if everything else unit.consumers.named(caller.names)
        return [view(unit, consumer, context.store.epoch) for consumer in found]

    return models.ConsumersAnswer(consumers=await run_in_threadpool(context.store.read, query))


@router.get(
    "/{name}",
    response_model=models.ConsumerView,
    summary="Look at a consumer",
    dependencies=[Depends(of_consumer)],
    responses=errors(404),
)
async def get_consumer(name: Name, context: Context) -> models.ConsumerView:
    """Return what the consumer is, how far it is, and what is outstanding."""
    return await _view(context, name)


@for_operators.put(
    "/{name}",
    response_model=models.ConsumerView,
    summary="Make or change a consumer",
    responses={201: {"model": models.ConsumerView, "description": "It was made."}, **errors(410)},
)
async def put_consumer(
    name: Name, context: Context, body: models.ConsumerBody, response: Response
) -> models.ConsumerView:
    """Make a consumer (201) or change it (200).

    `start` counts at creation only; changed `types` and `merchants` count for what it has not come to yet.
    With `push` its events are POSTed to a URL; a secret is made, and answered this once, when there is none.
    """
    check_types(body.types)
    check_merchants(body.merchants)
    push = _push(context, body.push)
    start = parse_place(body.start, context.store.epoch, field="start")
    spec = ConsumerSpec(
        types=tuple(body.types),
        merchants=tuple(body.merchants),
        start=body.start,
        lease_seconds=body.lease_seconds,
        max_attempts=body.max_attempts,
        on_dead=body.on_dead,
        push=push,
    )
    secret = secret_text(os.urandom(MADE))
    put = await context.store.write_async(
        lambda unit: consumers.put(unit, name, spec, start=start, secret=secret)
    )
    after: int | None = 0
    while after is not None:
        after = await context.store.write_async(partial(consumers.free_followers, name=name, after=after))
    response.status_code = 201 if put.made else 200
    answer = await _view(context, name)
    if put.secret is not None and answer.push is not None:
        answer.push.secrets = [put.secret]
    return answer


@for_operators.delete("/{name}", status_code=204, summary="Delete a consumer", responses=errors(404))
async def delete_consumer(name: Name, context: Context) -> Response:
    """Forget the consumer and all that is outstanding for it. The events stay in the log."""
    while not await context.store.write_async(lambda unit: consumers.remove(unit, name)):
        pass
    return Response(status_code=204)


@for_operators.post(
    "/{name}/pause", response_model=models.ConsumerView, summary="Pause a consumer", responses=errors(404)
)
async def pause_consumer(name: Name, context: Context) -> models.ConsumerView:
    """Stop lending. Lease calls go on waiting and come back empty; acks, nacks and extensions still count."""
    await context.store.write_async(lambda unit: consumers.pause(unit, name, paused=True))
    return await _view(context, name)


@for_operators.post(
    "/{name}/resume", response_model=models.ConsumerView, summary="Resume a consumer", responses=errors(404)
)
async def resume_consumer(name: Name, context: Context) -> models.ConsumerView:
    """Go on lending; calls that wait get what is there at once."""
    await context.store.write_async(lambda unit: consumers.pause(unit, name, paused=False))
    return await _view(context, name)


@for_operators.post(
    "/{name}/seek", response_model=models.ConsumerView, summary="Replay or skip", responses=errors(404, 410)
)
async def seek_consumer(name: Name, context: Context, body: models.SeekBody) -> models.ConsumerView:
    """Go on reading elsewhere in the log. Drops everything outstanding but the dead letters.

    Events lent before are lent again with the same ids; leases of before have ended.
    """
    to = parse_place(body.to, context.store.epoch, field="to")
    while not await context.store.write_async(lambda unit: consumers.seek(unit, name, to)):
        pass
    return await _view(context, name)


@router.get(
    "/{name}/dead-letters",
    response_model=models.DeadLettersAnswer,
    summary="Read dead letters",
    dependencies=[Depends(of_consumer)],
    responses=errors(404, 410),
)
async def read_dead_letters(
    name: Name,
    context: Context,
    after: Annotated[str | None, Query(max_length=100, examples=[models.POSITION_EXAMPLE])] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Response:
    """Return events that were given up after all attempts, in the log's order, from behind `after` on."""
    epoch = context.store.epoch
    position = 0 if after is None else parse_position(after, epoch, field="after")

    def query(unit: Unit) -> str:
        unit.consumers.get(name)
        letters = unit.deliveries.dead_letters(name, after=position, limit=limit)
        return texts.dead_letters_answer(letters, after=position, epoch=epoch)

    return texts.answer(await run_in_threadpool(context.store.read, query))


@for_operators.post(
    "/{name}/dead-letters/redrive",
    response_model=models.RedrivenAnswer,
    summary="Lend dead letters again",
    responses=errors(404, 410),
)
async def redrive_dead_letters(
    name: Name, context: Context, body: models.PositionsBody
) -> models.RedrivenAnswer:
    """Have dead events lent again, attempts counted anew; positions that are not dead are left alone."""
    positions = _positions(context, body)
    count = total = await context.store.write_async(lambda unit: consumers.redrive(unit, name, positions))
    while positions is None and count == consumers.CUT:
        count = await context.store.write_async(lambda unit: consumers.redrive(unit, name, None))
        total += count
    return models.RedrivenAnswer(redriven=total)


@for_operators.post(
    "/{name}/dead-letters/discard",
    response_model=models.DiscardedAnswer,
    summary="Give dead letters up",
    responses=errors(404, 410),
)
async def discard_dead_letters(
    name: Name, context: Context, body: models.PositionsBody
) -> models.DiscardedAnswer:
    """Give dead events up for this consumer; later events of their payments go on. The log keeps them."""
    positions = _positions(context, body)
    count = total = await context.store.write_async(lambda unit: consumers.discard(unit, name, positions))
    while positions is None and count == consumers.CUT:
        count = await context.store.write_async(lambda unit: consumers.discard(unit, name, None))
        total += count
    return models.DiscardedAnswer(discarded=total)


def view(unit: Unit, consumer: Consumer, epoch: str) -> models.ConsumerView:
    """Return the consumer as callers see it."""
    spec = consumer.spec
    counts = unit.deliveries.counts(consumer.name)
    ahead = unit.events.ahead(consumer.cursor, unit.log.last_position(), (spec.types, spec.merchants))
    return models.ConsumerView(
        name=consumer.name,
        types=list(spec.types),
        merchants=list(spec.merchants),
        lease_seconds=spec.lease_seconds,
        max_attempts=spec.max_attempts,
        on_dead=spec.on_dead,
        paused=consumer.paused,
        pause_reason=consumer.pause_reason,
        push=None if spec.push is None else _push_view(spec.push, consumer.streak),
        position=format_position(epoch, consumer.cursor),
        lag=ahead,
        in_flight=counts.get("leased", 0),
        waiting=counts.get("waiting", 0) + counts.get("expired", 0),
        held=counts.get("held", 0),
        dead=counts.get("dead", 0),
        oldest_seconds=_oldest_seconds(unit, consumer),
        created_at=consumer.created_at,
        updated_at=consumer.updated_at,
    )


def _push(context: ApiContext, body: models.PushBody | None) -> PushSpec | None:
    if body is None:
        return None
    check_url(body.url, context.push.allow)
    check_secrets(body.secrets or (), field="push.secrets")
    return PushSpec(body.url, tuple(body.secrets or ()), body.timeout_seconds, body.concurrency)


def _push_view(push: PushSpec, streak: Streak) -> models.PushView:
    return models.PushView(
        url=push.url,
        timeout_seconds=push.timeout_seconds,
        concurrency=push.concurrency,
        secret_fingerprints=[fingerprint(secret) for secret in push.secrets],
        failures=streak.failures,
        failing_since=streak.since,
        last_failure=streak.reason,
    )


def _oldest_seconds(unit: Unit, consumer: Consumer) -> float | None:
    wanted = (consumer.spec.types, consumer.spec.merchants)
    position = unit.deliveries.oldest(consumer.name) or unit.events.first_wanted(
        consumer.cursor, consumer.cursor + COUNTED, wanted
    )
    made_at = None if position is None else unit.events.made_at(position)
    return None if made_at is None else max(0.0, (unit.now - made_at).total_seconds())


async def _view(context: ApiContext, name: str) -> models.ConsumerView:
    epoch = context.store.epoch
    return await run_in_threadpool(
        context.store.read, lambda unit: view(unit, unit.consumers.get(name), epoch)
    )


def _positions(context: ApiContext, body: models.PositionsBody) -> list[int] | None:
    if body.positions == "all":
        return None
    epoch = context.store.epoch
    return [
        parse_position(text, epoch, field=f"positions[{index}]") for index, text in enumerate(body.positions)
    ]

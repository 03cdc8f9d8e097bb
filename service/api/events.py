"""The log itself: for callers that keep their own place in it, and for looking things up."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response
from fastapi.concurrency import run_in_threadpool

from service.api import models, texts
from service.api.auth import Caller, reader
from service.api.context import Context
from service.api.describe import COMMON, errors
from service.db.events import EventFilter
from service.db.filters import Wanted
from service.db.unit import Unit
from service.domain.patterns import check_merchants, check_types
from service.domain.position import parse_place
from service.domain.records import Role, Token
from service.errors import NotFound
from service.flow.consumers import cursor_of

router = APIRouter(prefix="/v1/events", tags=["events"], dependencies=[Depends(reader)], responses=COMMON)


@router.get("", response_model=models.EventsAnswer, summary="Read the log", responses=errors(410))
async def read_events(
    *,
    context: Context,
    caller: Caller,
    after: Annotated[
        str,
        Query(
            max_length=100,
            description="A position, `beginning`, `now` or an RFC 3339 time.",
            examples=[models.POSITION_EXAMPLE],
        ),
    ] = "beginning",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    type_: Annotated[
        str | None, Query(alias="type", max_length=200, description="A type, or a beginning and `*`.")
    ] = None,
    merchant: Annotated[str | None, Query(max_length=63)] = None,
    order_id: Annotated[str | None, Query(max_length=255)] = None,
) -> Response:
    """Return events behind `after`, in order; go on with `next`, also from an empty answer.

    A consumer's token sees what its consumers' types and merchants let through.
    """
    check_types([type_ or "*"], field="type")
    check_merchants([merchant or "*"], field="merchant")
    epoch = context.store.epoch
    place = parse_place(after, epoch, field="after")

    def query(unit: Unit) -> str:
        head = unit.log.last_position()
        start = cursor_of(unit, place, field="after")
        only = EventFilter((type_ or "*",), (merchant or "*",), order_id, _within(unit, caller))
        found = unit.events.after(start, limit=limit, only=only)
        return texts.events_answer(
            found, next_=found[-1].position if len(found) == limit else head, epoch=epoch
        )

    return texts.answer(await run_in_threadpool(context.store.read, query))


@router.get(
    "/{event_id:path}", response_model=models.LoggedEventView, summary="Get an event", responses=errors(404)
)
async def get_event(
    context: Context,
    caller: Caller,
    event_id: Annotated[str, Path(examples=["5f0c7c8e-6c2c-5d1e-9a0b-1f6f3b0e7a53"])],
) -> Response:
    """Return one event by its id. What a consumer's token may not see is not there."""

    def query(unit: Unit) -> str:
        found = unit.events.by_id(_uuid(event_id), within=_within(unit, caller))
        if found is None:
            raise NotFound("event", event_id)
        return texts.event_text(found, context.store.epoch)

    return texts.answer(await run_in_threadpool(context.store.read, query))


def _uuid(text: str) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError as error:
        raise NotFound("event", text) from error


def _within(unit: Unit, caller: Token) -> tuple[Wanted, ...] | None:
    """Return what the caller may see: None is everything."""
    if caller.role is Role.OPERATOR:
        return None
    consumers = unit.consumers.named(caller.names)
    return tuple((consumer.spec.types, consumer.spec.merchants) for consumer in consumers)

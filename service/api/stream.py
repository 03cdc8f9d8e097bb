"""``GET /v1/events/stream``: who may read what, from where on."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.concurrency import run_in_threadpool

from service.api import models
from service.api.auth import Caller, reader
from service.api.context import ApiContext, Context
from service.api.describe import COMMON, errors
from service.api.streams import Asked, EventStream, Streams
from service.db.events import EventFilter
from service.db.filters import Wanted
from service.db.unit import Unit
from service.domain.patterns import EVERYTHING, check_merchants, check_types, covers
from service.domain.position import Place, parse_place, parse_position
from service.domain.records import Role, Token
from service.errors import Forbidden, RequestInvalid
from service.flow.consumers import cursor_of

MOST_PATTERNS: Final = 50
EXAMPLE: Final = """\
: 9f3c2a10
retry: 3000
id: 9f3c2a10-40

id: 9f3c2a10-41
event: midtrans.payment.settled
data: {"specversion":"1.0","id":"5f0c7c8e-6c2c-5d1e-9a0b-1f6f3b0e7a53","type":"midtrans.payment.settled",…}

:

"""
_STREAM: Final[dict[str, Any]] = {
    "description": "Events as they are made, without an end.",
    "content": {"text/event-stream": {"schema": {"type": "string"}, "example": EXAMPLE}},
}

router = APIRouter(prefix="/v1/events", tags=["events"], dependencies=[Depends(reader)], responses=COMMON)


@router.get(
    "/stream",
    status_code=200,
    response_class=EventStream,
    summary="Stream the log",
    responses={200: _STREAM, **errors(410, 429)},
)
async def stream_events(
    *,
    request: Request,
    context: Context,
    caller: Caller,
    after: Annotated[
        str,
        Query(
            max_length=100,
            description="A position, `beginning`, `now` or an RFC 3339 time.",
            examples=[models.POSITION_EXAMPLE],
        ),
    ] = "now",
    types: Annotated[
        list[str] | None,
        Query(
            description="Types of events; `*` at the end stands for anything. Repeated, or with commas.",
            examples=[["midtrans.payment.*"]],
        ),
    ] = None,
    merchants: Annotated[
        list[str] | None, Query(description='Names of merchants, or `"*"`. Repeated, or with commas.')
    ] = None,
    last_event_id: Annotated[
        str | None,
        Header(
            max_length=100,
            description="The last `id` that was read; counts in the place of `after`. Clients of server-sent "
            "events send it by themselves when they come back.",
        ),
    ] = None,
) -> EventStream:
    """Send events as server-sent events: `id` is the position, `event` the type, `data` the CloudEvent.

    Without a position it begins now. A block with an `id` and no `data` tells how far the stream is: it comes
    first, and now and then with a heartbeat. A consumer's token reads what its consumers' types and merchants
    let through, and is refused (403) what goes beyond.
    """
    epoch = context.store.epoch
    place: Place = (
        parse_position(last_event_id, epoch, field="Last-Event-ID")
        if last_event_id
        else parse_place(after, epoch, field="after")
    )
    field = "Last-Event-ID" if last_event_id else "after"
    asked = (_patterns(types, "types"), _patterns(merchants, "merchants"))
    check_types(asked[0])
    check_merchants(asked[1])

    def begin(unit: Unit) -> tuple[int, EventFilter]:
        return cursor_of(unit, place, field=field), _allowed(unit, caller, asked)

    position, only = await run_in_threadpool(context.store.read, begin)
    streams: Streams = request.app.state.streams
    return EventStream(
        streams, Asked(position, only, _checking(context, caller, asked, request.state.check_again))
    )


def _patterns(given: Sequence[str] | None, field: str) -> tuple[str, ...]:
    """Return what a parameter that may be repeated, with commas in each, names; everything without it."""
    if given is None:
        return (EVERYTHING,)
    found = tuple(sorted({part.strip() for text in given for part in text.split(",")}))
    if len(found) > MOST_PATTERNS:
        raise RequestInvalid(field, f"has more than {MOST_PATTERNS} patterns")
    return found


def _allowed(unit: Unit, caller: Token, asked: Wanted) -> EventFilter:
    """Return what the caller may see of what it asked for; raise Forbidden when that is not all of it.

    ``*`` asks for whatever it may see.
    """
    types, merchants = asked
    if caller.role is Role.OPERATOR:
        return EventFilter(types, merchants)
    specs = [consumer.spec for consumer in unit.consumers.named(caller.names)]
    within = tuple(sorted({(spec.types, spec.merchants) for spec in specs}))
    if not within:
        raise Forbidden("none of the token's consumers has been made yet: nothing says what it may see")
    for type_ in types:
        for merchant in merchants:
            if not any(_may_see(one, type_, merchant) for one in within):
                raise Forbidden(f"the token's consumers do not see all of {type_!r} of merchant {merchant!r}")
    return EventFilter(types, merchants, within=within)


def _may_see(within: Wanted, type_: str, merchant: str) -> bool:
    types, merchants = within
    return (type_ == EVERYTHING or covers(types, type_)) and (
        merchant == EVERYTHING or covers(merchants, merchant)
    )


def _checking(
    context: ApiContext, caller: Token, asked: Wanted, check_again: Callable[[], Awaitable[object]]
) -> Callable[[], Awaitable[EventFilter]]:
    """Return what says what the caller may see by now: the token may be revoked, its consumers changed."""

    async def check() -> EventFilter:
        await check_again()
        if caller.role is Role.OPERATOR:
            return EventFilter(*asked)
        return await run_in_threadpool(context.store.read, lambda unit: _allowed(unit, caller, asked))

    return check

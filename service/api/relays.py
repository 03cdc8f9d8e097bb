"""Relays to brokers, for operators: where each is, what holds it back; pause, resume, seek."""

from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi import Path as PathParameter
from fastapi.concurrency import run_in_threadpool

from service.api import relay_models as models
from service.api.auth import operator
from service.api.context import ApiContext, Context
from service.api.describe import COMMON, errors
from service.api.models import SeekBody
from service.db.events import COUNTED
from service.db.unit import Unit
from service.domain.merchant import NAME_PATTERN
from service.domain.position import format_position, parse_place
from service.domain.relaying import RelayState
from service.flow.consumers import cursor_of

router = APIRouter(prefix="/v1/relays", tags=["relays"], dependencies=[Depends(operator)], responses=COMMON)
Name = Annotated[
    str,
    PathParameter(pattern=f"^{NAME_PATTERN.pattern}$", description="The relay's name.", examples=["nats"]),
]


@router.get("", response_model=models.RelaysAnswer, summary="List relays")
async def list_relays(context: Context) -> models.RelaysAnswer:
    """Return every relay that was ever begun: where it is, how far behind, who relays, what holds it back."""

    def query(unit: Unit) -> list[models.RelayView]:
        return [_view(unit, state, context) for state in unit.relays.all()]

    return models.RelaysAnswer(relays=await run_in_threadpool(context.store.read, query))


@router.get("/{name}", response_model=models.RelayView, summary="Look at a relay", responses=errors(404))
async def get_relay(name: Name, context: Context) -> models.RelayView:
    """Return where the relay is, how far behind, who relays, what holds it back."""
    return await _look(context, name)


@router.post("/{name}/pause", response_model=models.RelayView, summary="Pause a relay", responses=errors(404))
async def pause_relay(name: Name, context: Context) -> models.RelayView:
    """Publish nothing more, within a second; what is under way is finished. The place stays."""
    await context.store.write_async(lambda unit: unit.relays.pause(name, paused=True))
    return await _look(context, name)


@router.post(
    "/{name}/resume", response_model=models.RelayView, summary="Resume a relay", responses=errors(404)
)
async def resume_relay(name: Name, context: Context) -> models.RelayView:
    """Go on from where the relay is."""
    await context.store.write_async(lambda unit: unit.relays.pause(name, paused=False))
    return await _look(context, name)


@router.post(
    "/{name}/seek",
    response_model=models.RelayView,
    summary="Publish again, or skip",
    responses=errors(404, 410),
)
async def seek_relay(name: Name, context: Context, body: SeekBody) -> models.RelayView:
    """Go on elsewhere in the log: back to publish again (same ids), or past what cannot be published."""
    to = parse_place(body.to, context.store.epoch, field="to")

    def seek(unit: Unit) -> None:
        unit.relays.seek(name, cursor_of(unit, to, field="to"))

    await context.store.write_async(seek)
    return await _look(context, name)


async def _look(context: ApiContext, name: str) -> models.RelayView:
    return await run_in_threadpool(
        context.store.read, lambda unit: _view(unit, unit.relays.get(name), context)
    )


def _view(unit: Unit, state: RelayState, context: ApiContext) -> models.RelayView:
    lag = unit.relays.ahead(state)
    held = state.owner is not None and state.leased_until is not None and state.leased_until > unit.now
    return models.RelayView(
        name=state.name,
        kind=state.kind,
        types=list(state.types),
        merchants=list(state.merchants),
        configured=state.name in context.relays,
        paused=state.paused,
        position=format_position(state.epoch, state.position),
        lag=lag,
        oldest_seconds=_oldest_seconds(unit, state) if lag else None,
        owner=state.owner if held else None,
        leased_until=state.leased_until if held else None,
        error=state.error,
        failing_since=state.failing_since,
        last_published_at=state.last_published_at,
        created_at=state.created_at,
        updated_at=state.updated_at,
    )


def _oldest_seconds(unit: Unit, state: RelayState) -> float | None:
    wanted = (state.types, state.merchants)
    position = unit.events.first_wanted(state.position, state.position + COUNTED, wanted)
    made_at = None if position is None else unit.events.made_at(position)
    return None if made_at is None else max(0.0, (unit.now - made_at).total_seconds())

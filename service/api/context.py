"""What every endpoint works with; app.py makes one and hands it to `create_api`."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import uuid_utils.compat
from fastapi import Depends, Request

from service.alarms import Alarms
from service.db.store import Store
from service.domain.limits import StreamLimits
from service.domain.merchant import Merchant
from service.domain.push import PushSettings
from service.domain.reconcile import CheckTimes
from service.domain.relaying import RelaySpec
from service.metrics import Metrics


def new_batch() -> str:
    """Return the name of a lease call: 32 hex digits that sort by time."""
    return uuid_utils.compat.uuid7().hex


def no_parts() -> Mapping[str, str | None]:
    """Return the health of a process that has no parts besides the receiver."""
    return {}


@dataclass(frozen=True)
class ApiContext:
    """The edges of the API.

    *operator_token*, when set, is accepted as an operator's besides the stored ones. *parts* says what is wrong
    with each other part of this process, by name; None is healthy. *merchants* are the configured ones, *check_times*
    plan the questions about what was never heard of. *streams* says what open streams may cost, *push* where events
    may be pushed to. *breakers* says by merchant whether questions to Midtrans pass; a merchant that this process
    does not ask about is not in it. *relays* are the configured ones.
    *more_paths* are OpenAPI path items of endpoints that FastAPI does not know.
    """

    store: Store
    metrics: Metrics
    alarms: Alarms
    operator_token: str | None = field(default=None, repr=False)
    parts: Callable[[], Mapping[str, str | None]] = no_parts
    merchants: Mapping[str, Merchant] = field(default_factory=dict)
    check_times: CheckTimes = field(default_factory=CheckTimes)
    push: PushSettings = field(default_factory=PushSettings)
    streams: StreamLimits = field(default_factory=StreamLimits)
    breakers: Callable[[], Mapping[str, str]] = dict
    relays: Mapping[str, RelaySpec] = field(default_factory=dict)
    more_paths: Callable[[], Mapping[str, Any]] = dict
    version: str = "0"
    dice: Callable[[], float] = random.random
    new_batch: Callable[[], str] = new_batch


async def context_of(request: Request) -> ApiContext:
    """Return the context that `create_api` was given."""
    context: ApiContext = request.app.state.context
    return context


Context = Annotated[ApiContext, Depends(context_of)]

"""The API as one FastAPI app, with its door, its bell and its errors."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from service.api import (
    consumers,
    events,
    health,
    leases,
    merchants,
    orders,
    payments,
    receipts,
    relays,
    schemas,
    stream,
)
from service.api.auth import BEARER, Auth
from service.api.bell import Bell
from service.api.context import ApiContext
from service.api.desk import Desk
from service.api.door import Door
from service.api.lookout import Lookout
from service.api.newest import Newest
from service.api.openapi import openapi_of
from service.api.problems import on_http_error, on_service_error, on_validation_error
from service.api.shortcut import Shortcut, is_short
from service.api.streams import Streams
from service.errors import ServiceError


class Api(FastAPI):
    """FastAPI with a shortcut for the calls that consumers make all day."""

    shortcut: Door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and is_short(scope):
            await self.shortcut(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    def take_shortcuts(self, auth: Auth) -> None:
        """Put the shortcut before everything else."""
        self.shortcut = Door(Shortcut(self, super().__call__), auth=auth)


def create_api(context: ApiContext) -> FastAPI:
    """Return the API. `drain` lets waiting calls and streams go, for a quick stop."""
    auth = Auth(context.store, operator_token=context.operator_token)
    app = Api(
        docs_url=None,  # the pages load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        lifespan=_lifespan,
        exception_handlers={
            ServiceError: on_service_error,
            HTTPException: on_http_error,
            RequestValidationError: on_validation_error,
        },
    )
    app.state.context = context
    app.state.bell = Bell(context.store)
    app.state.lookout = Lookout(context.store, app.state.bell)
    app.state.streams = Streams(
        context.store, Newest(context.store, app.state.bell), context.metrics, context.streams
    )
    app.state.desk = Desk(context.store, context.dice)
    app.state.acks_since_forgetting = 0
    app.add_middleware(Door, auth=auth)
    app.take_shortcuts(auth)
    _include(app)
    app.openapi = openapi_of(app, context)  # type: ignore[method-assign] # FastAPI's documented way
    return app


def create_health(context: ApiContext) -> FastAPI:
    """Return what a process answers that only works: whether it lives, is ready, and what it counted."""
    app = FastAPI(
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        exception_handlers={ServiceError: on_service_error, HTTPException: on_http_error},
    )
    app.state.context = context
    app.add_middleware(Door, auth=Auth(context.store, operator_token=context.operator_token))
    app.include_router(health.router)
    return app


def _include(app: FastAPI) -> None:
    for part in (leases, consumers, stream, events, payments, orders, receipts, merchants, relays):
        app.include_router(part.router, dependencies=[BEARER])
    app.include_router(consumers.for_operators, dependencies=[BEARER])
    app.include_router(health.router)
    app.include_router(schemas.router)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    yield
    drain(app)


def drain(app: FastAPI) -> None:
    """Let waiting lease calls go and end streams; called on the event loop."""
    app.state.bell.close()
    app.state.streams.close()

"""The calls that consumers make all day, past FastAPI's routing: the same functions, models and errors.

FastAPI describes these calls and could answer them as well; finding the route, solving dependencies and watching
over the request cost it several times what the call itself does. Whatever is not a good request goes on to it, body
and all, so that there is one place that says what is wrong.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, NamedTuple

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api import leases
from service.api.auth import check_consumer
from service.api.models import AckBody, Body, ExtendBody, LeaseBody, NackBody
from service.domain.merchant import NAME_PATTERN

PREFIX: Final = "/v1/consumers/"
_PATH: Final = re.compile(rf"{PREFIX}({NAME_PATTERN.pattern})/(lease|ack|nack|extend)")


class _Shortcut(NamedTuple):
    """One call: what its body is, whether it may be left out, and what answers."""

    model: type[Body]
    answer: Callable[..., Awaitable[Response]]
    bare: bool = False


_CALLS: Final[Mapping[str, _Shortcut]] = {
    "lease": _Shortcut(LeaseBody, leases.lease_events, bare=True),
    "ack": _Shortcut(AckBody, leases.ack_leases),
    "nack": _Shortcut(NackBody, leases.nack_leases),
    "extend": _Shortcut(ExtendBody, leases.extend_leases),
}


def is_short(scope: Scope) -> bool:
    """Say whether a request may take the shortcut."""
    path: str = scope.get("path", "")
    return path.startswith(PREFIX) and scope["method"] == "POST" and _PATH.fullmatch(path) is not None


class Shortcut:
    """Answers what `is_short`, behind the door; *app* is whom ``request.app`` names, *rest* answers all else."""

    def __init__(self, app: Starlette, rest: ASGIApp) -> None:
        self._app = app
        self._rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        found = _PATH.fullmatch(scope["path"])
        if found is None:
            await self._rest(scope, receive, send)
            return
        name, call = found[1], _CALLS[found[2]]
        check_consumer(name, scope["state"]["caller"])
        messages = await _read(receive)
        if messages[-1]["type"] != "http.request":
            return  # the client has gone
        body = _body(call, b"".join(message.get("body", b"") for message in messages))
        if body is None:
            await self._rest(scope, _again(messages, receive), send)
            return
        scope["app"] = self._app
        context = self._app.state.context
        answer = await call.answer(Request(scope, receive), name=name, context=context, body=body)
        await answer(scope, receive, send)


async def _read(receive: Receive) -> list[Message]:
    messages = [await receive()]
    while messages[-1].get("more_body", False):
        messages.append(await receive())
    return messages


def _again(messages: list[Message], receive: Receive) -> Receive:
    """Return what brings *messages* once more, and goes on behind them."""
    left = iter(messages)

    async def receive_again() -> Message:
        return next(left, None) or await receive()

    return receive_again


def _body(call: _Shortcut, raw: bytes) -> Body | None:
    """Return what was sent; None when something is wrong with it."""
    if not raw:
        return call.model() if call.bare else None
    try:
        return call.model.model_validate_json(raw)
    except ValidationError:
        return None

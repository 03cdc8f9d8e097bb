"""Around every route: no token, no way in; bounded bodies; and an answer even where the code fails.

Plain ASGI: the caller is known before a byte of the body is read or a route is looked for.
"""

from functools import partial
from typing import Final

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.auth import Auth, bearer_of
from service.api.problems import FAILED, of_error, on_http_error, problem
from service.errors import ServiceError

MAX_BODY_BYTES: Final = 1024 * 1024
_JSON: Final = (b"content-type", b"application/json")

log = structlog.get_logger(__name__)


class Door:
    """Lets requests in: sets ``request.state.caller`` for what needs a token.

    ``request.state.check_again`` is for a call that waits: it raises Unauthenticated once the token was revoked.
    """

    def __init__(self, app: ASGIApp, *, auth: Auth) -> None:
        self._app = app
        self._auth = auth

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sending = _Sending(send)
        try:
            await self._enter(scope, receive, sending)
        except HTTPException as error:
            await (await on_http_error(Request(scope), error))(scope, receive, send)
        except ServiceError as error:
            await of_error(error)(scope, receive, send)
        except Exception:
            log.exception("request_failed", method=scope["method"], path=scope["path"])
            if sending.started:
                raise
            await problem(FAILED, "it has been logged")(scope, receive, send)

    async def _enter(self, scope: Scope, receive: Receive, send: Send) -> None:
        if _is_guarded(scope["path"]):
            check = partial(self._auth.check, bearer_of(scope["headers"]))
            state = scope.setdefault("state", {})
            state["caller"] = await check()
            state["check_again"] = check
            scope["headers"] = _as_json(scope["headers"])
        await self._app(scope, _bounded(scope, receive), send)


class _Sending:
    """Remembers whether an answer has begun."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = False

    async def __call__(self, message: Message) -> None:
        self.started = True
        await self._send(message)


def _is_guarded(path: str) -> bool:
    return path == "/v1" or path.startswith("/v1/") or path == "/metrics"


def _as_json(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return *headers* with the one content type there is here: ``curl -d`` says another one."""
    return [header for header in headers if header[0] != _JSON[0]] + [_JSON]


def _bounded(scope: Scope, receive: Receive) -> Receive:
    """Return *receive*, failing with 413 once the body passes the bound."""
    left = MAX_BODY_BYTES
    length = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    if length.isdigit() and int(length[:12]) > MAX_BODY_BYTES:
        raise HTTPException(413)

    async def receive_bounded() -> Message:
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        if left < 0:
            raise HTTPException(413)
        return message

    return receive_bounded

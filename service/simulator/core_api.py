"""Midtrans' Core API under ``/v2``: Basic auth, true paths, business errors with HTTP 200."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from starlette.responses import HTMLResponse, RedirectResponse, Response

from django_midtrans.testing import Account, UnknownServerKey
from service.simulator.simulator import Route, Simulator
from service.simulator.status_faults import answer_of_status, trouble_of_status

if TYPE_CHECKING:
    from starlette.requests import Request

Body = dict[str, Any]

# What stands behind the id in the path. Ids are percent-encoded whole: a bare "/" makes another path.
_ACTIONS: Mapping[tuple[str, ...], Callable[[Account, str, Body], Body]] = {
    ("cancel",): lambda account, id_, _: account.cancel(id_),
    ("expire",): lambda account, id_, _: account.expire(id_),
    ("approve",): lambda account, id_, _: account.approve(id_),
    ("deny",): lambda account, id_, _: account.deny(id_),
    ("refund",): Account.refund,
    ("refund", "online", "direct"): Account.direct_refund,
}
_QR = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="200" height="200">'
    '<rect width="200" height="200" fill="#eee"/>'
    '<text x="100" y="105" text-anchor="middle" font-family="sans-serif">simulated QR</text></svg>'
)
NOT_FOUND_PAGE = (
    "<!DOCTYPE html><html><head><title>404</title></head><body><h1>404 Not Found</h1></body></html>"
)


class BodyUnreadable(Exception):
    """The request's body is not a JSON object: Midtrans' 413."""


def path_parts(request: Request) -> list[str]:
    """Return the path's segments, each decoded on its own: ``%2F`` stays inside its segment."""
    raw: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    return [unquote(part.decode("latin-1")) for part in raw.split(b"?")[0].split(b"/")[1:]]


def not_found() -> Response:
    """Return the HTML that stands before Midtrans' API for a path it does not know."""
    return HTMLResponse(NOT_FOUND_PAGE, status_code=404)


async def core_api(request: Request) -> Response:
    """Answer anything under ``/v2``."""
    simulator: Simulator = request.app.state.simulator
    parts = path_parts(request)[1:]
    open_page = _open_page(request, simulator, parts)
    if open_page is not None:
        return open_page
    try:
        account = simulator.midtrans.account(_server_key(request))
        if request.method == "GET" and parts[1:] == ["status"]:
            trouble = await trouble_of_status(simulator, account, parts[0])
            if trouble is not None:
                return trouble
        answer = await _call(request, simulator, account, parts)
    except UnknownServerKey as error:
        return _json(error.body)
    except BodyUnreadable:
        return _json({"status_code": "413", "status_message": "The request body is malformed"})
    return not_found() if answer is None else _json(answer)


async def _call(request: Request, simulator: Simulator, account: Account, parts: list[str]) -> Body | None:
    """Return the API's answer, None for a path or method that does not exist."""
    if request.method == "GET":
        return _read(request, simulator, account, parts)
    if request.method != "POST" or not all(parts):
        return None
    if parts == ["charge"]:
        return _charge(request, simulator, account, await _payload(request))
    if parts == ["capture"]:
        return account.capture(await _payload(request))
    action = _ACTIONS.get(tuple(parts[1:]))
    return None if action is None else action(account, parts[0], await _payload(request))


def _read(request: Request, simulator: Simulator, account: Account, parts: list[str]) -> Body | None:
    if not all(parts):
        return None
    if parts[1:] == ["status", "b2b"]:
        page, per_page = _number(request, "page", 0), _number(request, "per_page", 10)
        return account.status_b2b(parts[0], page=page, per_page=per_page)
    return answer_of_status(simulator, account, parts[0]) if parts[1:] == ["status"] else None


def _charge(request: Request, simulator: Simulator, account: Account, payload: Body) -> Body:
    """Charge; two headers that Midtrans does not have let a test set up what Snap and fee settings do."""
    same_order = request.headers.get("x-simulator-same-order", "") in {"1", "true"}
    fee = request.headers.get("x-simulator-customer-fee", "0")
    with simulator.routing(Route.from_headers(request.headers)):
        return account.charge(payload, same_order=same_order, customer_fee=int(fee) if fee.isdigit() else 0)


def _open_page(request: Request, simulator: Simulator, parts: list[str]) -> Response | None:
    """Answer what takes no server key: card tokens, QR images and the pages a customer is sent to."""
    if request.method != "GET":
        return None
    if parts == ["token"]:
        return _json(simulator.midtrans.card_token(request.query_params))
    if parts[-1] == "qr-code":
        return Response(_QR, media_type="image/svg+xml")
    if parts[-1] == "deeplink" or "redirect" in parts[1:-1]:
        return RedirectResponse("/", status_code=303)
    return None


def _server_key(request: Request) -> str:
    """Return the user name of Basic auth, "" (which no account has) for anything else."""
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    try:
        decoded = base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
    return decoded.partition(":")[0] if scheme.lower() == "basic" else ""


async def _payload(request: Request) -> Body:
    content = await request.body()
    try:
        payload = json.loads(content or b"{}", parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise BodyUnreadable from error
    if not isinstance(payload, dict):
        raise BodyUnreadable
    return payload


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, "")
    return int(text) if text.isascii() and text.isdigit() else default


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def json_response(body: Body, status: int = 200) -> Response:
    """Return *body* in ASCII: a lone surrogate that a shop sent comes back as it came."""
    return Response(json.dumps(body), status_code=status, media_type="application/json")


def _json(body: Body) -> Response:
    return json_response(body, 401 if body["status_code"] == "401" else 200)

"""Errors as problem+json (RFC 9457): which class of ours is which status, in one table."""

import json
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final, NamedTuple

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from service import errors

MEDIA_TYPE: Final = "application/problem+json"


class Kind(NamedTuple):
    """How a class of errors is answered."""

    status: int
    code: str
    title: str
    headers: Mapping[str, str] = {}


KINDS: Final[Mapping[type[errors.ServiceError], Kind]] = {
    errors.Unauthenticated: Kind(
        401, "unauthenticated", "A valid token is needed", {"WWW-Authenticate": 'Bearer realm="midtrans"'}
    ),
    errors.Forbidden: Kind(403, "forbidden", "This token may not do that"),
    errors.NotFound: Kind(404, "not-found", "There is no such thing"),
    errors.Conflict: Kind(409, "conflict", "This contradicts what is there"),
    errors.PositionGone: Kind(410, "position-gone", "The position is of another epoch of the log"),
    errors.RequestInvalid: Kind(422, "invalid", "The request cannot be used"),
    errors.StoreOverloaded: Kind(429, "overloaded", "Too much is waiting to be stored", {"Retry-After": "1"}),
    errors.StreamsFull: Kind(429, "streams-full", "Too many streams are open", {"Retry-After": "5"}),
    errors.StoreUnavailable: Kind(503, "unavailable", "Nothing can be stored just now", {"Retry-After": "5"}),
    errors.StoreBroken: Kind(503, "unavailable", "Nothing can be stored just now", {"Retry-After": "30"}),
}
FAILED: Final = Kind(500, "failed", "Something went wrong here")
_MESSAGES: Final = {
    "extra_forbidden": "is not a field of this request",
    "missing": "is missing",
}


def problem(
    kind: Kind,
    detail: str,
    *,
    fields: Iterable[tuple[str, str]] = (),
    headers: Mapping[str, str] | None = None,
    members: Mapping[str, Any] | None = None,
) -> Response:
    """Return the answer for one error; *fields* are (field, what is wrong with it), *members* more of the body."""
    body: dict[str, Any] = {
        "type": f"urn:midtrans-service:problem:{kind.code}",
        "title": kind.title,
        "status": kind.status,
        "detail": detail,
        **(members or {}),
    }
    if named := [{"field": field, "problem": text} for field, text in fields]:
        body["errors"] = named
    content = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    return Response(content, kind.status, {**kind.headers, **(headers or {})}, media_type=MEDIA_TYPE)


def of_error(error: errors.ServiceError) -> Response:
    """Return the answer for an error of our own."""
    kind = next((KINDS[cls] for cls in type(error).__mro__ if cls in KINDS), FAILED)
    fields = [(error.field, error.problem)] if isinstance(error, errors.RequestInvalid) else []
    members = {"matching": error.matching} if isinstance(error, errors.CountMoved) else None
    return problem(kind, "" if kind is FAILED else str(error), fields=fields, members=members)


async def on_service_error(_request: Request, error: Exception) -> Response:
    """Answer an error of our own."""
    return of_error(error if isinstance(error, errors.ServiceError) else errors.ServiceError())


async def on_http_error(_request: Request, error: Exception) -> Response:
    """Answer what the framework refuses: unknown routes, methods, bodies too large."""
    status = error.status_code if isinstance(error, HTTPException) else FAILED.status
    phrase = HTTPStatus(status).phrase
    headers = (error.headers if isinstance(error, HTTPException) else None) or {}
    return problem(Kind(status, phrase.lower().replace(" ", "-"), phrase), phrase, headers=headers)


async def on_validation_error(_request: Request, error: Exception) -> Response:
    """Answer a request that does not fit its model: each field is named, no value is repeated."""
    found = error.errors() if isinstance(error, RequestValidationError) else []
    if any(one["type"] == "json_invalid" for one in found):
        return problem(Kind(400, "not-json", "The body is not JSON"), "the body is not JSON")
    fields = [(_place(one["loc"]), _MESSAGES.get(one["type"], _told(one))) for one in found]
    detail = "; ".join(f"{field}: {text}" for field, text in fields)
    return problem(KINDS[errors.RequestInvalid], detail, fields=fields)


def _place(loc: Iterable[str | int]) -> str:
    """Return ``leases[2]`` for ``("body", "leases", 2)``."""
    parts = [part for part in loc if part not in ("body", "query", "path")]
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    return text.lstrip(".") or "body"


def _told(one: Mapping[str, Any]) -> str:
    text: str = one["msg"]
    return text[:1].lower() + text[1:]

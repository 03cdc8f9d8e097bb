"""How errors look in the OpenAPI document."""

from typing import Any, Final

from service.api.models import Problem
from service.api.problems import MEDIA_TYPE

_MEANS: Final = {
    401: "No token, or one that is unknown or revoked.",
    403: "The token's role or names do not allow it.",
    404: "There is no such thing.",
    409: "It contradicts what is there; `matching` says how many match now.",
    410: "The position is of another epoch of the log: go on from a time, or from `beginning`.",
    422: "The request cannot be used; `errors` names the fields.",
    429: "Too much is waiting to be stored, or too many streams are open: try again after `Retry-After` seconds.",
    503: "Nothing can be stored just now: try again after `Retry-After` seconds.",
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the description of error answers."""
    return {status: _described(status) for status in statuses}


def _described(status: int) -> dict[str, Any]:
    example = {
        "type": "urn:midtrans-service:problem:…",
        "title": _MEANS[status],
        "status": status,
        "detail": "what exactly, and how to mend it",
    }
    return {"description": _MEANS[status], "model": Problem, "content": {MEDIA_TYPE: {"example": example}}}


COMMON: Final = errors(401, 403, 422, 429, 503)

"""The OpenAPI document: FastAPI's, with our errors in the place of its own and the endpoints it does not know."""

from collections.abc import Callable
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from service.api.context import ApiContext
from service.api.problems import MEDIA_TYPE

DESCRIPTION: Final = """
Payment events of Midtrans, confirmed and in order per payment.

Callers send `Authorization: Bearer <token>`; tokens have a role (shop, consumer, operator). Positions are opaque
texts. Money is text with two decimals; times are UTC. Errors are `application/problem+json` (RFC 9457).
"""
_PROBLEM: Final = {"$ref": "#/components/schemas/Problem"}


def openapi_of(app: FastAPI, context: ApiContext) -> Callable[[], dict[str, Any]]:
    """Return what makes the document, once."""
    made: dict[str, Any] = {}

    def make() -> dict[str, Any]:
        if not made:
            made.update(_document(app, context))
        return made

    return make


def _document(app: FastAPI, context: ApiContext) -> dict[str, Any]:
    document = get_openapi(
        title="Midtrans payment events",
        version=context.version,
        description=DESCRIPTION,
        routes=app.routes,
    )
    for path in document["paths"].values():
        for operation in path.values():
            _as_problems(operation["responses"])
    for name in ("HTTPValidationError", "ValidationError"):
        document["components"]["schemas"].pop(name, None)
    document["paths"] = {**context.more_paths(), **_without_converters(document["paths"])}
    return document


def _as_problems(responses: dict[str, Any]) -> None:
    for status, response in responses.items():
        content = response.get("content", {})
        if MEDIA_TYPE in content:
            content.pop("application/json", None)
            content[MEDIA_TYPE]["schema"] = _PROBLEM
        elif status == "422":
            response["content"] = {MEDIA_TYPE: {"schema": _PROBLEM}}


def _without_converters(paths: dict[str, Any]) -> dict[str, Any]:
    return {path.replace(":path}", "}"): item for path, item in paths.items()}

"""The contracts of events as documents, open to everybody: JSON Schemas and AsyncAPI."""

import json
from collections.abc import Callable, Coroutine
from functools import cache
from typing import Any, Final

from fastapi import APIRouter, Response

from service.api.context import Context
from service.contracts import asyncapi
from service.contracts.schemas import SCHEMAS, schema_of

SCHEMA_TYPE: Final = "application/schema+json"
_AGE: Final = {"cache-control": "public, max-age=3600"}

router = APIRouter(tags=["contracts"])


@cache
def _asyncapi(version: str) -> str:
    return json.dumps(asyncapi.document(version), ensure_ascii=False)


@cache
def _schema(name: str, version: int) -> str:
    return json.dumps(schema_of(name, version), ensure_ascii=False)


@router.get(
    "/asyncapi.json",
    summary="The events in AsyncAPI",
    response_model=None,
    responses={200: {"content": {"application/json": {"example": {"asyncapi": asyncapi.VERSION}}}}},
)
async def get_asyncapi(context: Context) -> Response:
    """Return the AsyncAPI 3.0 document: every way in which events leave, and each message."""
    return Response(_asyncapi(context.version), headers=_AGE, media_type="application/json")


def _answering(name: str, version: int) -> Callable[[], Coroutine[Any, Any, Response]]:
    async def answer() -> Response:
        return Response(_schema(name, version), headers=_AGE, media_type=SCHEMA_TYPE)

    return answer


for _name, _version in SCHEMAS:
    router.add_api_route(
        f"/schemas/{_name}/{_version}",
        _answering(_name, _version),
        methods=["GET"],
        name=f"schema_{_name}_{_version}",
        summary=f"The JSON Schema {_name}, version {_version}",
        description=SCHEMAS[_name, _version][1].__doc__ or "",
        response_class=Response,
        responses={
            200: {"content": {SCHEMA_TYPE: {"schema": {"type": "object"}, "example": {"type": "object"}}}}
        },
    )

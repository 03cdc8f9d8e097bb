"""Every contract as a document, by the path under docs/ where its copy is kept."""

from typing import Any

from django_midtrans import __version__
from service.contracts import asyncapi
from service.contracts.schemas import SCHEMAS, schema_of


def documents() -> dict[str, dict[str, Any]]:
    """Return the documents of this version."""
    schemas = {f"schemas/{name}-{version}.json": schema_of(name, version) for name, version in SCHEMAS}
    return {**schemas, "asyncapi.json": asyncapi.document(__version__)}

"""Events held to their published schema: nothing missing, of another shape, or that it does not name."""

from functools import cache
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.protocols import Validator

from service.contracts.schemas import schema_of


def check_event(event: dict[str, Any]) -> dict[str, Any]:
    """Return *event*, whose every field the schema names."""
    _strict().validate(event)
    return event


@cache
def _strict() -> Validator:
    return Draft202012Validator(
        closed(schema_of("payment-event", 1)), format_checker=Draft202012Validator.FORMAT_CHECKER
    )


def closed(schema: Any) -> Any:
    """Return *schema* without room for fields that it does not name; readers of the open one ignore them."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: closed(value) for key, value in schema.items()}
    return {**made, "additionalProperties": False} if "properties" in schema else made

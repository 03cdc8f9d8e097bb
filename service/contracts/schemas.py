"""JSON Schemas of what readers get, one for each kind of event and version; made from the models, in draft 2020-12."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from django_midtrans.events import DATA_SCHEMA
from service.contracts.payment import PaymentCloudEvent, PaymentData

DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
SCHEMAS: Final[Mapping[tuple[str, int], tuple[str, type[BaseModel]]]] = {
    ("payment", 1): (DATA_SCHEMA, PaymentData),
    ("payment-event", 1): ("urn:midtrans-service:schema:payment-event:1", PaymentCloudEvent),
}
"""(name, version) → ($id, model). ``payment`` is what an event's ``dataschema`` names: of its ``data``;
``payment-event`` is of the whole CloudEvent."""


class Plain(GenerateJsonSchema):
    """Without a title on every field, which would say its name again."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 (pydantic's signature)
        """Leave it out."""
        return False


def schema_of(name: str, version: int) -> dict[str, Any]:
    """Return the schema; raise KeyError when there is none of this name and version."""
    schema_id, model = SCHEMAS[name, version]
    made = TypeAdapter(model).json_schema(mode="serialization", schema_generator=Plain)
    return {"$schema": DRAFT, "$id": schema_id, **made}


def components() -> dict[str, Any]:
    """Return the parts of the whole event by name, as an AsyncAPI document refers to them."""
    made = TypeAdapter(PaymentCloudEvent).json_schema(
        mode="serialization", schema_generator=Plain, ref_template="#/components/schemas/{model}"
    )
    parts: dict[str, Any] = made.pop("$defs")
    return {**parts, PaymentCloudEvent.__name__: made}

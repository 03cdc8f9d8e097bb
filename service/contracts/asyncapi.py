"""The AsyncAPI 3.0 document: every way in which events leave, each message, and who may read."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from service.contracts.brokers import BROKERS, BrokerChannel
from service.contracts.payment import TYPES, PaymentCloudEvent
from service.contracts.schemas import components

VERSION: Final = "3.0.0"
CLOUD_EVENT: Final = "application/cloudevents+json"
EVENT: Final = {"$ref": f"#/components/schemas/{PaymentCloudEvent.__name__}"}
DESCRIPTION: Final = """\
Payment events of Midtrans, confirmed, at least once and in order per payment (`partitionkey`).

Every event is a CloudEvent 1.0 in structured JSON, the same text wherever it is read: leased over HTTP, pushed,
streamed, or relayed to a broker. Its `id` is the same for ever, also after a replay: the key by which repeats are
told. New fields may be added; what is here is not taken away.
"""
NAME: Final = {"description": "The consumer's name.", "examples": ["shipping"]}
LEASE_REQUEST: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {
        "limit": {"type": "integer", "minimum": 1, "maximum": 1000, "default": 10},
        "wait_seconds": {"type": "number", "minimum": 0, "maximum": 60, "default": 20},
        "lease_seconds": {"type": ["integer", "null"], "minimum": 1, "maximum": 43_200},
        "ack": {
            "type": "array",
            "items": {"type": "string"},
            "description": "Acked before anything is lent.",
        },
    },
}
LEASE_ANSWER: Final[Mapping[str, Any]] = {
    "type": "object",
    "required": ["deliveries", "acked", "ended"],
    "properties": {
        "deliveries": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["lease", "attempt", "leased_until", "position", "event"],
                "properties": {
                    "lease": {"type": "string"},
                    "attempt": {"type": "integer", "minimum": 1},
                    "leased_until": {"type": "string", "format": "date-time"},
                    "position": {"type": "string"},
                    "event": EVENT,
                },
            },
        },
        "acked": {"type": "array", "items": {"type": "string"}},
        "ended": {"type": "array", "items": {"type": "string"}},
    },
}
PUSH_HEADERS: Final[Mapping[str, Any]] = {
    "type": "object",
    "description": "Of a pushed event.",
    "properties": {
        "webhook-id": {"type": "string", "description": "The event's id."},
        "webhook-timestamp": {"type": "string", "pattern": "^[0-9]+$", "description": "Seconds since 1970."},
        "webhook-signature": {
            "type": "string",
            "description": "`v1,` and a base64 HMAC-SHA256 for each secret, with spaces between.",
        },
    },
}


def document(version: str) -> dict[str, Any]:
    """Return the document of release *version*."""
    return {
        "asyncapi": VERSION,
        "info": {
            "title": "Midtrans payment events",
            "version": version,
            "description": DESCRIPTION,
            "license": {"name": "MIT"},
        },
        "defaultContentType": CLOUD_EVENT,
        "servers": {"service": _service(), **{broker.kind: dict(broker.server) for broker in BROKERS}},
        "channels": {**_http_channels(), **{broker.kind: _broker_channel(broker) for broker in BROKERS}},
        "operations": {**_http_operations(), **_relays()},
        "components": {
            "schemas": components(),
            "messages": {**{type_: _message(type_) for type_ in TYPES}, **_lease_messages()},
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of this service (`mts_…`) with the role consumer or operator.",
                },
                "signature": {
                    "type": "httpApiKey",
                    "in": "header",
                    "name": "webhook-signature",
                    "description": "Standard Webhooks: the receiver verifies it with the consumer's secret.",
                },
            },
        },
    }


def _service() -> dict[str, Any]:
    return {
        "host": "{host}",
        "protocol": "http",
        "description": "The service itself.",
        "variables": {"host": {"default": "127.0.0.1:8000"}},
    }


def _message(type_: str) -> dict[str, Any]:
    """Return the message of one type: its envelope is that of all, with this type."""
    return {
        "name": type_,
        "title": type_.rpartition(".")[2].replace("_", " "),
        "contentType": CLOUD_EVENT,
        "payload": {
            "allOf": [EVENT, {"type": "object", "properties": {"type": {"const": type_}}}],
        },
        "bindings": {
            "http": {"headers": dict(PUSH_HEADERS), "bindingVersion": "0.3.0"},
            "kafka": {
                "key": {"type": "string", "description": "The partitionkey."},
                "bindingVersion": "0.5.0",
            },
        },
    }


def _lease_messages() -> dict[str, Any]:
    return {
        "lease_request": {"contentType": "application/json", "payload": dict(LEASE_REQUEST)},
        "lease_answer": {"contentType": "application/json", "payload": dict(LEASE_ANSWER)},
    }


def _http_channels() -> dict[str, Any]:
    service = [{"$ref": "#/servers/service"}]
    return {
        "lease": {
            "address": "/v1/consumers/{name}/lease",
            "description": "Events are lent for a time and acked: the queue. At least once, in order per payment.",
            "servers": service,
            "parameters": {"name": NAME},
            "messages": _references(("lease_request", "lease_answer")),
        },
        "push": {
            "address": None,
            "description": "Each event is POSTed to the consumer's own URL, signed as Standard Webhooks says. "
            "2xx is the ack.",
            "messages": _references(TYPES),
        },
        "stream": {
            "address": "/v1/events/stream",
            "description": "Server-sent events: `id` is the position, `event` the type, `data` the CloudEvent. "
            "Comes back with Last-Event-ID where it was.",
            "servers": service,
            "messages": _references(TYPES),
        },
    }


def _broker_channel(broker: BrokerChannel) -> dict[str, Any]:
    return {
        "address": broker.address,
        "description": broker.description,
        "servers": [{"$ref": f"#/servers/{broker.kind}"}],
        "messages": _references(TYPES),
        **({"parameters": {"type": {"enum": list(TYPES)}}} if "{type}" in broker.address else {}),
        **({"bindings": broker.bindings} if broker.bindings else {}),
    }


def _http_operations() -> dict[str, Any]:
    token = [{"$ref": "#/components/securitySchemes/token"}]
    return {
        "lease_events": {
            "action": "receive",
            "channel": {"$ref": "#/channels/lease"},
            "title": "Lease events",
            "security": token,
            "bindings": {"http": {"method": "POST", "bindingVersion": "0.3.0"}},
            "messages": [{"$ref": "#/channels/lease/messages/lease_request"}],
            "reply": {
                "channel": {"$ref": "#/channels/lease"},
                "messages": [{"$ref": "#/channels/lease/messages/lease_answer"}],
            },
        },
        "push_events": {
            "action": "send",
            "channel": {"$ref": "#/channels/push"},
            "title": "Push events",
            "security": [{"$ref": "#/components/securitySchemes/signature"}],
            "bindings": {"http": {"method": "POST", "bindingVersion": "0.3.0"}},
        },
        "stream_events": {
            "action": "send",
            "channel": {"$ref": "#/channels/stream"},
            "title": "Stream events",
            "security": token,
            "bindings": {"http": {"method": "GET", "query": _stream_query(), "bindingVersion": "0.3.0"}},
        },
    }


def _stream_query() -> dict[str, Any]:
    texts = {"type": "array", "items": {"type": "string"}}
    return {
        "type": "object",
        "properties": {"after": {"type": "string", "default": "now"}, "types": texts, "merchants": texts},
    }


def _relays() -> dict[str, Any]:
    return {
        f"relay_to_{broker.kind}": {
            "action": "send",
            "channel": {"$ref": f"#/channels/{broker.kind}"},
            "title": f"Relay events to {broker.title}",
        }
        for broker in BROKERS
    }


def _references(names: Iterable[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/messages/{name}"} for name in names}

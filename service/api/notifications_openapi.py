"""How the OpenAPI document describes the notification endpoint, which FastAPI does not know: made from the table."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, Final

from django_midtrans.signature import expected_signature
from service.domain.answers import ANSWERS, Happened, Row
from service.domain.merchant import NAME_PATTERN

_EXAMPLE_ID: Final = "019aaa2c-5c00-7000-8000-000000000001"
_EXAMPLE_KEY: Final = "an-example-server-key"
_EXAMPLE: Final[dict[str, Any]] = {
    "transaction_time": "2026-11-22 10:04:05",
    "transaction_status": "settlement",
    "transaction_id": "0f6f3b0e-7a53-4f0e-9a3d-2f7c4f1f9a10",
    "status_code": "200",
    "signature_key": expected_signature("order-1001", "200", "150000.00", _EXAMPLE_KEY),
    "payment_type": "qris",
    "order_id": "order-1001",
    "gross_amount": "150000.00",
    "currency": "IDR",
}
_TEXT_OR_NUMBER: Final = {"anyOf": [{"type": "string"}, {"type": "number"}]}
_NOTIFICATION: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["order_id", "transaction_status", "status_code", "gross_amount", "signature_key"],
    "properties": {
        "order_id": {"type": "string", "minLength": 1, "maxLength": 255},
        "transaction_id": {"type": "string", "maxLength": 255},
        "transaction_status": {"type": "string", "minLength": 1, "maxLength": 255},
        "status_code": _TEXT_OR_NUMBER,
        "gross_amount": _TEXT_OR_NUMBER,
        "signature_key": {
            "type": "string",
            "description": "hex(SHA512(order_id + status_code + gross_amount + server key))",
        },
        "payment_type": {"type": "string"},
    },
    "additionalProperties": True,
}
_MERCHANT: Final[dict[str, Any]] = {
    "name": "merchant",
    "in": "path",
    "required": True,
    "description": "A configured merchant's name.",
    "schema": {"type": "string", "pattern": f"^{NAME_PATTERN.pattern}$"},
    "example": "shop-a",
}


def notification_paths() -> dict[str, Any]:
    """Return the path items of both addresses, with an example and every answer there is."""
    return {
        "/notifications": {"post": _operation("receive_notification", [])},
        "/notifications/{merchant}": {"post": _operation("receive_notification_of_merchant", [_MERCHANT])},
    }


def _operation(name: str, parameters: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "operationId": name,
        "tags": ["notifications"],
        "summary": "Take in a notification from Midtrans",
        "description": (
            "Where Midtrans' dashboard points. Open to everyone: the body's signature decides, nothing else. "
            "A 2xx means that the notification is on disk; the other answers choose how often Midtrans tries "
            "again. A trailing slash makes no difference."
        ),
        "security": [],
        "parameters": parameters,
        "requestBody": {
            "required": True,
            "description": "At most 64 KiB, whole within 10 s, without Content-Encoding.",
            "content": {"application/json": {"schema": _NOTIFICATION, "example": _EXAMPLE}},
        },
        "responses": {str(status): _response(status) for status in sorted(_statuses())},
    }


def _statuses() -> set[int]:
    return {row.status for row in ANSWERS.values()} - {405}  # of the other methods, which are not described


def _response(status: int) -> dict[str, Any]:
    rows = {happened: row for happened, row in ANSWERS.items() if row.status == status}
    then = next(iter(rows.values())).then
    response: dict[str, Any] = {
        "description": f"{_sentence(row.what for row in rows.values())}. Midtrans {then}.",
        "content": {"application/json": {"schema": _schema(status), "examples": _examples(rows)}},
    }
    if headers := {name.decode().title() for row in rows.values() for name, _ in row.headers}:
        response["headers"] = {name: {"schema": {"type": "string"}} for name in headers}
    return response


def _sentence(parts: Iterable[str]) -> str:
    text = "; or ".join(parts).replace("`", "")
    return text[0].upper() + text[1:]


def _examples(rows: dict[Happened, Row]) -> dict[str, Any]:
    return {
        happened.value: {"summary": row.what, "value": _example(happened, row)}
        for happened, row in rows.items()
    }


def _example(happened: Happened, row: Row) -> dict[str, str]:
    if happened is Happened.TEST:
        return {"status": "test", "signature": "good"}
    if row.status == HTTPStatus.OK:
        return {"status": happened.value, "id": _EXAMPLE_ID}
    return {"error": happened.value, "detail": row.detail}


def _schema(status: int) -> dict[str, Any]:
    codes = [happened.value for happened, row in ANSWERS.items() if row.status == status]
    if status == HTTPStatus.OK:
        return {
            "type": "object",
            "required": ["status"],
            "properties": {
                "status": {"type": "string", "enum": codes},
                "id": {"type": "string", "format": "uuid", "description": "The receipt's; not of a test."},
                "signature": {"type": "string", "enum": ["good", "bad"], "description": "Of a test alone."},
            },
            "additionalProperties": False,
        }
    return {
        "type": "object",
        "required": ["error", "detail"],
        "properties": {
            "error": {"type": "string", "enum": codes},
            "detail": {"type": "string", "description": "What was wrong and how to mend it."},
        },
        "additionalProperties": False,
    }

"""Bodies about orders: what a shop says it charged, and all that is known of an order."""

import re
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, Field, PlainValidator, StringConstraints
from pydantic_core import PydanticCustomError

from django_midtrans.values import is_storable, read_money
from service.api.models import Body, PaymentView, Time

_RFC_3339: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_YEARS: Final = range(2000, 3000)
"""Around any time that is meant; at the calendar's ends adding an hour fails."""


def read_amount(value: Any) -> Decimal:
    """Return a positive amount of text or a whole number; a number with a point may have lost digits already."""
    amount = None if isinstance(value, bool | float) else read_money(value)
    if not amount:
        raise PydanticCustomError(
            "amount", 'must be an amount above 0: a text such as "150000.00" or a whole number'
        )
    return amount


def read_moment(value: Any) -> datetime:
    """Return the time of RFC 3339 text, in UTC."""
    moment: datetime | None = None
    if isinstance(value, str) and _RFC_3339.fullmatch(value) is not None:
        with suppress(ValueError, OverflowError):  # a 13th month; the first hours of year 1
            moment = datetime.fromisoformat(value.upper()).astimezone(UTC)
    if moment is None or moment.year not in _YEARS:
        raise PydanticCustomError(
            "moment", 'must be an RFC 3339 time with a zone, such as "2026-11-22T10:04:05+07:00"'
        )
    return moment


def read_id(value: str) -> str:
    """Return an id as far as a database can keep it."""
    if not is_storable(value):
        raise PydanticCustomError("unstorable", "must not hold NUL or half of a surrogate pair")
    return value


Amount = Annotated[Decimal, PlainValidator(read_amount, json_schema_input_type=str | int)]
Moment = Annotated[datetime, PlainValidator(read_moment, json_schema_input_type=str)]
TransactionId = Annotated[
    str,
    StringConstraints(min_length=1, max_length=255),
    AfterValidator(read_id),
    Field(examples=["0f6f3b0e-7a53-4f0e-9a3d-2f7c4f1f9a10"]),
]


class ExpectationBody(Body):
    """What a shop charged. What is left out is null, also when something else was said before."""

    gross_amount: Amount = Field(
        description="What the order costs, before any fee that the customer pays: a text with at most two "
        "decimals, or a whole number.",
        examples=["150000.00"],
    )
    expires_at: Moment | None = Field(
        None,
        description="Until when it may be paid, RFC 3339 with a zone; null: 24 hours from the first PUT.",
        examples=["2026-11-23T10:04:05+07:00"],
    )
    transaction_id: TransactionId | None = Field(
        None, description="What Midtrans answered to the charge; it proves that this payment is the order's."
    )


class ExpectationView(BaseModel):
    """What the shop said."""

    gross_amount: str = Field(description="With two decimals.", examples=["150000.00"])
    expires_at: Time | None
    transaction_id: str | None
    created_at: Time = Field(description="When the shop first said so.")


class Expected(ExpectationView):
    """What the shop said, and when it is asked for."""

    merchant: str
    order_id: str
    next_check_at: Time | None = Field(
        description="When Midtrans is asked if nothing is heard before; null: something has been heard, or all "
        "questions were put."
    )


class MoneyView(BaseModel):
    """An amount: text with two decimals."""

    value: str = Field(examples=["150000.00"])
    currency: str = Field(examples=["IDR"])


class OrderReceipt(BaseModel):
    """A notification about the order, as it came: not confirmed."""

    id: str
    transaction_id: str | None
    transaction_status: str | None
    state: str
    reason: str | None
    due_at: Time | None = Field(description="When Midtrans is asked (again).")
    duplicates: int
    received_at: Time
    ended_at: Time | None


class Question(BaseModel):
    """What Midtrans was asked, and what came of it."""

    asked: str = Field(description="The transaction_id or order_id of the question.")
    cause: str = Field(description="`notification` or `reconcile`.")
    asked_at: Time
    answered_at: Time
    http_status: int | None
    verdict: str
    transaction_id: str | None = Field(description="The payment that the answer was taken for.")


class OrderDetail(BaseModel):
    """The whole order as known now."""

    merchant: str
    order_id: str
    outcome: Literal["open", "paid", "unpaid", "returned"] | None = Field(
        description="Paid if any payment is, else open, returned, unpaid; null before anything was confirmed."
    )
    paid_payments: int = Field(description="2 or more: the customer paid more than once.")
    expected: MoneyView | None
    amount_matches: bool | None = Field(
        description="Whether the payments that make the outcome have the expected amount; null: nothing is "
        "expected, or nothing confirmed."
    )
    payments: list[PaymentView] = Field(description="The latest change first; 200 at most.")
    receipts: list[OrderReceipt] = Field(description="The newest first; 200 at most.")
    questions: list[Question] = Field(description="The last first; 200 at most.")
    expectation: ExpectationView | None
    next_check_at: Time | None = Field(
        description="When Midtrans is asked although nobody notified; receipts that wait ask by themselves."
    )

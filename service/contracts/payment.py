"""The payment event as it goes over the wire, version 1: what `PaymentEvent.to_dict` writes, described.

New fields may be added; nothing here may be taken away or change its meaning (see `compatibility`).
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from django_midtrans.events import DATA_SCHEMA, REFUND_CONFIRMED, TYPE_PREFIX
from django_midtrans.status import Outcome, PaymentStatus
from service.domain.records import Cause

TYPES = (*(f"{TYPE_PREFIX}{status}" for status in PaymentStatus), f"{TYPE_PREFIX}{REFUND_CONFIRMED}")
"""Every type of payment event."""

AmountText = Annotated[str, Field(pattern=r"^[0-9]+\.[0-9]{2}$", examples=["150000.00"])]
TimeText = Annotated[
    str,
    Field(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$",
        json_schema_extra={"format": "date-time"},
        examples=["2026-11-22T03:04:05Z"],
    ),
]


class Money(BaseModel):
    """An amount, always with two decimals."""

    value: AmountText
    currency: str = Field(examples=["IDR"])


class Refund(BaseModel):
    """One refund; null where not known (yet)."""

    id: str | None = Field(description="Midtrans' number of it.")
    key: str | None = Field(description="The merchant's refund_key.")
    amount: Money
    method: str | None = Field(description="How it was paid back.")
    reason: str | None
    created_at: TimeText | None
    bank_confirmed_at: TimeText | None


class Order(BaseModel):
    """The whole order when the event was made."""

    outcome: Outcome
    paid_payments: int = Field(ge=0, description="How many of its payments are paid, this one included.")
    expected: Money | None = Field(description="What the shop said it charged.")
    amount_matches: bool | None = Field(
        description="Whether what was charged is what was expected; null without an expectation."
    )


class MidtransWords(BaseModel):
    """Midtrans' own words for it."""

    transaction_status: str
    fraud_status: str | None
    status_code: str | None


class PaymentData(BaseModel):
    """One change of a payment that Midtrans confirmed."""

    merchant: str = Field(description="The configured name of the Midtrans account.")
    order_id: str
    transaction_id: str
    payment_type: str | None
    channel: str | None = Field(
        description="The bank, store, wallet or acquirer; null where no body named it."
    )
    status: PaymentStatus
    previous_status: PaymentStatus | None = Field(description="Null in a payment's first event.")
    outcome: Outcome
    outcome_changed: bool = Field(description="True also in a payment's first event.")
    finality: Literal["firm", "provisional"]
    reversible_until: TimeText | None = Field(
        description="Until then a settlement is provisional; null when firm."
    )
    irregular: bool = Field(description="The status contradicts the one before, and Midtrans insisted on it.")
    amount: Money = Field(description="What the customer pays.")
    amount_before_fee: Money | None = Field(
        description="What the shop charged, where the customer pays a fee on top."
    )
    refunded: Money = Field(description="All that went back so far.")
    refunds: list[Refund]
    charged_back: Money = Field(description="All that was charged back so far.")
    order: Order
    occurred_at: TimeText | None = Field(description="Midtrans' own time for this change.")
    confirmed_at: TimeText
    confirmed_by: Cause
    midtrans: MidtransWords
    custom_fields: Annotated[list[str | None], Field(min_length=3, max_length=3)] = Field(
        description="custom_field1 to 3."
    )
    metadata: dict[str, Any]


class PaymentCloudEvent(BaseModel):
    """A CloudEvent 1.0 in structured JSON that tells of one change of a payment."""

    specversion: Literal["1.0"]
    id: str = Field(
        json_schema_extra={"format": "uuid"}, description="Made of what happened: for ever the same."
    )
    source: str = Field(pattern="^/midtrans/", examples=["/midtrans/default"])
    type: Literal[TYPES]  # type: ignore[valid-type] # a tuple of texts is what Literal takes
    subject: str = Field(description="The order_id.")
    time: TimeText
    datacontenttype: Literal["application/json"]
    dataschema: Literal[DATA_SCHEMA]  # type: ignore[valid-type]
    partitionkey: str = Field(description="Events with the same one are in order.")
    sequence: str = Field(pattern="^[0-9]{10,}$", description="Counts the payment's events from 1.")
    data: PaymentData

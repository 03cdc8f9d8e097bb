"""Bodies of requests and answers: what they may hold, with units and examples. Unknown fields are refused."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

from django_midtrans.values import time_text

EVENT_EXAMPLE: dict[str, Any] = {
    "specversion": "1.0",
    "id": "5f0c7c8e-6c2c-5d1e-9a0b-1f6f3b0e7a53",
    "source": "/midtrans/default",
    "type": "midtrans.payment.settled",
    "subject": "order-1001",
    "time": "2026-11-22T03:04:05Z",
    "datacontenttype": "application/json",
    "partitionkey": "default/0f6f3b0e-7a53-4f0e-9a3d-2f7c4f1f9a10",
    "sequence": "0000000002",
    "data": {"order_id": "order-1001", "status": "settled", "outcome": "paid", "outcome_changed": True},
}
LEASE_EXAMPLE = "019aaa2c5c0070008000000000000001.0"
POSITION_EXAMPLE = "9f3c2a10-41"

Time = Annotated[datetime, PlainSerializer(time_text, return_type=str, when_used="json")]
Text = Annotated[str, Field(max_length=200)]
LeaseText = Annotated[str, Field(max_length=64, examples=[LEASE_EXAMPLE])]
PositionText = Annotated[str, Field(max_length=100, examples=[POSITION_EXAMPLE])]
LeaseSeconds = Annotated[int, Field(ge=1, le=43_200)]
Patterns = Annotated[list[Text], Field(min_length=1, max_length=50)]
Leases = Annotated[list[LeaseText], Field(min_length=1, max_length=1000, examples=[[LEASE_EXAMPLE]])]


class Body(BaseModel):
    """What a caller sends."""

    model_config = ConfigDict(extra="forbid", strict=True)


class PushBody(Body):
    """Where events are pushed to. Each is POSTed as the CloudEvent's JSON, signed as Standard Webhooks says."""

    url: Annotated[str, Field(min_length=1, max_length=2000)] = Field(
        description="https://…; http:// for networks that the service's settings allow.",
        examples=["https://shop.example.com/events"],
    )
    secrets: Annotated[list[Annotated[str, Field(max_length=200)]], Field(max_length=5)] | None = Field(
        None,
        description="`whsec_` and the base64 of 24 to 64 bytes; each signs, for rotation. Left out: those that "
        "are there are kept; if there are none, one is made and answered this once.",
    )
    timeout_seconds: Annotated[float, Field(ge=1, le=60, strict=False)] = Field(
        15, description="Within which the endpoint must have answered."
    )
    concurrency: Annotated[int, Field(ge=1, le=100)] = Field(
        10, description="How many requests are under way at most, by each process that pushes."
    )


class ConsumerBody(Body):
    """What a consumer is to be. Left out means the default, also when the consumer is there already."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [{"types": ["midtrans.payment.*"], "merchants": ["*"], "start": "beginning"}]
        },
    )

    types: Patterns = Field(
        ["midtrans.*"], description="Types of events; `*` at the end stands for anything."
    )
    merchants: Patterns = Field(["*"], description='Names of merchants, or `"*"`.')
    start: Text = Field(
        "now", description="`now`, `beginning`, a position or an RFC 3339 time; counts at creation only."
    )
    lease_seconds: LeaseSeconds = Field(
        30, description="How long an event is lent when a lease call says nothing."
    )
    max_attempts: Annotated[int, Field(ge=1, le=1000)] = Field(
        30, description="After so many lendings without an ack an event is dead."
    )
    on_dead: Literal["hold", "skip"] = Field(
        "hold", description="Whether a dead event holds back later events of its payment, or not."
    )
    push: PushBody | None = Field(
        None, description="Push the events to a URL. Left out: they are leased, and a push ends."
    )


class LeaseBody(Body):
    """What to lend, and what to ack before."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"limit": 10, "wait_seconds": 20, "ack": [LEASE_EXAMPLE]}]},
    )

    limit: Annotated[int, Field(ge=1, le=1000)] = 10
    wait_seconds: Annotated[float, Field(ge=0, le=60, strict=False)] = Field(
        20, description="How long to wait for the first event."
    )
    lease_seconds: LeaseSeconds | None = Field(None, description="The consumer's own when left out.")
    ack: Annotated[list[LeaseText], Field(max_length=1000)] = Field(
        [], description="Leases to ack: committed before anything is lent or waited for."
    )


class AckBody(Body):
    """Leases whose events are done."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"leases": [LEASE_EXAMPLE]}]},
    )

    leases: Leases


class NackBody(Body):
    """Leases whose events are to be lent again."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [{"leases": [LEASE_EXAMPLE], "delay_seconds": 5, "reason": "the warehouse is down"}]
        },
    )

    leases: Leases
    delay_seconds: Annotated[float, Field(ge=0, le=86_400, strict=False)] | None = Field(
        None, description="When to lend again; left out: 5 s doubling to 1 h with each attempt."
    )
    reason: Annotated[str, Field(max_length=1000)] | None = Field(
        None, description="Kept, and shown when the event is dead."
    )


class ExtendBody(Body):
    """Leases that are to end later."""

    leases: Leases
    lease_seconds: LeaseSeconds = Field(30, description="From now on.")


class SeekBody(Body):
    """Where to go on reading."""

    to: Text = Field(
        description="`beginning`, `now`, a position or an RFC 3339 time.", examples=["beginning"]
    )


class PositionsBody(Body):
    """Which dead letters."""

    positions: Annotated[list[PositionText], Field(min_length=1, max_length=500)] | Literal["all"]


class PushView(BaseModel):
    """Where events are pushed to, and how that goes."""

    url: str
    timeout_seconds: float
    concurrency: int
    secrets: list[str] | None = Field(
        None, description="Only in the answer to the PUT that made a secret; null ever after."
    )
    secret_fingerprints: list[str] = Field(
        description="The first 12 hex digits of each secret's SHA-256.", examples=[["1f3a5b7c9d0e"]]
    )
    failures: int = Field(description="Pushes that failed in a row, whatever the events.")
    failing_since: Time | None = Field(description="When the first of them failed.")
    last_failure: str | None = Field(description="Why the last of them failed.")


class ConsumerView(BaseModel):
    """A consumer and how far it is."""

    name: str
    types: list[str]
    merchants: list[str]
    lease_seconds: int
    max_attempts: int
    on_dead: str
    paused: bool = Field(
        description="A paused consumer gets no events; its lease calls wait and come back empty."
    )
    pause_reason: str | None = Field(
        description="Why the service paused it by itself; null when an operator did."
    )
    push: PushView | None = Field(description="Null: its events are leased.")
    position: PositionText = Field(description="The last place of the log that it has passed.")
    lag: int = Field(
        description="Events that it has not come to yet: counted among the next 10,000 places of the log, "
        "every place further off counts."
    )
    in_flight: int = Field(description="Lent just now.")
    waiting: int = Field(description="To be lent again when their time comes.")
    held: int = Field(description="Waiting for an earlier event of their payment.")
    dead: int = Field(description="Given up after all attempts: see the dead letters.")
    oldest_seconds: float | None = Field(
        description="Age of the oldest event that is neither acked nor dead."
    )
    created_at: Time
    updated_at: Time


class ConsumersAnswer(BaseModel):
    """All consumers that the caller may see."""

    consumers: list[ConsumerView]


class DeliveryView(BaseModel):
    """One event, lent."""

    lease: LeaseText = Field(description="Names this lending in ack, nack and extend.")
    attempt: int = Field(description="1 for the first lending.")
    leased_until: Time
    position: PositionText
    event: dict[str, Any] = Field(examples=[EVENT_EXAMPLE])


class LeaseAnswer(BaseModel):
    """What was lent, and what became of the leases in `ack`."""

    deliveries: list[DeliveryView]
    acked: list[LeaseText]
    ended: list[LeaseText] = Field(
        description="Lost to time: lent again already, dropped by a seek, or unknown."
    )


class AckAnswer(BaseModel):
    """What became of the leases."""

    acked: list[LeaseText]
    ended: list[LeaseText]


class NackAnswer(BaseModel):
    """What became of the leases."""

    nacked: list[LeaseText]
    ended: list[LeaseText]


class ExtendedView(BaseModel):
    """A lease with its new end."""

    lease: LeaseText
    leased_until: Time


class ExtendAnswer(BaseModel):
    """What became of the leases."""

    extended: list[ExtendedView]
    ended: list[LeaseText]


class DeadLetterView(BaseModel):
    """An event that was given up."""

    position: PositionText
    attempts: int
    reason: str | None
    died_at: Time
    event: dict[str, Any] = Field(examples=[EVENT_EXAMPLE])


class DeadLettersAnswer(BaseModel):
    """Dead letters in the log's order; *next* goes on behind the last one."""

    dead_letters: list[DeadLetterView]
    next: PositionText


class RedrivenAnswer(BaseModel):
    """How many will be lent again."""

    redriven: int


class DiscardedAnswer(BaseModel):
    """How many were given up for good."""

    discarded: int


class LoggedEventView(BaseModel):
    """An event with its place in the log."""

    position: PositionText
    event: dict[str, Any] = Field(examples=[EVENT_EXAMPLE])


class EventsAnswer(BaseModel):
    """A piece of the log; *next* goes on behind it, also when it is empty."""

    events: list[LoggedEventView]
    next: PositionText


class PaymentView(BaseModel):
    """A payment as Midtrans confirmed it."""

    merchant: str
    transaction_id: str
    order_id: str
    status: str
    outcome: str
    payment_type: str | None
    state: dict[str, Any] = Field(
        description="All that is known: amounts as text with two decimals, times in UTC."
    )
    created_at: Time
    updated_at: Time


class PaymentsAnswer(BaseModel):
    """Payments, the latest change first; *next* goes on, null at the end."""

    payments: list[PaymentView]
    next: str | None


class Step(BaseModel):
    """One thing that happened: *what* is receipt, confirmation or transition."""

    at: Time
    what: Literal["receipt", "confirmation", "transition"]
    facts: dict[str, Any]


class PaymentDetail(PaymentView):
    """A payment with its timeline, the first thing first."""

    bound_by: str = Field(description="What proved that the transaction belongs to the order.")
    timeline: list[Step]


class Problem(BaseModel):
    """An error (RFC 9457)."""

    type: str = Field(examples=["urn:midtrans-service:problem:invalid"])
    title: str
    status: int
    detail: str
    errors: list[dict[str, str]] | None = Field(
        None, description="The fields, each with what is wrong with it."
    )

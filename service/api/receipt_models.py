"""Bodies for operators: receipts, setting them going again, merchants, and what was refused."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, Field, PlainValidator, model_validator
from pydantic_core import PydanticCustomError

from service.api.models import Body, Time

RECEIPT_EXAMPLE = "019aaa2c-5c00-7000-8000-000000000001"


class ReceiptView(BaseModel):
    """A notification as it was taken in, and what became of it."""

    id: str = Field(examples=[RECEIPT_EXAMPLE])
    merchant: str
    kind: str
    order_id: str
    transaction_id: str | None
    transaction_status: str | None = Field(description="As notified: not confirmed.")
    payment_type: str | None
    state: str = Field(
        description="`waiting`; ended: `applied`, `unchanged`, `stale`, `contradicted`; held: `parked`, `anomaly`."
    )
    reason: str | None = Field(description="Why it is held, or still waits.")
    due_at: Time | None = Field(description="When Midtrans is asked (again); only while it waits.")
    answers: int = Field(description="Answers of Midtrans that left it open.")
    failures: int = Field(description="Questions without an answer, in a row.")
    seen_status: str | None = Field(description="What Midtrans answered last while it stayed open.")
    seen_times: int = Field(description="How often in a row.")
    duplicates: int = Field(description="How often the same bytes came again; best effort.")
    received_at: Time
    ended_at: Time | None
    source_address: str
    path: str
    key_fingerprint: str = Field(description="Of the key that verified it.")
    amount_form: str = Field(description="Which form of gross_amount verified.")
    answer: int = Field(description="The HTTP status of the answer; 403: taken in later, with another key.")


class ReceiptsAnswer(BaseModel):
    """Receipts, the newest first; *next* goes on, null at the end. A page may be short, or empty, before the end."""

    receipts: list[ReceiptView]
    next: str | None


class ReceiptDetail(ReceiptView):
    """A receipt with what was posted. It holds a customer's data."""

    headers: dict[str, str]
    body: str | None = Field(
        description="As text, signatures and card numbers masked; null when it is no longer kept."
    )


class RetryFilter(Body):
    """Which held receipts; left out is any."""

    state: Literal["parked", "anomaly"] | None = None
    merchant: Annotated[str, Field(max_length=63)] | None = None
    order_id: Annotated[str, Field(max_length=255)] | None = None
    reason: Annotated[str, Field(max_length=200)] | None = None


def _read_id(value: object) -> UUID:
    try:
        return UUID(value if isinstance(value, str) else "")
    except ValueError as error:
        raise PydanticCustomError("receipt_id", "must be the id of a receipt") from error


class RetryBody(Body):
    """Either `ids`, or a `filter`: first alone, to count, then with the `count` that was answered."""

    ids: (
        Annotated[
            list[Annotated[UUID, PlainValidator(_read_id, json_schema_input_type=str)]],
            Field(min_length=1, max_length=1000, examples=[[RECEIPT_EXAMPLE]]),
        ]
        | None
    ) = None
    filter: RetryFilter | None = Field(None, examples=[{"state": "parked", "merchant": "default"}])
    count: Annotated[int, Field(ge=0)] | None = Field(
        None,
        description="How many you expect to set going; when another number matches, nothing is done (409).",
    )

    @model_validator(mode="after")
    def _one_way(self) -> "RetryBody":
        if (self.ids is None) == (self.filter is None):
            raise PydanticCustomError("one_way", "give either ids or filter")
        if self.ids is not None and self.count is not None:
            raise PydanticCustomError("one_way", "count belongs to filter")
        return self


class LeftView(BaseModel):
    """A receipt that was left alone."""

    id: str
    why: Literal["unknown", "waiting", "cannot_be_asked"] = Field(
        description="`unknown`: there is none; `waiting`: it is being asked about anyway; `cannot_be_asked`: of a "
        "kind that is not confirmed (`kind_unknown`), or its body is no longer kept."
    )


class RetryAnswer(BaseModel):
    """What was counted or done."""

    matching: int = Field(description="How many can be set going, or were.")
    retried: int | None = Field(description="How many were set going; null: only counted.")
    cannot_be_asked: int = Field(
        description="How many fit too but are never confirmed, such as `kind_unknown`."
    )
    left: list[LeftView] = Field(description="Of `ids`, those left alone.")


class PausedView(BaseModel):
    """Why a merchant's account is not asked."""

    reason: str
    since: Time
    to_do: str


class OddityCountView(BaseModel):
    """How many refused bodies of one reason are kept."""

    reason: str
    count: int = Field(description="Kept: at most the newest 200.")
    newest_at: Time


class DashboardTestView(BaseModel):
    """The test button of Midtrans' dashboard, as last seen."""

    count: int
    newest_at: Time
    signature: str = Field(description="`good` or `bad`, of the newest.")


class MerchantView(BaseModel):
    """A merchant as configured, and how it fares. No key is shown."""

    name: str
    environment: str = Field(description="`sandbox`, `production`, or the base URL that stands in for both.")
    merchant_id: str | None
    server_keys: list[str] = Field(description="Fingerprints, in the order in which they are asked with.")
    verification_keys: list[str] = Field(description="Fingerprints of keys that only verify.")
    confirmed: bool = Field(description="Whether these keys and this environment ever brought a payment.")
    paused: PausedView | None
    breaker: str | None = Field(
        description="`closed`: questions pass; `open`, `probing`: Midtrans does not answer; null: this process asks "
        "nothing."
    )
    waiting: int
    parked: int
    anomaly: int
    oldest_waiting_seconds: float | None
    dashboard_test: DashboardTestView | None
    oddities: list[OddityCountView]


class MerchantsAnswer(BaseModel):
    """Every configured merchant; *unknown* counts what came for names that are not configured."""

    merchants: list[MerchantView]
    unknown: list[OddityCountView]


class OddityView(BaseModel):
    """A body that was refused, or a dashboard test. It may hold a customer's data."""

    reason: str
    detail: str
    received_at: Time
    source_address: str
    path: str
    headers: dict[str, str]
    size: int = Field(description="Bytes that came; more than 16 KiB were cut.")
    body: str = Field(description="As text, signatures and card numbers masked.")


class OdditiesAnswer(BaseModel):
    """The newest first."""

    oddities: list[OddityView]

"""What operators are told of relays."""

from pydantic import BaseModel, ConfigDict, Field

from service.api.models import POSITION_EXAMPLE, Time


class RelayView(BaseModel):
    """A relay to a broker."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "nats",
                    "kind": "nats",
                    "types": ["midtrans.*"],
                    "merchants": ["*"],
                    "configured": True,
                    "paused": False,
                    "position": POSITION_EXAMPLE,
                    "lag": 0,
                    "oldest_seconds": None,
                    "owner": "web-1:17:5a0f33c1",
                    "leased_until": "2026-11-22T03:04:20Z",
                    "error": None,
                    "failing_since": None,
                    "last_published_at": "2026-11-22T03:04:05Z",
                    "created_at": "2026-11-01T00:00:00Z",
                    "updated_at": "2026-11-22T03:04:05Z",
                }
            ]
        }
    )

    name: str
    kind: str = Field(description="The kind of broker: `nats`, `redis`, `rabbitmq` or `kafka`.")
    types: list[str]
    merchants: list[str]
    configured: bool = Field(
        description="Whether this process' settings name it. One that they do not stays where it is."
    )
    paused: bool
    position: str = Field(description="Up to here the broker has confirmed everything that is wanted.")
    lag: int = Field(description="Events that the broker has not confirmed.")
    oldest_seconds: float | None = Field(description="Age of the oldest of them.")
    owner: str | None = Field(description="The process that relays: `host:process:…`. Null: nobody just now.")
    leased_until: Time | None
    error: str | None = Field(description="Why it does not go on; it tries again by itself. Null: it does.")
    failing_since: Time | None
    last_published_at: Time | None
    created_at: Time
    updated_at: Time


class RelaysAnswer(BaseModel):
    """Every relay that was ever begun."""

    relays: list[RelayView]

"""The settings of consumers: what they read, and where their events are pushed to."""

import ipaddress
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, SecretStr

from service.domain.patterns import check_merchants, check_types
from service.domain.push import PushSettings
from service.domain.records import ConsumerSpec, PushSpec
from service.domain.webhooks import secret_key
from service.errors import RequestInvalid
from service.settings.tables import FileTable, setting


def _types(value: list[str]) -> list[str]:
    try:
        check_types(value)
    except RequestInvalid as error:
        raise ValueError(error.problem) from error
    return value


def _merchants(value: list[str]) -> list[str]:
    try:
        check_merchants(value)
    except RequestInvalid as error:
        raise ValueError(error.problem) from error
    return value


Types = Annotated[list[str], AfterValidator(_types)]
Merchants = Annotated[list[str], AfterValidator(_merchants)]


def _networks(value: list[str]) -> list[str]:
    for part in value:
        try:
            ipaddress.ip_network(part)
        except ValueError:
            raise ValueError(
                "must be networks, as 10.1.2.0/24 or 127.0.0.1/32, with nothing set behind the prefix"
            ) from None
    return value


class PushTable(FileTable):
    """``[push]``: what holds for all consumers whose events are pushed."""

    allow: Annotated[list[str], AfterValidator(_networks)] = setting(
        [],
        about="Networks beside the internet that may be pushed to; http:// goes to them alone.",
        wanted='a list of networks, as ["10.1.2.0/24"]',
    )
    pause_after_s: float = setting(
        86_400.0,
        about="Seconds of nothing but failures after which a consumer is paused, with an alarm.",
        wanted="seconds, at least 60",
        ge=60,
    )
    ca_file: str | None = setting(
        None,
        about="More certificate authorities to believe, as a PEM file beside this one.",
        wanted="the path of a PEM file",
    )

    def settings(self, folder: Path) -> PushSettings:
        """Return it as the rest of the service knows it; *folder* is where the TOML file lies."""
        return PushSettings(
            tuple(ipaddress.ip_network(network) for network in self.allow),
            timedelta(seconds=self.pause_after_s),
            folder / self.ca_file if self.ca_file else None,
        )


def _secret(value: SecretStr) -> SecretStr:
    secret_key(value.get_secret_value())
    return value


PushSecret = Annotated[SecretStr, AfterValidator(_secret)]


class ConsumerPushTable(FileTable):
    """``[consumers.NAME.push]``: where the consumer's events are pushed to."""

    url: str = setting(..., about="Where to POST each event.", wanted="a URL such as https://…")
    secrets: list[PushSecret] = setting(
        ...,
        about="What requests are signed with; each signs, for rotation.",
        wanted='a list as ["whsec_…"], or secrets_file',
        min_length=1,
        max_length=5,
    )
    timeout_seconds: float = setting(
        15.0, about="Within which the endpoint must have answered.", wanted="1 to 60", ge=1, le=60
    )
    concurrency: int = setting(
        10,
        about="How many requests are under way at most, by each process that pushes.",
        wanted="1 to 100",
        ge=1,
        le=100,
    )

    def spec(self) -> PushSpec:
        """Return it as the rest of the service knows it."""
        secrets = tuple(secret.get_secret_value() for secret in self.secrets)
        return PushSpec(self.url, secrets, self.timeout_seconds, self.concurrency)


class ConsumerTable(FileTable):
    """``[consumers.NAME]``: a consumer that is made when the service starts."""

    types: Types = setting(["midtrans.*"], about="Patterns of event types.", wanted="a list", min_length=1)
    merchants: Merchants = setting(["*"], about="Patterns of merchant names.", wanted="a list", min_length=1)
    start: Literal["now", "beginning"] = setting(
        "now", about="Where it begins to read; counts when it is made.", wanted="now or beginning"
    )
    lease_seconds: int = setting(30, about="How long an event is lent.", wanted="1 to 43200", ge=1, le=43_200)
    max_attempts: int = setting(30, about="Tries before an event is dead.", wanted="1 to 1000", ge=1, le=1000)
    on_dead: Literal["hold", "skip"] = setting(
        "hold",
        about="`hold` keeps the payment's later events back behind a dead one; `skip` gives the order up.",
        wanted="hold or skip",
    )

    def spec(self, push: ConsumerPushTable | None = None) -> ConsumerSpec:
        """Return the consumer as the rest of the service knows it."""
        values = self.model_dump() | {"types": tuple(self.types), "merchants": tuple(self.merchants)}
        return ConsumerSpec(**values, push=push.spec() if push else None)

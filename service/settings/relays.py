"""``[relays.NAME]``: a broker that events are relayed to. The *kind* decides which other settings there are."""

import re
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

from service.domain.merchant import NAME_PATTERN
from service.domain.relaying import (
    KafkaOptions,
    NatsOptions,
    Options,
    RabbitmqOptions,
    RedisOptions,
    RelaySpec,
)
from service.settings.consumer_tables import Merchants, Types
from service.settings.problems import Problems, shape
from service.settings.sources import with_secret_file
from service.settings.tables import FileTable, setting

_WORD: Final = r"[A-Za-z0-9_-]+"
_SERVER: Final = re.compile(r"(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}")


def _url(*schemes: str, several: bool = False) -> AfterValidator:
    wanted = " or ".join(f"{scheme}://" for scheme in schemes)

    def check(value: SecretStr) -> SecretStr:
        text = value.get_secret_value()
        for one in text.split(",") if several else [text]:
            try:
                parts = urlsplit(one)
                named = bool(parts.hostname) and parts.port != 0
            except ValueError:
                raise ValueError("is not a URL; a password in it must be percent-encoded") from None
            if parts.scheme not in schemes or not named or re.search(r"\s", one):
                raise ValueError(f"must begin with {wanted} and name a host")
        return value

    return AfterValidator(check)


def _servers(value: str) -> str:
    if not all(_SERVER.fullmatch(one.strip()) for one in value.split(",")):
        raise ValueError("must be host:port, or several of them separated by commas")
    return value


def _exchange(value: str) -> str:
    if value.startswith("amq.") or not re.fullmatch(r"[A-Za-z0-9._:-]{1,127}", value):
        raise ValueError("must be letters, digits, ., -, _ and :, at most 127, and not begin with amq.")
    return value


class RelayTable(FileTable):
    """What all relays have."""

    url_example: ClassVar[str | None] = None
    """Of kinds whose ``url``, which may hold a password, can also be read from the file ``url_file``."""

    types: Types = setting(["midtrans.*"], about="Patterns of event types.", wanted="a list", min_length=1)
    merchants: Merchants = setting(["*"], about="Patterns of merchant names.", wanted="a list", min_length=1)
    start: Literal["now", "beginning"] = setting(
        "now", about="Where it begins; counts when it is made.", wanted="now or beginning"
    )

    @abstractmethod
    def options(self) -> Options:
        """Return what only this kind has."""

    def spec(self, kind: str) -> RelaySpec:
        """Return the relay as the rest of the service knows it."""
        return RelaySpec(kind, self.options(), tuple(self.types), tuple(self.merchants), self.start)


class NatsTable(RelayTable):
    """``kind = "nats"``: NATS JetStream."""

    url_example = "nats://user:password@host:4222"

    url: Annotated[SecretStr, _url("nats", "tls", several=True)] = setting(
        ...,
        about="The server, or several separated by commas.",
        wanted="a URL such as nats://user:password@host:4222",
    )
    stream: str = setting(
        "MIDTRANS",
        about="The stream; made when it is missing, else checked.",
        wanted="letters, digits, - and _",
        pattern=f"^{_WORD}$",
    )
    subject: str = setting(
        "midtrans.events",
        about="What subjects begin with: `<subject>.<type>`.",
        wanted="words with dots between, such as midtrans.events",
        pattern=rf"^{_WORD}(\.{_WORD})*$",
    )

    def options(self) -> NatsOptions:
        """Return what only NATS has."""
        return NatsOptions(self.url.get_secret_value(), self.stream, self.subject)


class RedisTable(RelayTable):
    """``kind = "redis"``: Redis Streams."""

    url_example = "redis://user:password@host:6379/0"

    url: Annotated[SecretStr, _url("redis", "rediss")] = setting(
        ..., about="The server.", wanted="a URL such as redis://user:password@host:6379/0"
    )
    stream: str = setting(
        "midtrans:events",
        about="The stream's key.",
        wanted="a key of at most 512 characters",
        min_length=1,
        max_length=512,
    )
    maxlen: int | None = setting(
        None,
        about="Cut the stream to about so many entries, **whether they were read or not**; without it, never.",
        wanted="a whole number, at least 1000",
        ge=1000,
    )

    def options(self) -> RedisOptions:
        """Return what only Redis has."""
        return RedisOptions(self.url.get_secret_value(), self.stream, self.maxlen)


class RabbitmqTable(RelayTable):
    """``kind = "rabbitmq"``: RabbitMQ."""

    url_example = "amqp://user:password@host:5672/vhost"

    url: Annotated[SecretStr, _url("amqp", "amqps")] = setting(
        ..., about="The server.", wanted="a URL such as amqp://user:password@host:5672/vhost"
    )
    exchange: Annotated[str, AfterValidator(_exchange)] = setting(
        "midtrans.events",
        about="The topic exchange; made, durable, when it is missing.",
        wanted="a name of letters, digits, ., -, _ and :, at most 127",
    )

    def options(self) -> RabbitmqOptions:
        """Return what only RabbitMQ has."""
        return RabbitmqOptions(self.url.get_secret_value(), self.exchange)


class KafkaTable(RelayTable):
    """``kind = "kafka"``: Kafka, experimental: without login and TLS so far."""

    bootstrap_servers: Annotated[str, Field(min_length=1), AfterValidator(_servers)] = setting(
        ..., about="Servers to begin with, separated by commas.", wanted="host:port"
    )
    topic: str = setting(
        "midtrans.events",
        about="The topic; it must be there.",
        wanted="letters, digits, ., - and _, at most 249",
        pattern=r"^[A-Za-z0-9._-]{1,249}$",
    )

    def options(self) -> KafkaOptions:
        """Return what only Kafka has."""
        return KafkaOptions(self.bootstrap_servers, self.topic)


KINDS: Mapping[str, type[RelayTable]] = {
    "nats": NatsTable,
    "redis": RedisTable,
    "rabbitmq": RabbitmqTable,
    "kafka": KafkaTable,
}
"""Kinds of brokers, and the settings of each."""


def relays(tables: Mapping[str, Any], path: Path | None, problems: Problems) -> dict[str, RelaySpec]:
    """Return the relays that ``[relays.NAME]`` describe; those that are wrong are problems."""
    found = {}
    for name, values in tables.items():
        where = f"relays.{name}"
        if not NAME_PATTERN.fullmatch(name):
            problems.add(
                f"[{where}]", f"has a name that cannot stand in a path; wanted: {NAME_PATTERN.pattern}"
            )
        elif not isinstance(values, dict):
            problems.add(f"[{where}]", f"is {shape(values)}; wanted: a table, as [relays.NAME]")
        elif (spec := _relay(where, dict(values), path.parent if path else Path(), problems)) is not None:
            found[name] = spec
    return found


def _relay(where: str, values: dict[str, Any], folder: Path, problems: Problems) -> RelaySpec | None:
    kind = values.pop("kind", None)
    if not isinstance(kind, str) or kind not in KINDS:
        told = "is missing" if kind is None else f"is {shape(kind)}"
        problems.add(f"{where}.kind", f"{told}; wanted: one of {', '.join(KINDS)}")
        return None
    model = KINDS[kind]
    if model.url_example is not None:
        before = len(problems.lines)
        values = with_secret_file(where, values, "url", folder, problems)
        if len(problems.lines) > before:
            return None
    table = problems.check(model, values, f"{where}.{{}}".format)
    return table.spec(kind) if table else None

"""Every setting, typed, with its unit and with what to write in place of a wrong value."""

import ipaddress
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from service.domain.merchant import Merchant
from service.domain.retention import Keep

MIN_TOKEN_LENGTH = 20


def _key(value: SecretStr) -> SecretStr:
    """Accept what can be a server key; the prefix says nothing about the environment (old keys have none)."""
    text = value.get_secret_value()
    if not text:
        raise ValueError("is empty")  # "" would verify what anyone can sign
    if re.search(r"\s", text):
        raise ValueError("has white space in it; copy the key alone, without quotes and line ends")
    if not text.isascii() or not text.isprintable():
        raise ValueError("has characters in it that no key has")
    if "..." in text or "put-your" in text.lower():
        raise ValueError("is the placeholder of an example; copy the key from Midtrans' dashboard")
    if "Mid-client-" in text or text.startswith("VT-client-"):
        raise ValueError("is a client key; the server key stands beside it in Midtrans' dashboard")
    return value


def _token(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    if len(text) < MIN_TOKEN_LENGTH or not text.isascii() or re.search(r"\s", text):
        raise ValueError(f"must have at least {MIN_TOKEN_LENGTH} characters, ASCII without white space")
    return value


def _base_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must begin with http:// or https:// and name a host")
    if parts.username or parts.query or parts.fragment:
        raise ValueError("must hold neither a user nor a query")
    return value.rstrip("/")


def _database_url(value: str) -> str:
    if re.match(r"postgres(ql)?(\+\w+)?:", value):
        return _postgres_url(value)
    if not re.fullmatch(r"sqlite(\+pysqlite)?:///[^:?][^?]*", value):
        raise ValueError(
            "must name a SQLite file on disk, as sqlite:////path/to/midtrans.db, or a PostgreSQL database, "
            "as postgresql+psycopg://user:password@host/name"
        )
    return value


def _postgres_url(value: str) -> str:
    """Return the URL with its driver, which may be left out; nothing of *value* is told, it holds a password."""
    parts = urlsplit(value)
    if parts.scheme not in {"postgresql+psycopg", "postgresql", "postgres"}:
        raise ValueError(
            "names a driver that is not here: write postgresql+psycopg://user:password@host/name"
        )
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError(
            "has no number for a port: write postgresql+psycopg://user:password@host:5432/name, and in a password "
            "%40 for @, %2F for /, %23 for #, %3F for ?"
        )
    if not parts.path.strip("/"):
        raise ValueError("names no database: write postgresql+psycopg://user:password@host/name")
    return f"postgresql+psycopg:{value.partition(':')[2]}"


def _proxies(value: str) -> str:
    if value in {"none", "*"}:
        return value
    for part in value.split(","):
        try:
            ipaddress.ip_network(part.strip(), strict=False)
        except ValueError:
            raise ValueError("must be addresses or networks, separated by commas, or 'none'") from None
    return value


ServerKey = Annotated[SecretStr, AfterValidator(_key)]
Token = Annotated[SecretStr, AfterValidator(_token)]
BaseUrl = Annotated[str, AfterValidator(_base_url)]
MerchantId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


def setting(default: Any, *, about: str, wanted: str, **constraints: Any) -> Any:
    """Make a field: what it is *about*, and the words that say what is *wanted* in place of a wrong value."""
    return Field(default, description=about, json_schema_extra={"wanted": wanted}, **constraints)


class Table(BaseModel):
    """A group of settings. Its repr is that of pydantic, which hides the secrets."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
    from_files: ClassVar[tuple[str, ...]] = ()
    """The fields that may also come from a file, by the variable with ``_FILE`` at its end."""


class ServiceVariables(Table):
    """The variables ``SERVICE_*``."""

    from_files = ("operator_token", "database_url", "listen_url")

    data_dir: Path = setting(
        Path("data"),
        about="Folder of the database and of `operator.token`; made when it is missing.",
        wanted="the path of a folder",
    )
    database_url: Annotated[str, AfterValidator(_database_url)] | None = setting(
        None,
        about="The database: `sqlite:////path/to/midtrans.db`, or "
        "`postgresql+psycopg://user:password@host/name` for several processes; without it, `midtrans.db` in the "
        "data folder.",
        wanted="a SQLite file, as sqlite:////path/to/midtrans.db, or a PostgreSQL database",
        repr=False,
    )
    listen_url: Annotated[str, AfterValidator(_postgres_url)] | None = setting(
        None,
        about="PostgreSQL without a pooler between, for wake-ups by LISTEN alone; without it, `SERVICE_DATABASE_URL`. "
        "Where neither lets anything be heard, it is looked every 250 ms.",
        wanted="a PostgreSQL database, as postgresql+psycopg://user:password@host/name",
        repr=False,
    )
    host: str = setting(
        "127.0.0.1",
        about="Address to listen on; `0.0.0.0` is every address of the machine.",
        wanted="an address of this machine, such as 127.0.0.1 or 0.0.0.0",
        pattern=r"^\S+$",
    )
    port: int = setting(
        8000,
        about="TCP port to listen on.",
        wanted="a whole number from 1 to 65535, such as 8000",
        ge=1,
        le=65_535,
    )
    worker_threads: int = setting(
        8,
        about="Threads that ask Midtrans; 0 pauses confirming while notifications are still taken in.",
        wanted="a whole number from 0 to 64",
        ge=0,
        le=64,
    )
    operator_token: Token | None = setting(
        None,
        about="The operator's token; without it the first start makes one and writes it to `operator.token`.",
        wanted="at least 20 characters without white space",
    )
    config: Path | None = setting(
        None,
        about="The TOML file with merchants, limits, consumers and relays.",
        wanted="the path of a TOML file",
    )
    log_level: Literal["debug", "info", "warning", "error"] = setting(
        "info", about="How much is logged.", wanted="debug, info, warning or error"
    )
    log_format: Literal["auto", "json", "console"] = setting(
        "auto",
        about="`json` lines, or a `console` view for people; `auto` asks whether a terminal reads along.",
        wanted="auto, json or console",
    )
    trusted_proxies: Annotated[str, AfterValidator(_proxies)] = setting(
        "127.0.0.1",
        about="Proxies whose X-Forwarded-For is believed. It is only recorded and decides nothing.",
        wanted="addresses or networks, separated by commas, or 'none'",
    )
    shutdown_timeout_s: float = setting(
        4.0,
        about="Seconds that requests and questions under way may take when the service is told to end.",
        wanted="seconds, from 0.5 to 300",
        ge=0.5,
        le=300,
    )


class MidtransVariables(Table):
    """The variables ``MIDTRANS_*``: the merchant ``default``."""

    from_files = ("server_key",)

    server_key: ServerKey | None = setting(
        None,
        about="The server key of the merchant `default` (dashboard: Settings > Access Keys).",
        wanted="the server key alone, as the dashboard shows it",
    )
    client_key: str | None = setting(
        None, about="Known, and not needed by the service.", wanted="a client key"
    )
    merchant_id: MerchantId | None = setting(
        None,
        about="The merchant id; compared with what Midtrans answers when both are there.",
        wanted="the merchant id as the dashboard shows it, such as G123456789",
    )
    is_production: bool = setting(
        default=False,
        about="True for the production environment. Never guessed from the key.",
        wanted="true or false",
    )
    base_url: BaseUrl | None = setting(
        None,
        about="Where Midtrans' API is, in place of the environment's own host; for the simulator.",
        wanted="a URL such as http://127.0.0.1:8001",
    )

    def merchant(self, name: str) -> Merchant:
        """Return the merchant that the variables describe; it has a key."""
        key = self.server_key
        return Merchant(
            name=name,
            server_keys=(key.get_secret_value(),) if key else (),
            is_production=self.is_production,
            merchant_id=self.merchant_id,
            base_url=self.base_url,
        )


class FileTable(Table):
    """A table of the TOML file: its values have types of their own, so a number in quotes is wrong."""

    model_config = ConfigDict(strict=True)


class MerchantTable(FileTable):
    """``[merchants.NAME]``: one Midtrans account in one environment.

    NAME is part of event ids: never change it.
    """

    server_keys: list[ServerKey] = setting(
        ...,
        about="Server keys, asked with in this order; all of them verify notifications.",
        wanted='a list of keys, as ["…"]',
        min_length=1,
    )
    verification_keys: list[ServerKey] = setting(
        [], about="More keys that verify (rotation).", wanted='a list of keys, as ["…"]'
    )
    is_production: bool = setting(
        default=False, about="True for the production environment.", wanted="true or false"
    )
    merchant_id: MerchantId | None = setting(
        None, about="The merchant id; compared when both sides have it.", wanted="such as G123456789"
    )
    base_url: BaseUrl | None = setting(
        None, about="In place of the environment's own host.", wanted="a URL such as http://127.0.0.1:8001"
    )

    def merchant(self, name: str) -> Merchant:
        """Return the merchant that this table describes."""
        return Merchant(
            name=name,
            server_keys=tuple(key.get_secret_value() for key in self.server_keys),
            verification_keys=tuple(key.get_secret_value() for key in self.verification_keys),
            is_production=self.is_production,
            merchant_id=self.merchant_id,
            base_url=self.base_url,
        )


class LimitsTable(FileTable):
    """``[limits]``: how fast each merchant's account is asked."""

    rate_per_s: float = setting(200.0, about="Questions a second.", wanted="a number above 0", gt=0)
    burst: int = setting(400, about="Questions at once after a quiet time.", wanted="at least 1", ge=1)
    in_flight: int = setting(16, about="Questions under way at the same time.", wanted="at least 1", ge=1)
    repeat_share: float = setting(
        0.1,
        about="Share of the rate for questions repeated after a 404 or an unproven pair.",
        wanted="above 0, at most 1",
        gt=0,
        le=1,
    )


class DatabaseTable(FileTable):
    """``[database]``: connections of one process to PostgreSQL; SQLite has one writer."""

    writers: int = setting(
        2,
        about="Connections that write; each commits all that waits for it.",
        wanted="a whole number from 1 to 16",
        ge=1,
        le=16,
    )
    readers: int = setting(
        10, about="Connections that read, at most.", wanted="a whole number from 2 to 100", ge=2, le=100
    )


class ReceivingTable(FileTable):
    """``[receiving]``: what a notification may cost."""

    max_body_bytes: int = setting(
        65_536,
        about="Largest body; more is answered 413.",
        wanted="from 1024 to 1048576",
        ge=1024,
        le=1_048_576,
    )
    body_timeout_s: float = setting(
        10.0,
        about="Seconds within which the body must be whole; else 408.",
        wanted="above 0, at most 60",
        gt=0,
        le=60,
    )
    queue_limit: int = setting(
        5000, about="Receipts that may wait for the disk; more are answered 429.", wanted="at least 1", ge=1
    )


class ConfirmingTable(FileTable):
    """``[confirming]``: when to ask again while Midtrans' answer leaves a receipt open."""

    first_waits_s: list[float] = setting(
        [5.0, 15.0, 60.0, 300.0, 900.0],
        about="Seconds between the first questions.",
        wanted="a list of seconds, each above 0",
        min_length=1,
    )
    then_s: float = setting(3600.0, about="Seconds between the later ones.", wanted="seconds above 0", gt=0)
    for_s: float = setting(
        86_400.0, about="Seconds of asking after which a receipt is parked.", wanted="seconds above 0", gt=0
    )


class StreamsTable(FileTable):
    """``[streams]``: what open streams (``GET /v1/events/stream``) may cost."""

    most: int = setting(
        1000,
        about="Streams open at once, and never more than half of the files that the process may open; "
        "more are answered 429.",
        wanted="at least 1",
        ge=1,
    )
    heartbeat_s: float = setting(
        15.0,
        about="Seconds without an event after which a comment is sent: proxies end silent connections.",
        wanted="seconds, from 0.1 to 300",
        ge=0.1,
        le=300,
    )
    stalled_s: float = setting(
        30.0,
        about="Seconds after which a client that reads nothing is cut off; it goes on by Last-Event-ID.",
        wanted="seconds, from 0.1 to 3600",
        ge=0.1,
        le=3600,
    )
    retry_s: float = setting(
        3.0,
        about="Seconds that clients are told to wait before they come back.",
        wanted="seconds, from 0 to 3600",
        ge=0,
        le=3600,
    )


class RetentionTable(FileTable):
    """``[retention]``: how long what holds customers' data is kept; events, receipts and payments stay for ever."""

    bodies_days: int = setting(
        400,
        about="Days that notifications' raw bodies are kept; those of receipts that wait or are held stay longer.",
        wanted="days, from 1 to 36500; 0 is for ever",
        ge=0,
        le=36_500,
    )
    confirmations_days: int = setting(
        400,
        about="Days that Midtrans' raw answers are kept; when it was asked, and the verdict, stay.",
        wanted="days, from 1 to 36500; 0 is for ever",
        ge=0,
        le=36_500,
    )

    def keep(self) -> Keep:
        """Return it as housekeeping knows it."""
        return Keep(bodies=_span(self.bodies_days), answers=_span(self.confirmations_days))


def _span(days: int) -> timedelta | None:
    return timedelta(days=days) if days else None

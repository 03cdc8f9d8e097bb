"""Read once, refused early: no other module looks at the environment.

Settings come from the environment (``SERVICE_*``, and ``MIDTRANS_*`` for the merchant ``default``) and from
the TOML file that ``SERVICE_CONFIG`` names. All that is wrong is said at once, and nothing starts.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from service.domain.backoff import Waits
from service.domain.limits import Limits, StreamLimits
from service.domain.merchant import DEFAULT_MERCHANT, NAME_PATTERN, Merchant
from service.domain.push import PushSettings
from service.domain.records import ConsumerSpec
from service.domain.relaying import RelaySpec
from service.domain.retention import Keep
from service.domain.targets import check_url
from service.errors import RequestInvalid
from service.settings import sources
from service.settings.consumer_tables import ConsumerPushTable, ConsumerTable, PushTable
from service.settings.problems import Problems, shape
from service.settings.relays import relays as relays_of
from service.settings.tables import (
    ConfirmingTable,
    DatabaseTable,
    LimitsTable,
    MerchantTable,
    MidtransVariables,
    ReceivingTable,
    RetentionTable,
    ServiceVariables,
    StreamsTable,
    Table,
)

T = TypeVar("T", bound=Table)

TABLES = (
    "merchants",
    "limits",
    "database",
    "receiving",
    "confirming",
    "retention",
    "streams",
    "push",
    "consumers",
    "relays",
)
"""The tables of the TOML file."""
MERCHANT_SECRETS = ("server_keys", "verification_keys")
"""What may also come from a file, in a merchant's table."""


@dataclass(frozen=True, slots=True)
class Receiving:
    """What a notification may cost before it is refused."""

    max_body_bytes: int = 65_536
    body_timeout_s: float = 10.0
    queue_limit: int = 5000


@dataclass(frozen=True, slots=True)
class Configuration:
    """All settings, checked. *warnings* are to be shown at the start; no secret is in the repr."""

    data_dir: Path
    database_url: str = field(repr=False)  # it may hold a password
    merchants: tuple[Merchant, ...] = ()
    listen_url: str | None = field(default=None, repr=False)
    writers: int = 2
    readers: int = 10
    consumers: Mapping[str, ConsumerSpec] = field(default_factory=dict)
    push: PushSettings = field(default_factory=PushSettings)
    relays: Mapping[str, RelaySpec] = field(default_factory=dict)
    host: str = "127.0.0.1"
    port: int = 8000
    worker_threads: int = 8
    operator_token: str | None = field(default=None, repr=False)
    limits: Limits = field(default_factory=Limits)
    waits: Waits = field(default_factory=Waits)
    receiving: Receiving = field(default_factory=Receiving)
    keep: Keep = field(default_factory=Keep)
    streams: StreamLimits = field(default_factory=StreamLimits)
    log_level: str = "info"
    log_format: str = "auto"
    trusted_proxies: str = "127.0.0.1"
    shutdown_timeout_s: float = 4.0
    warnings: tuple[str, ...] = ()


def from_environment() -> Configuration:
    """Return the settings of this process; see `load`."""
    return load(os.environ)


def load(environ: Mapping[str, str]) -> Configuration:
    """Return the settings that *environ* and the file it names hold.

    Raises `SettingsInvalid` with everything that is wrong. No merchant at all is not wrong here: only ``run``
    needs one.
    """
    problems = Problems()
    service = _variables("SERVICE_", ServiceVariables, environ, problems)
    midtrans = _variables("MIDTRANS_", MidtransVariables, environ, problems)
    config = Path(environ["SERVICE_CONFIG"]) if environ.get("SERVICE_CONFIG") else None
    tables = _tables(config, problems)
    merchants = _merchants(midtrans, tables, config, problems)
    folder = config.parent if config else Path()
    push = _push(tables, folder, problems)
    consumers = _consumers(tables, push, folder, problems)
    relays = relays_of(tables.get("relays", {}), config, problems)
    limits = _single(LimitsTable, "limits", tables, problems)
    database = _single(DatabaseTable, "database", tables, problems)
    receiving = _single(ReceivingTable, "receiving", tables, problems)
    confirming = _single(ConfirmingTable, "confirming", tables, problems)
    retention = _single(RetentionTable, "retention", tables, problems)
    streams = _single(StreamsTable, "streams", tables, problems)
    problems.refuse()
    token = service.operator_token
    return Configuration(
        data_dir=service.data_dir,
        database_url=service.database_url or default_database_url(service.data_dir),
        listen_url=service.listen_url,
        writers=database.writers,
        readers=database.readers,
        merchants=tuple(merchants),
        consumers=consumers,
        push=push,
        relays=relays,
        host=service.host,
        port=service.port,
        worker_threads=service.worker_threads,
        operator_token=token.get_secret_value() if token else None,
        limits=Limits(**limits.model_dump()),
        waits=Waits(tuple(confirming.first_waits_s), confirming.then_s, confirming.for_s),
        receiving=Receiving(**receiving.model_dump()),
        keep=retention.keep(),
        streams=StreamLimits(**streams.model_dump()),
        log_level=service.log_level,
        log_format=service.log_format,
        trusted_proxies=service.trusted_proxies,
        shutdown_timeout_s=service.shutdown_timeout_s,
        warnings=tuple(_warnings(merchants)),
    )


def default_database_url(data_dir: Path) -> str:
    """Return the URL of the SQLite file that lies in *data_dir*."""
    return f"sqlite:///{data_dir.absolute() / 'midtrans.db'}"


def _variables(prefix: str, model: type[T], environ: Mapping[str, str], problems: Problems) -> T:
    """Return the variables under *prefix*; the defaults, with problems, when they are wrong."""
    values = sources.variables(prefix, environ, model.model_fields, model.from_files, problems)
    return problems.check(model, values, lambda name: f"{prefix}{name.upper()}") or model()


def _tables(path: Path | None, problems: Problems) -> dict[str, Any]:
    """Return the known tables of the TOML file."""
    found = sources.toml_file(path, problems) if path else {}
    for name in [name for name in found if name not in TABLES]:
        problems.unknown("", name, TABLES)
    for name in [name for name in TABLES if not isinstance(found.get(name, {}), dict)]:
        problems.add(f"[{name}]", f"is {shape(found.pop(name))}; wanted: a table")
    return {name: table for name, table in found.items() if name in TABLES}


def _single(model: type[T], name: str, tables: Mapping[str, Any], problems: Problems) -> T:
    return problems.check(model, tables.get(name, {}), f"{name}.{{}}".format) or model()


def _named(model: type[T], kind: str, tables: Mapping[str, Any], problems: Problems) -> dict[str, T]:
    """Return the tables ``[kind.NAME]`` that are right, by name."""
    found = {}
    for name, values in tables.get(kind, {}).items():
        where = f"{kind}.{name}"
        if not NAME_PATTERN.fullmatch(name):
            problems.add(
                f"[{where}]", f"has a name that cannot stand in a path; wanted: {NAME_PATTERN.pattern}"
            )
        elif not isinstance(values, dict):
            problems.add(f"[{where}]", f"is {shape(values)}; wanted: a table, as [{kind}.NAME]")
        elif table := problems.check(model, values, f"{where}.{{}}".format):
            found[name] = table
    return found


def _merchants(
    midtrans: MidtransVariables, tables: Mapping[str, Any], path: Path | None, problems: Problems
) -> list[Merchant]:
    folder = path.parent if path else Path()
    described = {
        name: sources.with_secret_files(f"merchants.{name}", values, MERCHANT_SECRETS, folder, problems)
        if isinstance(values, dict)
        else values
        for name, values in tables.get("merchants", {}).items()
    }
    found = [
        table.merchant(name)
        for name, table in _named(MerchantTable, "merchants", {"merchants": described}, problems).items()
    ]
    if midtrans.server_key is None:
        return found
    if DEFAULT_MERCHANT in described:
        problems.add(
            f"[merchants.{DEFAULT_MERCHANT}]",
            "is also made by MIDTRANS_SERVER_KEY: unset the variable, or drop the table",
        )
    return [midtrans.merchant(DEFAULT_MERCHANT), *found]


def _push(tables: Mapping[str, Any], folder: Path, problems: Problems) -> PushSettings:
    settings = _single(PushTable, "push", tables, problems).settings(folder)
    if settings.ca_file is not None and not settings.ca_file.is_file():
        problems.add("push.ca_file", f"names no file: {settings.ca_file}")
    return settings


def _consumers(
    tables: Mapping[str, Any], push: PushSettings, folder: Path, problems: Problems
) -> dict[str, ConsumerSpec]:
    """Return the consumers, each with its ``[consumers.NAME.push]``."""
    found = tables.get("consumers", {})
    pushes = {
        name: values["push"]
        for name, values in found.items()
        if isinstance(values, dict) and "push" in values
    }
    plain = {
        name: {key: value for key, value in values.items() if key != "push"} if name in pushes else values
        for name, values in found.items()
    }
    consumers = _named(ConsumerTable, "consumers", {"consumers": plain}, problems)
    targets = {name: _target(name, values, push, folder, problems) for name, values in pushes.items()}
    return {name: table.spec(targets.get(name)) for name, table in consumers.items()}


def _target(
    name: str, values: Any, push: PushSettings, folder: Path, problems: Problems
) -> ConsumerPushTable | None:
    where = f"consumers.{name}.push"
    if not isinstance(values, dict):
        problems.add(f"[{where}]", f"is {shape(values)}; wanted: a table, as [consumers.NAME.push]")
        return None
    values = sources.with_secret_files(where, values, ("secrets",), folder, problems)
    target = problems.check(ConsumerPushTable, values, f"{where}.{{}}".format)
    if target is not None:
        try:
            check_url(target.url, push.allow)
        except RequestInvalid as error:
            problems.add(f"{where}.url", error.problem)
    return target


def _warnings(merchants: Sequence[Merchant]) -> Iterator[str]:
    """Yield what looks wrong and is allowed: a key's prefix is a habit of Midtrans, not a rule."""
    for merchant in merchants:
        if merchant.is_production and any(key.startswith("SB-") for key in merchant.server_keys):
            yield (
                f"merchant {merchant.name!r} is set to PRODUCTION and has a key that begins with SB-, as "
                "sandbox keys do; if Midtrans refuses the key, is_production is wrong"
            )

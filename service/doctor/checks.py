"""All checks in their order."""

from collections.abc import Iterator
from typing import Final

from service.api.auth import OPERATOR_FILE
from service.clock import Clock
from service.db import health
from service.db.sqlite import file_of
from service.doctor.finding import Finding, failed, ok, warning
from service.doctor.midtrans import check_merchant
from service.doctor.reach import check_here, check_public
from service.doctor.relays import check_relays
from service.doctor.server import check_server
from service.doctor.storage import check_database, check_disk, check_operator_token
from service.domain.merchant import DEFAULT_MERCHANT
from service.errors import SettingsInvalid, StoreError
from service.settings import Configuration

FAILING_S: Final = 300.0
"""How long an endpoint may fail before it is worth a word."""


def examine(
    configuration: Configuration, *, clock: Clock, service_url: str, public_url: str | None
) -> Iterator[Finding]:
    """Yield the findings as they are made; *public_url* is asked only when given."""
    yield from _settings(configuration)
    for merchant in configuration.merchants:
        yield from check_merchant(merchant, clock=clock)
    file = file_of(configuration.database_url)
    if file is None:
        yield from check_server(configuration.database_url, clock=clock)
    else:
        yield from check_database(configuration.database_url, clock=clock)
        yield from check_disk(file.parent)
    yield check_operator_token(
        configuration.data_dir / OPERATOR_FILE, configured=configuration.operator_token is not None
    )
    yield from _work(configuration, clock)
    yield from check_relays(configuration.relays)
    yield check_here(service_url)
    if public_url is not None:
        yield check_public(public_url, path=_path(configuration))


def _settings(configuration: Configuration) -> Iterator[Finding]:
    for text in configuration.warnings:
        yield warning("settings", text, "compare key and is_production with the dashboard")
    if not configuration.merchants:
        yield failed(
            "settings",
            "no merchant is set up",
            "set MIDTRANS_SERVER_KEY, or SERVICE_CONFIG (docs/settings.md)",
        )
        return
    names = ", ".join(merchant.name for merchant in configuration.merchants)
    yield ok("settings", f"read; merchants: {names}")
    if not configuration.worker_threads:
        yield warning(
            "settings", "SERVICE_WORKER_THREADS is 0: nothing is confirmed", "unset it when all is well"
        )


def _work(configuration: Configuration, clock: Clock) -> Iterator[Finding]:
    """Yield what waits for a person."""
    url = configuration.database_url
    try:
        health.schema(url)
        standing = health.standing(url, clock=clock)
    except SettingsInvalid:  # said before
        return
    except StoreError as error:
        yield failed("waiting receipts", str(error), "mend the database first, as said above")
        return
    for merchant, reason in standing.paused.items():
        yield failed(
            "merchant " + merchant, f"confirming is paused: {reason}", "see this alarm in docs/operating.md"
        )
    for consumer, reason in standing.push_paused.items():
        yield failed(
            "consumer " + consumer,
            f"pushing to it is paused: {reason}",
            f"mend the endpoint, then POST /v1/consumers/{consumer}/resume; docs/push.md",
        )
    for consumer, seconds in standing.push_failing_s.items():
        if seconds >= FAILING_S and consumer not in standing.push_paused:
            yield warning(
                "consumer " + consumer,
                f"nothing that was pushed to it has arrived for {seconds:.0f} s",
                f"read push.last_failure of GET /v1/consumers/{consumer}; docs/push.md",
            )
    names = {merchant.name for merchant in configuration.merchants}
    for merchant, count in standing.waiting.items():
        if merchant not in names:
            yield failed(
                "merchant " + merchant,
                f"it is not in the settings, and {count} of its receipts wait",
                "put it back under this name, with its keys (docs/settings.md)",
            )
    held = {state: count for state, count in standing.held.items() if count}
    words = ", ".join(f"{count} {state}" for state, count in held.items())
    yield (
        warning("held receipts", words, "look at them: GET /v1/receipts?state=…; docs/operating.md")
        if held
        else ok("held receipts", "none")
    )
    waiting = sum(standing.waiting.values())
    oldest_s = max(standing.oldest_waiting_s.values(), default=0.0)
    yield ok("waiting receipts", f"{waiting}, the oldest for {oldest_s:.0f} s" if waiting else "none")


def _path(configuration: Configuration) -> str:
    names = [merchant.name for merchant in configuration.merchants]
    return "/notifications" if DEFAULT_MERCHANT in names or not names else f"/notifications/{names[0]}"

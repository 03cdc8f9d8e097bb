"""Does Midtrans know each key, and do its clock and ours agree? One question a key, about an id that nobody has."""

import secrets
from collections.abc import Iterator
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Final

import httpx

from django_midtrans.client import MidtransClient
from django_midtrans.exceptions import (
    MidtransAuthenticationError,
    MidtransError,
    MidtransTransportError,
)
from django_midtrans.settings import PRODUCTION_URL, SANDBOX_URL
from service.clock import Clock
from service.doctor.finding import Finding, failed, ok, warning
from service.domain.merchant import Merchant, fingerprint

TIMEOUT_S: Final = 10.0
SKEW_S: Final = 30.0
"""Our times are compared with Midtrans' in states and waits; a minute off begins to matter."""
NOT_FOUND: Final = 404


def check_merchant(merchant: Merchant, *, clock: Clock) -> Iterator[Finding]:
    """Yield a finding for each key that is asked with, and one about the clock."""
    dates: list[tuple[datetime, str]] = []

    def keep_date(response: httpx.Response) -> None:
        dates.append((clock(), response.headers.get("date", "")))

    with httpx.Client(timeout=TIMEOUT_S, event_hooks={"response": [keep_date]}, trust_env=True) as http:
        for number, key in enumerate(merchant.server_keys, 1):
            yield _key(merchant, number, key, http)
    yield _clock(merchant, dates)


def _key(merchant: Merchant, number: int, key: str, http: httpx.Client) -> Finding:
    check = f"key {number} of {merchant.name}"
    who = f"{fingerprint(key)}, {len(key)} characters, {_where(merchant)}"
    client = MidtransClient(
        key,
        merchant.is_production,
        base_url=merchant.base_url or (PRODUCTION_URL if merchant.is_production else SANDBOX_URL),
        retries=0,
        http_client=http,
    )
    try:
        client.get_status(f"doctor-{secrets.token_hex(12)}")
    except MidtransAuthenticationError:
        return failed(
            check,
            f"Midtrans refuses it (401): {who}",
            "compare key and is_production with Settings > Access Keys of the dashboard that sends the "
            "notifications; sandbox and production are two dashboards",
        )
    except MidtransError as error:
        return _judge(check, who, error)
    return warning(check, f"an id that nobody has was found: {who}", "see what base_url points at")


def _judge(check: str, who: str, error: MidtransError) -> Finding:
    if error.status_code == NOT_FOUND and error.data:
        return ok(check, f"Midtrans knows it: {who}")
    if isinstance(error, MidtransTransportError) and error.http_status is None:
        return failed(
            check,
            f"Midtrans could not be asked ({error.message}): {who}",
            "let this machine reach it by HTTPS: name resolution, firewall, proxy; notifications are stored "
            "meanwhile and confirmed later",
        )
    return failed(
        check,
        f"Midtrans gave no usable answer (HTTP {error.http_status}, {type(error).__name__}): {who}",
        "see what base_url points at and what stands in between; try again later",
    )


def _where(merchant: Merchant) -> str:
    return f"{'PRODUCTION' if merchant.is_production else 'sandbox'}" + (
        f" at {merchant.base_url}" if merchant.base_url else ""
    )


def _clock(merchant: Merchant, dates: list[tuple[datetime, str]]) -> Finding:
    check = f"clock against {merchant.name}'s Midtrans"
    for at, text in dates:
        try:
            skew_s = (at - parsedate_to_datetime(text)).total_seconds()
        except (ValueError, TypeError):
            continue
        if abs(skew_s) > SKEW_S:
            way = "ahead" if skew_s > 0 else "behind"
            return warning(
                check,
                f"this machine is {abs(skew_s):.0f} s {way}",
                "keep its clock by NTP (chrony, timesyncd)",
            )
        return ok(check, f"within {SKEW_S:.0f} s")
    return warning(check, "no answer named a time", "see the findings about its keys")

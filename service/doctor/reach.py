"""Is the service reachable: from here, and by its public address, through all that stands in front of it?"""

import ssl
from typing import Final
from urllib.parse import urlsplit

import httpx

from service.doctor.finding import Finding, failed, ok, warning
from service.domain.answers import ANSWERS, Happened

TIMEOUT_S: Final = 15.0
"""Midtrans gives up after it."""
HARMLESS: Final = b'"doctor"'
"""JSON, but no object: refused before anything is looked at. It shows as an oddity, nothing else."""
EXPECTED: Final = ANSWERS[Happened.NOT_JSON].status
PORTS: Final = (80, 443)
SHOWN: Final = 120


def check_here(url: str) -> Finding:
    """Return whether something answers where the settings say that the service listens."""
    try:
        answer = httpx.get(f"{url}/readyz", timeout=TIMEOUT_S, trust_env=False)
    except httpx.HTTPError as error:
        return warning(
            "service", f"nothing answers at {url} ({type(error).__name__})", "start it: python -m service run"
        )
    try:
        status = answer.json()["status"]
    except (ValueError, KeyError, TypeError):
        return failed(
            "service", f"another program answers at {url}", "end it, or set SERVICE_PORT to a free port"
        )
    if status == "ready":
        return ok("service", f"ready at {url}")
    level = failed if answer.status_code != httpx.codes.OK else warning
    parts = ", ".join(
        f"{name}: {text}" for name, text in answer.json().get("parts", {}).items() if text != "ok"
    )
    return level(
        "service", f"{status} at {url}: {parts}", "read its log; docs/operating.md says what each means"
    )


def check_public(url: str, *, path: str) -> Finding:
    """Return whether a POST as Midtrans sends it comes through to the service at the public *url*.

    TLS 1.2 at most is spoken, as Midtrans does (docs/https-notification-webhooks), and no redirect is followed.
    """
    target = url.rstrip("/") if urlsplit(url).path.rstrip("/") else f"{url.rstrip('/')}{path}"
    try:
        with httpx.Client(timeout=TIMEOUT_S, verify=_midtrans_tls(), trust_env=False) as client:
            answer = client.post(target, content=HARMLESS, headers={"content-type": "application/json"})
    except httpx.HTTPError as error:
        return _unreachable(target, error)
    return _judge(target, answer)


def _judge(target: str, answer: httpx.Response) -> Finding:
    check, status = "public address", answer.status_code
    if answer.is_redirect:
        to = answer.headers.get("location", "")[:SHOWN]
        return failed(
            check,
            f"{target} redirects ({status}) to {to}",
            "enter the final address in the dashboard: Midtrans counts 301, 302 and 303 as failed for ever",
        )
    if status == EXPECTED and _error(answer) == Happened.NOT_JSON.value:
        return _port(target)
    if (error := _error(answer)) is not None:
        return failed(
            check,
            f"{target} is this service, and answers {status} {error} to a harmless body",
            "docs/receiving.md says what stands in the way of the body; for unknown_merchant correct the path",
        )
    about = (
        " (asks for a login)" if status in (401, 407) else " (a firewall?)" if status in (403, 406) else ""
    )
    return failed(
        check,
        f"{target} answers {status}{about}, which this service never said",
        "let the proxy pass POSTs of this path unchanged, without login, filter or cache; see docs/receiving.md",
    )


def _port(target: str) -> Finding:
    parts = urlsplit(target)
    port = parts.port or {"https": 443, "http": 80}.get(parts.scheme, 0)
    if port not in PORTS:
        return warning(
            "public address",
            f"{target} works from here, on port {port}",
            "Midtrans posts to ports 80 and 443 only",
        )
    if parts.scheme != "https":
        return warning(
            "public address", f"{target} works, without TLS", "use https: bodies hold customers' data"
        )
    return ok("public address", f"{target} reaches this service; nothing stands in the way of a POST")


def _unreachable(target: str, error: httpx.HTTPError) -> Finding:
    text = f"{type(error).__name__}: {error}"[:SHOWN]
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        to_do = "use a certificate that browsers accept, with its whole chain: Midtrans checks it"
    elif "SSL" in str(error) or "TLS" in str(error).upper():
        to_do = "let the server in front speak TLS 1.2: Midtrans does not speak 1.3 alone"
    else:
        to_do = "see that the name resolves and that the port is open to the internet"
    return failed("public address", f"{target} cannot be reached: {text}", to_do)


def _midtrans_tls() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


def _error(answer: httpx.Response) -> str | None:
    """Return the code of an error as the notification endpoint writes it."""
    try:
        body = answer.json()
    except ValueError:
        return None
    known = isinstance(body, dict) and body.keys() == {"error", "detail"} and isinstance(body["error"], str)
    return body["error"] if known else None

"""What a person reads when the service has started: what it is connected to, and what to do next."""

from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

import typer

from service.api.auth import OPERATOR_FILE
from service.cli.demo import SIMULATOR_PORT, Demo
from service.domain.merchant import DEFAULT_MERCHANT, Merchant
from service.settings import Configuration

DASHBOARD = {True: "https://dashboard.midtrans.com", False: "https://dashboard.sandbox.midtrans.com"}


def show(configuration: Configuration, url: str, new_token: str | None, demo: Demo | None) -> None:
    """Print it; a new operator token is shown this once.

    It goes to stderr, so that stdout holds log lines alone; a demo has no other reader than a person.
    """
    addresses = [*_addresses(configuration, url, demo), *_token(configuration, new_token)]
    lines = [
        *(_demo(addresses) if demo else _real(configuration, addresses)),
        "",
        *_next_steps(url, _bearer(configuration, new_token)),
        "",
    ]
    for line in lines:
        typer.echo(line, err=demo is None)


def _demo(addresses: Sequence[str]) -> Iterator[str]:
    yield "DEMO: no MIDTRANS_SERVER_KEY is set, so a simulator stands in for Midtrans and payments are made up."
    yield ""
    yield from addresses


def _real(configuration: Configuration, addresses: Sequence[str]) -> Iterator[str]:
    yield "; ".join(_environment(merchant) for merchant in configuration.merchants)
    yield ""
    yield from addresses
    yield ""
    yield "Midtrans must reach it: give it a public https address on port 443 (or http on 80) with a valid"
    yield "certificate, TLS 1.2 allowed, and enter under Settings > Configuration > Payment Notification URL:"
    for merchant in configuration.merchants:
        path = "/notifications" if merchant.name == DEFAULT_MERCHANT else f"/notifications/{merchant.name}"
        yield f"  {DASHBOARD[merchant.is_production]}  ->  https://YOUR-HOST{path}"


def _addresses(configuration: Configuration, url: str, demo: Demo | None) -> Iterator[str]:
    yield f"  service     {url}  (its API: {url}/openapi.json)"
    yield from _port(configuration.port, url, "SERVICE_PORT")
    if demo is None:
        yield f"  data        {configuration.data_dir}"
        return
    yield f"  simulator   {demo.simulator_url}  (a page to charge and to pay by hand)"
    yield from _port(SIMULATOR_PORT, demo.simulator_url, "the simulator")
    yield f"  server key  {demo.server_key}  (made up; the simulator knows no other)"
    yield f"  data        {configuration.data_dir}  (new at each start; for other commands SERVICE_DATA_DIR)"


def _environment(merchant: Merchant) -> str:
    where = "PRODUCTION" if merchant.is_production else "sandbox"
    asked = f", asked at {merchant.base_url}" if merchant.base_url else ""
    return f"{where}: merchant {merchant.name}{asked}"


def _port(wanted: int, url: str, name: str) -> Iterator[str]:
    port = urlsplit(url).port
    if port != wanted:
        yield f"              (Port {wanted} is taken: {name} is {port} this time.)"


def _token(configuration: Configuration, new_token: str | None) -> Iterator[str]:
    if new_token:
        yield f"  token       {new_token}"
        yield f"              (the operator's, shown this once; it is in {configuration.data_dir / OPERATOR_FILE})"


def _bearer(configuration: Configuration, new_token: str | None) -> str:
    if configuration.operator_token:
        return "$SERVICE_OPERATOR_TOKEN"
    return new_token or f"$(cat {configuration.data_dir / OPERATOR_FILE})"


def _next_steps(url: str, bearer: str) -> Iterator[str]:
    consumer, header = f"{url}/v1/consumers/shipping", f'-H "Authorization: Bearer {bearer}"'
    yield "Try next, in another terminal: make a consumer, lease an event, and ack it by the lease it came with"
    yield f"""  curl -X PUT {consumer} {header} -d '{{"start": "beginning"}}'"""
    yield f"""  curl {consumer}/lease {header} -d '{{"limit": 1, "wait_seconds": 20}}'"""
    yield f"""  curl {consumer}/ack {header} -d '{{"leases": ["LEASE"]}}'"""
    yield "Ctrl-C ends it; nothing that was answered is lost."

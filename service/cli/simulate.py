"""``python -m service simulate``: the stand-in for Midtrans, on loopback."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Annotated

import typer
import uvicorn

from django_midtrans.testing import SCENARIOS
from service.cli.ports import listen
from service.simulator.app import create_app
from service.simulator.control import PAUSE_S
from service.simulator.faults import FaultInvalid, Faults


def simulate(
    *,
    host: Annotated[
        str, typer.Option(help="Address to listen on; there is no login, so keep it loopback.")
    ] = ("127.0.0.1"),
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 8001,
    notify_url: Annotated[
        str | None,
        typer.Option(help="Where notifications are posted, e.g. http://127.0.0.1:8000/notifications."),
    ] = None,
    server_key: Annotated[
        list[str] | None,
        typer.Option(help="A server key to serve; may be given several times. Without it any key is served."),
    ] = None,
    concurrency: Annotated[
        int, typer.Option(help="Notifications on their way at the same time.", min=1)
    ] = 10,
    time_factor: Annotated[
        float, typer.Option(help="How much faster than Midtrans to notify again; 600: 2 minutes in 0.2 s.")
    ] = 1.0,
    run: Annotated[
        str, typer.Option(help="Scenarios to play at the start, comma separated, or all; needs --server-key.")
    ] = "",
    pause: Annotated[float, typer.Option(help="Seconds between the steps of a scenario.", min=0)] = PAUSE_S,
    fault: Annotated[
        list[str] | None,
        typer.Option(help="What goes wrong, as NAME=VALUE, e.g. lost=0.2; may be given several times."),
    ] = None,
) -> None:
    """Run a stand-in for Midtrans: charge, pay on its page, get signed notifications."""
    if not time_factor > 0:
        raise typer.BadParameter("must be above 0", param_hint="--time-factor")
    shown_host = f"[{host}]" if ":" in host else host
    app = create_app(
        notify_url=notify_url,
        server_keys=server_key or (),
        public_url=f"http://{shown_host}:{port}",
        concurrency=concurrency,
        time_factor=time_factor,
        run=_scenarios(run, server_key or ()),
        pause_s=pause,
        faults=_faults(fault or ()),
    )
    # No access log: GET /v2/token carries card numbers in its URL.
    server = uvicorn.Server(
        uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=2)
    )
    with listen(host, port, names=("--host", "--port")) as listener, suppress(KeyboardInterrupt):
        typer.echo(
            f"Midtrans simulator: http://{shown_host}:{port} (notifications to {notify_url or 'nowhere'})"
        )
        server.run(sockets=[listener])


def _scenarios(names: str, server_keys: Sequence[str]) -> list[str]:
    wanted = (
        list(SCENARIOS) if names == "all" else [name.strip() for name in names.split(",") if name.strip()]
    )
    unknown = [name for name in wanted if name not in SCENARIOS]
    if unknown:
        text = f"there is no {', '.join(unknown)}; there are {', '.join(SCENARIOS)}"
        raise typer.BadParameter(text, param_hint="--run")
    if wanted and not server_keys:
        raise typer.BadParameter("needs a --server-key, whose payments these are", param_hint="--run")
    return wanted


def _faults(given: Sequence[str]) -> Faults:
    pairs = [text.partition("=") for text in given]
    try:
        return Faults.from_options({name.strip(): value for name, _, value in pairs})
    except FaultInvalid as error:
        raise typer.BadParameter(str(error), param_hint="--fault") from error

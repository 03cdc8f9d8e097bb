"""``python -m service simulate``: the stand-in for Midtrans, on loopback."""

from __future__ import annotations

from typing import Annotated

import typer
import uvicorn

from service.simulator.app import create_app


def simulate(
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
) -> None:
    """Run a stand-in for Midtrans: charge, pay on its page, get signed notifications."""
    shown_host = f"[{host}]" if ":" in host else host
    app = create_app(
        notify_url=notify_url,
        server_keys=server_key or (),
        public_url=f"http://{shown_host}:{port}",
        concurrency=concurrency,
    )
    typer.echo(f"Midtrans simulator: http://{shown_host}:{port} (notifications to {notify_url or 'nowhere'})")
    # No access log: GET /v2/token carries card numbers in its URL.
    uvicorn.run(app, host=host, port=port, log_level="warning", access_log=False, timeout_graceful_shutdown=2)

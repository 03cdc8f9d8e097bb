"""``python -m service run``: receiving, confirming and the log in one process."""

import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from socket import socket
from types import FrameType
from typing import Annotated

import structlog
import typer
import uvicorn

from service import logs
from service.api.connection import Connection
from service.api.express import express
from service.api.notifications import NotificationEndpoint
from service.api.posted import App
from service.app import Service, build
from service.cli import welcome
from service.cli.demo import Demo, demo, make_folder
from service.cli.ports import listen, url_of
from service.db.migrate import upgrade
from service.errors import SettingsInvalid
from service.settings import Configuration, from_environment

log = structlog.get_logger()

KEEP_ALIVE_S = 75
"""Longer than the idle time of common proxies: they, and not we, end an idle connection."""
GRACE_S = 0.75
"""How much longer than its settings say the process may take to end, before it is ended."""
STORE_BROKEN = 3
"""Exit code when the database file cannot be trusted any more."""

NO_KEY = """no merchant is set up: there is no server key to verify notifications with.
  - Set MIDTRANS_SERVER_KEY (or MIDTRANS_SERVER_KEY_FILE) to the key that Midtrans' dashboard shows under
    Settings > Access Keys, and MIDTRANS_IS_PRODUCTION=true when it is of the production environment;
  - or name a TOML file with [merchants.NAME] in SERVICE_CONFIG;
  - or try everything out without a key, against a simulator: make run"""


def run(
    try_out: Annotated[
        bool,
        typer.Option(
            "--try-out",
            help="For a first look: without a key a simulator with demo payments stands in for Midtrans, "
            "and a taken port gives way to the next free one.",
        ),
    ] = False,
) -> None:
    """Take in notifications, confirm them, and lend events to consumers, until told to end."""
    configuration = from_environment()
    if not configuration.merchants and not try_out:
        raise SettingsInvalid(NO_KEY)
    form = configuration.log_format
    if try_out and not configuration.merchants and form == "auto":
        form = "console"  # a demo is looked at, through whatever pipe
    logs.configure(level=configuration.log_level, form=form, queued=True)
    server = Server(configuration.shutdown_timeout_s)
    with server.told_to_end(), ExitStack() as stack:
        listener = stack.enter_context(listen(configuration.host, configuration.port, or_next=try_out))
        port = listener.getsockname()[1]
        playing = None if configuration.merchants else stack.enter_context(demo(configuration, port))
        _serve(playing.configuration if playing else configuration, server, listener, playing)
    log.info("ended")
    if server.broken:
        sys.exit(STORE_BROKEN)


def _serve(configuration: Configuration, server: "Server", listener: socket, playing: Demo | None) -> None:
    """Run the service until the server is told to end; whatever happens, what waits is committed."""
    make_folder(configuration.data_dir)
    upgrade(configuration.database_url)
    service = build(configuration, on_broken=server.end_broken)
    with ExitStack() as stack:
        stack.callback(service.stop, configuration.shutdown_timeout_s / 2)
        service.start()
        url = url_of(configuration.host, listener.getsockname()[1])
        for warning in configuration.warnings:
            log.warning("setting_looks_wrong", detail=warning)

        def started() -> None:
            welcome.show(configuration, url, service.new_operator_token, playing)
            log.info("listening", url=url, merchants=[merchant.name for merchant in configuration.merchants])
            if playing:
                stack.enter_context(playing.payments())

        server.serve_until_told(service, listener, started)


class Server:
    """Serves until a signal, or a broken store, tells it to end; then everything ends within a time."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._uvicorn: _Uvicorn | None = None
        self._told = False
        self.broken = False

    @contextmanager
    def told_to_end(self) -> Iterator[None]:
        """Listen to SIGINT and SIGTERM; a second one changes nothing, since ending loses nothing either way."""
        before = {
            number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def end_broken(self, _error: BaseException) -> None:
        """End because nothing can be stored any more; called on the writer's thread."""
        self.broken = True
        self._end()

    def serve_until_told(self, service: Service, listener: socket, started: Callable[[], None]) -> None:
        """Answer requests on *listener*; *started* is called once it does."""
        config = served(service.asgi, service.configuration, service.receiving)
        self._uvicorn = _Uvicorn(config, started, service.drain)
        if not self._told:
            self._uvicorn.run(sockets=[listener])

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._end()

    def _end(self) -> None:
        if not self._told:
            self._told = True
            last = threading.Timer(self._timeout_s + GRACE_S, os._exit, [1])
            last.daemon = True
            last.start()
        if self._uvicorn is not None:
            self._uvicorn.should_exit = True


class _Uvicorn(uvicorn.Server):
    """Uvicorn's server, which leaves the signals to us: on a second one it would skip the orderly end."""

    def __init__(
        self, config: uvicorn.Config, started: Callable[[], None], drain: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._on_started = started
        self._drain = drain

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        gc.freeze()  # what is there now stays: going through it time and again would hold answers up
        self._on_started()

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        log.info("ending")
        self._drain()
        await super().shutdown(sockets=sockets)


def served(
    app: App, configuration: Configuration, endpoint: NotificationEndpoint | None = None
) -> uvicorn.Config:
    """Return how *app*, with *endpoint* in front, is served; without one, by uvicorn alone.

    There is no limit of concurrency: its 503 would spend Midtrans' retries.
    """
    proxies = configuration.trusted_proxies
    return uvicorn.Config(
        app,
        http=express(endpoint) if endpoint else Connection,
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=proxies != "none",
        forwarded_allow_ips=proxies,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, int(configuration.shutdown_timeout_s / 2)),
        ws="none",
    )

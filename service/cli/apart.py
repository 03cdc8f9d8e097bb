"""``python -m service api`` and ``worker``: the same parts apart, any number of each, on one PostgreSQL database."""

import sys
from contextlib import ExitStack

import structlog

from service import logs
from service.app import Part, build
from service.cli.demo import make_folder
from service.cli.ports import listen, url_of
from service.cli.run import NO_KEY, STORE_BROKEN, Server
from service.db.engine import database_of
from service.errors import SettingsInvalid
from service.settings import from_environment

log = structlog.get_logger()


def api() -> None:
    """Take in notifications and lend events; confirming is for `worker`. Needs PostgreSQL, migrated."""
    _run(Part.API)


def worker() -> None:
    """Confirm, relay and push what `api` took in; answers only how it is. Needs PostgreSQL, migrated."""
    _run(Part.WORKER)


def _run(part: Part) -> None:
    configuration = from_environment()
    if not database_of(configuration.database_url).shared:
        raise SettingsInvalid(
            f"`{part.value}` is one of several processes, and a SQLite file is written by one alone: set "
            "SERVICE_DATABASE_URL to postgresql+psycopg://user:password@host/name, or start `run`, which does all"
        )
    if not configuration.merchants:
        raise SettingsInvalid(NO_KEY)
    logs.configure(level=configuration.log_level, form=configuration.log_format, queued=True)
    server = Server(configuration.shutdown_timeout_s)
    with server.told_to_end(), ExitStack() as stack:
        listener = stack.enter_context(listen(configuration.host, configuration.port))
        make_folder(configuration.data_dir)
        service = build(configuration, part=part, on_broken=server.end_broken)
        stack.callback(service.stop, configuration.shutdown_timeout_s / 2)
        service.start()
        for warning in configuration.warnings:
            log.warning("setting_looks_wrong", detail=warning)
        if service.new_operator_token:
            log.info("operator_token_made", file=str(configuration.data_dir / "operator.token"))
        url = url_of(configuration.host, listener.getsockname()[1])
        server.serve_until_told(service, listener, lambda: log.info("listening", url=url, part=part.value))
    log.info("ended")
    if server.broken:
        sys.exit(STORE_BROKEN)

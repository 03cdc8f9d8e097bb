"""Logs: an event name and fields, as JSON lines for machines or as a view for people, always masked.

Logging never stops the flow: a line that cannot be written is dropped. Everything goes one way, the lines of
uvicorn, SQLAlchemy and warnings too; httpx and httpcore, which log whole URLs, stay quiet below warnings.
"""

import json
import logging
import sys
from collections.abc import Callable
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from service.console import Console
from service.masking import OURS, mask, mask_text

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
QUIET = (
    "httpx",
    "httpcore",
    "hpack",
    "sqlalchemy",
    "alembic",
    "asyncio",
    "uvicorn",
    "uvicorn.error",
    "uvicorn.access",
)
"""Loggers of libraries that say nothing below a warning: some show whole URLs or SQL with its values."""


def configure(
    *, level: str = "info", form: str = "auto", stream: TextIO | None = None, colours: bool = True
) -> None:
    """Send every log line of this process to *stream* (stdout), in the *form* json, console or auto."""
    out = stream or sys.stdout
    if form == "auto":
        form = "console" if out.isatty() else "json"
    render: Processor = Console(colours=colours and out.isatty()) if form == "console" else as_json
    chain: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        mask_fields,
        render,
    ]
    structlog.configure(
        processors=chain,
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *_names: Lines(out),
        cache_logger_on_first_use=True,
    )
    _route_libraries(LEVELS[level], chain, Lines(out))


def mask_fields(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Mask every field; an exception's text was made before and is masked like any other."""
    return {name: value if name in OURS else mask(name, value) for name, value in event.items()}


def as_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    """Return *event* as one line of JSON with its name first."""
    return _encode({"event": event.pop("event", ""), **event})


_encode: Callable[[Any], str] = json.JSONEncoder(default=str, separators=(",", ":")).encode


class Lines:
    """Writes whole lines and never raises: a closed pipe must not stop a notification."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def msg(self, line: str) -> None:
        """Write *line*, or drop it."""
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except UnicodeEncodeError:
            self.msg(line.encode("ascii", "backslashreplace").decode())
        except (OSError, ValueError):  # the reader has gone, or the stream is closed
            return

    debug = info = warning = warn = error = critical = exception = fatal = log = msg


class _Bridge(logging.Handler):
    """Brings what libraries log through the same chain."""

    def __init__(self, chain: list[Processor], lines: Lines) -> None:
        super().__init__()
        self._chain = chain
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        """Write *record* as a line of ours."""
        try:
            event: Any = {"event": record.getMessage(), "logger": record.name, "exc_info": record.exc_info}
            for step in self._chain:
                event = step(None, record.levelname.lower(), event)
            self._lines.msg(event)
        except Exception as error:  # noqa: BLE001 (a line that cannot be made is no reason to stop)
            self._lines.msg(mask_text(f"log line of {record.name} lost: {error!r}"))


def _route_libraries(level: int, chain: list[Processor], lines: Lines) -> None:
    root = logging.getLogger()
    root.handlers = [_Bridge(chain, lines)]
    root.setLevel(level)
    logging.captureWarnings(capture=True)
    for name in QUIET:
        logger = logging.getLogger(name)
        logger.handlers = []
        logger.propagate = True
        logger.setLevel(max(level, logging.WARNING))

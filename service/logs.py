"""Logs: an event name and fields, as JSON lines for machines or as a view for people, always masked.

Logging never stops the flow: a line that cannot be written is dropped. Everything goes one way, the lines of
uvicorn, SQLAlchemy and warnings too; httpx and httpcore, which log whole URLs, stay quiet below warnings.
"""

import atexit
import contextlib
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from queue import Empty, SimpleQueue
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from service.console import Console
from service.masking import OURS, mask, mask_text, must_hide

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
SILENT = ("nats", "aio_pika", "aiormq", "aiokafka")
"""Clients of brokers: what fails in them is told once, by the relay, and they would repeat it time and again."""
MOST_LINES = 10_000  # some MB
GATHER_S = 0.02

_SMALL = 10**11  # larger numbers may be card numbers
_OF_CHAIN = frozenset({"event", "exc_info", "level", "timestamp"})
_OWN_TEXT = OURS - _OF_CHAIN
_LEVEL_NAMES = {"warn": "warning", "exception": "error", "fatal": "critical"}


def configure(
    *,
    level: str = "info",
    form: str = "auto",
    stream: TextIO | None = None,
    colours: bool = True,
    queued: bool = False,
) -> None:
    """Send every log line of this process to *stream* (stdout), in the *form* json, console or auto.

    *queued*: by a thread of its own, so that whoever reads too slowly, or not at all, stops nobody (`Backlog`).
    """
    out = stream or sys.stdout
    if form == "auto":
        form = "console" if out.isatty() else "json"
    render: Processor = Console(colours=colours and out.isatty()) if form == "console" else as_json
    chain: list[Processor] = [complete, mask_fields, render]
    lines: Lines | Backlog = Lines(out)
    if queued:
        lines = Backlog(out.fileno(), lambda count: _made(chain, "warning", "log_lines_lost", count=count))
        atexit.register(lines.close)
    logger_class = structlog.make_filtering_bound_logger(LEVELS[level])
    if form == "json" and LEVELS[level] <= logging.INFO:
        logger_class = _with_short_way(logger_class)
    structlog.configure(
        processors=chain,
        wrapper_class=logger_class,
        logger_factory=lambda *_names: lines,
        cache_logger_on_first_use=True,
    )
    _route_libraries(LEVELS[level], chain, lines)


def complete(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Add level, time and traceback. One step for three of structlog's: a line is written for every notification."""
    event["level"] = _LEVEL_NAMES.get(method, method)
    event["timestamp"] = timestamp()
    if "exc_info" in event:
        event = structlog.processors.format_exc_info(logger, method, event)
    return event


def mask_fields(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Mask every field; an exception's text was made before and is masked like any other."""
    return {name: value if name in OURS else mask(name, value) for name, value in event.items()}


def as_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    """Return *event* as one line of JSON with its name first."""
    return _encode({"event": event.pop("event", ""), **event})


_encode: Callable[[Any], str] = json.JSONEncoder(default=str, separators=(",", ":")).encode
_quote: Callable[[str], str] = json.encoder.encode_basestring_ascii  # what the encoder does to a text


def plain_line(event: str, fields: Mapping[str, Any]) -> str | None:
    """Return what the chain makes of an entry of level info whose fields are texts and small numbers, else None.

    There is such a line for every notification, and this way costs half (measured: 6 µs against 12.5 µs).
    """
    line = _opening(event)
    for name, value in fields.items():
        if type(value) is str and name in _OWN_TEXT:
            line += f',"{name}":{_quote(value)}'
        elif name in _OF_CHAIN or must_hide(name):
            return None
        elif type(value) is str:
            line += f",{_quote(name)}:{_quote(mask_text(value))}"
        elif type(value) is int and -_SMALL < value < _SMALL:
            line += f",{_quote(name)}:{value}"
        else:
            return None
    return f'{line},"level":"info","timestamp":"{timestamp()}"}}'


@lru_cache(maxsize=256)
def _opening(event: str) -> str:
    return f'{{"event":{_quote(mask_text(event))}'


def _with_short_way(logger_class: type[Any]) -> type[Any]:
    """Return *logger_class* with an ``info`` that goes around the chain where that makes no difference."""
    by_chain = logger_class.info

    def info(self: Any, event: str, *args: Any, **fields: Any) -> Any:
        if not (args or self._context) and self._processors[-1] is as_json:  # else somebody captures
            line = plain_line(event, fields)
            if line is not None:
                return self._logger.info(line)
        return by_chain(self, event, *args, **fields)

    return type(logger_class.__name__, (logger_class,), {"info": info})


def timestamp() -> str:
    """Return the time, in UTC to the microsecond; all but the last six digits is made once a second."""
    global _second  # noqa: PLW0603 (one tuple: threads that meet here each write a right one)
    now = time.time()
    whole, text = _second
    if not 0 <= now - whole < 1:
        whole = int(now)
        text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
        _second = (whole, text)
    return f"{text}.{int((now - whole) * 1_000_000):06}Z"


_second = (0, "")


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


class Backlog:
    """Takes lines without waiting and writes them to a file descriptor, some hundredths of a second later.

    While nobody reads, `MOST_LINES` wait; what comes then is dropped and counted, and the count is written when
    there is room again. It writes past the stream's buffer, whose lock a stuck write would hold for ever.
    """

    def __init__(self, descriptor: int, lost: Callable[[int], str]) -> None:
        self._descriptor = descriptor
        self._lost = lost
        self._lines: SimpleQueue[str | None] = SimpleQueue()
        self._dropped = 0
        self._thread = threading.Thread(target=self._run, name="logs", daemon=True)
        self._thread.start()

    def msg(self, line: str) -> None:
        """Have *line* written, or drop it."""
        if self._lines.qsize() < MOST_LINES:
            self._lines.put(line)
        else:
            self._dropped += 1

    debug = info = warning = warn = error = critical = exception = fatal = log = msg

    def close(self, timeout_s: float = 1.0) -> None:
        """Write what waits, as far as *timeout_s* suffices."""
        self._lines.put(None)
        self._thread.join(timeout_s)

    def _run(self) -> None:
        going_on = True
        while going_on:
            found = [self._lines.get()]
            if found[0] is not None:
                time.sleep(GATHER_S)  # one write, and one turn of this thread, for all that comes together
            with contextlib.suppress(Empty):
                while len(found) < MOST_LINES:
                    found.append(self._lines.get_nowait())
            going_on = None not in found
            self._write([line for line in found if line is not None])

    def _write(self, lines: list[str]) -> None:
        dropped, self._dropped = self._dropped, 0
        if dropped:
            lines.append(self._lost(dropped))
        left = "".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace")
        with contextlib.suppress(OSError):  # the reader has gone
            while left:
                left = left[os.write(self._descriptor, left) :]


class _Bridge(logging.Handler):
    """Brings what libraries log through the same chain."""

    def __init__(self, chain: list[Processor], lines: "Lines | Backlog") -> None:
        super().__init__()
        self._chain = chain
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        """Write *record* as a line of ours."""
        try:
            level, facts = record.levelname.lower(), {"logger": record.name, "exc_info": record.exc_info}
            self._lines.msg(_made(self._chain, level, record.getMessage(), **facts))
        except Exception as error:  # noqa: BLE001 (a line that cannot be made is no reason to stop)
            self._lines.msg(mask_text(f"log line of {record.name} lost: {error!r}"))


def _made(chain: list[Processor], level: str, name: str, **facts: Any) -> str:
    line: Any = {"event": name, **facts}
    for step in chain:
        line = step(None, level, line)
    text: str = line
    return text


def _route_libraries(level: int, chain: list[Processor], lines: "Lines | Backlog") -> None:
    root = logging.getLogger()
    root.handlers = [_Bridge(chain, lines)]
    root.setLevel(level)
    logging.captureWarnings(capture=True)
    for name in (*QUIET, *SILENT):
        logger = logging.getLogger(name)
        logger.handlers = []
        logger.propagate = True
        logger.setLevel(max(level, logging.CRITICAL if name in SILENT else logging.WARNING))

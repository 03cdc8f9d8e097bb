"""The handlers that shops write: one that stores each body, one that also asks with the official client.

Served by gunicorn, one process with threads: `COMMAND`. Storing is done as well as that model allows: one connection
in WAL mode behind a lock, one INSERT that commits with synchronous=FULL.
"""

import os
import sqlite3
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import midtransclient
from flask import Flask, request
from midtransclient.config import ApiConfig

from benchmarks.bodies import KEY

THREADS = 8
COMMAND = (
    *(sys.executable, "-m", "gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "1", "--worker-class"),
    *("gthread", "--threads", str(THREADS), "--keep-alive", "75", "--log-level", "warning"),
)
STORING = (*COMMAND, "benchmarks.flask_apps:storing()")
ASKING = (*COMMAND, "benchmarks.flask_apps:asking()")


def storing() -> Flask:
    """Return a handler that commits each body before it answers."""
    keep = _keeper()

    def receive() -> dict[str, str]:
        keep(request.get_data())
        return {"status": "accepted"}

    return _app(receive)


def asking() -> Flask:
    """Return a handler that asks Midtrans about each body, as the official client's guide has it, and commits."""
    keep = _keeper()
    ApiConfig.CORE_SANDBOX_BASE_URL = os.environ["STATUS_API"]
    client: Any = midtransclient.CoreApi(is_production=False, server_key=KEY, client_key="")

    def receive() -> dict[str, str]:
        answer = client.transactions.notification(request.get_json())
        keep(str(answer).encode())
        return {"status": "accepted"}

    return _app(receive)


def _app(receive: Callable[[], dict[str, str]]) -> Flask:
    app = Flask(__name__)
    app.add_url_rule("/notifications", view_func=receive, methods=["POST"])
    return app


def _keeper() -> Callable[[bytes], None]:
    path = Path(os.environ["BENCH_FOLDER"], "flask.db")
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    for statement in (
        "PRAGMA journal_mode=WAL",
        "PRAGMA synchronous=FULL",
        "CREATE TABLE IF NOT EXISTS bodies (id INTEGER PRIMARY KEY, raw BLOB NOT NULL)",
    ):
        connection.execute(statement).close()
    lock = threading.Lock()

    def keep(raw: bytes) -> None:
        with lock:
            connection.execute("INSERT INTO bodies (raw) VALUES (?)", (raw,))

    return keep

"""Runs the simulator in a thread of its own, on a free loopback port: for tests and for ``make run``."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn

from service.simulator.app import create_app
from service.simulator.simulator import Simulator

START_S = 10.0


@dataclass(frozen=True)
class RunningSimulator:
    """Where it listens, and its inside: ``simulator.midtrans`` may be used from any thread."""

    url: str
    simulator: Simulator


@contextmanager
def running_simulator(
    *, host: str = "127.0.0.1", port: int = 0, **options: Any
) -> Iterator[RunningSimulator]:
    """Serve until the block ends. *options* are ``create_app``'s; port 0 takes a free one."""
    with socket.create_server((host, port)) as listener:
        url = f"http://{host}:{listener.getsockname()[1]}"
        app = create_app(public_url=url, **options)
        server = uvicorn.Server(
            uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=2)
        )
        thread = threading.Thread(target=server.run, args=([listener],), name="simulator", daemon=True)
        thread.start()
        try:
            _wait_until_started(server, thread)
            yield RunningSimulator(url, app.state.simulator)
        finally:
            server.should_exit = True
            thread.join(START_S)


def _wait_until_started(server: uvicorn.Server, thread: threading.Thread) -> None:
    deadline = time.monotonic() + START_S
    while not server.started:
        if not thread.is_alive() or time.monotonic() > deadline:
            raise RuntimeError("the simulator did not start")
        time.sleep(0.01)

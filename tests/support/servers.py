"""Brokers of the machine, and instances of our own that a test may restart, stop and fill."""

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from support.services import wanted


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Server:
    """A program that listens on *port*, with a folder of its own."""

    def __init__(self, program: str, folder: Path, arguments: Sequence[str], port: int) -> None:
        found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")
        if found is None:
            wanted(f"{program} is not installed")
        self.port = port
        self._command = [found, *arguments]
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command, cwd=self._folder, stdout=log, stderr=log)
        deadline = time.monotonic() + 15
        while not listens(self.port):
            assert time.monotonic() < deadline, (self._folder / "log").read_text()[-2000:]
            time.sleep(0.02)

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)


def nats_server(folder: Path, *more: str) -> Server:
    port = free_port()
    arguments = ["-a", "127.0.0.1", "-p", str(port), "-js", "-sd", str(folder / "js"), *more]
    return Server("nats-server", folder, arguments, port)


def redis_server(folder: Path, *more: str) -> Server:
    port = free_port()
    arguments = ["--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder), "--save", ""]
    arguments += ["--appendonly", "yes", "--appendfsync", "always", "--daemonize", "no", *more]
    return Server("redis-server", folder, arguments, port)


def rabbitmq_port() -> int:
    """Return the port of the machine's RabbitMQ, which lets guest in."""
    port = 5672
    if not listens(port):
        wanted("no RabbitMQ listens on 127.0.0.1:5672")
    return port

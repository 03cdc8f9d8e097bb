"""The processes that are measured and their company: started on a core of their own, ended for certain."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import machine
from benchmarks.bodies import KEY

START_S = 30.0
STOP_S = 15.0
TOKEN = "benchmark-operator-token"
WITHOUT_LIMITS = "[limits]\nrate_per_s = 100000\nburst = 100000\nin_flight = 64\n"
"""Settings under which Midtrans may be asked as fast as the service can."""


@dataclass(frozen=True)
class Running:
    """A process that answers HTTP on *port*."""

    port: int
    process: subprocess.Popen[bytes]
    folder: Path

    @property
    def url(self) -> str:
        """Return where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def cpu_s(self) -> float:
        """Return its CPU seconds so far, its children's too."""
        return machine.cpu_s(machine.family(self.process.pid))

    def usage(self) -> machine.Usage:
        """Return what it holds."""
        return machine.usage(self.process.pid)


@contextmanager
def running(
    command: Sequence[str], *, core: int, folder: Path, environ: Mapping[str, str] | None = None
) -> Iterator[Running]:
    """Run *command*, in which ``{port}`` is a free port, until the block ends; what it writes is in *folder*."""
    folder.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("SERVICE_", "MIDTRANS_"))
    }
    with machine.on_core(core), (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            [part.format(port=port) for part in command],
            env=inherited | {name: value.format(port=port) for name, value in (environ or {}).items()},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_until_answering(process, port, folder)
        yield Running(port, process, folder)
    finally:
        _end(process)


@contextmanager
def service(
    folder: Path,
    *,
    core: int,
    midtrans: str,
    threads: int | None = None,
    config: str = "",
    database: str | None = None,
) -> Iterator[Running]:
    """Run our service, asking *midtrans*; *threads* None leaves the default, *database* None is SQLite in *folder*."""
    folder.mkdir(parents=True, exist_ok=True)
    environ = {
        "SERVICE_DATA_DIR": str(folder),
        "SERVICE_PORT": "{port}",
        "SERVICE_OPERATOR_TOKEN": TOKEN,
        "SERVICE_LOG_FORMAT": "json",
        "MIDTRANS_SERVER_KEY": KEY,
        "MIDTRANS_BASE_URL": midtrans,
    }
    if threads is not None:
        environ["SERVICE_WORKER_THREADS"] = str(threads)
    if database is not None:
        environ["SERVICE_DATABASE_URL"] = database
    if config:
        (folder / "service.toml").write_text(config)
        environ["SERVICE_CONFIG"] = str(folder / "service.toml")
    with running(
        [sys.executable, "-m", "service", "run"], core=core, folder=folder, environ=environ
    ) as process:
        yield process


@contextmanager
def status_api(folder: Path, *, core: int, delay_s: float = 0.0) -> Iterator[Running]:
    """Run the stand-in for Midtrans' API that costs little; each answer takes *delay_s*."""
    command = [sys.executable, "-m", "benchmarks.status_api", "{port}", str(delay_s)]
    with running(command, core=core, folder=folder) as process:
        yield process


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _wait_until_answering(process: subprocess.Popen[bytes], port: int, folder: Path) -> None:
    deadline = time.monotonic() + START_S
    while not _answers(port):
        if process.poll() is not None or time.monotonic() > deadline:
            said = (folder / "output").read_text(errors="replace")[-2000:]
            raise SystemExit(f"a process to be measured did not start:\n{said}")
        time.sleep(0.05)


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0) as connection:
            connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            return connection.recv(16).startswith(b"HTTP/1.1")
    except OSError:
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

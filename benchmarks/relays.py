"""Relaying to NATS JetStream and Redis: a log that is full already goes out; how many events a second, at what cost."""

import json
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from benchmarks import log_filling, servers
from benchmarks.ingest import Bench
from benchmarks.machine import on_core

TITLES = {"nats": "NATS JetStream, file storage", "redis": "Redis Streams, appendonly, fsync every second"}
WARM_SHARE = 0.1
"""Of the events: passed before the clock runs, while the service starts and connects."""
LONGEST_S = 300.0


def one_round(bench: Bench, number: int, *, events: int) -> dict[str, Any]:
    """Measure each broker; odd rounds go backwards. The broker runs on the load's core, started for this round."""
    folder = bench.folder / f"relays-{events}"  # filled once, for all rounds
    folder.mkdir(parents=True, exist_ok=True)
    url = f"sqlite:///{folder / 'midtrans.db'}"
    log_filling.migrated(url)
    log_filling.fill(url, events)
    kinds = list(TITLES) if number % 2 == 0 else list(TITLES)[::-1]
    return {kind: _relay(bench, kind, f"{kind}-{number}", folder, events) for kind in kinds}


def _relay(bench: Bench, kind: str, name: str, folder: Path, events: int) -> dict[str, float]:
    with (
        _broker(kind, bench.folder / name, core=bench.cores.load) as url,
        servers.service(
            folder,
            core=bench.cores.server,
            midtrans="http://127.0.0.1:9",
            threads=0,
            config=f'[relays.{name}]\nkind = "{kind}"\nurl = "{url}"\nstart = "beginning"\n',
        ) as server,
    ):
        _wait_for(server, name, int(WARM_SHARE * events))
        began, from_, cpu_s = time.perf_counter(), _position(server, name), server.cpu_s()
        to = _wait_for(server, name, events)
        seconds, cpu_s = time.perf_counter() - began, server.cpu_s() - cpu_s
    relayed = max(1, to - from_)
    return {"rate": relayed / seconds, "cpu_us": cpu_s / relayed * 1e6, "busy": cpu_s / seconds}


def _wait_for(server: servers.Running, name: str, position: int) -> int:
    """Return the first position seen at or behind *position*."""
    deadline = time.monotonic() + LONGEST_S
    while (seen := _position(server, name)) < position:
        if time.monotonic() > deadline:
            raise SystemExit(f"the relay stands still at {seen}")
        time.sleep(0.02)
    return seen


def _position(server: servers.Running, name: str) -> int:
    asked = Request(f"{server.url}/v1/relays/{name}", headers={"Authorization": f"Bearer {servers.TOKEN}"})
    try:
        with urlopen(asked, timeout=10) as answer:
            place: str = json.load(answer)["position"]
    except HTTPError:  # not begun yet
        return 0
    return int(place.rpartition("-")[2])


@contextmanager
def _broker(kind: str, folder: Path, *, core: int) -> Iterator[str]:
    """Run a broker until the block ends; yield its URL."""
    folder.mkdir(parents=True)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with on_core(core), (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            _command(kind, folder, port), stdout=output, stderr=subprocess.STDOUT, cwd=folder
        )
    try:
        _wait_until_listening(port)
        yield f"{kind}://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder)


def _command(kind: str, folder: Path, port: int) -> Sequence[str]:
    program = f"{kind}-server"
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise SystemExit(f"{program} is needed to measure relays (Debian calls its package {program})")
    if kind == "nats":
        return [found, "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", str(folder)]
    return [found, "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "yes"]


def _wait_until_listening(port: int) -> None:
    deadline = time.monotonic() + servers.START_S
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit("a broker did not start")

"""Taking notifications in: how many a second one core takes, and what each costs, beside what could be in our place."""

import itertools
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from benchmarks import bodies, flask_apps, servers
from benchmarks.load import Load, Seen, measure
from benchmarks.machine import Cores

CONNECTIONS = 64
WARM_S = 0.5
MOST_PER_S = 20_000
"""More than any server that stores takes on one core: so many requests are made ready."""

NAMES = {
    "raw": "raw ASGI that does nothing",
    "ours": "ours, confirming paused",
    "ours_confirming": "ours, confirming (limits as by default)",
    "ours_unlimited": "ours, confirming as fast as it can",
    "flask_storing": "Flask that stores (gunicorn, 8 threads)",
    "flask_asking": "Flask + midtransclient (gunicorn, 8 threads)",
}


@dataclass(frozen=True)
class Bench:
    """Where and for how long to measure."""

    cores: Cores
    folder: Path
    seconds: float


def one_round(bench: Bench, number: int, requests: Sequence[bytes]) -> dict[str, dict[str, Any]]:
    """Measure every server once, each on a new database; odd rounds go backwards."""
    names = list(NAMES) if number % 2 == 0 else list(NAMES)[::-1]
    found: dict[str, dict[str, Any]] = {}
    with servers.status_api(bench.folder / f"status-{number}", core=bench.cores.load) as midtrans:
        for name in names:
            folder = bench.folder / f"{name}-{number}"
            with _server(name, folder, bench.cores.server, midtrans.url) as server:
                found[name] = _figures(_measure(bench, name, server, requests))
    return found


def requests_for(seconds: float) -> list[bytes]:
    """Return enough requests for one server's round."""
    return bodies.requests(int(MOST_PER_S * (seconds + WARM_S)))


def _measure(bench: Bench, name: str, server: servers.Running, requests: Sequence[bytes]) -> Seen:
    source: Iterator[bytes] = itertools.cycle(requests) if name == "raw" else iter(requests)

    async def run() -> Seen:
        load = Load(server.port, source)
        return await measure(
            load, connections=CONNECTIONS, warm_s=WARM_S, seconds=bench.seconds, cpu_s=server.cpu_s
        )

    return uvloop.run(run())


def _server(name: str, folder: Path, core: int, midtrans: str) -> AbstractContextManager[servers.Running]:
    match name:
        case "raw":
            raw = (sys.executable, "-m", "benchmarks.raw_asgi", "{port}")
            return servers.running(raw, core=core, folder=folder)
        case "ours":
            return servers.service(folder, core=core, midtrans=midtrans, threads=0)
        case "ours_confirming":
            return servers.service(folder, core=core, midtrans=midtrans)
        case "ours_unlimited":
            return servers.service(folder, core=core, midtrans=midtrans, config=servers.WITHOUT_LIMITS)
        case _:
            command = flask_apps.STORING if name == "flask_storing" else flask_apps.ASKING
            environ = {"BENCH_FOLDER": str(folder), "STATUS_API": midtrans}
            return servers.running(command, core=core, folder=folder, environ=environ)


def _figures(seen: Seen) -> dict[str, Any]:
    return {
        "rate": seen.rate,
        "cpu_us": seen.cpu_us,
        "busy": seen.cpu_s / seen.seconds,
        "p50_ms": seen.latency_ms(0.50),
        "p99_ms": seen.latency_ms(0.99),
        "not_200": seen.not_200,
    }

"""The client: CPU of one get_status beside bare httpx and the official client; what importing it adds.

``python -m benchmarks.client_cost URL`` measures in a process of its own and prints JSON.
"""

import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import midtransclient
from midtransclient.config import ApiConfig

from benchmarks import bodies, machine, servers
from benchmarks.ingest import Bench
from django_midtrans import AsyncMidtransClient, MidtransClient

CALLS = 200
BLOCKS = 9
IMPORTS = 7
ORDER = bodies.order_id(1)
PATH = f"/v2/{ORDER}/status"
_IMPORT = "import time, httpx; t = time.perf_counter(); import django_midtrans.client; print(time.perf_counter() - t)"


def one_round(bench: Bench, number: int) -> dict[str, Any]:
    """Return µs of CPU a call by client, and ms that the import adds to httpx's."""
    with (
        servers.status_api(bench.folder / f"client-{number}", core=bench.cores.server) as midtrans,
        machine.on_core(bench.cores.load),
    ):
        command = [sys.executable, "-m", "benchmarks.client_cost", midtrans.url]
        said = subprocess.run(command, check=True, capture_output=True).stdout
        found: dict[str, Any] = json.loads(said)
        return found | {"import_ms": _import_ms()}


def measure(url: str) -> dict[str, float]:
    """Return the median CPU of a call, in µs, by client; blocks of calls take turns."""
    return _sync(url) | asyncio.run(_async(url))


def _sync(url: str) -> dict[str, float]:
    ApiConfig.CORE_SANDBOX_BASE_URL = url
    official: Any = midtransclient.CoreApi(is_production=False, server_key=bodies.KEY, client_key="")
    with (
        httpx.Client(base_url=url, auth=(bodies.KEY, "")) as bare,
        MidtransClient(bodies.KEY, is_production=False, base_url=url) as ours,
    ):
        calls: dict[str, Callable[[], Any]] = {
            "httpx": lambda: bare.get(PATH).json(),
            "ours": lambda: ours.get_status(ORDER),
            "official": lambda: official.transactions.status(ORDER),
        }
        took: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(BLOCKS):
            for name, call in calls.items():
                began = time.process_time()
                for _ in range(CALLS):
                    call()
                took[name].append(time.process_time() - began)
    return _medians(took)


async def _async(url: str) -> dict[str, float]:
    async with (
        httpx.AsyncClient(base_url=url, auth=(bodies.KEY, "")) as bare,
        AsyncMidtransClient(bodies.KEY, is_production=False, base_url=url) as ours,
    ):

        async def ask_bare() -> Any:
            return (await bare.get(PATH)).json()

        calls: dict[str, Callable[[], Awaitable[Any]]] = {
            "httpx_async": ask_bare,
            "ours_async": lambda: ours.get_status(ORDER),
        }
        took: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(BLOCKS):
            for name, call in calls.items():
                began = time.process_time()
                for _ in range(CALLS):
                    await call()
                took[name].append(time.process_time() - began)
    return _medians(took)


def _medians(took: dict[str, list[float]]) -> dict[str, float]:
    return {name: statistics.median(blocks) / CALLS * 1e6 for name, blocks in took.items()}


def _import_ms() -> float:
    took = [
        float(subprocess.run([sys.executable, "-c", _IMPORT], check=True, capture_output=True).stdout)
        for _ in range(IMPORTS)
    ]
    return statistics.median(took) * 1e3


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1])))

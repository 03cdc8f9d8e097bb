"""What `run` holds: memory, threads, descriptors, queues at rest and on the way; how the files grow."""

import asyncio
import itertools
import re
import time
import urllib.request
from pathlib import Path
from typing import Any

import uvloop

from benchmarks import bodies, servers
from benchmarks.ingest import Bench
from benchmarks.load import Load
from benchmarks.machine import MIB, size
from benchmarks.queue_client import Consumer
from benchmarks.servers import TOKEN

AT_REST_S = 3.0
CONNECTIONS = 16
UNDER_WAY = 500
SAMPLES = 10
"""How often it is looked at on the way."""


def measure(bench: Bench, notifications: int) -> dict[str, Any]:
    """Let *notifications* pass the whole path; return what was held, in order of time, and bytes a notification."""
    folder = bench.folder / "footprint"
    with servers.status_api(bench.folder / "footprint-status", core=bench.cores.load) as midtrans:
        with servers.service(
            folder, core=bench.cores.server, midtrans=midtrans.url, config=servers.WITHOUT_LIMITS
        ) as server:
            time.sleep(AT_REST_S)
            samples = [_sample(server, 0)]
            samples += uvloop.run(_pass(server, notifications))
        database = size(folder / "midtrans.db")  # closed: all of it is in the one file
    raw = len(bodies.notification(0))
    return {
        "notifications": notifications,
        "samples": samples,
        "raw_bytes": raw,
        "database_bytes": database / notifications,
        "beside_raw_bytes": database / notifications - raw,
    }


async def _pass(server: servers.Running, notifications: int) -> list[dict[str, Any]]:
    acked = 0
    load = Load(
        server.port,
        itertools.islice(bodies.endless(), notifications),
        may_send=lambda: load.sent - acked < UNDER_WAY,
    )
    consumer = await Consumer.open(server.port)
    await load.open(CONNECTIONS)
    samples: list[dict[str, Any]] = []
    while acked < notifications:
        orders, now_acked = await consumer.lease(wait_seconds=1)
        acked += now_acked
        load.pump()
        if acked >= notifications * (len(samples) + 1) / SAMPLES:
            samples.append(await asyncio.to_thread(_sample, server, acked))
        if len(orders) < 100:  # noqa: PLR2004
            await asyncio.sleep(0.05)
    consumer.close()
    load.close()
    return samples


def _sample(server: servers.Running, acked: int) -> dict[str, Any]:
    usage = server.usage()
    return {
        "notifications": acked,
        "rss_mib": usage.rss_mib,
        "threads": usage.threads,
        "descriptors": usage.descriptors,
        "wal_mib": _wal(server.folder) / MIB,
        "queued": _queued(server),
    }


def _queued(server: servers.Running) -> int:
    """Return how many receipts and units wait for the writer, and how many receipts to be confirmed."""
    request = urllib.request.Request(f"{server.url}/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        text: str = answer.read().decode()
    found = re.findall(r"^midtrans_(?:writer|receipts)_waiting(?:{.*})? (\S+)$", text, re.MULTILINE)
    return int(sum(float(value) for value in found))


def _wal(folder: Path) -> int:
    return size(folder / "midtrans.db-wal")

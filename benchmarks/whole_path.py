"""The whole path, from a notification to the acked event: how many a second, and how soon."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from benchmarks import bodies, servers
from benchmarks.ingest import Bench
from benchmarks.load import Load, percentile
from benchmarks.queue_client import Consumer

CONNECTIONS = 32
UNDER_WAY = 1000
"""Payments notified and not yet acked: when there are so many, the load waits."""
BATCH = 100
LINGER_S = 0.1
"""How long the consumer lets events gather after a batch that was not full."""
WARM_S = 2.0
STEADY_PER_S = 100
MIDTRANS_S = 0.010


@dataclass
class _Counts:
    acked: int = 0
    calls: int = 0
    arrived_s: dict[int, float] = field(default_factory=dict)


def throughput(bench: Bench, number: int) -> dict[str, Any]:
    """Measure events a second: everything at once, as much under way as keeps the service busy."""
    folder = bench.folder / f"whole-{number}"
    with _midtrans_and_service(bench, folder, delay_s=0.0) as server:
        return uvloop.run(_throughput(bench, server))


def latency(bench: Bench, number: int) -> dict[str, Any]:
    """Measure from a notification's first byte to the event in a waiting consumer's hands, at a steady pace."""
    folder = bench.folder / f"latency-{number}"
    with _midtrans_and_service(bench, folder, delay_s=MIDTRANS_S) as server:
        return uvloop.run(_latency(bench, server))


@contextmanager
def _midtrans_and_service(bench: Bench, folder: Path, *, delay_s: float) -> Iterator[servers.Running]:
    with (
        servers.status_api(folder / "status", core=bench.cores.load, delay_s=delay_s) as midtrans,
        servers.service(
            folder, core=bench.cores.server, midtrans=midtrans.url, config=servers.WITHOUT_LIMITS
        ) as server,
    ):
        yield server


async def _throughput(bench: Bench, server: servers.Running) -> dict[str, Any]:
    counts = _Counts()
    load = Load(server.port, bodies.endless(), may_send=lambda: load.sent - counts.acked < UNDER_WAY)
    consuming = asyncio.ensure_future(_consume(server, load, counts, wait_seconds=1, linger_s=LINGER_S))
    await load.open(CONNECTIONS)
    await asyncio.sleep(WARM_S)
    acked, calls, began, cpu_s = counts.acked, counts.calls, time.perf_counter(), server.cpu_s()
    await asyncio.sleep(2 * bench.seconds)
    seconds, cpu_s = time.perf_counter() - began, server.cpu_s() - cpu_s
    acked, calls = counts.acked - acked, counts.calls - calls
    await _end(load, consuming)
    return {
        "events_per_s": acked / seconds,
        "cpu_us": cpu_s / max(1, acked) * 1e6,
        "busy": cpu_s / seconds,
        "batch": acked / max(1, calls),
        "not_200": load.seen.not_200,
    }


async def _latency(bench: Bench, server: servers.Running) -> dict[str, Any]:
    counts = _Counts()
    began = time.perf_counter()
    load = Load(
        server.port,
        bodies.endless(),
        may_send=lambda: load.sent < (time.perf_counter() - began) * STEADY_PER_S,
    )
    consuming = asyncio.ensure_future(_consume(server, load, counts, wait_seconds=5, linger_s=0.0))
    await load.open(CONNECTIONS)
    cpu_s = server.cpu_s()
    seconds = WARM_S + 2 * bench.seconds
    while time.perf_counter() - began < seconds:
        load.pump()
        await asyncio.sleep(0.001)
    cpu_s = server.cpu_s() - cpu_s
    load.over.set()
    await asyncio.sleep(1.0)  # the last ones arrive
    await _end(load, consuming)
    warm = int(WARM_S * STEADY_PER_S)
    took = [counts.arrived_s[n] - load.sent_at[n] for n in range(warm, load.sent) if n in counts.arrived_s]
    return {
        "p50_ms": percentile(took, 0.50) * 1e3,
        "p99_ms": percentile(took, 0.99) * 1e3,
        "answer_p99_ms": load.seen.latency_ms(0.99),
        "busy": cpu_s / seconds,
        "not_arrived": load.sent - len(counts.arrived_s),
        "not_200": load.seen.not_200,
    }


async def _consume(
    server: servers.Running, load: Load, counts: _Counts, *, wait_seconds: int, linger_s: float
) -> None:
    consumer = await Consumer.open(server.port, limit=BATCH)
    try:
        while True:
            orders, acked = await consumer.lease(wait_seconds=wait_seconds)
            now_s = time.perf_counter()
            counts.arrived_s |= {bodies.number_of(order): now_s for order in orders}
            counts.acked += acked
            counts.calls += 1
            load.pump()
            if linger_s and len(orders) < BATCH:
                await asyncio.sleep(linger_s)
    finally:
        consumer.close()


async def _end(load: Load, consuming: "asyncio.Future[None]") -> None:
    load.close()
    consuming.cancel()
    await asyncio.wait((consuming,))
    if not consuming.cancelled():
        consuming.result()

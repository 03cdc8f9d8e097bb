"""Leasing and acking over HTTP from a log that is full already: in batches, one by one, by many; and procrastinate.

procrastinate is the queue that a Python shop on PostgreSQL would take: one worker runs jobs that do nothing, one after
the other, each fetched and finished in a transaction of its own.
"""

import asyncio
import os
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import psycopg
import uvloop

from benchmarks import log_filling, machine, servers
from benchmarks.ingest import Bench
from benchmarks.machine import on_core
from benchmarks.queue_client import Consumer

BATCH = 100
MANY = 16
FEW_EVENTS = 50_000
WARM_S = 0.5
JOBS_A_SECOND = 2_000
"""More than procrastinate does: so many jobs are made ready."""
POSTGRES = os.environ.get("BENCH_POSTGRES", "postgresql://postgres@127.0.0.1:5432/postgres")
"""A server on which the benchmarks may make and drop databases of their own."""
_OURS = "bench_midtrans"
_THEIRS = "bench_procrastinate"


@dataclass(frozen=True)
class Mode:
    """How events are fetched: *consumers* names, each with *clients* that lease up to *limit* a call."""

    title: str
    limit: int
    consumers: int = 1
    clients: int = 1


MODES = {
    "batches": Mode(f"batches of {BATCH}, one client", BATCH),
    "batches_4": Mode(f"batches of {BATCH}, 4 clients of one consumer", BATCH, clients=4),
    "one": Mode("one by one, the ack in the next call", 1),
    "many": Mode(f"one by one, {MANY} consumers", 1, consumers=MANY),
    "many_clients": Mode(f"one by one, {MANY} clients of one consumer", 1, clients=MANY),
}


def one_round(bench: Bench, number: int, *, events: int, database: str) -> dict[str, Any]:
    """Measure every mode on *database* (``sqlite`` or ``postgres``) and procrastinate; odd rounds go backwards."""
    folder = bench.folder / f"queue-{database}-{events}"  # filled once, for all rounds
    folder.mkdir(parents=True, exist_ok=True)
    url = _url(bench, database, events)
    log_filling.fill(url, events)
    names = list(MODES) if number % 2 == 0 else list(MODES)[::-1]
    found: dict[str, Any] = {"procrastinate": _procrastinate(bench)} if number % 2 == 0 else {}
    for name in names:
        with servers.service(
            folder, core=bench.cores.server, midtrans="http://127.0.0.1:9", threads=0, database=url
        ) as server:
            found[name] = uvloop.run(
                _run(server, MODES[name], bench.seconds, f"r{number}-{name.replace('_', '-')}")
            )
    return found if "procrastinate" in found else found | {"procrastinate": _procrastinate(bench)}


async def _run(server: servers.Running, mode: Mode, seconds: float, prefix: str) -> dict[str, float]:
    clients = [
        await Consumer.open(server.port, limit=mode.limit, name=f"{prefix}-{consumer}")
        for consumer in range(mode.consumers)
        for _ in range(mode.clients)
    ]
    counts = [0] * len(clients)
    running = [asyncio.ensure_future(_lease(client, counts, i)) for i, client in enumerate(clients)]
    await asyncio.sleep(WARM_S)
    acked, began, cpu_s = sum(counts), time.perf_counter(), server.cpu_s()
    await asyncio.wait(running, timeout=seconds)
    acked, took, cpu_s = sum(counts) - acked, time.perf_counter() - began, server.cpu_s() - cpu_s
    for task in running:
        task.cancel()
    await asyncio.wait(running)
    for client in clients:
        client.close()
    return {"rate": acked / took, "cpu_us": cpu_s / max(1, acked) * 1e6, "busy": cpu_s / took}


async def _lease(client: Consumer, counts: list[int], index: int) -> None:
    while True:
        orders, acked = await client.lease(wait_seconds=0)
        counts[index] += acked
        if not orders and not acked:
            return  # the log is read to its end


def _url(bench: Bench, database: str, events: int) -> str:
    if database == "sqlite":
        url = f"sqlite:///{bench.folder / f'queue-sqlite-{events}' / 'midtrans.db'}"
        log_filling.migrated(url)
        return url
    name = f"{_OURS}_{events}"
    with psycopg.connect(POSTGRES, autocommit=True) as connection:
        there = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone()
        if there is None:
            connection.execute(f"CREATE DATABASE {name}")
    url = _on(name).replace("postgresql://", "postgresql+psycopg://", 1)
    log_filling.migrated(url)
    return url


def remove_databases() -> None:
    """Drop every PostgreSQL database that was made here."""
    with psycopg.connect(POSTGRES, autocommit=True) as connection:
        names = connection.execute(
            "SELECT datname FROM pg_database WHERE datname LIKE 'bench\\_%'"
        ).fetchall()
        for (name,) in names:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def _on(database: str) -> str:
    return f"{POSTGRES.rpartition('/')[0]}/{database}"


def _procrastinate(bench: Bench) -> dict[str, float]:
    """Return the rate of one worker that runs jobs one after the other, and its CPU a job."""
    with psycopg.connect(POSTGRES, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {_THEIRS} WITH (FORCE)")
        connection.execute(f"CREATE DATABASE {_THEIRS}")
    command = [sys.executable, "-m", "benchmarks.procrastinate_worker", _on(_THEIRS)]
    jobs = int(JOBS_A_SECOND * (bench.seconds + WARM_S))
    subprocess.run([*command, "defer", str(jobs)], check=True)
    with on_core(bench.cores.server):
        worker = subprocess.Popen([*command, "work"])
    try:
        with closing(psycopg.connect(_on(_THEIRS), autocommit=True)) as connection:
            _until_it_works(connection)
            time.sleep(WARM_S)
            done, began, cpu_s = _done(connection), time.perf_counter(), machine.cpu_s([worker.pid])
            time.sleep(bench.seconds)
            done, took = _done(connection) - done, time.perf_counter() - began
            cpu_s = machine.cpu_s([worker.pid]) - cpu_s
    finally:
        worker.terminate()
        worker.wait()
    return {"rate": done / took, "cpu_us": cpu_s / max(1, done) * 1e6, "busy": cpu_s / took}


def _until_it_works(connection: "psycopg.Connection[Any]") -> None:
    deadline = time.monotonic() + 30
    while not _done(connection):
        if time.monotonic() > deadline:
            raise SystemExit("procrastinate's worker does nothing")
        time.sleep(0.05)


def _done(connection: "psycopg.Connection[Any]") -> int:
    row = connection.execute("SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded'").fetchone()
    return int(row[0]) if row else 0

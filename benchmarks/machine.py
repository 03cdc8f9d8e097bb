"""Cores, processes and the machine, read from /proc: Linux alone."""

import os
import platform
import sqlite3
import statistics
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
MIB = 1024 * 1024
SHOWN = (
    "uvicorn",
    "uvloop",
    "httptools",
    "fastapi",
    "sqlalchemy",
    "httpx",
    "flask",
    "gunicorn",
    "midtransclient",
)


@dataclass(frozen=True)
class Cores:
    """What is measured runs on *server*, everything else on *load*."""

    server: int
    load: int

    @classmethod
    def of_this_machine(cls) -> "Cores":
        """Return two cores this process may use; exits where there is only one."""
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) < 2:  # noqa: PLR2004
            raise SystemExit("two cores are needed: one for what is measured, one for its load")
        return cls(cores[0], cores[-1])


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Have processes started in the block run on *core* alone, their threads too."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass(frozen=True)
class Usage:
    """What a process and its children hold just now."""

    rss_mib: float
    threads: int
    descriptors: int


def family(pid: int) -> list[int]:
    """Return *pid* and the processes below it."""
    found = [pid]
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in path.read_text().split():
            found += family(int(child))
    return found


def cpu_s(pids: Iterable[int]) -> float:
    """Return the CPU seconds, user and system, that *pids* have used since they began."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / TICKS_PER_S


def usage(pid: int) -> Usage:
    """Return what the process *pid* holds."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return Usage(
        rss_mib=int(fields["VmRSS"].split()[0]) / 1024,
        threads=int(fields["Threads"]),
        descriptors=len(list(Path(f"/proc/{pid}/fd").iterdir())),
    )


def size(path: Path) -> int:
    """Return the bytes of a file, 0 when there is none."""
    return path.stat().st_size if path.exists() else 0


def facts(folder: Path) -> dict[str, Any]:
    """Return what the figures depend on."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "fsync_us": round(fsync_us(folder)),
        "load_average": os.getloadavg()[0],
        **{name: version(name) for name in SHOWN},
    }


def fsync_us(folder: Path, times: int = 101) -> float:
    """Return the median time, in µs, of an fsync after writing 4 KiB to a file in *folder*."""
    path = folder / "fsync"
    took: list[float] = []
    with path.open("wb", buffering=0) as file:
        for _ in range(times):
            file.write(b"x" * 4096)
            began = time.perf_counter()
            os.fsync(file.fileno())
            took.append(time.perf_counter() - began)
    path.unlink()
    return statistics.median(took) * 1e6


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()

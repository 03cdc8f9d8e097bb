"""Nobody waits for whoever reads the log."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SCRIPT = """
import sys, structlog
from service import logs
logs.configure(form="json", queued=True)
log = structlog.get_logger()
for number in range(50_000):
    log.info("line", number=number)
print("answered", file=sys.stderr, flush=True)
sys.stdin.readline()
log.info("last")
"""


@pytest.mark.slow
def test_a_pipe_that_nobody_reads_stops_no_one_and_what_is_dropped_is_counted() -> None:
    process = _start()
    assert process.stderr is not None
    assert process.stderr.readline() == "answered\n"  # 3 MB were logged into a pipe of 64 KiB
    out, errors = process.communicate("\n", timeout=20)
    lines = [json.loads(line) for line in out.splitlines()]
    numbers = [line["number"] for line in lines if line["event"] == "line"]
    lost = sum(line["count"] for line in lines if line["event"] == "log_lines_lost")
    assert numbers == sorted(set(numbers))
    assert lost > 0
    assert lost + len(lines) - sum(line["event"] == "log_lines_lost" for line in lines) == 50_001
    assert (process.returncode, errors) == (0, "")


@pytest.mark.slow
def test_a_process_ends_though_nobody_reads_its_log() -> None:
    process = _start()
    assert process.stdin is not None
    assert process.stderr is not None
    process.stdin.write("\n")
    process.stdin.flush()
    assert process.wait(20) == 0
    assert process.stderr.read() == "answered\n"
    for stream in (process.stdin, process.stdout, process.stderr):
        assert stream is not None
        stream.close()


def _start() -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )

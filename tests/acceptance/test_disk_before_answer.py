"""No 2xx leaves before the fsync that covers it: shown by the system calls of the running service."""

import hashlib
import json
import shutil
import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from support.process import SERVICE, ServiceProcess, service_after
from support.services import wanted
from support.trace import Proof, prove, strace

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

KEY = "SB-Mid-server-trace"
ONE_BY_ONE = 15
AT_ONCE = 60
SYNCS_LESS = """
from sqlalchemy import event
import service.db.store as store
writer_engine = store.writer_engine
def without_sync(url, **options):
    engine = writer_engine(url, **options)
    event.listen(engine, "connect", lambda driver, _: driver.execute("PRAGMA synchronous=%s").close())
    return engine
store.writer_engine = without_sync
"""
ANSWERS_FIRST = """
import asyncio
from service.db.store import Store
from service.domain.records import StoredReceipt
receive = Store.receive
def hasty(store, new):
    receive(store, new)
    future = asyncio.get_running_loop().create_future()
    future.set_result(StoredReceipt(new.id, duplicate=False))
    return future
Store.receive = hasty
"""


def notification(number: int) -> str:
    body = {
        "order_id": f"trace-{number}",
        "transaction_id": f"transaction-{number}",
        "transaction_status": "settlement",
        "status_code": "200",
        "gross_amount": "10000.00",
        "payment_type": "gopay",
    }
    text = f"{body['order_id']}{body['status_code']}{body['gross_amount']}{KEY}"
    return json.dumps({**body, "signature_key": hashlib.sha512(text.encode()).hexdigest()})


def traced(folder: Path, port: int, command: Sequence[str]) -> Proof:
    """Run *command* under strace, post one by one and many at once, and return what the trace shows."""
    _need_strace()
    trace = folder / "trace.txt"
    service = ServiceProcess(
        data_dir=folder,
        port=port,
        environ={
            "MIDTRANS_SERVER_KEY": KEY,
            "SERVICE_WORKER_THREADS": "0",
        },  # the notifications' commits alone
        command=(*strace(trace), *command),
    )
    service.start(within_s=60)
    with httpx.Client(base_url=service.url, timeout=30) as client:

        def post(number: int) -> int:
            return client.post("/notifications", content=notification(number)).status_code

        statuses = [post(number) for number in range(ONE_BY_ONE)]
        with ThreadPoolExecutor(16) as pool:
            statuses += pool.map(post, range(ONE_BY_ONE, ONE_BY_ONE + AT_ONCE))
    assert set(statuses) == {200}
    pid = service.pid
    assert service.stop() == 0
    found = prove(_lines(trace, pid))
    assert found.answers == ONE_BY_ONE + AT_ONCE
    return found


def _need_strace() -> None:
    if not shutil.which("strace"):
        wanted("strace is not installed: nothing shows what reaches the disk before an answer")
    if subprocess.run(["strace", "-o", "/dev/null", "true"], check=False, capture_output=True).returncode:
        wanted("strace may not trace here: nothing shows what reaches the disk before an answer")


def _lines(trace: Path, pid: int) -> list[str]:
    """Return the trace once it is whole: strace outlives what it watches by a moment."""
    deadline = time.monotonic() + 20
    while True:
        lines = trace.read_text(encoding="ascii").splitlines()
        if any(line.split()[:2] == [str(pid), "+++"] for line in lines[-20:]):
            return lines
        assert time.monotonic() < deadline, "strace did not end"
        time.sleep(0.1)


def test_no_2xx_leaves_before_the_fsync_that_covers_it(tmp_path: Path, free_port: int) -> None:
    assert traced(tmp_path, free_port, SERVICE).violations == []


@pytest.mark.parametrize("synchronous", ["OFF", "NORMAL"])
def test_the_trace_convicts_a_service_that_does_not_sync_each_commit(
    tmp_path: Path, free_port: int, synchronous: str
) -> None:
    found = traced(tmp_path, free_port, service_after(SYNCS_LESS % synchronous))
    assert len(found.violations) > 0.9 * found.answers


def test_the_trace_convicts_a_service_that_answers_before_its_commit(tmp_path: Path, free_port: int) -> None:
    found = traced(tmp_path, free_port, service_after(ANSWERS_FIRST))
    assert len(found.violations) > 0.5 * found.answers

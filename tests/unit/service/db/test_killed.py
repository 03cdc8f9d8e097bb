"""A process killed at any instruction has kept everything that it had answered."""

import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from uuid import UUID

import pytest

CODE = """
import asyncio, hashlib, sys, uuid
from datetime import UTC, datetime
from service.db.store import Store
from service.domain.records import NewReceipt

def receipt():
    raw = uuid.uuid4().bytes * 40
    return NewReceipt(
        id=uuid.uuid4(), merchant="default", kind="payment", digest=hashlib.sha256(raw).digest(), raw=raw,
        order_id="o", transaction_id="t", transaction_status="settlement", payment_type="qris",
        received_at=datetime.now(UTC), source_address="127.0.0.1", path="/", headers={}, key_fingerprint="k",
        amount_form="text",
    )

async def client(store):
    while True:
        print((await store.receive(receipt())).id, flush=True)

async def main(url):
    store = Store(url, clock=lambda: datetime.now(UTC))
    store.start()
    await asyncio.gather(*[client(store) for _ in range(50)])

asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.slow
def test_every_receipt_that_was_answered_is_there_after_a_kill(url: str, database: Path) -> None:
    answered: set[UUID] = set()
    for _ in range(3):
        # without a buffer: what it held beyond the first line, communicate() would pass over
        process = subprocess.Popen([sys.executable, "-c", CODE, url], stdout=subprocess.PIPE, bufsize=0)
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(random.uniform(0.05, 0.4))
        process.send_signal(signal.SIGKILL)
        rest, _ = process.communicate(timeout=10)
        lines = (first + rest).decode().split("\n")[:-1]  # what was cut off is no answer
        answered |= {UUID(line) for line in lines}
    with sqlite3.connect(database) as connection:
        kept = {UUID(bytes=row[0]) for row in connection.execute("SELECT id FROM receipts")}
        bodies = {UUID(bytes=row[0]) for row in connection.execute("SELECT receipt_id FROM bodies")}
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
    assert len(answered) > 100
    assert answered <= kept
    assert kept == bodies

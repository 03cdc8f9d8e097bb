"""Killed at any moment under load: what was acknowledged reaches an end, nothing is lost, nothing comes twice."""

import json
import random
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import create_engine, select
from support.process import ServiceProcess

from service.db.tables import events, receipts
from service.simulator.server import running_simulator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

KEY = "SB-Mid-server-kill"
KILLS = 10
STATUS_OF = {
    "pending": "pending",
    "settlement": "settled",
    "expire": "expired",
    "cancel": "cancelled",
    "refund": "refunded",
    "partial_refund": "partially_refunded",
}


class Shop(threading.Thread):
    """Charges and lets things happen, and posts each notification until it is acknowledged, as Midtrans would."""

    def __init__(self, account: Any, url: str, name: str) -> None:
        super().__init__(daemon=True)
        self.account = account
        self.url = url
        self.prefix = name
        self.acknowledged: list[str] = []
        self.stopping = threading.Event()
        self.random = random.Random(name)
        self.errors: list[BaseException] = []

    def run(self) -> None:
        try:
            with httpx.Client(timeout=5) as client:
                number = 0
                while not self.stopping.is_set():
                    self._one_payment(client, f"{self.prefix}-{number}")
                    number += 1
        except BaseException as error:  # noqa: BLE001 (told by the test, not by this thread)
            self.errors.append(error)

    def _one_payment(self, client: httpx.Client, order_id: str) -> None:
        answer = self.account.charge(
            {
                "payment_type": "gopay",
                "transaction_details": {"order_id": order_id, "gross_amount": 10_000},
            }
        )
        assert answer["status_code"] == "201", answer
        self._post(client, self.account.notification(order_id))
        ending = self.random.choice(["pay", "cancel", "refund", "partial"])
        if ending == "cancel":
            self.account.cancel(order_id)
            self._post(client, self.account.notification(order_id))
            return
        self._post(client, self.account.pay(order_id))
        if ending != "pay":
            amount = 10_000 if ending == "refund" else 4_000
            self.account.refund(order_id, {"refund_key": f"r-{order_id}", "amount": amount, "reason": "x"})
            self._post(client, self.account.notification(order_id))

    def _post(self, client: httpx.Client, body: dict[str, Any]) -> None:
        while not self.stopping.is_set():
            try:
                answer = client.post(f"{self.url}/notifications", content=json.dumps(body))
            except httpx.TransportError:
                time.sleep(0.02)
                continue
            assert answer.status_code in (200, 429, 507), answer.text
            if answer.status_code == 200:
                self.acknowledged.append(answer.json()["id"])
                return
            time.sleep(0.02)


def test_nothing_acknowledged_is_lost_or_doubled_by_ten_kills(tmp_path: Path, free_port: int) -> None:
    dice = random.Random(20261122)
    with running_simulator(notify_url=None, server_keys=[KEY]) as running:  # this test posts by itself
        account = running.simulator.midtrans.account(KEY)
        service = ServiceProcess(
            data_dir=tmp_path,
            port=free_port,
            environ={"MIDTRANS_SERVER_KEY": KEY, "MIDTRANS_BASE_URL": running.url},
        )
        shops = [Shop(account, service.url, f"shop{number}") for number in range(4)]
        service.start()
        for shop in shops:
            shop.start()
        for _ in range(KILLS):
            time.sleep(dice.uniform(0.1, 0.8))
            service.kill()
            service.start()
        time.sleep(0.5)
        for shop in shops:
            shop.stopping.set()
            shop.join(20)
        assert [error for shop in shops for error in shop.errors] == []
        acknowledged = {one for shop in shops for one in shop.acknowledged}
        _wait_until_ended(tmp_path / "midtrans.db", acknowledged)
        assert service.stop() == 0
        _check(tmp_path / "midtrans.db", account)


def _rows(path: Path, query: Any) -> list[Any]:
    engine = create_engine(f"sqlite+pysqlite:///{path}")
    try:
        with engine.connect() as connection:
            return list(connection.execute(query).all())
    finally:
        engine.dispose()


def _wait_until_ended(path: Path, acknowledged: set[str]) -> None:
    assert len(acknowledged) > 100
    query = select(receipts.c.id, receipts.c.state, receipts.c.reason)
    deadline = time.monotonic() + 120
    while True:
        states = {str(row.id): (row.state, row.reason) for row in _rows(path, query)}
        missing = acknowledged - states.keys()
        assert not missing, f"{len(missing)} acknowledged receipts are not on the disk"
        unfinished = {states[one] for one in acknowledged if states[one][0] == "waiting"}
        if not unfinished:
            held = {states[one] for one in acknowledged} - {
                ("applied", None),
                ("unchanged", None),
                ("stale", None),
            }
            assert not held, held
            return
        assert time.monotonic() < deadline, unfinished
        time.sleep(0.2)


def _check(path: Path, account: Any) -> None:
    rows = _rows(path, select(events.c.position, events.c.id, events.c.body).order_by(events.c.position))
    assert [row.position for row in rows] == list(range(1, len(rows) + 1))
    assert len({row.id for row in rows}) == len(rows)
    told: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        event = json.loads(row.body)
        told[event["data"]["transaction_id"]].append(event)
    for transaction_id, of_payment in told.items():
        assert [int(event["sequence"]) for event in of_payment] == list(range(1, len(of_payment) + 1))
        last = of_payment[-1]["data"]["status"]
        assert last == STATUS_OF[account.status(transaction_id)["transaction_status"]]
        happened = [STATUS_OF[status] for status in account.find(transaction_id).history]
        remaining = iter(happened)
        assert all(event["data"]["status"] in remaining for event in of_payment), (happened, of_payment)

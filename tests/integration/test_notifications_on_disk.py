"""A 2xx means: on disk. The endpoint under uvicorn with the real store, looked at through another connection."""

import hashlib
import http.client
import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import uvicorn

from service.api.notifications import NotificationEndpoint
from service.db.migrate import upgrade
from service.db.store import Store
from service.domain.merchant import Merchant
from service.flow.receive import Receiver
from service.metrics import Metrics
from service.oddities import OddityRings

KEY = "example-server-key"


class Service:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = Store(f"sqlite:///{path}", clock=lambda: datetime.now(UTC))
        self.oddities = OddityRings(self.store, pause_s=0.01)
        self.metrics = Metrics()
        receiver = Receiver(
            {"default": Merchant("default", (KEY,))}, receipts=self.store, oddities=self.oddities
        )
        self.endpoint = NotificationEndpoint(receiver, clock=lambda: datetime.now(UTC), metrics=self.metrics)
        self.port = 0

    def post(self, body: bytes) -> tuple[int, Any]:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)) as connection:
            connection.request("POST", "/notifications", body)
            response = connection.getresponse()
            return response.status, json.loads(response.read())

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute(sql).fetchall()


def notification(order_id: str, *, key: str = KEY) -> bytes:
    signed = hashlib.sha512(f"{order_id}2001000.00{key}".encode()).hexdigest()
    fields = {"order_id": order_id, "status_code": "200", "gross_amount": "1000.00"}
    return json.dumps({**fields, "transaction_status": "settlement", "signature_key": signed}).encode()


@contextmanager
def running(service: Service) -> Iterator[Service]:
    config = uvicorn.Config(
        service.endpoint, port=0, loop="uvloop", http="httptools", ws="none", lifespan="off", log_config=None
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    service.port = server.servers[0].sockets[0].getsockname()[1]
    yield service
    server.should_exit = True
    thread.join()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    path = tmp_path / "midtrans.db"
    upgrade(f"sqlite:///{path}")
    made = Service(path)
    made.store.start()
    with running(made):
        yield made
    made.oddities.close()
    made.store.close()


def test_what_was_answered_200_is_on_disk(service: Service) -> None:
    body = notification("order-1")
    status, answer = service.post(body)
    assert (status, answer["status"]) == (200, "accepted")
    ((receipt_id, order_id, raw),) = service.rows(
        "SELECT receipts.id, order_id, raw FROM receipts JOIN bodies ON bodies.receipt_id = receipts.id"
    )
    assert (UUID(bytes=receipt_id), order_id, raw) == (UUID(answer["id"]), "order-1", body)


def test_one_receipt_is_made_however_many_send_the_same_bytes_at_once(service: Service) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(service.post, [notification("order-1")] * 40))
    assert {status for status, _ in answers} == {200}
    assert sorted(answer["status"] for _, answer in answers) == ["accepted"] + ["duplicate"] * 39
    assert len({answer["id"] for _, answer in answers}) == 1
    assert service.rows("SELECT count(*) FROM receipts") == [(1,)]


def test_what_was_refused_is_written_soon_after(service: Service) -> None:
    assert service.post(notification("order-1", key="stranger"))[0] == 403
    assert service.post(notification("payment_notif_test_1"))[0] == 200
    deadline = time.monotonic() + 5
    while len(kept := service.rows("SELECT merchant, reason FROM oddities")) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert sorted(kept) == [("default", "signature"), ("default", "test")]
    assert service.rows("SELECT count(*) FROM receipts") == [(0,)]


def test_a_store_that_is_closed_is_507(service: Service) -> None:
    service.store.close()
    status, answer = service.post(notification("order-1"))
    assert (status, answer["error"]) == (507, "not_stored")


def test_answers_are_counted_where_prometheus_reads_them(service: Service) -> None:
    service.post(notification("order-1"))
    service.post(b"")
    service.store.close()
    text = service.metrics.render()[0].decode()
    lines = [line for line in text.splitlines() if "notifications_total{" in line]
    assert any('answer="accepted"' in line and line.endswith(" 1.0") for line in lines)
    assert any('answer="not_json"' in line for line in lines)

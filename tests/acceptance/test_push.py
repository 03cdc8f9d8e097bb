"""`python -m service run` with a push consumer of its settings: killed in mid-push, nothing is lost or overtaken."""

import contextlib
import json
import random
import sqlite3
import time
import uuid
from pathlib import Path

import pytest
from sqlalchemy import insert
from standardwebhooks.webhooks import Webhook
from support.process import ServiceProcess
from support.pushing import SECRET
from support.receiver import Behaviour, Got, Receiver, after, hang, reply

from service.app import utc_now
from service.db.migrate import upgrade
from service.db.store import Store
from service.db.tables import events
from service.db.topic import Topic
from service.db.unit import Unit

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PAYMENTS, EACH = 8, 12


def write_events(url: str) -> None:
    """Log EACH events for every one of PAYMENTS, in turn, while no service runs."""

    def work(unit: Unit) -> None:
        for number in range(1, PAYMENTS * EACH + 1):
            payment = f"payment-{number % PAYMENTS}"
            row = {
                "id": uuid.UUID(int=number),
                "merchant": "default",
                "transaction_id": payment,
                "sequence": number,
                "order_id": payment,
                "type": "midtrans.payment.settled",
                "made_at": unit.now,
                "body": json.dumps({"id": str(uuid.UUID(int=number)), "data": {"p": payment, "n": number}}),
            }
            unit.connection.execute(insert(events).values(**row))
        unit.announce(Topic.EVENTS)

    store = Store(url, clock=utc_now)
    store.start()
    store.write(work).result(10)
    store.close()


def service_for(folder: Path, port: int, receiver: Receiver) -> ServiceProcess:
    (folder / "secrets").write_text(f"{SECRET}\n", encoding="ascii")
    config = folder / "service.toml"
    config.write_text(
        f"""
        [push]
        allow = ["127.0.0.1/32"]
        [consumers.shipping]
        start = "beginning"
        [consumers.shipping.push]
        url = "{receiver.url}"
        secrets_file = "secrets"
        timeout_seconds = 1
        concurrency = 4
        """,
        encoding="ascii",
    )
    url = f"sqlite:///{folder / 'midtrans.db'}"
    upgrade(url)
    write_events(url)
    environ = {"SERVICE_CONFIG": str(config), "MIDTRANS_SERVER_KEY": "SB-Mid-server-push"}
    return ServiceProcess(data_dir=folder, port=port, environ=environ)


def test_a_service_killed_in_mid_push_loses_nothing_and_overtakes_nothing(
    tmp_path: Path, free_port: int
) -> None:
    dice = random.Random(20261122)
    acked: list[Got] = []

    def behave(got: Got) -> Behaviour:
        if dice.random() < 0.1:
            return reply(500)
        if dice.random() < 0.05:
            return hang

        async def ack(got: Got, writer: object) -> None:
            await after(0.05, reply(204))(got, writer)  # type: ignore[arg-type]
            acked.append(got)

        return ack

    with Receiver() as receiver:
        receiver.behave = behave
        service = service_for(tmp_path, free_port, receiver)
        try:
            for _ in range(5):
                service.start()
                count = len(receiver.got)
                receiver.wait_for(count + 3, within_s=40)
                time.sleep(dice.uniform(0, 0.1))
                service.kill()
            service.start()
            deadline_s = time.monotonic() + 150
            while len({got.number for got in acked}) < PAYMENTS * EACH:
                assert time.monotonic() < deadline_s, len(acked)
                time.sleep(0.1)
            time.sleep(0.3)
            assert service.stop() == 0
            assert not service.failures()
        finally:
            service.kill()
    for payment in range(PAYMENTS):
        in_order_of_arrival(f"payment-{payment}", receiver.got)
    for got in receiver.got:
        Webhook(SECRET).verify(
            got.body, {**got.headers, "webhook-timestamp": got.headers["webhook-timestamp"]}
        )
    assert SECRET not in service.log_text()
    with contextlib.closing(sqlite3.connect(tmp_path / "midtrans.db")) as connection:
        assert connection.execute("SELECT count(*) FROM deliveries").fetchone() == (0,)


def in_order_of_arrival(payment: str, got: list[Got]) -> None:
    """An event may come again, but none comes before an earlier one, nor again once a later one has come."""
    numbers = [one.number for one in got if one.payment == payment]
    assert numbers == sorted(numbers)
    assert len(set(numbers)) == EACH

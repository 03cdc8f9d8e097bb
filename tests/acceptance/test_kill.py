"""Killed at any moment under load: what was acknowledged reaches an end, nothing is lost, nothing comes twice."""

import random
import time
from pathlib import Path

import pytest
from support.process import ServiceProcess
from support.proof import check_deliveries, check_file, check_payments, events_of, wait_until_ended
from support.shop import Queue, Reader, Shop

from service.simulator.server import running_simulator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

KEY = "SB-Mid-server-kill"
KILLS = 30
SHOPS = 3
DRAINED_WITHIN_S = 60


def test_nothing_acknowledged_is_lost_or_doubled_by_thirty_kills(tmp_path: Path, free_port: int) -> None:
    database = tmp_path / "midtrans.db"
    with running_simulator(notify_url=None, server_keys=[KEY]) as running:  # this test posts by itself
        account = running.simulator.midtrans.account(KEY)
        service = ServiceProcess(
            data_dir=tmp_path,
            port=free_port,
            environ={"MIDTRANS_SERVER_KEY": KEY, "MIDTRANS_BASE_URL": running.url},
        )
        shops = [Shop(account, service.url, f"shop{number}") for number in range(SHOPS)]
        queue, reader = Queue(service.url), Reader(service.url)
        service.start()
        queue.make()
        for companion in (*shops, queue, reader):
            companion.start()
        _kill_again_and_again(service)
        for shop in shops:
            shop.finish()
        acknowledged = {one for shop in shops for one in shop.acknowledged}
        assert len(acknowledged) > 10 * KILLS
        wait_until_ended(database, acknowledged)
        events = events_of(database)
        _wait_until_read(queue, reader, len(events))
        queue.finish()
        reader.finish()
        assert service.stop() == 0
        check_file(database)
        check_payments(events, account)
        check_deliveries(queue.delivered, events)
        assert [event_id for _, event_id in reader.read] == [event["id"] for event in events]
        assert service.failures() == []


def _kill_again_and_again(service: ServiceProcess) -> None:
    """Kill at random moments: mostly under load, every fourth time while it starts."""
    dice = random.Random(20261122)
    for number in range(KILLS):
        time.sleep(dice.uniform(0.05, 0.8))
        service.kill()
        service.spawn()
        if number % 4 != 3:
            service.wait_until_ready()
    service.wait_until_ready()
    time.sleep(0.5)


def _wait_until_read(queue: Queue, reader: Reader, count: int) -> None:
    """Wait until all *count* events were delivered and read; a lease lost again and again comes back late."""
    deadline = time.monotonic() + DRAINED_WITHIN_S
    while len({event["id"] for event in queue.delivered}) < count or len(reader.read) < count:
        assert time.monotonic() < deadline, "events were not delivered, or not read"
        time.sleep(0.2)

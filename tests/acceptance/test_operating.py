"""The operator's tools against a service that runs: backup, restore, tail and doctor, as processes of their own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.process import OPERATOR, ROOT, ServiceProcess

from service.simulator.server import running_simulator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

KEY = "SB-Mid-server-operating"
AUTH = {"Authorization": f"Bearer {OPERATOR}"}


@dataclass
class Site:
    """A service beside a simulator whose notifications tests post by hand, and its operator's shell."""

    service: ServiceProcess
    account: Any
    environ: dict[str, str]
    data: Path

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "service", *arguments],
            env=self.environ,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def popen(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "service", *arguments],
            env=self.environ,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def charge(self, order_id: str) -> None:
        details = {"order_id": order_id, "gross_amount": 10_000}
        self.account.charge({"payment_type": "gopay", "transaction_details": details})
        self.notify(self.account.notification(order_id))

    def notify(self, body: dict[str, Any]) -> None:
        httpx.post(f"{self.service.url}/notifications", json=body).raise_for_status()

    def call(self, method: str, path: str, **options: Any) -> httpx.Response:
        return httpx.request(method, f"{self.service.url}{path}", headers=AUTH, timeout=30, **options)

    def events(self, count: int) -> list[dict[str, Any]]:
        """Return the log once it holds *count* events."""
        deadline = time.monotonic() + 30
        while True:
            found: list[dict[str, Any]] = self.call("GET", "/v1/events").json()["events"]
            if len(found) >= count or time.monotonic() > deadline:
                assert len(found) == count, self.service.log_text()
                return found
            time.sleep(0.05)

    def lease(self, ack: list[str] | None = None) -> list[dict[str, Any]]:
        """Lease what there is, as soon as there is something."""
        body = {"limit": 100, "wait_seconds": 10, "ack": ack or []}
        answer = self.call("POST", "/v1/consumers/shipping/lease", json=body)
        deliveries: list[dict[str, Any]] = answer.json()["deliveries"]
        return deliveries


@pytest.fixture
def site(tmp_path: Path, free_port: int) -> Iterator[Site]:
    data = tmp_path / "data"
    data.mkdir()
    with running_simulator(notify_url=None, server_keys=[KEY]) as simulator:
        asked = {"MIDTRANS_SERVER_KEY": KEY, "MIDTRANS_BASE_URL": simulator.url}
        service = ServiceProcess(data_dir=data, port=free_port, environ=asked)
        here = {"SERVICE_DATA_DIR": str(data), "SERVICE_PORT": str(free_port)}
        environ = {**os.environ, **asked, **here, "SERVICE_OPERATOR_TOKEN": OPERATOR}
        service.start()
        try:
            yield Site(service, simulator.simulator.midtrans.account(KEY), environ, data)
        finally:
            service.kill()


def facts(event: dict[str, Any]) -> tuple[str, str, str]:
    return event["id"], event["subject"], event["type"].rpartition(".")[2]


def test_a_restored_service_goes_on_with_nothing_lost_and_every_id_as_it_was(
    site: Site, tmp_path: Path
) -> None:
    site.call(
        "PUT", "/v1/consumers/shipping", json={"start": "beginning", "lease_seconds": 2}
    ).raise_for_status()
    site.charge("paid")
    site.charge("open")
    site.events(2)  # a payment that is paid before it is asked about would be told of once
    site.notify(site.account.pay("paid"))
    site.events(3)
    handled = {facts(delivery["event"]) for delivery in site.lease()}
    backup = tmp_path / "backup.db"
    made = site.command("backup", str(backup), "--json")
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["rows"]["events"] == 3

    # After the backup: what was open is paid, what was paid is refunded, and the machine is lost with it.
    site.notify(site.account.pay("open"))
    site.account.refund("paid", {"refund_key": "r-1", "amount": 10_000, "reason": "x"})
    site.notify(site.account.notification("paid"))
    before = site.events(5)
    after_all = before[-1]["position"]
    site.service.kill()

    restored = site.command("restore", str(backup), "--replace", "--json")
    assert restored.returncode == 0, restored.stderr
    site.service.start()
    gone = site.call("GET", "/v1/events", params={"after": after_all})
    assert (gone.status_code, "go on from" in gone.json()["detail"]) == (410, True)
    # Nobody tells of it again: the service asks by itself.
    after = site.events(5)
    assert {facts(entry["event"]) for entry in after} == {facts(entry["event"]) for entry in before}
    assert after[-1]["position"].split("-")[0] == json.loads(restored.stdout)["epoch"]

    seen: dict[str, tuple[str, str, str]] = {}
    deadline = time.monotonic() + 60
    ack: list[str] = []
    while len(seen) < 5 and time.monotonic() < deadline:
        deliveries = site.lease(ack)
        ack = [delivery["lease"] for delivery in deliveries]
        seen |= {delivery["event"]["id"]: facts(delivery["event"]) for delivery in deliveries}
    assert handled <= set(seen.values())
    assert set(seen.values()) == {facts(entry["event"]) for entry in before}
    site.charge("new")
    site.events(6)


def test_a_service_that_runs_is_neither_replaced_nor_disturbed(site: Site, tmp_path: Path) -> None:
    site.charge("order-1")
    site.events(1)
    backup = tmp_path / "backup.db"
    assert site.command("backup", str(backup)).returncode == 0
    again = site.command("backup", str(backup))
    assert (again.returncode, "already" in again.stderr, "Traceback" in again.stderr) == (1, True, False)
    refused = site.command("restore", str(backup), "--replace")
    assert (refused.returncode, "end the service first" in refused.stderr) == (1, True)
    site.charge("order-2")
    site.events(2)


@contextmanager
def tailing(site: Site, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    with site.popen("tail", *arguments) as process:
        try:
            yield process
        finally:
            process.kill()


def test_tail_shows_events_as_they_come_and_survives_a_restart(site: Site) -> None:
    site.charge("before")
    site.events(1)
    with tailing(site, "--from", "beginning") as process:
        assert process.stdout is not None
        assert "before" in process.stdout.readline()
        site.service.kill()
        time.sleep(1)
        site.service.start()
        site.charge("after")
        shown = process.stdout.readline()
        assert "pending" in shown
        assert "after" in shown
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate(timeout=20)
    assert (process.returncode, rest) == (0, "")
    assert "does not answer" in errors
    assert "answers again" in errors
    assert "Traceback" not in errors


def test_doctor_finds_nothing_wrong_with_a_service_that_runs(site: Site) -> None:
    result = site.command("doctor", "--url", site.service.url, "--json")
    found = json.loads(result.stdout)
    levels = {finding["check"]: finding["level"] for finding in found["findings"]}
    assert result.returncode == 0, result.stdout
    assert {check for check, level in levels.items() if level == "warning"} <= {
        "public address",
        "disk speed",
    }
    assert levels["key 1 of default"] == levels["service"] == levels["database commit"] == "ok"
    assert KEY not in result.stdout


def test_doctor_exits_1_when_something_fails_and_2_when_the_settings_do(site: Site) -> None:
    site.environ["MIDTRANS_SERVER_KEY"] = "SB-Mid-server-another"
    failed = site.command("doctor")
    assert failed.returncode == 1
    assert "✗ failed" in failed.stdout
    assert "→ compare key and is_production" in failed.stdout
    site.environ |= {"SERVICE_PORT": "eight", "SERVICE_HOST": " "}
    wrong = site.command("doctor", "--json")
    assert wrong.returncode == 2
    (finding,) = json.loads(wrong.stdout)["findings"]
    assert ("SERVICE_PORT" in finding["says"], "SERVICE_HOST" in finding["says"]) == (True, True)

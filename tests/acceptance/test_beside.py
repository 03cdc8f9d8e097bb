"""Beside an existing handler: one charge with X-Append-Notification notifies both, and neither needs the other."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.process import OPERATOR, ServiceProcess

from service.simulator.server import running_simulator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

KEY = "SB-Mid-server-beside"


@contextmanager
def handler() -> Iterator[tuple[str, list[bytes]]]:
    """Run what a shop has already: it takes every notification and answers 200."""
    got: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/midtrans/notify", got
        finally:
            server.shutdown()
            thread.join()


def statuses(bodies: list[bytes]) -> list[str]:
    return [json.loads(body)["transaction_status"] for body in bodies]


def wait(told: Any, expected: list[str]) -> None:
    deadline = time.monotonic() + 30
    while sorted(told()) != sorted(expected):
        assert time.monotonic() < deadline, told()
        time.sleep(0.05)


def charge(simulator_url: str, order_id: str, **headers: str) -> None:
    details = {"order_id": order_id, "gross_amount": 10_000}
    body = {"payment_type": "gopay", "transaction_details": details}
    answer = httpx.post(f"{simulator_url}/v2/charge", json=body, headers=headers, auth=(KEY, ""))
    assert answer.json()["status_code"] == "201", answer.text


def test_one_charge_notifies_the_old_handler_and_the_service(tmp_path: Path, free_port: int) -> None:
    with handler() as (old_url, got), running_simulator(notify_url=old_url, server_keys=[KEY]) as simulator:
        environ = {"MIDTRANS_SERVER_KEY": KEY, "MIDTRANS_BASE_URL": simulator.url}
        service = ServiceProcess(data_dir=tmp_path, port=free_port, environ=environ)
        service.start()
        try:
            append = {"X-Append-Notification": f"{service.url}/notifications"}
            charge(simulator.url, "beside", **append)
            charge(simulator.url, "old-alone")

            def events() -> list[str]:
                answer = httpx.get(
                    f"{service.url}/v1/events", headers={"Authorization": f"Bearer {OPERATOR}"}
                )
                return [
                    f"{entry['event']['subject']} {entry['event']['data']['status']}"
                    for entry in answer.json()["events"]
                ]

            wait(events, ["beside pending"])  # paid before it is asked about, it would be told of once
            httpx.post(f"{simulator.url}/simulator/pay/beside").raise_for_status()
            httpx.post(f"{simulator.url}/simulator/pay/old-alone").raise_for_status()
            wait(events, ["beside pending", "beside settled"])
            wait(lambda: statuses(got), ["pending", "settlement"] * 2)
            service.kill()  # the old handler never notices
            charge(simulator.url, "later", **append)
            wait(lambda: statuses(got), ["pending", "settlement"] * 2 + ["pending"])
        finally:
            service.kill()

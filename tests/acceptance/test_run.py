"""``python -m service run`` as its users start and end it: a process of its own, signals, a real socket."""

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from django_midtrans.signature import expected_signature

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]

KEY = "SB-Mid-server-of-the-tests"
START_S = 30.0
END_S = 5.0


class Running:
    """A service in a process group of its own, with what it wrote."""

    def __init__(self, *arguments: str, data: Path, **environ: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "service", *arguments],
            env={**os.environ, "SERVICE_DATA_DIR": str(data), **environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def wait_for(self, pattern: str, timeout_s: float = START_S) -> re.Match[str]:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if found := re.search(pattern, self.output):
                return found
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError(f"{pattern!r} did not show; the service said:\n{self.output}")

    def url(self) -> str:
        return self.wait_for(r"service\s+(http://\S+)")[1]

    def end(self, number: signal.Signals = signal.SIGINT, times: int = 1) -> tuple[int, float]:
        """Signal the whole group, as a terminal does; return the exit code and how long it took."""
        started = time.monotonic()
        for _ in range(times):
            os.killpg(self.process.pid, number)
            time.sleep(0.05)
        code = self.process.wait(30)
        taken = time.monotonic() - started
        self._reader.join(5)
        return code, taken

    def kill(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)
        self._reader.join(5)
        if self.process.stdout is not None:
            self.process.stdout.close()


class Start:
    """Starts services and ends what a test left running."""

    def __init__(self, stack: ExitStack, data: Path) -> None:
        self._stack = stack
        self.data = data

    def __call__(self, *arguments: str, **environ: str) -> Running:
        running = Running(*arguments, data=self.data, **environ)
        self._stack.callback(running.kill)
        return running


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as stack:
        yield Start(stack, tmp_path)


def body(order_id: str) -> bytes:
    signature = expected_signature(order_id, "200", "150000.00", KEY)
    return json.dumps(
        {
            "order_id": order_id,
            "transaction_id": f"t-{order_id}",
            "transaction_status": "settlement",
            "payment_type": "qris",
            "status_code": "200",
            "gross_amount": "150000.00",
            "transaction_time": "2026-11-22 10:00:00",
            "signature_key": signature,
        }
    ).encode()


def leave_alone(port: int) -> dict[str, str]:
    """Return settings with a key, and nobody to ask: what is received stays to be confirmed."""
    return {
        "MIDTRANS_SERVER_KEY": KEY,
        "MIDTRANS_BASE_URL": "http://127.0.0.1:9",
        "SERVICE_PORT": str(port),
        "SERVICE_WORKER_THREADS": "0",
    }


def test_a_newcomer_sees_payments_flow_and_leases_them_with_the_printed_curl(
    start: Start, free_port: int
) -> None:
    running = start("run", "--try-out", SERVICE_PORT=str(free_port))
    made, leased = (_curl(running, call) for call in ("/shipping ", "/lease "))
    assert made.wait_s() < START_S
    types = _all_types(made, leased)
    wanted = {"settled", "expired", "refunded", "challenged"}
    assert wanted <= {kind.rpartition(".")[2] for kind in types}
    assert "● notification" in running.output
    assert "↳ confirmed" in running.output
    assert "▶ event" in running.output
    assert running.lines[0].startswith("DEMO")
    assert re.search(r"simulator\s+http://127\.0\.0\.1:\d+", running.output)
    code, taken = running.end()
    assert (code, taken < END_S) == (0, True), running.output


class _Curl:
    """The call that a printed ``curl`` makes, made with httpx."""

    def __init__(self, method: str, url: str, headers: dict[str, str], data: str) -> None:
        self.method, self.url, self.headers, self.data = method, url, headers, data

    def __call__(self, data: str | None = None) -> httpx.Response:
        return httpx.request(
            self.method, self.url, headers=self.headers, content=data or self.data, timeout=30
        )

    def wait_s(self) -> float:
        """Make the call until it succeeds; return how long that took."""
        started = time.monotonic()
        while not self().is_success:
            assert time.monotonic() - started < START_S, self().text
            time.sleep(0.1)
        return time.monotonic() - started


def _curl(running: Running, call: str) -> _Curl:
    line = running.wait_for(rf"  curl (-X PUT )?(http\S+?{call.strip()}) -H \"(.+?): (.+?)\" -d '(.+?)'")
    method = "PUT" if line[1] else "POST"
    return _Curl(method, line[2], {line[3]: line[4]}, line[5])


def _all_types(made: _Curl, leased: _Curl) -> set[str]:
    """Lease and ack for some seconds, as the printed calls do; return the types of the events."""
    assert made().status_code in {200, 201}
    types: set[str] = set()
    deadline = time.monotonic() + 20
    ack: list[str] = []
    while time.monotonic() < deadline and "midtrans.payment.refunded" not in types:
        answer = leased(json.dumps({"limit": 10, "wait_seconds": 2, "ack": ack}))
        assert answer.status_code == 200, answer.text
        deliveries = answer.json()["deliveries"]
        ack = [delivery["lease"] for delivery in deliveries]
        types |= {delivery["event"]["type"] for delivery in deliveries}
    return types


def test_with_a_key_there_is_no_simulator_and_the_first_line_says_where_money_is(
    start: Start, free_port: int
) -> None:
    running = start("run", "--try-out", **leave_alone(free_port))
    running.wait_for("Ctrl-C")
    assert running.lines[0].startswith("sandbox: merchant default")
    assert "simulator" not in running.output
    assert "https://YOUR-HOST/notifications" in running.output
    running.end()
    running = start("run", **leave_alone(free_port), MIDTRANS_IS_PRODUCTION="true")
    running.wait_for("Ctrl-C")
    assert running.output.splitlines()[0].startswith(("PRODUCTION: merchant default", "{"))
    assert "PRODUCTION: merchant default" in running.output
    assert KEY not in running.output
    running.end()


@pytest.mark.parametrize(
    ("number", "times"), [(signal.SIGINT, 1), (signal.SIGTERM, 1), (signal.SIGINT, 3), (signal.SIGTERM, 2)]
)
def test_it_ends_in_time_with_nothing_lost(
    number: signal.Signals, times: int, start: Start, free_port: int
) -> None:
    running = start("run", **leave_alone(free_port))
    url = running.url()
    for place in range(20):
        assert (
            httpx.post(f"{url}/notifications", content=body(f"order-{place}")).json()["status"] == "accepted"
        )
    with httpx.Client() as client:  # a connection that stays open holds nobody up
        assert client.get(f"{url}/healthz").status_code == 200
        code, taken = running.end(number, times)
    assert code == 0, running.output
    assert taken < END_S
    assert "Traceback" not in running.output
    again = start("run", **leave_alone(free_port))
    url = again.url()
    for place in range(20):
        assert (
            httpx.post(f"{url}/notifications", content=body(f"order-{place}")).json()["status"] == "duplicate"
        )


def test_a_consumer_that_waits_does_not_hold_up_the_end(start: Start, free_port: int) -> None:
    running = start("run", **leave_alone(free_port))
    url = running.url()
    token = (start.data / "operator.token").read_text().strip()
    headers = {"Authorization": f"Bearer {token}"}
    httpx.put(f"{url}/v1/consumers/shipping", headers=headers, json={}).raise_for_status()
    answers: list[object] = []

    def wait() -> None:
        answer = httpx.post(
            f"{url}/v1/consumers/shipping/lease", headers=headers, json={"wait_seconds": 20}, timeout=30
        )
        answers.append(answer.json()["deliveries"])

    waiting = threading.Thread(target=wait)
    waiting.start()
    time.sleep(0.5)
    code, taken = running.end(signal.SIGTERM)
    waiting.join(10)
    assert (code, answers) == (0, [[]])
    assert taken < END_S


def test_a_taken_port_gives_way_when_trying_out_and_is_refused_else(start: Start, free_port: int) -> None:
    with socket.create_server(("127.0.0.1", free_port)):
        trying = start("run", "--try-out", **leave_alone(free_port))
        assert not trying.url().endswith(f":{free_port}")
        assert f"Port {free_port} is taken" in trying.output
        assert httpx.get(f"{trying.url()}/readyz").status_code == 200
        trying.end()
        refused = start("run", **leave_alone(free_port))
        assert refused.process.wait(START_S) == 2
        assert f"port {free_port} of 127.0.0.1 is taken" in refused.output


def test_without_a_key_it_refuses_and_leaves_nothing_behind(start: Start) -> None:
    refused = start("run")
    assert refused.process.wait(START_S) == 2
    refused.wait_for("MIDTRANS_SERVER_KEY")
    assert "make run" in refused.output
    assert "Traceback" not in refused.output
    assert list(start.data.iterdir()) == []


def test_a_wrong_setting_is_said_in_words(start: Start) -> None:
    refused = start("run", SERVICE_PORT="eight", MIDTRANS_SERVER_KEY=f" {KEY}")
    assert refused.process.wait(START_S) == 2
    refused.wait_for("2 settings are wrong")
    assert KEY not in refused.output


def test_the_first_start_makes_the_operators_token_and_shows_it_once(start: Start, free_port: int) -> None:
    first = start("run", **leave_alone(free_port))
    shown = first.wait_for(r"token\s+(mts_\S+)")[1]
    path = start.data / "operator.token"
    assert path.read_text().strip() == shown
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    first.end()
    second = start("run", **leave_alone(free_port))
    url = second.url()
    second.wait_for("Ctrl-C")
    assert shown not in second.output
    assert httpx.get(f"{url}/metrics", headers={"Authorization": f"Bearer {shown}"}).status_code == 200
    assert httpx.get(f"{url}/metrics").status_code == 401


def test_the_consumers_of_the_settings_are_there_and_follow_the_settings(
    start: Start, free_port: int
) -> None:
    settings = start.data / "service.toml"
    for types in (["midtrans.*"], ["midtrans.payment.settled"]):
        settings.write_text(f"[consumers.shipping]\ntypes = {types}\n")
        running = start("run", **leave_alone(free_port), SERVICE_CONFIG=str(settings))
        url = running.url()
        token = (start.data / "operator.token").read_text().strip()
        answer = httpx.get(f"{url}/v1/consumers/shipping", headers={"Authorization": f"Bearer {token}"})
        assert answer.json()["types"] == types
        running.end()


def test_a_machine_reads_lines_of_json_and_nothing_else_on_stdout(free_port: int, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "service", "run"],
        env={**os.environ, "SERVICE_DATA_DIR": str(tmp_path), **leave_alone(free_port)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with process:
        assert process.stdout is not None
        first = json.loads(process.stdout.readline())
        assert (first["event"], first["merchants"]) == ("listening", ["default"])
        httpx.post(f"{first['url']}/notifications", content=body("order-1")).raise_for_status()
        process.send_signal(signal.SIGTERM)
        rest = [json.loads(line)["event"] for line in process.stdout]
    assert rest[0] == "notification_accepted"
    assert rest[-1] == "ended"


def test_it_starts_again_after_a_kill_with_all_it_answered(start: Start, free_port: int) -> None:
    running = start("run", **leave_alone(free_port))
    url = running.url()
    assert httpx.post(f"{url}/notifications", content=body("order-1")).status_code == 200
    running.kill()
    again = start("run", **leave_alone(free_port))
    answer = httpx.post(f"{again.url()}/notifications", content=body("order-1"))
    assert answer.json()["status"] == "duplicate"

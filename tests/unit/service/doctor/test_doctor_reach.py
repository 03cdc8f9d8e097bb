"""Reachability against small servers on loopback that stand for what may be in front of the service."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from service.doctor import Level, reach
from service.doctor.midtrans import check_merchant
from service.doctor.reach import check_here, check_public
from service.domain.merchant import Merchant

KEY = "SB-Mid-server-of-the-doctor"
OURS = {"error": "not_json", "detail": "not a JSON object"}


@contextmanager
def server(status: int, body: Any = b"", **headers: str) -> Iterator[tuple[str, list[bytes]]]:
    """Answer everything so; yield the URL and what was posted."""
    posted: list[bytes] = []
    content = body if isinstance(body, bytes) else json.dumps(body).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append(self.rfile.read(int(self.headers["content-length"])))
            self.do_GET()

        def do_GET(self) -> None:
            self.send_response_only(status)
            for name, value in {"content-length": str(len(content)), **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{running.server_address[1]}", posted
        finally:
            running.shutdown()
            thread.join()


# -- the public address --


def test_our_own_refusal_proves_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    with server(400, OURS) as (url, posted):
        finding = check_public(url, path="/notifications")
        assert finding.level is Level.WARNING  # Midtrans posts to 80 and 443 only
        assert f"{url}/notifications works" in finding.says
        monkeypatch.setattr(reach, "PORTS", (int(url.rpartition(":")[2]),))
        assert "without TLS" in check_public(url, path="/notifications").says
    assert posted == [b'"doctor"', b'"doctor"']


@pytest.mark.parametrize(
    ("status", "body", "headers", "says"),
    [
        pytest.param(
            301, b"", {"location": "https://shop/n/"}, "redirects (301) to https://shop/n/", id="redirect"
        ),
        pytest.param(307, b"", {"location": "/n/"}, "redirects (307)", id="redirect-with-body"),
        pytest.param(401, b"<html>", {}, "answers 401 (asks for a login)", id="login"),
        pytest.param(403, b"<html>", {}, "answers 403 (a firewall?)", id="firewall"),
        pytest.param(404, b"<html>", {}, "answers 404, which this service never said", id="other-host"),
        pytest.param(200, b"ok", {}, "answers 200, which this service never said", id="swallowed"),
        pytest.param(400, b"Bad Request", {}, "answers 400, which", id="another-400"),
        pytest.param(422, OURS | {"error": "unknown_merchant"}, {}, "422 unknown_merchant", id="wrong-path"),
        pytest.param(408, OURS | {"error": "incomplete"}, {}, "408 incomplete", id="body-lost"),
        pytest.param(502, b"", {}, "answers 502", id="proxy-without-service"),
    ],
)
def test_whatever_stands_between_is_told(
    status: int, body: object, headers: dict[str, str], says: str
) -> None:
    with server(status, body, **headers) as (url, _):
        finding = check_public(url, path="/notifications")
    assert finding.level is Level.FAILED
    assert says in finding.says
    assert finding.to_do


def test_an_address_with_a_path_is_taken_as_it_is() -> None:
    with server(400, OURS) as (url, _):
        assert (
            "/notifications/shop-a works" in check_public(f"{url}/notifications/shop-a", path="/other").says
        )


def test_nothing_there_and_no_tls_are_told_apart(free_port: int) -> None:
    nothing = check_public(f"http://127.0.0.1:{free_port}", path="/notifications")
    assert (nothing.level, "ConnectError" in nothing.says) == (Level.FAILED, True)
    with server(400, OURS) as (url, _):
        plain = check_public(url.replace("http:", "https:"), path="/notifications")
    assert plain.level is Level.FAILED
    assert "TLS" in plain.to_do


# -- the service here --


@pytest.mark.parametrize(
    ("status", "body", "level"),
    [
        (200, {"status": "ready", "parts": {"store": "ok"}}, Level.OK),
        (200, {"status": "degraded", "parts": {"worker": "keys_refused"}}, Level.WARNING),
        (503, {"status": "unready", "parts": {"store": "disk full"}}, Level.FAILED),
        (200, b"<html>hello", Level.FAILED),
    ],
)
def test_the_service_says_how_it_is(status: int, body: object, level: Level) -> None:
    with server(status, body) as (url, _):
        assert check_here(url).level is level


def test_a_service_that_is_not_started_is_a_warning(free_port: int) -> None:
    finding = check_here(f"http://127.0.0.1:{free_port}")
    assert (finding.level, "python -m service run" in finding.to_do) == (Level.WARNING, True)


# -- Midtrans --

MISSING = {"status_code": "404", "status_message": "Transaction doesn't exist.", "id": "x"}


def ask(url: str, *keys: str, ahead_s: float = 0) -> list[tuple[str, Level, str]]:
    merchant = Merchant("shop-a", keys or (KEY,), base_url=url)
    now = datetime.now(UTC) + timedelta(seconds=ahead_s)
    return [
        (finding.check, finding.level, finding.says)
        for finding in check_merchant(merchant, clock=lambda: now)
    ]


def now(ahead_s: float = 0) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=ahead_s), usegmt=True)


def test_a_key_that_midtrans_knows_is_ok_and_not_shown() -> None:
    with server(200, MISSING, Date=now()) as (url, _):
        key, clock = ask(url)
    assert key[:2] == ("key 1 of shop-a", Level.OK)
    assert clock[1] is Level.OK
    assert KEY not in str(key)


def test_every_key_is_asked_with() -> None:
    with server(404, MISSING) as (url, _):
        assert [name for name, _, _ in ask(url, KEY, f"{KEY}2")][:2] == ["key 1 of shop-a", "key 2 of shop-a"]


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        pytest.param(401, {"status_code": "401", "status_message": "no"}, "refuses it (401)", id="wrong-key"),
        pytest.param(404, b"<html>not found", "no usable answer (HTTP 404", id="html-404"),
        pytest.param(503, b"", "no usable answer (HTTP 503", id="down"),
    ],
)
def test_a_key_that_is_of_no_use_fails(status: int, body: object, says: str) -> None:
    with server(status, body) as (url, _):
        _, level, text = ask(url)[0]
    assert (level, says in text) == (Level.FAILED, True), text


def test_a_network_that_does_not_reach_midtrans_fails(free_port: int) -> None:
    (_, level, text), (_, clock, _) = ask(f"http://127.0.0.1:{free_port}")
    assert (level, clock) == (Level.FAILED, Level.WARNING)
    assert "could not be asked" in text


@pytest.mark.parametrize(("ahead_s", "way"), [(120, "behind"), (-120, "ahead")])
def test_a_clock_that_is_off_is_told_by_the_answers_date(ahead_s: float, way: str) -> None:
    with server(200, MISSING, Date=now(ahead_s)) as (url, _):
        _, level, says = ask(url)[1]
    assert level is Level.WARNING
    assert way in says

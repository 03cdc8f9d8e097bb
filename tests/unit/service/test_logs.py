import io
import json
import logging
import re
import time
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

import httpx
import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from service import logs
from service.masking import MASKED, mask, mask_text

KEY = "SB-Mid-server-Abc_123-xyz"
SIGNATURE = "d65b4adf15335095fe1bfafe24964d48" * 4
CARD = "4811111111111114"
TOKEN = "mts_4fHkXq0ZrT-v_w8Yb"
SECRETS = (KEY, SIGNATURE, CARD, TOKEN, "budi@example.com", "+6281234567890", "Budi Santoso", "7654321098")


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root, names = logging.getLogger(), logs.QUIET
    handlers, level = root.handlers, root.level
    levels = {name: logging.getLogger(name).level for name in names}
    yield
    structlog.reset_defaults()
    logging.captureWarnings(False)
    root.handlers = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)


def entry_of(out: io.StringIO) -> dict[str, Any]:
    entry: dict[str, Any] = json.loads(out.getvalue().splitlines()[-1])
    return entry


def as_json(level: str = "info") -> tuple[Any, io.StringIO]:
    out = io.StringIO()
    logs.configure(level=level, form="json", stream=out)
    return structlog.get_logger(), out


def as_view(*, colours: bool = False) -> tuple[Any, Screen]:
    out = Screen()
    logs.configure(form="console", stream=out, colours=colours)
    return structlog.get_logger(), out


# -- masking --


def test_no_secret_reaches_the_log_by_any_way() -> None:
    log, out = as_json("debug")
    body = {
        "order_id": "order-1",
        "signature_key": SIGNATURE,
        "customer_details": {
            "first_name": "Budi Santoso",
            "email": "budi@example.com",
            "phone": "081234567890",
        },
        "va_numbers": [{"bank": "bca", "va_number": "7654321098"}],
        "masked_card": "481111-1114",
    }
    log.info("nested", body=body, headers={"Authorization": f"Bearer {TOKEN}", "X-Forwarded-For": "10.0.0.1"})
    log.info("text", raw=json.dumps(body).encode(), note=f"Authorization: Bearer {TOKEN}")
    log.info("twice encoded", raw=json.dumps(json.dumps(body)))
    log.info("url", url=f"https://h/v2/token?client_key=SB-Mid-client-x&card_number={CARD}&card_cvv=123")
    log.info(
        "number", card=CARD, other=int(CARD), spaced="4811 1111 1111 1114", inside=f"card {CARD} declined"
    )
    log.info("people", note="write to budi@example.com or call +6281234567890")
    log.info("object", settings=Thing(KEY), keys=(KEY, {KEY: KEY}))
    name = f"in the event's name {KEY}"
    log.info(name)
    try:
        fail(f"refused {KEY} and {{'first_name': 'Budi Santoso'}}")
    except ValueError:
        log.exception("raised", number=CARD)
    logging.getLogger("some.library").error("body %s", body)
    for secret in (*SECRETS, "081234567890", "481111-1114", "card_cvv=123", "4811 1111"):
        assert secret not in out.getvalue(), secret
    assert out.getvalue().count("order-1") >= 3  # what a person needs stays readable


def fail(why: str) -> NoReturn:
    raise ValueError(why)


class Thing:
    def __init__(self, server_key: str) -> None:
        self.server_key = server_key

    def __repr__(self) -> str:
        return f"Thing(server_key={self.server_key!r}, n=1)"


@pytest.mark.parametrize(
    "text",
    [
        "order-20261122-1234567890123",
        "0193a7f0-1234-7abc-8def-0123456789ab",
        "4811111111111115",
        "150000.00",
        "10.0.0.1:443",
    ],
)
def test_ids_amounts_and_addresses_stay_readable(text: str) -> None:
    assert mask_text(text) == text


@given(
    st.from_regex(r"(SB-)?Mid-server-[A-Za-z0-9_-]{8,40}", fullmatch=True),
    st.text(max_size=20),
    st.text(max_size=20),
)
def test_a_server_key_is_masked_wherever_it_stands(key: str, before: str, after: str) -> None:
    assert key not in mask_text(f"{before} {key} {after}")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_every_value_can_be_logged(value: object) -> None:
    json.dumps(mask("anything", value))


def test_what_cannot_even_be_shown_is_logged_all_the_same() -> None:
    log, out = as_json()
    log.info("odd", odd=Unshowable())
    assert "cannot be shown" in entry_of(out)["odd"]


class Unshowable:
    def __str__(self) -> str:
        raise RuntimeError(KEY)


def test_masking_takes_no_time_that_a_stranger_can_stretch() -> None:
    hostile = [
        "=" + "a" * 40_000,
        "a@" * 20_000,
        "card_number " * 3000,
        "=card_number:[" * 3000,
        "4 " * 20_000,
        '="' * 20_000,
    ]
    started = time.perf_counter()
    for text in hostile:
        mask_text(text)
    assert time.perf_counter() - started < 2  # milliseconds each; a quadratic pattern takes minutes


# -- lines --


def test_an_entry_is_one_line_of_json_with_its_name_first() -> None:
    log, out = as_json()
    log.info("notification_accepted", order_id="a\nb", answer=200, missing=None, ratio=0.5)
    assert out.getvalue().startswith('{"event":"notification_accepted"')
    assert out.getvalue().count("\n") == 1
    entry = entry_of(out)
    assert (entry["order_id"], entry["answer"], entry["missing"], entry["level"]) == (
        "a\nb",
        200,
        None,
        "info",
    )
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", entry["timestamp"])


FIELDS = st.sampled_from(
    ["order_id", "merchant", "id", "kind", "server_key", "card", "note", "level", "timestamp", "answer"]
)
VALUES = st.one_of(
    st.text(),
    st.sampled_from([*SECRETS, 'a"b\\', "\ud800", "order-20261122-1234567890123", f"x {CARD}", ""]),
    st.integers(),
    st.sampled_from([int(CARD), 10**11 - 1, 10**11, None, True, 0.5, b"bytes"]),
    st.lists(st.text(), max_size=2),
)


@given(
    st.sampled_from(["notification_accepted", "odd é", f"with {KEY}"]),
    st.dictionaries(FIELDS, VALUES, max_size=6),
)
def test_the_short_way_of_a_line_says_what_the_chain_says(event: str, fields: dict[str, Any]) -> None:
    log, out = as_json()
    log.info(event, **fields)
    short = out.getvalue()
    entry = logs.mask_fields(None, "info", logs.complete(None, "info", {"event": event, **fields}))
    without_time = re.compile(r'"timestamp":"[^"]*"')
    assert without_time.sub("", short) == without_time.sub("", logs.as_json(None, "info", entry) + "\n")


def test_the_short_way_is_taken_by_what_every_notification_says(monkeypatch: pytest.MonkeyPatch) -> None:
    log, out = as_json()
    monkeypatch.setattr(logs, "_encode", None)
    with pytest.raises(TypeError):
        log.info("by the chain", nested=["order-1"])
    log.info(
        "notification_accepted", merchant="default", order_id="order-1", kind="payment", id="1", answer=200
    )
    assert entry_of(out)["answer"] == 200


def test_entries_that_are_captured_do_not_go_around() -> None:
    _, out = as_json()
    with structlog.testing.capture_logs() as entries:
        structlog.get_logger().info("notification_accepted", order_id="order-1")
    assert [entry["order_id"] for entry in entries] == ["order-1"]
    assert out.getvalue() == ""


def test_a_moment_is_written_as_the_clock_says_it() -> None:
    before = datetime.now(UTC)
    written = datetime.fromisoformat(logs.timestamp())
    assert before - timedelta(milliseconds=1) <= written <= datetime.now(UTC)


def test_a_lone_surrogate_does_not_stop_a_line() -> None:
    log, out = as_json()
    log.info("odd", order_id="\ud800")
    assert entry_of(out)["order_id"] == "\ud800"


def test_what_a_level_leaves_out_is_not_even_looked_at() -> None:
    log, out = as_json("warning")
    log.info("quiet", value=Unshowable())
    assert out.getvalue() == ""
    count = 20_000
    started = time.perf_counter()
    for _ in range(count):
        log.info("quiet", a=1, b=2)
    assert (time.perf_counter() - started) / count < 20e-6  # about 1 µs; the rest is for a busy machine


def test_a_reader_that_went_away_stops_nothing() -> None:
    out = io.StringIO()
    logs.configure(form="json", stream=out)
    log = structlog.get_logger()
    out.close()
    log.info("nobody reads this")


def test_a_screen_gets_the_view_and_a_pipe_gets_json() -> None:
    screen, pipe = Screen(), io.StringIO()
    logs.configure(stream=screen)
    structlog.get_logger().info("one")
    logs.configure(stream=pipe)
    structlog.get_logger().info("two")
    assert not screen.getvalue().startswith("{")
    assert entry_of(pipe)["event"] == "two"


# -- libraries --


def test_libraries_log_the_same_way() -> None:
    _, out = as_json()
    logging.getLogger("uvicorn.error").warning("port %d", 8000)
    entry = entry_of(out)
    assert (entry["event"], entry["level"], entry["logger"]) == ("port 8000", "warning", "uvicorn.error")


def test_warnings_are_logged() -> None:
    _, out = as_json()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)  # catch_warnings put the old way back
        warnings.warn("mind this", UserWarning, stacklevel=1)
    assert "mind this" in entry_of(out)["event"]


def test_httpx_never_logs_a_url_not_even_at_debug() -> None:
    _, out = as_json("debug")
    transport = httpx.MockTransport(lambda _request: httpx.Response(200))
    with httpx.Client(transport=transport) as client:
        client.get("https://api.example/v2/token", params={"card_number": CARD})
    logging.getLogger("httpcore.connection").debug("connect_tcp.started host='api.example'")
    assert out.getvalue() == ""


def test_a_line_of_a_library_that_cannot_be_made_is_said_to_be_lost() -> None:
    _, out = as_json()
    logging.getLogger("some.library").info("%d", "no number")
    assert "log line of some.library lost" in out.getvalue()


# -- the view for people --


def test_the_view_shows_a_payment_as_a_stair() -> None:
    log, out = as_view()
    log.info("notification_accepted", order_id="order-1", merchant="default", answer=200)
    log.info("payment_confirmed", order_id="order-1", merchant="default", verdict="applied", status="settled")
    log.info("event_made", order_id="order-1", merchant="shop-a", type="midtrans.payment.settled")
    first, second, third = (line[10:] for line in out.getvalue().splitlines())
    assert first.startswith("● notification")
    assert second.startswith("  ↳ confirmed")
    assert third.startswith("    ▶ event")
    assert len({line.index("order-1") for line in (first, second, third)}) == 1
    assert "settled" in second
    assert "midtrans.payment.settled  [shop-a]" in third


def test_an_alarm_stands_out_and_says_what_to_do() -> None:
    log, out = as_view()
    log.error("alarm", alarm="parked", merchant="default", order_id="order-1", to_do="Look at it.")
    assert "! ALARM parked" in out.getvalue()
    assert out.getvalue().splitlines()[1].strip() == "Look at it."


@pytest.mark.parametrize("event", ["notification_accepted", "event_made", "alarm", "anything_else"])
def test_a_stranger_cannot_move_the_cursor_of_a_terminal(event: str) -> None:
    log, out = as_view()
    log.info(event, order_id="\x1b[2J\rorder", type="\x1b]0;x\x07", alarm="\x1b[1A", note="a\nb")
    assert "\x1b" not in out.getvalue()
    assert "\r" not in out.getvalue()
    assert out.getvalue().count("\n") <= 2


def test_colours_are_for_screens_that_want_them() -> None:
    log, out = as_view(colours=True)
    log.info("event_made", order_id="order-1", type="midtrans.payment.settled")
    assert "\x1b[1;32m" in out.getvalue()


def test_the_view_has_a_line_for_every_kind_of_entry() -> None:
    log, out = as_view()
    log.info("notification_duplicate", order_id="o")
    log.warning("notification_refused", error="signature", answer=403, detail="no key matches", order_id=None)
    log.info("payment_confirmed", order_id="o")
    try:
        fail("why")
    except ValueError:
        log.exception("failed")
    assert "the same bytes again" in out.getvalue()
    assert "answered 403, signature: no key matches" in out.getvalue()
    assert "nothing usable" in out.getvalue()
    assert "ValueError: why" in out.getvalue()
    assert MASKED not in out.getvalue()

import io
import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx
from typer.testing import CliRunner

from service.cli import app
from service.cli.tail import PAGE, Follower, Line
from service.errors import RequestInvalid, SettingsInvalid

URL = "http://127.0.0.1:8000"


def entry(number: int, epoch: str = "aaaa", **data: Any) -> dict[str, Any]:
    facts = {
        "merchant": "default",
        "order_id": f"order-{number}",
        "payment_type": "bank_transfer",
        "channel": "bca",
        "outcome": "paid",
        "outcome_changed": True,
        "irregular": False,
        "amount": {"value": "150000.00", "currency": "IDR"},
        "refunded": {"value": "0.00", "currency": "IDR"},
        "charged_back": {"value": "0.00", "currency": "IDR"},
        "order": {"paid_payments": 1, "amount_matches": None},
        "confirmed_at": f"2026-11-22T03:04:{number:02}Z",
    }
    event = {"id": f"id-{number}", "type": "midtrans.payment.settled", "data": {**facts, **data}}
    return {"position": f"{epoch}-{number}", "event": event}


def page(*entries: dict[str, Any], next_: str) -> httpx.Response:
    return httpx.Response(200, json={"events": list(entries), "next": next_})


class Followed:
    """A follower whose answers are given one after another, and what it asked, told and waited."""

    def __init__(self, router: respx.MockRouter, answers: list[httpx.Response | Exception]) -> None:
        self.told: list[str] = []
        self.waits: list[float] = []
        self.tokens = iter(f"token-{number}" for number in range(100))
        self.route = router.get(f"{URL}/v1/events").mock(side_effect=answers)
        self.follower = Follower(
            URL,
            token=lambda: next(self.tokens),
            params={"type": "midtrans.payment.*"},
            tell=self.told.append,
            sleep=self.waits.append,
        )

    def follow(self, start: str, count: int) -> list[str]:
        return [one["event"]["id"] for one in islice(self.follower.follow(start), count)]

    @property
    def asked(self) -> list[str]:
        return [call.request.url.params["after"] for call in self.route.calls]


Make = Callable[..., Followed]


@pytest.fixture
def answered() -> Iterator[Make]:
    with respx.mock(assert_all_called=False) as router:
        yield lambda *answers: Followed(router, list(answers))


def test_it_goes_on_behind_what_it_has_shown(answered: Make) -> None:
    followed = answered(
        page(entry(1), entry(2), next_="aaaa-2"), page(next_="aaaa-2"), page(entry(3), next_="aaaa-3")
    )
    assert followed.follow("beginning", 3) == ["id-1", "id-2", "id-3"]
    assert followed.asked == ["beginning", "aaaa-2", "aaaa-2"]
    assert followed.route.calls[0].request.url.params["type"] == "midtrans.payment.*"
    assert followed.route.calls[0].request.headers["authorization"] == "Bearer token-0"


def test_a_full_page_is_followed_by_the_next_without_a_wait(answered: Make) -> None:
    full = [entry(number % 60, position=number) for number in range(PAGE)]
    for number, one in enumerate(full):
        one["event"]["id"] = f"id-{number}"
    last = entry(59)
    last["event"]["id"] = "the last"
    followed = answered(page(*full, next_="aaaa-200"), page(last, next_="aaaa-201"))
    followed.follow("beginning", PAGE + 1)
    assert followed.waits == []


def test_it_waits_for_a_service_that_is_away_and_says_so_once(answered: Make) -> None:
    away = httpx.ConnectError("refused")
    followed = answered(
        page(entry(1), next_="aaaa-1"),
        away,
        away,
        httpx.Response(503),
        page(entry(2), next_="aaaa-2"),
    )
    assert followed.follow("now", 2) == ["id-1", "id-2"]
    assert followed.asked == ["now", "aaaa-1", "aaaa-1", "aaaa-1", "aaaa-1"]
    assert [text.split(";")[0] for text in followed.told] == [
        f"{URL} does not answer (ConnectError)",
        f"{URL} answers 503",
        f"{URL} answers again",
    ]


def test_after_a_restore_it_goes_on_by_time_and_shows_nothing_twice(answered: Make) -> None:
    followed = answered(
        page(entry(1), entry(2), next_="aaaa-2"),
        httpx.Response(410, json={}),
        page(entry(2, "bbbb"), entry(3, "bbbb"), next_="bbbb-3"),
    )
    assert followed.follow("beginning", 3) == ["id-1", "id-2", "id-3"]
    assert followed.asked[-1] == "2026-11-22T03:04:02Z"
    assert "restored" in followed.told[0]


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        pytest.param(httpx.Response(401), SettingsInvalid, "refuses the operator's token", id="token"),
        pytest.param(
            httpx.Response(422, json={"detail": "type: no"}), RequestInvalid, "type: no", id="filter"
        ),
        pytest.param(httpx.Response(404, text="<html>"), RequestInvalid, "answers 404", id="other-service"),
        pytest.param(httpx.Response(410, json={}), RequestInvalid, "give a time", id="position-of-before"),
    ],
)
def test_what_cannot_be_mended_by_waiting_ends_it(
    answer: httpx.Response, error: type[Exception], words: str, answered: Make
) -> None:
    with pytest.raises(error, match=words):
        answered(answer).follow("cccc-7", 1)


# -- the line --


def line(**data: Any) -> str:
    return Line(colours=False)(entry(7, **data))


def test_a_line_says_what_whose_how_much_and_what_it_means() -> None:
    shown = line()
    for word in ("▶ settled", "order-7", "Rp150,000", "bank_transfer/bca", "paid", "[default]", "aaaa-7"):
        assert word in shown


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"outcome_changed": False}, "still paid"),
        ({"irregular": True}, "irregular!"),
        ({"order": {"paid_payments": 2, "amount_matches": None}}, "paid twice!"),
        ({"order": {"paid_payments": 1, "amount_matches": False}}, "another amount than expected!"),
        ({"refunded": {"value": "5000.50", "currency": "IDR"}}, "refunded Rp5,000.50"),
        ({"charged_back": {"value": "5000.00", "currency": "USD"}}, "charged back USD 5,000"),
        ({"channel": None}, "bank_transfer "),
    ],
)
def test_a_line_warns_of_what_a_person_should_see(data: dict[str, Any], words: str) -> None:
    assert words in line(**data)


def test_no_event_moves_the_cursor_of_a_terminal() -> None:
    assert "\x1b" not in line(order_id="\x1b[2Jgone", merchant="a\nb")
    assert "\n" not in line(order_id="a\nb")


# -- the command --


def test_without_a_token_it_says_where_it_looked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICE_DATA_DIR", str(tmp_path))
    result = CliRunner().invoke(app, ["tail"])
    assert isinstance(result.exception, SettingsInvalid)
    assert str(tmp_path / "operator.token") in str(result.exception)


def test_json_lines_hold_positions_and_whole_events_and_end_at_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVICE_DATA_DIR", str(tmp_path))
    (tmp_path / "operator.token").write_text("mts_token\n")
    with respx.mock() as router:
        route = router.get(f"{URL}/v1/events").mock(return_value=page(entry(1), entry(2), next_="aaaa-2"))
        asked = [
            "--limit",
            "2",
            "--json",
            "--from",
            "beginning",
            "--merchant",
            "default",
            "--order-id",
            "o/1",
        ]
        result = CliRunner().invoke(app, ["tail", *asked])
    assert [json.loads(one) for one in io.StringIO(result.stdout)] == [entry(1), entry(2)]
    params = dict(route.calls[0].request.url.params)
    assert params == {"merchant": "default", "order_id": "o/1", "after": "beginning", "limit": str(PAGE)}
    assert route.calls[0].request.headers["authorization"] == "Bearer mts_token"


def test_ctrl_c_ends_it_quietly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setenv("SERVICE_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(Follower, "follow", interrupted)
    result = CliRunner().invoke(app, ["tail"])
    assert (result.exit_code, result.output) == (0, "")

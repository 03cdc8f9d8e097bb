"""``python -m service tail``: events as they are made, one line each, through the HTTP API."""

import json
import re
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Any, Final

import httpx
import typer

from service.api.auth import OPERATOR_FILE
from service.cli.ports import url_of
from service.console import BOLD, COLOUR_OF_STATUS, DIM, RED, plain
from service.errors import RequestInvalid, SettingsInvalid
from service.settings import Configuration, from_environment

PAGE: Final = 200
EVERY_S: Final = 0.5
"""Seconds between two looks when nothing is new: one small read of the service."""
AGAIN_S: Final = 1.0
REMEMBERED: Final = 5000
"""Ids of events shown of late: after a restore what is read again is not shown again."""
GONE, REFUSED, UNUSABLE = 410, (401, 403), (400, 404, 405, 422)
OVERLOADED: Final = (429, 500, 502, 503, 504)


def tail(
    *,
    type_: Annotated[
        str | None, typer.Option("--type", help="A type, or a beginning and *: midtrans.payment.*")
    ] = None,
    merchant: Annotated[str | None, typer.Option(help="Only this merchant's.")] = None,
    order_id: Annotated[str | None, typer.Option(help="Only this order's.")] = None,
    from_: Annotated[
        str, typer.Option("--from", help="beginning, now, a position, or a time with its zone.")
    ] = "now",
    limit: Annotated[int | None, typer.Option(help="End after so many events.", min=1)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines, with positions.")] = False,
    url: Annotated[
        str | None, typer.Option(help="Where the service is; without it, as the settings say.")
    ] = None,
) -> None:
    """Show events as they are made, until Ctrl-C; goes on when the service is started again."""
    configuration = from_environment()
    wanted = {"type": type_, "merchant": merchant, "order_id": order_id}
    follower = Follower(
        url or url_of(configuration.host, configuration.port),
        token=lambda: _token(configuration),
        params={name: value for name, value in wanted.items() if value is not None},
        tell=lambda text: typer.echo(text, err=True),
    )
    show = json.dumps if as_json else Line(colours=sys.stdout.isatty())
    # A shell's background jobs start with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with suppress(KeyboardInterrupt, BrokenPipeError):
        for shown, entry in enumerate(follower.follow(from_), 1):
            sys.stdout.write(show(entry) + "\n")
            sys.stdout.flush()
            if shown == limit:
                return


class Follower:
    """Reads the log behind a position, for ever, whatever happens to the service meanwhile.

    *token* is asked for again after a refusal: a new database has a new one. *tell* gets lines for a person.
    """

    def __init__(
        self,
        url: str,
        *,
        token: Callable[[], str],
        params: Mapping[str, str],
        tell: Callable[[str], None],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._url = url
        self._token = token
        self._params = params
        self._tell = tell
        self._sleep = sleep
        self._trouble = ""
        self._last_made: str | None = None
        self._shown: deque[str] = deque(maxlen=REMEMBERED)

    def follow(self, start: str) -> Iterator[dict[str, Any]]:
        """Yield ``{"position", "event"}`` for each event from *start* on.

        Raises SettingsInvalid when the token is refused, RequestInvalid when the service refuses what is asked.
        """
        after = start
        with httpx.Client(base_url=self._url, timeout=10) as client:
            while True:
                answer = self._ask(client, after)
                if answer is None:
                    self._sleep(AGAIN_S)
                    continue
                if answer.status_code == GONE:
                    after = self._after_restore(after, start)
                    continue
                page = answer.json()
                after = page["next"]
                yield from self._new(page["events"])
                if len(page["events"]) < PAGE:
                    self._sleep(EVERY_S)

    def _ask(self, client: httpx.Client, after: str) -> httpx.Response | None:
        """Return a page or the 410 that stands in its place; None when it is to be asked for again."""
        try:
            answer = client.get(
                "/v1/events",
                params={**self._params, "after": after, "limit": str(PAGE)},
                headers={"Authorization": f"Bearer {self._token()}"},
            )
        except httpx.TransportError as error:
            self._wait(f"{self._url} does not answer ({type(error).__name__})")
            return None
        if answer.status_code in OVERLOADED:
            self._wait(f"{self._url} answers {answer.status_code}")
            return None
        if answer.status_code in REFUSED:
            raise SettingsInvalid(f"{self._url} refuses the operator's token: is it another service's?")
        if answer.status_code in UNUSABLE:
            raise RequestInvalid("tail", re.sub("^after:", "--from:", _detail(answer)))
        if self._trouble:
            self._tell(f"{self._url} answers again")
            self._trouble = ""
        return answer

    def _wait(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._tell(f"{trouble}; waiting for it, Ctrl-C ends")
            self._trouble = trouble

    def _after_restore(self, after: str, start: str) -> str:
        """Return where to go on in a log of another epoch: at the time of the last event seen."""
        if after == start:
            raise RequestInvalid("--from", f"{start} is a position of a log that is no more; give a time")
        self._tell("the database was made new or restored: going on by time")
        return self._last_made or "now"

    def _new(self, entries: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        for entry in entries:
            event = entry["event"]
            self._last_made = event["data"]["confirmed_at"]
            if event["id"] not in self._shown:
                self._shown.append(event["id"])
                yield entry


class Line:
    """Renders an event as one line."""

    def __init__(self, *, colours: bool) -> None:
        self._colours = colours

    def __call__(self, entry: Mapping[str, Any]) -> str:
        """Return the line: when, what, whose, how much, and what it means for the shop."""
        event = entry["event"]
        data = event["data"]
        kind = plain(event["type"].rpartition(".")[2])
        colour = COLOUR_OF_STATUS.get(kind, "")
        parts = [
            self._paint(DIM, _clock(data["confirmed_at"])),
            self._paint(f"{BOLD};{colour}" if colour else BOLD, f"▶ {kind}".ljust(24)),
            plain(data["order_id"]).ljust(26),
            _money(data["amount"]).rjust(16),
            plain("/".join(filter(None, (data["payment_type"], data["channel"])))).ljust(22),
            self._meaning(data),
            self._paint(DIM, f"[{plain(data['merchant'])}] {plain(entry['position'])}"),
        ]
        return "  ".join(part for part in parts if part)

    def _meaning(self, data: Mapping[str, Any]) -> str:
        words = [data["outcome"] if data["outcome_changed"] else f"still {data['outcome']}"]
        if data["refunded"]["value"] != "0.00":
            words.append(f"refunded {_money(data['refunded'])}")
        if data["charged_back"]["value"] != "0.00":
            words.append(f"charged back {_money(data['charged_back'])}")
        warnings = [
            text
            for found, text in (
                (data["irregular"], "irregular!"),
                (data["order"]["paid_payments"] > 1, "paid twice!"),
                (data["order"]["amount_matches"] is False, "another amount than expected!"),
            )
            if found
        ]
        return " ".join([", ".join(words), *(self._paint(RED, text) for text in warnings)])

    def _paint(self, colour: str, text: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._colours and colour else text


def _token(configuration: Configuration) -> str:
    if configuration.operator_token is not None:
        return configuration.operator_token
    path = configuration.data_dir / OPERATOR_FILE
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsInvalid(
            f"there is no operator's token at {path}: set SERVICE_DATA_DIR to the service's data folder "
            "(`make run` shows that of the demo), or SERVICE_OPERATOR_TOKEN"
        ) from error


def _money(money: Mapping[str, str]) -> str:
    """Return ``Rp150,000``; cents are shown where there are some."""
    whole, _, cents = plain(money["value"]).partition(".")
    grouped = f"{int(whole):,}" if whole.isdecimal() else whole
    sign = "Rp" if money["currency"] == "IDR" else f"{plain(money['currency'])} "
    return f"{sign}{grouped}" + (f".{cents}" if cents.strip("0") else "")


def _clock(moment: str) -> str:
    return datetime.fromisoformat(moment).astimezone().strftime("%H:%M:%S")


def _detail(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return f"the service answers {answer.status_code}"

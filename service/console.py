"""The log as a person likes to read it: a payment's way from notification to confirmation to event, as a stair."""

from collections.abc import Callable, Mapping
from datetime import datetime

from structlog.typing import EventDict, WrappedLogger

DIM, BOLD, RED, GREEN, YELLOW, BLUE, MAGENTA, CYAN = "2", "1", "31", "32", "33", "34", "35", "36"
LABEL_WIDTH = 18
ORDER_WIDTH = 28

COLOUR_OF_STATUS: Mapping[str, str] = {
    **dict.fromkeys(("captured", "settled"), GREEN),
    **dict.fromkeys(("pending", "authorized"), CYAN),
    "challenged": YELLOW,
    **dict.fromkeys(("denied", "cancelled", "expired", "failed"), RED),
    **dict.fromkeys(("refunded", "partially_refunded", "refund_confirmed"), MAGENTA),
    **dict.fromkeys(("charged_back", "partially_charged_back", "reversed"), MAGENTA),
}
"""By what it means for the shop; another word keeps the terminal's colour."""

COLOUR_OF_LEVEL = {"debug": DIM, "info": "", "warning": YELLOW, "error": RED, "critical": RED}
HIDDEN = frozenset({"event", "level", "timestamp", "exception", "stack", "logger"})


class Console:
    """Renders a log entry as one line (more with a traceback)."""

    def __init__(self, *, colours: bool) -> None:
        self._colours = colours

    def __call__(self, _logger: WrappedLogger, _method: str, entry: EventDict) -> str:
        """Return the line of *entry*."""
        lines = STEPS.get(str(entry.get("event")), Console._other)(self, entry)
        clock = self._paint(DIM, _clock(str(entry.get("timestamp", ""))))
        trace = "".join(f"\n    {plain(line)}" for line in str(entry.get("exception") or "").splitlines())
        return f"{clock}  {lines}{trace}"

    def accepted(self, entry: EventDict) -> str:
        """Show a notification that was stored."""
        return self._step("● notification", CYAN, entry, "on disk, answered 200")

    def duplicate(self, entry: EventDict) -> str:
        """Show a notification that was here before."""
        return self._step("○ notification", DIM, entry, "the same bytes again, answered 200")

    def refused(self, entry: EventDict) -> str:
        """Show a notification that was not taken in."""
        why = _text(entry, "error") + (f": {detail}" if (detail := _text(entry, "detail")) else "")
        return self._step("✗ notification", RED, entry, f"answered {_text(entry, 'answer')}, {why}")

    def confirmed(self, entry: EventDict) -> str:
        """Show what Midtrans said when it was asked."""
        status = _text(entry, "status")
        said = self._paint(COLOUR_OF_STATUS.get(status, ""), status or "nothing usable")
        verdict = _text(entry, "verdict")
        return self._step(
            "  ↳ confirmed", BLUE, entry, said + (self._paint(DIM, f"  {verdict}") if verdict else "")
        )

    def event_made(self, entry: EventDict) -> str:
        """Show an event that consumers can read from now on."""
        kind = _text(entry, "type")
        colour = COLOUR_OF_STATUS.get(kind.rpartition(".")[2], "")
        amount = " ".join(filter(None, (_text(entry, "currency"), _text(entry, "amount"))))
        detail = self._paint(f"{BOLD};{colour}" if colour else BOLD, kind)
        return self._step("    ▶ event", colour, entry, f"{detail}  {amount}".rstrip())

    def alarm(self, entry: EventDict) -> str:
        """Show what a person must look at, and what to do."""
        facts = self._facts(entry, {"alarm", "to_do"})
        to_do = _text(entry, "to_do")
        name = self._paint(f"{BOLD};{RED}", f"! ALARM {_text(entry, 'alarm')}")
        return f"{name}  {facts}\n{' ' * 10}{to_do}"

    def _other(self, entry: EventDict) -> str:
        level = str(entry.get("level", "info"))
        name = plain(str(entry.get("event", "")))
        return f"{self._paint(COLOUR_OF_LEVEL.get(level, ''), name)}  {self._facts(entry, set())}".rstrip()

    def _step(self, label: str, colour: str, entry: EventDict, detail: str) -> str:
        order = _text(entry, "order_id") or "-"
        merchant = _text(entry, "merchant")
        whose = "" if merchant in {"", "default"} else self._paint(DIM, f"  [{merchant}]")
        return f"{self._paint(colour, label.ljust(LABEL_WIDTH))}{order.ljust(ORDER_WIDTH)}  {detail}{whose}"

    def _facts(self, entry: EventDict, known: set[str]) -> str:
        facts = (
            f"{name}={plain(str(value))}"
            for name, value in entry.items()
            if value is not None and name not in HIDDEN and name not in known
        )
        return self._paint(DIM, " ".join(facts))

    def _paint(self, colour: str, text: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._colours and colour and text else text


STEPS: Mapping[str, Callable[[Console, EventDict], str]] = {
    "notification_accepted": Console.accepted,
    "notification_duplicate": Console.duplicate,
    "notification_refused": Console.refused,
    "payment_confirmed": Console.confirmed,
    "event_made": Console.event_made,
    "alarm": Console.alarm,
}


def plain(text: str) -> str:
    """Return *text* without control characters: an order_id must not move the cursor of a terminal."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def _text(entry: EventDict, name: str) -> str:
    value = entry.get(name)
    return "" if value is None else plain(str(value))


def _clock(timestamp: str) -> str:
    """Return the time of day here; log entries carry UTC."""
    try:
        return datetime.fromisoformat(timestamp).astimezone().strftime("%H:%M:%S")
    except ValueError:
        return "--:--:--"

"""What must be true of a database whatever was done to the process that wrote it."""

import json
import sqlite3
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

from service.db.packing import unpack
from support.contracts import check_event
from support.stories import statuses_of

ENDED_WELL = {("applied", None), ("unchanged", None), ("stale", None)}
Event = dict[str, Any]


def rows(path: Path, query: str) -> list[Any]:
    """Read with the driver alone: nothing of the service's own queries stands between."""
    with closing(sqlite3.connect(path, timeout=10)) as connection:
        return connection.execute(query).fetchall()


def wait_until(happened: Callable[[], bool], what: str, *, within_s: float = 60) -> None:
    """Wait until *happened* says so."""
    deadline = time.monotonic() + within_s
    while not happened():
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what}"
        time.sleep(0.1)


def receipts_of(path: Path) -> dict[str, tuple[str, str | None]]:
    """Return (state, reason) of every receipt on the disk by its id, written as in the answers."""
    return {
        str(UUID(bytes=row[0])): (row[1], row[2])
        for row in rows(path, "SELECT id, state, reason FROM receipts")
    }


def wait_until_ended(path: Path, acknowledged: Collection[str], *, within_s: float = 90) -> None:
    """Wait until every acknowledged receipt has reached an end; fail when one is lost, held or never ends."""
    deadline = time.monotonic() + within_s
    while True:
        states = receipts_of(path)
        missing = set(acknowledged) - states.keys()
        assert not missing, f"{len(missing)} acknowledged receipts are not on the disk"
        found = {states[one] for one in acknowledged}
        if not any(state == "waiting" for state, _ in found):
            assert found <= ENDED_WELL, found - ENDED_WELL
            return
        assert time.monotonic() < deadline, f"still open: {found - ENDED_WELL}"
        time.sleep(0.2)


def events_of(path: Path) -> list[Event]:
    """Return the log in order; check that positions have no gap, and that no event id or sequence comes twice."""
    found = rows(path, "SELECT position, id, body FROM events ORDER BY position")
    assert [row[0] for row in found] == list(range(1, len(found) + 1))
    events = [check_event(json.loads(unpack(row[2]))) for row in found]
    assert [str(UUID(bytes=row[1])) for row in found] == [event["id"] for event in events]
    assert len({event["id"] for event in events}) == len(events)
    return events


def check_payments(events: Sequence[Event], account: Any, *, whole: bool = True) -> None:
    """Check each payment's events against what the simulator did: in order, nothing invented, the last state told.

    *whole*: every payment of the simulator must have been told of.
    """
    told = by_payment(events)
    for transaction_id, of_payment in told.items():
        payment = account.find(transaction_id)
        assert [int(event["sequence"]) for event in of_payment] == list(range(1, len(of_payment) + 1))
        happened = statuses_of(payment)
        said = [event["data"]["status"] for event in of_payment]
        remaining = iter(
            [status for status in happened for _ in range(2)]
        )  # a bank may confirm in one status
        assert all(status in remaining for status in said), (happened, said)
        last = of_payment[-1]["data"]
        assert last["status"] == happened[-1], (happened, said)
        assert last["order_id"] == payment.order_id
        assert last["amount"]["value"] == f"{payment.gross_amount:.2f}"
        assert last["refunded"]["value"] == f"{payment.refunded:.2f}"
        assert [event["data"]["previous_status"] for event in of_payment] == [None, *said[:-1]]
    if whole:
        assert told.keys() == {payment.transaction_id for payment in account.transactions()}


def check_deliveries(delivered: Sequence[Event], events: Sequence[Event]) -> None:
    """Check that every event was delivered, and that none came before all earlier ones of its payment had."""
    assert {event["id"] for event in delivered} == {event["id"] for event in events}
    for of_payment in by_payment(delivered).values():
        sequences = [int(event["sequence"]) for event in of_payment]
        assert sequences[0] == 1
        steps = {later - earlier for earlier, later in pairwise(sequences)}
        assert steps <= {0, 1}, sequences  # the same again, or the next: never one back, never one left out


def check_file(path: Path) -> None:
    """Check that the file itself is sound."""
    assert rows(path, "PRAGMA integrity_check") == [("ok",)]
    assert rows(path, "PRAGMA foreign_key_check") == []


def by_payment(events: Sequence[Event]) -> dict[str, list[Event]]:
    found: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        found[event["data"]["transaction_id"]].append(event)
    return found

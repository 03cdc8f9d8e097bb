"""GET status as an API that lags behind its own notifications gives it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from django_midtrans.testing import Account

Body = dict[str, Any]
UNKNOWN_ID = ""  # no payment has it: what is asked with it is not found


class LaggingStatus:
    """Remembers what GET status said, and answers as of a while ago. The clock is passed in.

    What a payment was before ``remember`` first saw it is not known: its earliest known state stands for that.
    """

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._past: dict[str, list[tuple[datetime, Body]]] = {}

    def remember(self, account: Account, transaction_id: str) -> None:
        """Note the payment's present state."""
        past = self._past.setdefault(transaction_id, [])
        past.append((self._clock(), account.status(transaction_id)))

    def answer(self, account: Account, id_: str, *, lag_s: float, hidden_s: float) -> Body:
        """Answer as of *lag_s* ago, and for *hidden_s* after a charge as if there were none."""
        lag, hidden = timedelta(seconds=lag_s), timedelta(seconds=hidden_s)
        for transaction_id in _candidates(account, id_, account.status(id_)):
            seen = self._seen(account, transaction_id, lag, hidden)
            if seen is not None:
                return seen
        return account.status(UNKNOWN_ID)

    def _seen(self, account: Account, transaction_id: str, lag: timedelta, hidden: timedelta) -> Body | None:
        if account.find(transaction_id).transaction_time + max(lag, hidden) > self._clock():
            return None
        past = self._past.get(transaction_id)
        if not past or not lag:
            return account.status(transaction_id)
        known = (body for at, body in reversed(past) if at <= self._clock() - lag)
        return next(known, past[0][1])


def _candidates(account: Account, id_: str, present: Body) -> Iterator[str]:
    """Yield the payments that an id may mean, newest first: one transaction, or all of an order."""
    own = present.get("transaction_id")
    if own is None:
        return
    if own == id_:
        yield own
        return
    for each in account.status_b2b(id_, per_page=1_000)["transactions"]:
        if each["order_id"] == id_:  # swapped channels are found by their transaction_id alone
            yield each["transaction_id"]

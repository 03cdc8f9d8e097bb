"""The running stand-in: an in-memory Midtrans, its faults, and notifications that go to the right URLs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django_midtrans.testing import Account, ImpossibleStep, InMemoryMidtrans
from service.simulator.faults import NONE, Faults, FaultTable
from service.simulator.lagging import LaggingStatus
from service.simulator.outbox import Outbox
from service.simulator.runs import Runs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from service.simulator.sender import NotificationSender

MOST_URLS = 3


@dataclass(frozen=True)
class Route:
    """Where one payment's notifications go, as its charge's headers said."""

    append: tuple[str, ...] = ()
    override: tuple[str, ...] | None = None  # wins over append, and never falls back to the default URL

    @classmethod
    def from_headers(cls, headers: Mapping[str, str]) -> Route:
        """Read X-Append-Notification and X-Override-Notification: up to three URLs, comma separated."""
        override = headers.get("x-override-notification")
        return cls(
            append=_urls(headers.get("x-append-notification", "")),
            override=None if override is None else _urls(override),
        )

    def urls(self, default: str | None) -> tuple[str, ...]:
        """Return every URL to post to."""
        if self.override is not None:
            return self.override
        return (() if default is None else (default,)) + self.append


_charging: ContextVar[Route] = ContextVar("route of the charge being made", default=Route())  # noqa: B039 - frozen


class Simulator:
    """One Midtrans, one sender, and the way between them. ``notify_url`` may be changed any time.

    ``runs`` plays scenarios; ``faults`` tells what goes wrong, ``suffer`` changes it.
    """

    def __init__(
        self,
        clock: Callable[[], datetime],
        sender: NotificationSender,
        *,
        notify_url: str | None,
        server_keys: Sequence[str],
        public_url: str,
        faults: Faults = NONE,
    ) -> None:
        self.notify_url = notify_url
        self.sender = sender
        self.faults = FaultTable(faults)
        self.lagging = LaggingStatus(clock)
        self.runs = Runs()
        self._outbox = Outbox(sender, self.faults)
        self.midtrans = InMemoryMidtrans(
            clock,
            on_notification=self._notify,
            known_keys=server_keys or None,
            public_url=public_url,
        )
        self._routes: dict[str, Route] = {}
        for key in server_keys:
            self.midtrans.account(key)

    @contextmanager
    def routing(self, route: Route) -> Iterator[None]:
        """Give the payments charged inside this *route* for good."""
        token = _charging.set(route)
        try:
            yield
        finally:
            _charging.reset(token)

    def owner(self, id_: str, merchant_id: str | None) -> Account:
        """Return the account that has the payment; raises ImpossibleStep when none or several do."""
        owners = [account for account in self._accounts(merchant_id) if _has(account, id_)]
        if len(owners) != 1:
            raise ImpossibleStep(f"{len(owners)} accounts have a payment {id_!r}")
        return owners[0]

    def merchant(self, merchant_id: str | None) -> Account:
        """Return an account by merchant id, or the first; raises ImpossibleStep."""
        for account in self._accounts(merchant_id):
            return account
        raise ImpossibleStep("there is no such account yet: call the API with its server key once")

    def repeat(self, account: Account, id_: str) -> dict[str, Any]:
        """Send the body of the payment's present state once more."""
        body = account.notification(id_)
        self._notify(account.server_key, body)
        return body

    def suffer(self, faults: Faults, merchant_id: str | None = None) -> None:
        """Have *faults* happen from now on, to one merchant or to all that have none of their own."""
        self.faults.put(faults, merchant_id)
        if faults.status_lag:
            for account in self._accounts(merchant_id):
                for payment in account.transactions():
                    self.lagging.remember(account, payment.transaction_id)

    def _accounts(self, merchant_id: str | None) -> Iterable[Account]:
        return [each for each in self.midtrans.accounts() if merchant_id in {None, each.merchant_id}]

    def _notify(self, _server_key: str, body: dict[str, Any]) -> None:
        route = self._routes.get(body["transaction_id"])
        if route is None:
            route = self._routes[body["transaction_id"]] = _charging.get()
        merchant_id = body["merchant_id"]
        if self.faults.of(merchant_id).status_lag:
            self.lagging.remember(self.merchant(merchant_id), body["transaction_id"])
        self._outbox.post(body, route.urls(self.notify_url))


def _urls(header: str) -> tuple[str, ...]:
    return tuple(url.strip() for url in header.split(",") if url.strip())[:MOST_URLS]


def _has(account: Account, id_: str) -> bool:
    try:
        account.find(id_)
    except ImpossibleStep:
        return False
    return True

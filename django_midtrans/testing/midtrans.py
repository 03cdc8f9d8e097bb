"""The whole of Midtrans: its accounts by server key, its card tokens, its clock."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from hashlib import sha256
from typing import Literal

from django_midtrans.testing import bodies, cards
from django_midtrans.testing.account import Account
from django_midtrans.testing.bodies import JAKARTA, Body
from django_midtrans.testing.outside import Surroundings


class UnknownServerKey(Exception):
    """Midtrans does not know the key; ``body`` is its 401, which comes with HTTP 401."""

    def __init__(self, body: Body) -> None:
        self.body = body
        super().__init__("unknown server key")


class InMemoryMidtrans:
    """A Midtrans that lives in this process. Safe under threads.

    *known_keys* limits who is served; without it every key has an account from its first use on.
    *swapped_status_signs* says whose id the status signature of DANA and BI-SNAP virtual accounts covers,
    which is not documented: the one ``"answered"`` (their transaction_id) or the one ``"charged"``.
    """

    def __init__(
        self,
        clock: Callable[[], datetime],
        *,
        new_id: Callable[[], str] | None = None,
        on_notification: Callable[[str, Body], None] | None = None,
        known_keys: Iterable[str] | None = None,
        public_url: str = "https://midtrans.invalid",
        swapped_status_signs: Literal["answered", "charged"] = "answered",
    ) -> None:
        self._world = Surroundings(
            clock=clock,
            new_id=new_id or (lambda: str(uuid.uuid4())),
            public_url=public_url.rstrip("/"),
            signs_charged=swapped_status_signs == "charged",
            on_notification=on_notification,
        )
        self._known_keys = None if known_keys is None else set(known_keys)
        self._accounts: dict[str, Account] = {}

    def account(self, server_key: str) -> Account:
        """Return the account of *server_key*; raises UnknownServerKey."""
        with self._world.lock:
            if not server_key or (self._known_keys is not None and server_key not in self._known_keys):
                raise UnknownServerKey(self.unauthorized())
            if server_key not in self._accounts:
                self._accounts[server_key] = Account(server_key, _merchant_id(server_key), self._world)
            return self._accounts[server_key]

    def accounts(self) -> tuple[Account, ...]:
        """Return every account that was used, once each."""
        with self._world.lock:
            return tuple({id(account): account for account in self._accounts.values()}.values())

    def allow(self, server_key: str) -> None:
        """Serve *server_key* from now on, as when a shop gets its key."""
        with self._world.lock:
            if self._known_keys is not None:
                self._known_keys.add(server_key)

    def revoke(self, server_key: str) -> None:
        """Answer *server_key* with 401 from now on; its account keeps its state and its signing key."""
        with self._world.lock:
            if self._known_keys is None:
                self._known_keys = set(self._accounts)
            self._known_keys.discard(server_key)

    def rotate(self, old_key: str, new_key: str, *, keep_old: bool = False) -> Account:
        """Give *old_key*'s account the *new_key*, which signs from now on; the old gets 401 unless kept."""
        with self._world.lock:
            account = self.account(old_key)
            account.server_key = new_key
            self._accounts[new_key] = account
            self.allow(new_key)
            if not keep_old:
                self.revoke(old_key)
            return account

    def card_token(self, query: Mapping[str, str]) -> Body:
        """Answer GET /v2/token: ``client_key`` and the card's fields make a token for one charge."""
        if not query.get("client_key"):
            return self.unauthorized()
        problems = cards.problems_of_card(query, self._world.now().astimezone(JAKARTA))
        if problems:
            message = "One or more parameters in the payload is invalid."
            return bodies.error("400", message, self._world.new_id(), problems)
        number = query["card_number"]
        return {
            "status_code": "200",
            "status_message": "Credit card token is created as Token ID.",
            "token_id": cards.make_token(number, self._world.new_id()),
            "hash": cards.make_token(number, "simulated"),
        }

    def expire_due(self) -> list[Body]:
        """Expire what is due in every account."""
        return [body for account in self.accounts() for body in account.expire_due()]

    def unauthorized(self) -> Body:
        """Return the body that comes with HTTP 401."""
        return bodies.error("401", "Unknown Merchant server_key/id", self._world.new_id())


def _merchant_id(server_key: str) -> str:
    """Return a merchant id that stays the same for a key and tells nothing about it."""
    return f"G{int(sha256(server_key.encode()).hexdigest(), 16) % 10**9:09d}"

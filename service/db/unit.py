"""A unit of work: one connection inside a transaction, and every table's queries on it."""

import hashlib
from collections.abc import Collection, Iterable
from datetime import datetime
from functools import cached_property

from sqlalchemy import Connection

from service.db.checks import Checks
from service.db.claims import Claims
from service.db.consumers import Consumers
from service.db.deliveries import Deliveries
from service.db.events import Events
from service.db.expectations import Expectations
from service.db.log import Log
from service.db.merchants import MerchantStates
from service.db.oddities import Oddities
from service.db.payments import Payments
from service.db.receipts import Receipts
from service.db.relays import Relays
from service.db.roles import Roles
from service.db.together import Together
from service.db.tokens import Tokens
from service.db.topic import Topic
from service.domain.records import Claim

__all__ = ["Topic", "Unit"]


_HOLD = "SELECT pg_advisory_xact_lock(key) FROM unnest(%s::bigint[]) AS key"


def _key(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), signed=True)


class Unit:
    """What a function handed to the store works with; lives as long as its savepoint or read transaction.

    *now* is the store's clock, read once: all that one unit writes bears one time.
    """

    def __init__(self, connection: Connection, now: datetime) -> None:
        self.connection = connection
        self.now = now
        self.topics: set[Topic] = set()

    def announce(self, topic: Topic) -> None:
        """Have the listeners of *topic* called once, after the commit that covers this unit."""
        self.topics.add(topic)

    @property
    def shared(self) -> bool:
        """Whether other transactions may write at the same time."""
        return self.connection.dialect.name == "postgresql"

    def hold(self, *names: str) -> None:
        """Keep every other transaction that holds one of *names* out until this one ends.

        For what has no row that could be locked, because it may not be there yet. Where one writes at a time, that
        is so already.
        """
        if self.shared and names:
            self.connection.exec_driver_sql(_HOLD, (sorted(map(_key, names)),))

    @cached_property
    def receipts(self) -> Receipts:
        """Notifications as they came."""
        return Receipts(self)

    @cached_property
    def oddities(self) -> Oddities:
        """What was refused, and dashboard tests."""
        return Oddities(self)

    @cached_property
    def log(self) -> Log:
        """The epoch and the sequencer."""
        return Log(self)

    @cached_property
    def consumers(self) -> Consumers:
        """Named readers of the log."""
        return Consumers(self)

    @cached_property
    def deliveries(self) -> Deliveries:
        """What is outstanding for a consumer."""
        return Deliveries(self)

    @cached_property
    def relays(self) -> Relays:
        """Where each relay to a broker is, and who relays."""
        return Relays(self)

    @cached_property
    def events(self) -> Events:
        """The log of events."""
        return Events(self)

    @cached_property
    def tokens(self) -> Tokens:
        """Who may call."""
        return Tokens(self)

    @cached_property
    def claims(self) -> Claims:
        """The right to ask about an order."""
        return Claims(self)

    @cached_property
    def payments(self) -> Payments:
        """Payments, their confirmations and transitions."""
        return Payments(self)

    @cached_property
    def expectations(self) -> Expectations:
        """Charges that the shop has announced."""
        return Expectations(self)

    @cached_property
    def checks(self) -> Checks:
        """What reconcile is to ask about."""
        return Checks(self)

    def together(self, wanted: Collection[Claim], transactions: Iterable[tuple[str, str]]) -> Together:
        """Return what writes for many claims at once; *transactions* (merchant, id) are all they may ask for."""
        return Together(self, wanted, transactions)

    @cached_property
    def roles(self) -> Roles:
        """What one process at a time does."""
        return Roles(self)

    @cached_property
    def merchants(self) -> MerchantStates:
        """What is known of a merchant's access."""
        return MerchantStates(self)

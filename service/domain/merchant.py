"""A merchant: one Midtrans account in one environment."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

DEFAULT_MERCHANT = "default"
"""The merchant that the ``MIDTRANS_*`` variables make, and that ``POST /notifications`` is for."""
NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
"""What merchant and consumer names look like: they are part of paths and of event ids."""


@dataclass(frozen=True, slots=True)
class Merchant:
    """One Midtrans account in one environment; sandbox and production are two merchants.

    *name* is part of every event id and never changes. *server_keys* are asked with in this order and all of
    them verify; *verification_keys* only verify (rotation). No key shows in the repr.
    """

    name: str
    server_keys: tuple[str, ...] = field(repr=False)
    verification_keys: tuple[str, ...] = field(default=(), repr=False)
    is_production: bool = False
    merchant_id: str | None = None
    base_url: str | None = None

    @property
    def keys_that_verify(self) -> tuple[str, ...]:
        """Return every key a notification may be signed with, server keys first."""
        return self.server_keys + tuple(key for key in self.verification_keys if key not in self.server_keys)

    @property
    def environment(self) -> str:
        """Return ``production`` or ``sandbox``, or the base URL that stands in for both."""
        return self.base_url or ("production" if self.is_production else "sandbox")

    @property
    def access_fingerprint(self) -> str:
        """Return what changes when the keys asked with or the environment change; shows neither."""
        return fingerprint("\n".join((self.environment, *self.server_keys)))


def fingerprint(secret: str) -> str:
    """Return 12 hex digits that tell secrets apart without giving one away."""
    return hashlib.sha256(b"midtrans-service\x00" + secret.encode()).hexdigest()[:12]


def by_name(merchants: Sequence[Merchant]) -> dict[str, Merchant]:
    """Return *merchants* by name."""
    return {merchant.name: merchant for merchant in merchants}

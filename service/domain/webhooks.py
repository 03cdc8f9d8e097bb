"""Signing as Standard Webhooks says, so that receivers verify with any of its libraries.

Source: github.com/standard-webhooks/standard-webhooks, ``spec/standard-webhooks.md``.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from service.errors import RequestInvalid

PREFIX: Final = "whsec_"
SHORTEST, LONGEST = 24, 64
"""Bytes that a secret may have."""
MADE: Final = 32
"""Bytes of a secret that this service makes."""
WANTED: Final = f"{PREFIX} and the base64 of {SHORTEST} to {LONGEST} bytes"
_FINGERPRINT: Final = 12


def secret_text(key: bytes) -> str:
    """Return the secret of the bytes *key* as it is written: ``whsec_`` and their base64."""
    return PREFIX + base64.b64encode(key).decode("ascii")


def secret_key(text: str) -> bytes:
    """Return the bytes that the secret *text* stands for; raise ValueError, which never shows it."""
    if not text.startswith(PREFIX):
        raise ValueError(f"must be {WANTED}")
    try:
        key = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"must be {WANTED}; what follows the prefix is not base64") from None
    if not SHORTEST <= len(key) <= LONGEST:
        raise ValueError(f"must be {WANTED}; it has {len(key)}")
    return key


def check_secrets(secrets: Sequence[str], *, field: str = "secrets") -> None:
    """Raise RequestInvalid for what is no secret, or is there twice."""
    for index, secret in enumerate(secrets):
        try:
            secret_key(secret)
        except ValueError as error:
            raise RequestInvalid(f"{field}[{index}]", str(error)) from None
        if secret in secrets[:index]:
            raise RequestInvalid(f"{field}[{index}]", "is there twice")


def fingerprint(secret: str) -> str:
    """Return what tells one secret from another without giving it away: 12 hex digits."""
    return hashlib.sha256(secret.encode()).hexdigest()[:_FINGERPRINT]


def signature(key: bytes, *, message_id: str, timestamp: int, body: bytes) -> str:
    """Return ``v1,`` and the base64 of HMAC-SHA256 over ``<id>.<timestamp>.<body>``."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode("ascii")


def headers(keys: Iterable[bytes], *, message_id: str, at: datetime, body: bytes) -> Mapping[str, str]:
    """Return the three headers of a message: one signature for each of *keys*, for rotation.

    *at* is when this try begins: receivers refuse what is older than some minutes.
    """
    timestamp = int(at.timestamp())
    signatures = [signature(key, message_id=message_id, timestamp=timestamp, body=body) for key in keys]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signatures),
    }

"""Is this from Midtrans? The hashes that it sends as ``signature_key``.

They cover neither transaction_status nor any time: a good signature keeps strangers out, but only
``get_status`` tells what became of a payment.
"""

from __future__ import annotations

import hashlib
import hmac


def expected_signature(order_id: str, status_code: str, gross_amount: str, server_key: str) -> str:
    """Return the lower-case hex SHA-512 that Midtrans sends as ``signature_key`` of a payment.

    *gross_amount* is the text as received, ``"150000.00"``: as a number it loses the signed bytes.
    *status_code* is the one of the same body. Compare with ``signature_matches``. Raises UnicodeEncodeError
    for a lone surrogate, which no signed text holds. Source:
    docs.midtrans.com/docs/https-notification-webhooks
    """
    return _sha512_hex(order_id, status_code, gross_amount, server_key)


def pay_account_signature(account_id: str, account_status: str, status_code: str, server_key: str) -> str:
    """Return the hash of a notification that a GoPay account was linked or unlinked.

    Source: docs.midtrans.com/reference/receiving-notifications
    """
    return _sha512_hex(account_id, account_status, status_code, server_key)


def signature_matches(
    order_id: object, status_code: object, gross_amount: object, signature_key: object, server_key: object
) -> bool:
    """Say, in constant time, whether *signature_key* signs the three texts under *server_key*.

    Whatever comes in, nothing is raised: anything but text, or an empty key, is False. An empty key has to
    be, since everyone can sign with it.
    """
    if not (
        isinstance(order_id, str)
        and isinstance(status_code, str)
        and isinstance(gross_amount, str)
        and isinstance(signature_key, str)
        and isinstance(server_key, str)
        and server_key
    ):
        return False
    try:
        expected = _sha512_hex(order_id, status_code, gross_amount, server_key)
        return hmac.compare_digest(expected.encode(), signature_key.encode())
    except UnicodeEncodeError:
        return False


def _sha512_hex(*parts: str) -> str:
    return hashlib.sha512("".join(parts).encode()).hexdigest()

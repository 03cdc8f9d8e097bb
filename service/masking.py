"""Take secrets, card data and personal data out of what is logged: by field name, and by what a value looks like.

Masked are keys, tokens and signatures; card numbers, CVVs and expiry dates; names, addresses, e-mail, phones; and
virtual account numbers and bill keys, since they name a payer to his bank. Order and transaction ids stay readable.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

MASKED = "[masked]"
DEEPEST = 8
"""How far into a nested value is looked; what lies deeper is left out."""
LONGEST = 32_768
"""Characters of one text that are kept."""
_HARMLESS = (bool, float)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


SECRET_FIELDS = _words(
    "authorization proxy_authorization cookie set_cookie password secret secrets token access_token bearer"
    " operator_token server_key server_keys verification_keys client_key signature_key x_signature"
    " iris_signature api_key pin"
)
CARD_FIELDS = _words(
    "card card_number masked_card saved_token_id token_id card_token card_cvv cvv cvv2 cvc card_exp_month"
    " card_exp_year pan"
)
PERSONAL_FIELDS = _words(
    "customer_details customer_name customer_email billing_address shipping_address first_name last_name"
    " full_name email phone phone_number mobile address city postal_code va_number va_numbers permata_va_number"
    " bca_va_number bill_key account_number payment_code"
)
MASKED_FIELDS = SECRET_FIELDS | CARD_FIELDS | PERSONAL_FIELDS

_NAMED = re.compile(  # a field of JSON, of a repr, of a query or of a header inside a longer text
    rf"\b({'|'.join(sorted(MASKED_FIELDS - {'card', 'token', 'city', 'pin', 'pan', 'secret'}, key=len, reverse=True))})"
    r"(\\?[\"']?\s*[:=]\s*)"
    r"(\\?\"[^\"]{0,2000}\"|'[^']{0,2000}'|[\[({][^\])}]{0,2000}[\])}]|(?:basic |bearer )?[^\s\"'&,;)\]}]+)",
    re.IGNORECASE,
)
_TOKEN = re.compile(
    r"\b(?:SB-)?(?:Mid|VT|Iris)-(?:server|client)-[\w-]+"  # Midtrans' keys
    r"|\bmts_[\w.~-]{4,}"  # our own tokens
    r"|\bwhsec_[\w+/=-]+"
    r"|\b(?:basic|bearer)\s+[\w+/=.~-]{6,}"
    r"|\b[0-9a-f]{128}\b"  # SHA-512 in hexadecimal: a signature
    r"|(?<=://)[^/\s@]{1,300}(?=@)"  # a login in a URL
    r"|(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}\.[\w.-]{1,190}"  # e-mail
    r"|(?<![\w-])(?:\+62|08)[\d -]{8,14}(?!\w)",  # Indonesian phone numbers
    re.IGNORECASE,
)
_SECRET = re.compile(  # a JSON field that signs or opens something; a key or a SHA-512 anywhere
    r"(\"(?:\w*signature\w*|\w*token\w*|\w*secret\w*|\w*(?:server|client|api)_key)\"\s*:\s*\")(?:[^\"\\]|\\.)*(\"|\Z)"
    r"|()\b(?:SB-)?(?:Mid|VT|Iris)-(?:server|client)-[\w-]+()"
    r"|()\b[0-9a-f]{128}\b()",
    re.IGNORECASE,
)
_SIGNATURE = 128  # characters of the one token that nothing announces
_SIGN_OF_TOKEN = re.compile(r"-server-|-client-|mts_|whsec_|basic|bearer|@|08|\+62", re.IGNORECASE)
"""What all other tokens have: most ids with many digits have nothing of it, and looking for this is cheaper."""
_CARD = re.compile(r"(?<![\d.])(?:[3-6]|2[2-7])(?:[ -]?\d){11,17}(?!\d)")
_SUSPICIOUS = re.compile(
    r"[@=:]|\d{8}|-server-|-client-|basic|bearer|mts_|whsec_|\d{4}[ -]\d|08|\+62", re.IGNORECASE
)
"""What every text has that could need masking: most log fields have nothing of it and are done."""

OURS = _words("level timestamp merchant kind id event_id answer verdict status type alarm to_do")
"""Fields of log entries that this service fills with its own words and ids; a stranger writes nothing there."""


def mask(name: str, value: Any, depth: int = 0) -> Any:
    """Return *value* of the field *name* without secrets; everything that is not plain becomes text."""
    if value is None or isinstance(value, _HARMLESS):
        return value
    if must_hide(name):
        return MASKED
    if isinstance(value, str):
        return mask_text(value)
    if isinstance(value, int):
        return value if -(10**11) < value < 10**11 else _mask_number(value)
    return _mask_nested(value, depth) if depth < DEEPEST else "…"


def _mask_nested(value: Any, depth: int) -> Any:
    if isinstance(value, Mapping):
        return {mask_text(str(key)): mask(str(key), item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [mask("", item, depth + 1) for item in value]
    if isinstance(value, bytes | bytearray | memoryview):
        return mask_text(bytes(value[:LONGEST]).decode("utf-8", "backslashreplace"))
    return mask_text(_as_text(value))


@lru_cache(maxsize=1024)
def must_hide(name: str) -> bool:
    """Say whether the field *name* is hidden whatever it holds."""
    return name.lower().replace("-", "_") in MASKED_FIELDS


def mask_text(text: str) -> str:
    """Return *text* with everything in it masked that looks like a secret or a card number."""
    if len(text) > LONGEST:
        text = text[:LONGEST] + "…"
    if not _SUSPICIOUS.search(text):
        return text
    if ":" in text or "=" in text:
        text = _NAMED.sub(rf"\1\2{MASKED}", text)
    if len(text) >= _SIGNATURE or _SIGN_OF_TOKEN.search(text):
        text = _TOKEN.sub(MASKED, text)
    return _CARD.sub(_hide_card, text)


def mask_body(text: str) -> str:
    """Return a posted body for operators, who may see customers' data: without signatures, keys and card numbers."""
    text = _SECRET.sub(rf"\1{MASKED}\2", text)
    return _CARD.sub(_hide_card, text)


def _mask_number(value: int) -> int | str:
    text = str(value) if abs(value) < 10**20 else "a huge number"
    masked = mask_text(text)
    return value if masked == text else masked


def _hide_card(found: re.Match[str]) -> str:
    return MASKED if _luhn(re.sub(r"[ -]", "", found[0])) else found[0]


def _luhn(digits: str) -> bool:
    """Say whether *digits* end in the check digit of a card number."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        number = int(digit) * (2 if place % 2 else 1)
        total += number - 9 if number > 9 else number  # noqa: PLR2004 (the sum of two digits)
    return total % 10 == 0


def _as_text(value: object) -> str:
    try:
        plain = type(value).__str__ is not object.__str__ and not hasattr(value, "__dataclass_fields__")
        return str(value) if plain else repr(value)
    except Exception as error:  # noqa: BLE001 (a log line must not fail because of what it shows)
        return f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"

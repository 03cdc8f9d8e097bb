"""Where keys and hosts come from: the argument, else ``settings.MIDTRANS`` of Django, else the environment.

Django is asked only where the program has imported and configured it; this module never imports it.
``None`` means "not given here, look further"; an environment variable that is empty counts as not set.
Anything else decides, so that a broken value is reported and never silently replaced by a key of another
merchant.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from django_midtrans.exceptions import MidtransConfigurationError

PRODUCTION_URL = "https://api.midtrans.com"
SANDBOX_URL = "https://api.sandbox.midtrans.com"

_TRUE = frozenset({"true", "1", "yes", "on"})
_FALSE = frozenset({"false", "0", "no", "off"})


class _Found(NamedTuple):
    value: object
    place: str


def find_server_key(argument: str | None = None) -> str:
    """Return the server key; raises MidtransConfigurationError naming the places looked at."""
    return _key("SERVER_KEY", argument)


def find_client_key(argument: str | None = None) -> str:
    """Return the client key; raises MidtransConfigurationError naming the places looked at."""
    return _key("CLIENT_KEY", argument)


def find_merchant_id() -> str | None:
    """Return the merchant id of the settings or the environment, or None."""
    found = _look_up("MERCHANT_ID", None)
    return None if found is None else str(found.value)


def find_base_url(argument: str | None = None, *, is_production: bool | None = None) -> str:
    """Return scheme, host and any path prefix, without a slash at the end.

    A BASE_URL wins over IS_PRODUCTION (it lets a simulator stand in). Which environment is meant is never
    read from the look of a key: sandbox keys without ``SB-`` are in use.
    """
    found = _look_up("BASE_URL", argument)
    if found is None:
        return PRODUCTION_URL if find_is_production(is_production) else SANDBOX_URL
    return _checked_url(found)


def find_is_production(argument: bool | None = None) -> bool:  # noqa: FBT001 - this is the setting's own value
    """Return whether the real Midtrans is meant; false where nothing says so."""
    found = _look_up("IS_PRODUCTION", argument)
    if found is None:
        return False
    word = str(found.value).strip().lower()
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    raise MidtransConfigurationError(f"{found.place} must be true or false")


def _key(name: str, argument: str | None) -> str:
    found = _look_up(name, argument)
    if found is None:
        places = f"the argument {name.lower()}, settings.MIDTRANS[{name!r}], environment MIDTRANS_{name}"
        raise MidtransConfigurationError(f"no Midtrans {_spoken(name)} found; looked for: {places}")
    return checked_key(found.value, found.place)


def checked_key(value: object, place: str) -> str:
    """Return *value* if it can be a key: visible ASCII. Copied keys often bring white space along."""
    if isinstance(value, str) and value and all("!" <= character <= "~" for character in value):
        return value
    problem = "is empty" if value == "" else "holds white space or other characters that no Midtrans key has"
    raise MidtransConfigurationError(f"{place} {problem if isinstance(value, str) else 'is not text'}")


def _spoken(name: str) -> str:
    return name.lower().replace("_", " ")


def _look_up(name: str, argument: object) -> _Found | None:
    if argument is not None:
        return _Found(argument, f"the argument {name.lower()}")
    value = _django_settings().get(name)
    if value is not None:
        return _Found(value, f"settings.MIDTRANS[{name!r}]")
    variable = f"MIDTRANS_{name}"
    text = os.environ.get(variable)
    return _Found(text, f"environment {variable}") if text else None


def _django_settings() -> Mapping[str, object]:
    """Return ``settings.MIDTRANS`` of a Django that is already configured, else nothing."""
    conf = sys.modules.get("django.conf")
    settings = getattr(conf, "settings", None)
    if settings is None or not settings.configured:
        return {}
    values = getattr(settings, "MIDTRANS", None)
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        raise MidtransConfigurationError("settings.MIDTRANS must be a dict")
    return values


def _checked_url(found: _Found) -> str:
    text = str(found.value)
    if not _is_plain_url(text):
        raise MidtransConfigurationError(f"{found.place} must look like https://host or https://host/prefix")
    return text.rstrip("/")


def _is_plain_url(text: str) -> bool:
    """Refuse what would leak or break later: a logged user name, a query in the middle of ours."""
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    return usable and text.isascii() and text.isprintable() and not set(text) & set(" ?#@\\")

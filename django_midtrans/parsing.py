"""From posted bytes to a JSON object, strictly and fast: every notification passes through here."""

import json
import re
from typing import Any, Final, NoReturn

from .values import JsonNumber


class NotificationMalformed(Exception):
    """What was posted cannot be used. *reason* is a stable word, *detail* names fields and never values."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}")


class NotJson(NotificationMalformed):
    """Not one JSON object as text.

    Reasons: empty, not_utf8, not_json, not_an_object, duplicate_key, not_a_number, too_deep.
    """


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotJson("duplicate_key", "an object names a key twice")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise NotJson("not_a_number", f"{name} is no JSON")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_no_duplicates,
    parse_int=JsonNumber,  # no conversion: neither lost text nor a huge integer's cost
    parse_float=JsonNumber,
    parse_constant=_refuse_constant,
)
# A string ends at its quote or with the text, so that no body makes this scan more than once over itself.
_STRING_OR_BRACKET: Final = re.compile(rb'"(?:[^"\\]+|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)


def parse_object(raw: bytes, *, max_depth: int = 32) -> dict[str, Any]:
    """Return the JSON object in *raw*; numbers are ``JsonNumber``, which keep their source text.

    Raises NotJson, and nothing else, for all that is not one JSON object in UTF-8: a byte order mark,
    a key named twice, NaN and Infinity, more than *max_depth* levels.
    """
    if raw.count(b"{") + raw.count(b"[") > max_depth:  # else it cannot be too deep
        _check_depth(raw, max_depth)
    try:
        value = _decode(raw.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise NotJson("not_utf8", f"byte {error.start} is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise _not_json(raw, error) from None
    except RecursionError:  # only with a *max_depth* beyond what the interpreter bears
        raise NotJson("too_deep", "more levels than the interpreter bears") from None
    if type(value) is not dict:
        raise NotJson("not_an_object", "the JSON is no object")
    return value


def _decode(text: str) -> Any:
    """Return the one JSON value in *text*: ``decode``, without looking for white space where there is none."""
    if text.startswith("{"):
        value, end = _DECODER.raw_decode(text)
        if end == len(text):
            return value
    return _DECODER.decode(text)


def _not_json(raw: bytes, error: json.JSONDecodeError) -> NotJson:
    if not raw.strip():
        return NotJson("empty", "the body is empty")
    return NotJson("not_json", f"{error.msg} at character {error.pos}")


def _check_depth(raw: bytes, max_depth: int) -> None:
    depth = 0
    for token in _STRING_OR_BRACKET.finditer(raw):
        first = raw[token.start()]
        if first in b"[{":
            depth += 1
            if depth > max_depth:
                raise NotJson("too_deep", f"more than {max_depth} levels")
        elif first in b"]}":
            depth -= 1

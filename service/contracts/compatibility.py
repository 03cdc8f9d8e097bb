"""What a new contract may not do to those who read by the old one: pure comparison of documents.

A reader goes on when fields are added. All else is a break, also what only narrows: a field that is gone, no longer
always there, of another type, pattern or list of words. A new word breaks a reader that has a branch for each; a lost
one, a reader that waits for it. What must change gets a new version beside the old one.
"""

from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import Any, Final

Document = Mapping[str, Any]

_SAID: Final = frozenset({"title", "description", "examples", "default", "deprecated", "$comment"})
"""What speaks to people and decides nothing."""
_OWN: Final = frozenset({"properties", "required", "anyOf", "allOf", "oneOf", "items", "enum"})
_PLACES: Final = frozenset({"$defs", "$schema", "$id", "$ref"})


def breaks_of_schema(old: Document, new: Document) -> list[str]:
    """Return every break of a reader of schema *old* by schema *new*, each with its place; none is compatible."""
    found = [] if old.get("$id") == new.get("$id") else [f"$id: was {old.get('$id')}, is {new.get('$id')}"]
    return found + list(_Comparison(old, new).of(old, new, ""))


def breaks_of_asyncapi(old: Document, new: Document) -> list[str]:
    """Return every break of a reader of AsyncAPI document *old*: channels, operations, messages, their payloads."""
    found = []
    for part in ("channels", "operations"):
        for name, was in old[part].items():
            now = new[part].get(name)
            if now is None:
                found.append(f"{part}.{name}: is gone")
            else:
                found += _breaks_of_place(f"{part}.{name}", was, now)
    comparison = _Comparison(old, new)
    for name, was in old["components"]["messages"].items():
        now = new["components"]["messages"].get(name)
        place = f"messages.{name}"
        if now is None:
            found.append(f"{place}: is gone")
            continue
        if was.get("contentType") != now.get("contentType"):
            found.append(f"{place}.contentType: was {was.get('contentType')}, is {now.get('contentType')}")
        for part in ("payload", "headers"):
            found += comparison.of(was.get(part, {}), now.get(part, {}), f"{place}.{part}")
    return found


def _breaks_of_place(place: str, old: Document, new: Document) -> Iterator[str]:
    for key in ("address", "action", "bindings"):
        if old.get(key) != new.get(key):
            yield f"{place}.{key}: was {old.get(key)}, is {new.get(key)}"
    messages = new.get("messages", {})
    for message in old.get("messages", {}):
        if message not in messages:
            yield f"{place}: message {message} is gone"


class _Comparison:
    """Compares two schemas; references lead into the document that each is part of."""

    def __init__(self, old: Document, new: Document) -> None:
        self._old = old
        self._new = new
        self._seen: set[tuple[int, int]] = set()

    def of(self, old: Any, new: Any, place: str) -> Iterator[str]:
        """Yield the breaks at *place*."""
        if not isinstance(old, Mapping) or not isinstance(new, Mapping):  # true, false
            if old != new:
                yield f"{place}: was {old}, is {new}"
            return
        was, now = _resolved(self._old, old), _resolved(self._new, new)
        if (id(was), id(now)) in self._seen and "$ref" in old:
            return  # of a schema that holds itself, or is used in several places
        self._seen.add((id(was), id(now)))
        yield from self._fields(was, now, place)
        yield from self._words(was, now, place)
        for key in ("anyOf", "allOf", "oneOf"):
            yield from self._choices(was.get(key, []), now.get(key, []), f"{place}.{key}".lstrip("."))
        if "items" in was or "items" in now:
            yield from self.of(was.get("items", True), now.get("items", True), f"{place}[]")
        for key in sorted((was.keys() | now.keys()) - _SAID - _OWN - _PLACES):
            if was.get(key) != now.get(key):
                yield f"{place or 'schema'}: {key} was {was.get(key)}, is {now.get(key)}"

    def _fields(self, old: Document, new: Document, place: str) -> Iterator[str]:
        fields, required = new.get("properties", {}), new.get("required", [])
        for name, was in old.get("properties", {}).items():
            where = f"{place}.{name}".lstrip(".")
            if name not in fields:
                yield f"{where}: is gone"
                continue
            if name in old.get("required", []) and name not in required:
                yield f"{where}: is no longer always there"
            yield from self.of(was, fields[name], where)

    def _words(self, old: Document, new: Document, place: str) -> Iterator[str]:
        if ("enum" in old) != ("enum" in new):
            yield f"{place or 'schema'}: enum was {old.get('enum')}, is {new.get('enum')}"
            return
        was, now = old.get("enum", []), new.get("enum", [])
        yield from (f"{place}: {word!r} comes no more" for word in was if word not in now)
        yield from (f"{place}: {word!r} may come now" for word in now if word not in was)

    def _choices(self, old: list[Any], new: list[Any], place: str) -> Iterator[str]:
        for number, (was, now) in enumerate(zip_longest(old, new)):
            if was is None or now is None:
                yield f"{place}[{number}]: was {was}, is {now}"
            else:
                yield from self.of(was, now, f"{place}[{number}]")


def _resolved(document: Document, schema: Document) -> Document:
    while "$ref" in schema:
        found: Any = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        schema = found
    return schema

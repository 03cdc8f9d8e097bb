"""What is wrong with the settings, in words: the name, the shape of what came, and how to mend it."""

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from service.errors import SettingsInvalid

T = TypeVar("T", bound=BaseModel)


class Problems:
    """Collects what is wrong, so that all of it is said at once."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, name: str, problem: str) -> None:
        """Note that the setting *name* has *problem*; never hand a value in here."""
        self.lines.append(f"{name} {problem}")

    def unknown(self, where: str, name: str, known: Iterable[str]) -> None:
        """Note that there is no *name* in *where*, and which known name is nearest."""
        names = sorted(known)
        near = get_close_matches(name, names, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(names)}"
        self.add(f"{where}.{name}" if where else f"[{name}]", f"is not known to this version; {hint}")

    def check(self, model: type[T], values: Mapping[str, Any], name_of: Callable[[str], str]) -> T | None:
        """Return *values* as a *model*, or None when they are wrong.

        *name_of* a field is the name that the user wrote.
        """
        try:
            return model.model_validate(values)
        except ValidationError as error:
            for detail in error.errors(include_url=False, include_context=True, include_input=True):
                self._explain(model, detail, name_of)
            return None

    def _explain(
        self, model: type[BaseModel], detail: Mapping[str, Any], name_of: Callable[[str], str]
    ) -> None:
        field, *inside = (str(part) for part in detail["loc"])
        name = name_of(field) + "".join(f"[{part}]" for part in inside)
        if detail["type"] == "extra_forbidden":
            self.unknown(name_of("").rstrip("."), field, model.model_fields)
        elif detail["type"] == "missing":
            self.add(name, f"is missing; wanted: {_wanted(model, field)}")
        elif detail["type"] == "value_error":
            self.add(name, str(detail["ctx"]["error"]))
        else:
            self.add(name, f"is {shape(detail['input'])}; wanted: {_wanted(model, field)}")

    def refuse(self) -> None:
        """Raise `SettingsInvalid` when anything is wrong."""
        if self.lines:
            head = "1 setting is wrong" if len(self.lines) == 1 else f"{len(self.lines)} settings are wrong"
            raise SettingsInvalid("\n  - ".join([f"{head}; nothing was started:", *self.lines]))


def _wanted(model: type[BaseModel], field: str) -> str:
    extra = model.model_fields[field].json_schema_extra
    return str(extra["wanted"]) if isinstance(extra, dict) else "another value"


def shape(value: object) -> str:
    """Say what *value* looks like without giving it away: a secret may have landed in the wrong place."""
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number out of range or of the wrong kind"
    if isinstance(value, str):
        return _shape_of_text(value)
    if isinstance(value, list):
        return f"a list of {len(value)}"
    return "a table" if isinstance(value, dict) else f"a {type(value).__name__}"


def _shape_of_text(text: str) -> str:
    if not text.strip():
        return "empty" if not text else "only white space"
    kind = "digits" if text.isdecimal() else "letters" if text.isalpha() else "characters"
    spaced = ", with white space around" if text != text.strip() else ""
    return f"a text of {len(text)} {kind}{spaced}"

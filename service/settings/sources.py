"""Where settings come from: variables, a TOML file, and files that hold one secret a line."""

import tomllib
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from service.settings.problems import Problems

TYPO = 0.85
"""How alike an unknown variable must be to a known one to be taken for a slip of the pen."""


def variables(
    prefix: str, environ: Mapping[str, str], known: Iterable[str], secrets: Iterable[str], problems: Problems
) -> dict[str, str]:
    """Return what *environ* says under *prefix*, by field name; the *secrets* may come from ``…_FILE``."""
    names = sorted(known)
    files = {f"{prefix}{name.upper()}_FILE": name for name in secrets}
    found = {}
    for name in names:
        value = environ.get(f"{prefix}{name.upper()}")
        if value is not None and not value.strip():
            problems.add(f"{prefix}{name.upper()}", "is empty: give it a value, or unset it")
        elif value is not None:
            found[name] = value
    for variable, name in files.items():
        if variable not in environ:
            continue
        if name in found:
            problems.add(variable, f"is set together with {prefix}{name.upper()}: keep one of them")
        elif (lines := secret_lines(variable, Path(environ[variable]), problems)) is not None:
            found[name] = "\n".join(lines)
    _refuse_typos(prefix, environ, [f"{prefix}{name.upper()}" for name in names] + list(files), problems)
    return found


def _refuse_typos(prefix: str, environ: Mapping[str, str], known: list[str], problems: Problems) -> None:
    """Refuse what is nearly one of ours; the environment may hold strangers with the same first word."""
    short = {name.removeprefix(prefix): name for name in known}
    for variable in sorted(environ):
        if variable.startswith(prefix) and variable not in known:
            name = variable.removeprefix(prefix)
            near = get_close_matches(name, short, n=1, cutoff=TYPO) or [
                other
                for other in short
                if sorted(other) == sorted(name)  # letters swapped: PROT
            ]
            if near:
                problems.add(variable, f"is not known; did you mean {short[near[0]]}?")


def secret_lines(name: str, path: Path, problems: Problems) -> list[str] | None:
    """Return the lines of *path* that are not blank, or None with a problem under *name*."""
    try:
        lines = [line.strip("\r\n") for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        problems.add(name, f"names a file that cannot be read ({why}): {path}")
        return None
    if not lines:
        problems.add(name, f"names an empty file: {path}")
        return None
    return lines


def toml_file(path: Path, problems: Problems) -> dict[str, Any]:
    """Return the tables of *path*; empty, with a problem, when it cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        problems.add("SERVICE_CONFIG", f"names a file that cannot be read ({error.strerror}): {path}")
    except UnicodeDecodeError:
        problems.add("SERVICE_CONFIG", f"names a file that is not UTF-8: {path}")
    except tomllib.TOMLDecodeError as error:
        problems.add("SERVICE_CONFIG", f"names a file that is not TOML: {path}: {error}")
    return {}


def with_secret_files(
    where: str, table: dict[str, Any], names: Iterable[str], folder: Path, problems: Problems
) -> dict[str, Any]:
    """Return *table* with the secrets of ``NAME_file`` for each of *names*, one a line."""
    table = dict(table)
    for name in names:
        file_name = table.pop(f"{name}_file", None)
        if file_name is None:
            continue
        if not isinstance(file_name, str):
            problems.add(f"{where}.{name}_file", "is not the path of a file")
        elif name in table:
            problems.add(f"{where}.{name}_file", f"is set together with {name}: keep one of them")
        elif (lines := secret_lines(f"{where}.{name}_file", folder / file_name, problems)) is not None:
            table[name] = lines
    return table


def with_secret_file(
    where: str, table: dict[str, Any], name: str, folder: Path, problems: Problems
) -> dict[str, Any]:
    """Return *table* with the secret *name* from the one line of the file of ``NAME_file``, if it is set."""
    found = with_secret_files(where, table, (name,), folder, problems)
    if f"{name}_file" in table and isinstance(lines := found.get(name), list):
        if len(lines) == 1:
            return {**found, name: lines[0].strip()}
        problems.add(f"{where}.{name}_file", f"names a file of {len(lines)} lines; wanted: one")
    return found

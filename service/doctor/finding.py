"""A finding: which check, how it went, what it says and what to do."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How a check went."""

    OK = "ok"
    WARNING = "warning"  # it works; somebody should look at it
    FAILED = "failed"  # it does not work, or will lose something


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found; *to_do* is empty when there is nothing to do. No secret is in either text."""

    check: str
    level: Level
    says: str
    to_do: str = ""


def ok(check: str, says: str) -> Finding:
    """Return a finding that all is well."""
    return Finding(check, Level.OK, says)


def warning(check: str, says: str, to_do: str) -> Finding:
    """Return a finding that somebody should look at."""
    return Finding(check, Level.WARNING, says, to_do)


def failed(check: str, says: str, to_do: str) -> Finding:
    """Return a finding that something does not work."""
    return Finding(check, Level.FAILED, says, to_do)

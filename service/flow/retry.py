"""Step 2c: an operator sets held and ended receipts going again, a cut at a time."""

from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from typing import Final, Protocol
from uuid import UUID

from service.domain.records import ReceiptState

CUT: Final = 100
"""How many receipts one unit of work sets going: some 2 ms of the writer's time."""


class Left(StrEnum):
    """Why a receipt was left alone."""

    UNKNOWN = "unknown"  # there is none with this id
    WAITING = "waiting"  # it is being asked about anyway
    CANNOT_BE_ASKED = "cannot_be_asked"  # of a kind that nobody here confirms, or its body is no longer kept


class Receipts(Protocol):
    """Notifications as they came."""

    def reopen(self, ids: Collection[UUID]) -> int:
        """Set held and ended receipts going again; return how many."""


class Unit(Protocol):
    """What is needed of a unit of work."""

    @property
    def receipts(self) -> Receipts:
        """Notifications as they came."""


def sort_out(
    ids: Sequence[UUID], known: Mapping[UUID, tuple[str, bool]]
) -> tuple[list[UUID], dict[UUID, Left]]:
    """Return which of *ids* to set going, each once, and why not the others.

    *known* holds the state of each, and whether it can be asked about.
    """
    left: dict[UUID, Left] = {}
    for one in ids:
        state, can_be_asked = known.get(one, (None, False))
        if state is None:
            left[one] = Left.UNKNOWN
        elif not can_be_asked:
            left[one] = Left.CANNOT_BE_ASKED
        elif state == ReceiptState.WAITING:
            left[one] = Left.WAITING
    return [one for one in dict.fromkeys(ids) if one not in left], left


def cuts(ids: Sequence[UUID]) -> list[Sequence[UUID]]:
    """Return *ids* in pieces that one unit of work may take."""
    return [ids[start : start + CUT] for start in range(0, len(ids), CUT)]


def retry(unit: Unit, ids: Collection[UUID]) -> int:
    """Set a cut of receipts going again: due now, their tries counted anew. Return how many it were.

    What has begun to wait meanwhile is left alone.
    """
    return unit.receipts.reopen(ids)

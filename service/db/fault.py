"""What to do after an error of a database."""

from enum import Enum


class Fault(Enum):
    """What an error means for the store."""

    OWN = "own"  # of the work that raised it: a constraint, a value, a bug
    AGAIN = "again"  # of several transactions at once: the same work succeeds when it is done anew
    PASSING = (
        "passing"  # the disk is full, the database read-only, locked or away: roll back, try again later
    )
    FATAL = "fatal"  # a write or an fsync failed, or the file is damaged: never write to it again

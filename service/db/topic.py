"""What the store's listeners can listen for."""

from enum import StrEnum


class Topic(StrEnum):
    """What a commit may have brought that others wait for."""

    RECEIPTS = "receipts"  # receipts that are due
    EVENTS = "events"  # events for the log: the writer gives them their positions before the commit

"""Who holds a lease: a process, named so that another one of the same machine can tell whether it still lives."""

import os
import socket
import uuid


def new_owner() -> str:
    """Return a name for this process that no other has, not even a later one with its number."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"


def host_of(owner: str) -> str:
    """Return the machine that *owner* runs, or ran, on."""
    return owner.rpartition(":")[0].rpartition(":")[0]


def is_dead(owner: str, *, seen_from: str) -> bool:
    """Say whether *owner* was a process of the machine of *seen_from* that is gone; a lease's end covers all others.

    An earlier process with our number is gone too: containers give the same one again.
    """
    if owner == seen_from or host_of(owner) != host_of(seen_from):
        return False
    pid = int(owner.split(":")[-2])
    if pid == os.getpid():
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False

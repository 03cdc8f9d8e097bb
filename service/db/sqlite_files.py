"""The files that SQLite keeps beside each other."""

import os
from pathlib import Path


def wal_file(path: Path) -> Path:
    """Return the write-ahead log of the database at *path*; SQLite keeps it beside the file a link leads to."""
    return Path(f"{os.path.realpath(path)}-wal")


def left_log(path: Path) -> Path | None:
    """Return the write-ahead log that lies at *path* without its database, unless it is empty."""
    wal = wal_file(path)
    return wal if not path.exists() and wal.exists() and wal.stat().st_size else None


def file_identity(path: Path) -> tuple[int, int] | None:
    """Return what tells the file now at *path* from any other; None when there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino

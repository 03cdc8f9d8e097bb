"""Looks after SQLite's files while the writer writes: are they still the ones it opened, and does the WAL shrink?"""

from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection

from service.db.faults import FileGone
from service.db.sqlite_files import file_identity, wal_file

CHECKPOINT_COMMITS: Final = 100  # some 15 pages each: the WAL stays at a few MB …
CHECKPOINT_CHANGES: Final = 5000  # … and under load, where commits are large


class FileKeeper:
    """Keeper of the database file at *path* for one writing connection after the other."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: tuple[int, int] | None = None  # which file the first connection opened
        self._wal_path = wal_file(path)
        self._wal: tuple[int, int] | None = None  # the present connection's; the last to close takes it away
        self._commits = 0  # since the last checkpoint
        self._changes = 0  # of the connection, at the last checkpoint

    def before_connecting(self) -> None:
        """Notice that someone moved or deleted the file: its content goes when this process does.

        SQLite would make an empty one.
        """
        if self._file is not None and file_identity(self._path) != self._file:
            raise FileGone("the database file was moved, deleted or replaced while it was in use")

    def connected(self) -> None:
        """Remember which file the new connection has open."""
        self._file = file_identity(self._path)
        self._wal = None
        self._commits = self._changes = 0

    def committed(self) -> None:
        """Notice the same after a commit, and of the write-ahead log, which alone holds what was committed last."""
        self.before_connecting()
        found = file_identity(self._wal_path)
        if self._wal is None:  # the connection's first commit, before which there may be none
            self._wal = found
        elif found != self._wal:
            raise FileGone("the database's -wal file was moved, deleted or replaced while it was in use")

    def answered(self, connection: Connection) -> None:
        """Bring the WAL into the database file, as SQLite would by itself, but hear of a failing fsync.

        SQLite's own checkpoint after a commit throws its error away and tries again later; a second fsync may
        then succeed without having written, and the WAL that held the only good copy is overwritten.
        """
        self._commits += 1
        driver = _driver(connection)
        if self._commits < CHECKPOINT_COMMITS and driver.total_changes - self._changes < CHECKPOINT_CHANGES:
            return
        self._commits, self._changes = 0, driver.total_changes
        driver.execute("PRAGMA wal_checkpoint(PASSIVE)").close()


def _driver(connection: Connection) -> Any:
    return connection.connection.driver_connection

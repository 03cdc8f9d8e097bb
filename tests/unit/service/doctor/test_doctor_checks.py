import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from support.databases import migrated

from service.doctor import Level, examine
from service.settings import Configuration

NOW = datetime(2026, 11, 22, 3, 4, 5, tzinfo=UTC)


def test_a_damaged_database_ends_no_check(tmp_path: Path, free_port: int) -> None:
    database = migrated(tmp_path / "midtrans.db")
    with closing(sqlite3.connect(database)) as own:
        own.execute("PRAGMA journal_mode=DELETE")
        pages = own.execute("SELECT rootpage FROM sqlite_master WHERE tbl_name = 'receipts'").fetchall()
    with database.open("r+b") as file:
        for (page,) in pages:
            file.seek((page - 1) * 4096)
            file.write(os.urandom(4096))
    found = {
        finding.check: finding.level
        for finding in examine(
            Configuration(tmp_path, f"sqlite:///{database}", ()),
            clock=lambda: NOW,
            service_url=f"http://127.0.0.1:{free_port}",
            public_url=None,
        )
    }
    assert found["database content"] is Level.FAILED
    assert found["waiting receipts"] is Level.FAILED
    assert "service" in found

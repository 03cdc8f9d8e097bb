import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.databases import migrated
from support.services import without_privileges

from service.db import health
from service.doctor import Finding, Level, storage
from service.doctor.storage import check_database, check_disk, check_operator_token

ROOT = Path(__file__).parents[4]
NOW = datetime(2026, 11, 22, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = migrated(tmp_path / "midtrans.db")
    path.chmod(0o600)
    return path


def look(path: Path) -> dict[str, Finding]:
    return {finding.check: finding for finding in check_database(f"sqlite:///{path}", clock=lambda: NOW)}


def levels(path: Path) -> dict[str, Level]:
    return {name: finding.level for name, finding in look(path).items()}


def test_a_sound_database_is_ok_in_everything(database: Path) -> None:
    found = look(database)
    assert {finding.level for finding in found.values()} == {Level.OK}
    assert {"database mode", "database schema", "database content", "database log", "database commit"} == set(
        found
    )
    assert "WAL, synchronous FULL" in found["database commit"].says


def test_before_the_first_run_there_is_nothing_to_mend(tmp_path: Path) -> None:
    (finding,) = look(tmp_path / "none.db").values()
    assert finding.level is Level.WARNING
    assert not (tmp_path / "none.db").exists()


def test_a_write_ahead_log_without_its_database_fails(tmp_path: Path) -> None:
    (tmp_path / "none.db-wal").write_bytes(b"what was answered last")
    (finding,) = look(tmp_path / "none.db").values()
    assert finding.level is Level.FAILED
    assert "none.db-wal" in finding.says


def test_a_file_that_others_may_read_is_named_with_the_command_that_mends_it(database: Path) -> None:
    database.chmod(0o644)
    finding = look(database)["database mode"]
    assert (finding.level, finding.to_do) == (Level.WARNING, f"chmod 600 {database}")


def test_another_schema_fails(database: Path) -> None:
    with closing(sqlite3.connect(database)) as old:
        old.execute("UPDATE alembic_version SET version_num = '0000'")
        old.commit()
    assert levels(database)["database schema"] is Level.FAILED


def test_damage_fails_and_says_how_to_go_on(database: Path) -> None:
    with closing(sqlite3.connect(database)) as own:
        own.execute("PRAGMA journal_mode=DELETE")
        page = own.execute("SELECT rootpage FROM sqlite_master WHERE name = 'receipts'").fetchone()[0]
    with database.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(os.urandom(4096))
    finding = look(database)["database content"]
    assert finding.level is Level.FAILED
    assert "restore" in finding.to_do


def test_a_database_held_by_another_process_is_a_warning(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "BUSY_S", 0.05)
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        finding = look(database)["database commit"]
    assert finding.level is Level.WARNING
    assert "another process" in finding.says


LOOK = """
import sys
from datetime import UTC, datetime
from service.doctor.storage import check_database
now = datetime(2026, 11, 22, tzinfo=UTC)
for finding in check_database(f"sqlite:///{sys.argv[1]}", clock=lambda: now):
    print(finding.check, finding.level.value)
"""


@pytest.mark.slow
def test_a_file_that_cannot_be_written_fails(database: Path) -> None:
    database.chmod(0o400)
    command = [*without_privileges(), sys.executable, "-c", LOOK, str(database)]
    looked = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert f"database commit {Level.FAILED.value}" in looked.stdout.splitlines()


@pytest.mark.parametrize(
    ("journal_mode", "synchronous"), [("DELETE", "FULL"), ("WAL", "NORMAL"), ("WAL", "OFF")]
)
def test_a_commit_that_a_power_cut_could_undo_fails(
    journal_mode: str, synchronous: str, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = health.Commit(0.001, journal_mode, synchronous)
    monkeypatch.setattr(health, "try_commit", lambda *_args, **_options: commit)
    assert levels(database)["database commit"] is Level.FAILED


def test_a_write_ahead_log_that_only_grows_is_told(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "WAL_LIMIT", -1)
    assert levels(database)["database log"] is Level.WARNING


def test_a_fast_disk_with_room_is_ok_and_left_clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "SLOW_S", 10.0)
    monkeypatch.setattr(storage, "FREE_LOW", 1)
    monkeypatch.setattr(storage, "FREE_NONE", 0)
    assert [finding.level for finding in check_disk(tmp_path)] == [Level.OK, Level.OK]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"FREE_NONE": 1 << 60, "SLOW_S": 10.0}, [Level.FAILED, Level.OK]),
        ({"FREE_NONE": 0, "FREE_LOW": 1 << 60, "SLOW_S": 0.0}, [Level.WARNING, Level.WARNING]),
    ],
)
def test_a_full_or_slow_disk_is_told(
    limits: dict[str, float], expected: list[Level], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in limits.items():
        monkeypatch.setattr(storage, name, value)
    assert [finding.level for finding in check_disk(tmp_path)] == expected


def test_a_folder_in_which_nothing_can_be_written_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Path) -> float:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(storage, "fsync_s", fail)
    finding = list(check_disk(tmp_path))[1]
    assert (finding.level, "Read-only" in finding.says) == (Level.FAILED, True)


@pytest.mark.parametrize(
    ("mode", "level"), [(0o600, Level.OK), (0o640, Level.WARNING), (0o604, Level.WARNING)]
)
def test_the_operators_token_is_for_its_owner_alone(mode: int, level: Level, tmp_path: Path) -> None:
    path = tmp_path / "operator.token"
    path.write_text("mts_secret")
    path.chmod(mode)
    finding = check_operator_token(path, configured=False)
    assert finding.level is level
    assert "mts_secret" not in finding.says


def test_a_lost_operators_token_can_be_made_again(tmp_path: Path) -> None:
    finding = check_operator_token(tmp_path / "operator.token", configured=False)
    assert "tokens create --role operator" in finding.to_do
    assert check_operator_token(tmp_path / "operator.token", configured=True).level is Level.OK

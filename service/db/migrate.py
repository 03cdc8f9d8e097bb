"""Bringing a database to this version's schema, and checking that it is there."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy.exc import DBAPIError

from service.db.engine import create_file, database_file, reader_engine, writer_engine
from service.db.faults import describe
from service.errors import SettingsInvalid

_SCRIPTS = Path(__file__).with_name("migrations")
_WAIT_MS = 60_000  # for another process that migrates


def upgrade(url: str, revision: str = "head") -> None:
    """Make the database if there is none and bring it to *revision*; harmless when it is there already.

    All steps are one transaction that begins before the present revision is read: a crash leaves the schema as it
    was, and of several processes that start at once one migrates while the others wait.
    """
    try:
        path = create_file(url)
    except OSError as error:
        raise SettingsInvalid(f"{database_file(url)} cannot be made or opened: {error.strerror}") from error
    engine = writer_engine(url, busy_timeout_ms=_WAIT_MS)
    try:
        with engine.begin() as connection:
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
    except CommandError as error:
        raise SettingsInvalid(f"{path} cannot be migrated: {error}") from error
    except DBAPIError as error:
        raise SettingsInvalid(f"{path} cannot be migrated: {describe(error)}") from error
    finally:
        engine.dispose()


def check_head(url: str) -> None:
    """Raise `SettingsInvalid`, saying what to do, unless the schema is this version's."""
    path = database_file(url)
    if not path.exists():
        raise SettingsInvalid(f"there is no database at {path}: run `python -m service migrate`")
    present, wanted = _present(url), head()
    if present == wanted:
        return
    scripts = ScriptDirectory.from_config(_config())
    if present is not None and present not in {script.revision for script in scripts.walk_revisions()}:
        raise SettingsInvalid(f"{path} was made by a later version (schema {present}): run that version")
    raise SettingsInvalid(
        f"{path} has schema {present or 'none'}, this version needs {wanted}: run `python -m service migrate`"
    )


def head() -> str:
    """Return the newest revision."""
    newest = ScriptDirectory.from_config(_config()).get_current_head()
    if newest is None:
        raise SettingsInvalid("the migrations are missing from this installation")
    return newest


def _present(url: str) -> str | None:
    engine = reader_engine(url)
    try:
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    except DBAPIError as error:
        raise SettingsInvalid(f"{database_file(url)} cannot be read: {describe(error)}") from error
    finally:
        engine.dispose()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    return config

"""Bringing a database to this version's schema, and checking that it is there."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy.exc import DBAPIError

from service.db.database import Database
from service.db.engine import database_of
from service.db.faults import describe
from service.errors import SettingsInvalid

_SCRIPTS = Path(__file__).with_name("migrations")
_WAIT_S = 60.0  # for another process that migrates


def upgrade(url: str, revision: str = "head") -> None:
    """Make the database if there is none and bring it to *revision*; harmless when it is there already.

    All steps are one transaction, and a lock is held before the present revision is read: a crash leaves the schema
    as it was, and of several processes that start at once one migrates while the others wait.
    """
    database = database_of(url)
    database.create()
    engine = database.writer_engine(wait_s=_WAIT_S)
    try:
        with engine.begin() as connection:
            database.hold_migrations(connection)
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
    except CommandError as error:
        raise SettingsInvalid(f"{database.title} cannot be migrated: {error}") from error
    except DBAPIError as error:
        raise SettingsInvalid(f"{database.title} cannot be migrated: {describe(error)}") from error
    finally:
        engine.dispose()


def check_head(url: str) -> None:
    """Raise `SettingsInvalid`, saying what to do, unless the schema is this version's."""
    database = database_of(url)
    if database.missing():
        raise SettingsInvalid(f"there is no database at {database.title}: run `python -m service migrate`")
    present, wanted = _present(database), head()
    if present == wanted:
        return
    scripts = ScriptDirectory.from_config(_config())
    if present is not None and present not in {script.revision for script in scripts.walk_revisions()}:
        raise SettingsInvalid(
            f"{database.title} was made by a later version (schema {present}): run that version"
        )
    raise SettingsInvalid(
        f"{database.title} has schema {present or 'none'}, this version needs {wanted}: "
        "run `python -m service migrate`"
    )


def head() -> str:
    """Return the newest revision."""
    newest = ScriptDirectory.from_config(_config()).get_current_head()
    if newest is None:
        raise SettingsInvalid("the migrations are missing from this installation")
    return newest


def _present(database: Database) -> str | None:
    engine = database.reader_engine()
    try:
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    except DBAPIError as error:
        raise SettingsInvalid(f"{database.title} cannot be read: {describe(error)}") from error
    finally:
        engine.dispose()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    return config

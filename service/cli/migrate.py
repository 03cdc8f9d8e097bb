"""``python -m service migrate``: bring the database to this version's schema."""

import typer

from service import logs
from service.db.engine import database_of
from service.db.migrate import head, upgrade
from service.settings import from_environment


def migrate() -> None:
    """Make the database, or bring it to this version's schema; ``run`` does it too."""
    configuration = from_environment()
    logs.configure(level=configuration.log_level, form=configuration.log_format)
    upgrade(configuration.database_url)
    typer.echo(f"{database_of(configuration.database_url).title} has schema {head()}")

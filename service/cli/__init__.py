"""The commands of ``python -m service``, one file each."""

import sys

import typer

from service.cli.apart import api, worker
from service.cli.backup import backup, restore
from service.cli.doctor import doctor
from service.cli.migrate import migrate
from service.cli.run import run
from service.cli.simulate import simulate
from service.cli.tail import tail
from service.cli.tokens import tokens
from service.errors import ServiceError, SettingsInvalid

WRONG_SETTINGS = 2
FAILED = 1

app = typer.Typer(
    name="service",
    help="Takes in Midtrans' payment notifications and turns confirmed changes into events.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # they can show local variables, and so keys
)
app.command()(run)
app.command()(api)
app.command()(worker)
app.command()(migrate)
app.command()(doctor)
app.command()(tail)
app.command()(backup)
app.command()(restore)
app.command()(simulate)
app.add_typer(tokens, name="tokens")


def main() -> None:
    """Run the command that the arguments name; what is wrong goes to stderr in words, without a traceback."""
    try:
        app(prog_name="python -m service")
    except SettingsInvalid as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(WRONG_SETTINGS)
    except ServiceError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(FAILED)

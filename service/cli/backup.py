"""``python -m service backup`` and ``restore``: a checked copy of the database, and the way back."""

import json
import time
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer

from service import logs
from service.app import utc_now
from service.db import copies
from service.settings import from_environment

MIB = 1_048_576
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]


def backup(
    target: Annotated[
        Path, typer.Argument(help="The file to make; in a folder, a name with the time is chosen.")
    ],
    as_json: AsJson = False,
) -> None:
    """Copy the database, also while the service runs, and check the copy; nothing is ever overwritten."""
    configuration = from_environment()
    if target.is_dir():
        target /= f"midtrans-{utc_now():%Y%m%dT%H%M%SZ}.db"
    began_s = time.monotonic()
    made = copies.backup(configuration.database_url, target)
    seconds = round(time.monotonic() - began_s, 3)
    if as_json:
        facts = {"path": str(made.path), "bytes": made.size, "seconds": seconds, "schema": made.schema}
        typer.echo(json.dumps({**facts, "rows": dict(made.rows)}))
        return
    rows = ", ".join(f"{count} {table}" for table, count in made.rows.items() if count)
    typer.echo(f"{made.path}: {_size(made.size)} in {seconds:.1f} s, checked; {rows or 'no rows'}")


def restore(
    source: Annotated[Path, typer.Argument(help="A backup that `backup` made.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Keep the database that is there under another name.")
    ] = False,
    ask_again_days: Annotated[
        int,
        typer.Option(
            help="Ask Midtrans again about payments that changed in so many days: they may have been refunded.",
            min=0,
            max=3650,
        ),
    ] = 30,
    as_json: AsJson = False,
) -> None:
    """Put a backup in the database's place while the service is stopped; a new epoch of the log begins."""
    configuration = from_environment()
    logs.configure(level="warning", form="console")
    restored = copies.restore(
        configuration.database_url,
        source,
        replace=replace,
        now=utc_now(),
        ask_again=timedelta(days=ask_again_days),
    )
    reborn = restored.reborn
    if as_json:
        facts = {"path": str(restored.path), "kept": str(restored.kept) if restored.kept else None}
        log = {"epoch": reborn.epoch, "last_position": reborn.last_position, "questions": reborn.questions}
        typer.echo(json.dumps({**facts, **log}))
        return
    typer.echo(f"{restored.path} is restored: {reborn.last_position} events, epoch {reborn.epoch}.")
    if restored.kept:
        typer.echo(f"What was there before is {restored.kept}.")
    typer.echo(f"Midtrans will be asked {reborn.questions} questions about what may have changed since.")
    typer.echo(
        "Positions kept elsewhere are answered 410 from now on; consumers by name go on by themselves."
    )


def _size(count: int) -> str:
    return f"{count / MIB:.1f} MiB" if count >= MIB else f"{count / 1024:.0f} KiB"

"""``python -m service doctor``: what is well, what is not, and what to do about it."""

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict
from typing import Annotated

import typer

from service.app import utc_now
from service.cli.ports import url_of
from service.console import GREEN, RED, YELLOW, plain
from service.doctor import Finding, Level, examine
from service.errors import SettingsInvalid
from service.settings import from_environment

COLOURS = {Level.OK: GREEN, Level.WARNING: YELLOW, Level.FAILED: RED}
SIGNS = {Level.OK: "✓", Level.WARNING: "!", Level.FAILED: "✗"}
FAILED = 1
WRONG_SETTINGS = 2


def doctor(
    url: Annotated[
        str | None,
        typer.Option(help="The public address, https://…: a harmless POST must come through to the service."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")] = False,
) -> None:
    """Look at settings, keys, clock, database, disk and reachability; exit 1 when something does not work."""
    try:
        configuration = from_environment()
    except SettingsInvalid as error:
        to_do = "mend what is named; docs/settings.md lists every setting"
        _show([Finding("settings", Level.FAILED, str(error), to_do)], as_json=as_json)
        raise typer.Exit(WRONG_SETTINGS) from None
    findings = examine(
        configuration,
        clock=utc_now,
        service_url=url_of(configuration.host, configuration.port),
        public_url=url,
    )
    if Level.FAILED in _show(findings, as_json=as_json):
        raise typer.Exit(FAILED)


def _show(findings: Iterable[Finding], *, as_json: bool) -> set[Level]:
    """Print the findings, for people one by one as they come; return the levels there were."""
    if as_json:
        kept = list(findings)
        levels = {finding.level for finding in kept}
        worst = max(levels, key=list(Level).index)
        typer.echo(json.dumps({"status": worst, "findings": [asdict(finding) for finding in kept]}))
        return levels
    levels = set()
    for finding in findings:
        levels.add(finding.level)
        typer.echo(_text(finding, colours=sys.stdout.isatty()))
    return levels


def _text(finding: Finding, *, colours: bool) -> str:
    sign = f"{SIGNS[finding.level]} {finding.level.value}".ljust(11)
    if colours:
        sign = f"\x1b[{COLOURS[finding.level]}m{sign}\x1b[0m"
    says = "\n".join(plain(line) for line in finding.says.splitlines())
    to_do = f"\n{' ' * 11}→ {plain(finding.to_do)}" if finding.to_do else ""
    return f"{sign}{finding.check}: {says}{to_do}"

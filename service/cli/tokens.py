"""``python -m service tokens``: who may call the API."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from service.app import utc_now
from service.db.engine import database_of
from service.db.migrate import upgrade
from service.db.store import Store
from service.domain.merchant import NAME_PATTERN
from service.domain.records import Role, Token
from service.errors import NotFound, RequestInvalid
from service.settings import from_environment

tokens = typer.Typer(help="Make, list and revoke the tokens of callers.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]


@tokens.command()
def create(
    role: Annotated[Role, typer.Option(help="What its holder may do.")],
    name: Annotated[
        list[str] | None,
        typer.Option(
            help="A consumer (role consumer) or merchant (role shop) it is for; may be given several times."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a token and print its secret, which is shown this once."""
    names = _checked(role, name or [])
    with _store() as store:
        token, secret = store.write(lambda unit: unit.tokens.make(role, names)).result()
    if as_json:
        typer.echo(json.dumps({"id": token.id, "role": role, "names": names, "token": secret}))
        return
    where = database_of(from_environment().database_url).title
    typer.echo(f"Token {token.id} ({_describe(token)}) of {where}. It is shown this once:", err=True)
    typer.echo(secret)


@tokens.command("list")
def list_(as_json: AsJson = False) -> None:
    """List every token, without its secret."""
    with _store() as store:
        found = store.read(lambda unit: unit.tokens.list())
    for token in found:
        if as_json:
            typer.echo(json.dumps(_as_json(token)))
        else:
            state = f"revoked {token.revoked_at:%Y-%m-%d %H:%M}" if token.revoked_at else "in use"
            typer.echo(f"{token.id}  {state:24}  {_describe(token)}")


@tokens.command()
def revoke(token_id: Annotated[str, typer.Argument(help="The id that `tokens list` shows.")]) -> None:
    """Make a token good for nothing, at once."""
    with _store() as store:
        if not store.write(lambda unit: unit.tokens.revoke(token_id)).result():
            raise NotFound("token in use", token_id)
    typer.echo(f"Token {token_id} is revoked.")


def _checked(role: Role, names: list[str]) -> list[str]:
    if role is Role.OPERATOR and names:
        raise RequestInvalid("--name", "an operator may do everything; leave it out")
    if role is not Role.OPERATOR and not names:
        raise RequestInvalid(
            "--name", f"say which {'consumer' if role is Role.CONSUMER else 'merchant'} it is for"
        )
    for name in names:
        if not NAME_PATTERN.fullmatch(name):
            raise RequestInvalid("--name", f"{name!r} is no name; wanted: {NAME_PATTERN.pattern}")
    return names


@contextmanager
def _store() -> Iterator[Store]:
    """Open the database beside a service that may be running: SQLite lets one writer in after the other."""
    url = from_environment().database_url
    upgrade(url)
    store = Store(url, clock=utc_now)
    store.start()
    try:
        yield store
    finally:
        store.close()


def _describe(token: Token) -> str:
    return " ".join((token.role, *token.names))


def _as_json(token: Token) -> dict[str, object]:
    return {
        "id": token.id,
        "role": token.role,
        "names": list(token.names),
        "created_at": token.created_at.isoformat() if token.created_at else None,
        "revoked_at": token.revoked_at.isoformat() if token.revoked_at else None,
    }

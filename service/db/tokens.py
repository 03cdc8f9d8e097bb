"""Tokens: who may call. Secrets are made here and kept nowhere; their SHA-256 is the key."""

import hashlib
import json
import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Row, bindparam, insert, select, update

from service.db.tables import tokens
from service.domain.records import Role, Token

if TYPE_CHECKING:
    from service.db.unit import Unit

PREFIX = "mts_"
"""Every secret begins so: scanners for leaked secrets can tell."""

_BY_HASH = select(tokens).where(tokens.c.hash == bindparam("hash"), tokens.c.revoked_at.is_(None))


def make_secret() -> str:
    """Return a new secret: 256 random bits as text."""
    return PREFIX + secrets.token_urlsafe(32)


def hash_of(secret: str) -> bytes:
    """Return what is stored in a secret's place. 256 random bits need no salt and no slow hash."""
    return hashlib.sha256(secret.encode()).digest()


class Tokens:
    """The stored tokens."""

    def __init__(self, unit: "Unit") -> None:
        self._unit = unit
        self._connection = unit.connection

    def make(self, role: Role, names: Sequence[str] = ()) -> tuple[Token, str]:
        """Store a new token; return it and its secret, which nobody can be told again."""
        secret = make_secret()
        return self.add(role, names, secret=secret), secret

    def add(self, role: Role, names: Sequence[str] = (), *, secret: str) -> Token:
        """Store a token with a secret of the caller's."""
        token = Token(secrets.token_hex(6), role, tuple(names), self._unit.now)
        self._connection.execute(
            insert(tokens).values(
                id=token.id,
                hash=hash_of(secret),
                role=role.value,
                names=json.dumps(token.names),
                created_at=self._unit.now,
            )
        )
        return token

    def list(self) -> list[Token]:
        """Return every token, revoked ones included, the oldest first."""
        rows = self._connection.execute(select(tokens).order_by(tokens.c.created_at, tokens.c.id))
        return [_token(row) for row in rows]

    def revoke(self, token_id: str) -> bool:
        """Make the token good for nothing; return whether there was one that still was."""
        revoked = self._connection.execute(
            update(tokens)
            .where(tokens.c.id == token_id, tokens.c.revoked_at.is_(None))
            .values(revoked_at=self._unit.now)
        )
        return revoked.rowcount == 1

    def find(self, hash_: bytes) -> Token | None:
        """Return the token whose secret has this hash, unless it is revoked."""
        row = self._connection.execute(_BY_HASH, {"hash": hash_}).first()
        return None if row is None else _token(row)

    def hold(self) -> None:
        """Keep others from making the first operator's token until the transaction ends."""
        self._unit.hold("operator-token")

    def has_operator(self) -> bool:
        """Say whether an operator's token is in use."""
        query = select(tokens.c.id).where(tokens.c.role == Role.OPERATOR.value, tokens.c.revoked_at.is_(None))
        return self._connection.execute(query.limit(1)).first() is not None


def _token(row: Row[Any]) -> Token:
    names = tuple(json.loads(row.names))
    return Token(row.id, Role(row.role), names, row.created_at, row.revoked_at)

"""Who calls, and what their role lets them do. There is no anonymous mode."""

import asyncio
import contextlib
import hmac
import os
import secrets
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Final, TypeVar

from fastapi import Depends, Request, Security
from fastapi import Path as PathParameter
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPBearer

from service.db.store import Store
from service.db.tokens import hash_of, make_secret
from service.db.unit import Unit
from service.domain.merchant import NAME_PATTERN
from service.domain.records import Role, Token
from service.errors import Forbidden, Unauthenticated

CACHE_S: Final = 1.0
"""How long a revoked token may go on, and one that was tried too early is refused."""
CACHED: Final = 1024
MISSES: Final = 4096
"""How many unknown tokens are remembered for as long, apart from the known ones: they push none of these out."""
LOOK_UPS: Final = 4
"""How many threads may look for unknown tokens at once, and as many for known ones, whose time in memory is over."""
LONGEST: Final = 512
OPERATOR_FILE: Final = "operator.token"
UNKNOWN: Final = "the token is unknown or revoked"
_T = TypeVar("_T")


class Auth:
    """Knows the tokens. One look into the database a second and token at most, never on the event loop."""

    def __init__(self, store: Store, *, operator_token: str | None = None) -> None:
        self._store = store
        self._configured = None if operator_token is None else hash_of(operator_token)
        self._cache: dict[bytes, tuple[Token, float]] = {}
        self._misses: dict[bytes, float] = {}
        self._strangers = asyncio.Semaphore(LOOK_UPS)
        self._known = asyncio.Semaphore(LOOK_UPS)

    async def check(self, secret: str | None) -> Token:
        """Return whose token this is; raise Unauthenticated."""
        if secret is None:
            raise Unauthenticated("send the header 'Authorization: Bearer <token>'")
        if len(secret) > LONGEST:
            raise Unauthenticated(UNKNOWN)
        hashed = hash_of(secret)
        if self._configured is not None and hmac.compare_digest(hashed, self._configured):
            return Token("configured", Role.OPERATOR)
        # The table and the cache are asked for the hash: how long that takes says nothing about a secret.
        return self._remembered(hashed) or await self._look_up(hashed)

    def _remembered(self, hashed: bytes) -> Token | None:
        """Return the token if it was found of late; raise Unauthenticated if it was not."""
        now = time.monotonic()
        if now < self._misses.get(hashed, 0.0):
            raise Unauthenticated(UNKNOWN)
        token, until = self._cache.get(hashed, (None, 0.0))
        return token if now < until else None

    async def _look_up(self, hashed: bytes) -> Token:
        async with self._known if hashed in self._cache else self._strangers:
            known = self._remembered(hashed)  # by another request that asked meanwhile
            if known is not None:
                return known
            token: Token | None = await run_in_threadpool(
                self._store.read, lambda unit: unit.tokens.find(hashed)
            )
            until = time.monotonic() + CACHE_S
            self._cache.pop(hashed, None)
            if token is None:
                _remember(self._misses, hashed, until, most=MISSES)
                raise Unauthenticated(UNKNOWN)
            _remember(self._cache, hashed, (token, until), most=CACHED)
        return token


def _remember(memory: dict[bytes, _T], hashed: bytes, value: _T, *, most: int) -> None:
    if len(memory) >= most:
        memory.clear()
    memory[hashed] = value


def bearer_of(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the bearer token that ASGI *headers* carry; None without one, or with two."""
    found = [value for name, value in headers if name == b"authorization"]
    scheme, _, secret = found[0].decode("latin-1").partition(" ") if len(found) == 1 else ("", "", "")
    return secret.strip() or None if scheme.lower() == "bearer" else None


BEARER: Final = Security(HTTPBearer(auto_error=False, description="A token of this service: `mts_…`."))
"""For the OpenAPI document alone: the door has checked before any route is looked for."""


async def caller_of(request: Request) -> Token:
    """Return who calls; the door has checked."""
    caller: Token = request.state.caller
    return caller


Caller = Annotated[Token, Depends(caller_of)]
Name = Annotated[
    str,
    PathParameter(
        pattern=f"^{NAME_PATTERN.pattern}$", description="The consumer's name.", examples=["shipping"]
    ),
]


async def operator(caller: Caller) -> Token:
    """Let operators pass alone."""
    if caller.role is not Role.OPERATOR:
        raise Forbidden(f"this is for operators; the token's role is {caller.role.value}")
    return caller


async def of_consumer(name: Name, caller: Caller) -> Token:
    """Let operators pass, and tokens that name this consumer."""
    check_consumer(name, caller)
    return caller


def check_consumer(name: str, caller: Token) -> None:
    """Raise Forbidden unless the caller is an operator, or the token names consumer *name*."""
    if caller.role is not Role.OPERATOR and (caller.role is not Role.CONSUMER or name not in caller.names):
        raise Forbidden(f"the token is not one of consumer {name!r}")


async def reader(caller: Caller) -> Token:
    """Let operators and consumers pass."""
    if caller.role is Role.SHOP:
        raise Forbidden("this is for consumers and operators; the token's role is shop")
    return caller


async def shop(caller: Caller) -> Token:
    """Let operators and shops pass."""
    if caller.role is Role.CONSUMER:
        raise Forbidden("this is for shops and operators; the token's role is consumer")
    return caller


def check_merchant(caller: Token, merchant: str) -> None:
    """Raise Forbidden unless the caller, a shop or an operator, may see *merchant*."""
    if caller.role is not Role.OPERATOR and merchant not in caller.names:
        raise Forbidden(f"the token is not one of merchant {merchant!r}")


def ensure_operator_token(store: Store, data_dir: Path, configured: str | None) -> str | None:
    """Make the first operator token and write it, mode 0600, to ``operator.token``; return it to be printed once.

    None when there is one in use already, or *configured* takes its place. The file is there before the token
    counts: a crash in between leaves a useless file that the next start replaces.
    """
    if configured is not None or store.read(lambda unit: unit.tokens.has_operator()):
        return None

    def make(unit: Unit) -> str | None:
        unit.tokens.hold()  # several processes may start at once
        if unit.tokens.has_operator():
            return None
        secret = make_secret()
        _write_secret(data_dir / OPERATOR_FILE, secret)
        unit.tokens.add(Role.OPERATOR, (), secret=secret)
        return secret

    return store.write(make).result()


def _write_secret(path: Path, secret: str) -> None:
    """Write *path* whole or not at all, readable by its owner alone from the first byte on."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secret + "\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()

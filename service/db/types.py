"""Column types that mean the same on every database."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy import BigInteger, DateTime, Dialect, LargeBinary, Uuid
from sqlalchemy.types import TypeDecorator, TypeEngine

from service.db.packing import pack, unpack

Text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
"""Text that is compared byte by byte, whatever the database's language is: ranges of names rest on it."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class UtcTime(TypeDecorator[datetime]):
    """An aware UTC time to the microsecond: a number on SQLite, which has no time type of its own."""

    impl = BigInteger
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Use the database's own type where it keeps the zone."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(BigInteger())
        return dialect.type_descriptor(DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Refuse times without a zone: whose midnight would they mean?"""
        if value is None:
            return None
        if dialect.name == "sqlite":
            return microseconds(value)
        return _with_zone(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Return aware UTC."""
        if value is None:
            return None
        if dialect.name == "sqlite":
            return _EPOCH + timedelta(microseconds=value)
        moment: datetime = value
        return moment.astimezone(UTC)


class Id(TypeDecorator[UUID]):
    """A UUID: its 16 bytes on SQLite, where SQLAlchemy's own type would keep 32 characters, twice with their index."""

    impl = Uuid
    cache_ok = True

    @property
    def python_type(self) -> type[UUID]:
        """What goes in and comes out."""
        return UUID

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Use the database's own type where there is one."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(LargeBinary(16))
        return dialect.type_descriptor(Uuid())

    def process_bind_param(self, value: UUID | None, dialect: Dialect) -> Any:
        """Both forms sort as the UUIDs do."""
        if value is None or dialect.name != "sqlite":
            return value
        return value.bytes

    def process_result_value(self, value: Any, dialect: Dialect) -> UUID | None:
        """Return the UUID."""
        if value is None or dialect.name != "sqlite":
            return value  # type: ignore[no-any-return]
        return UUID(bytes=value)


class Packed(TypeDecorator[Any]):
    """Bytes that a dictionary of `packing` makes short: the same ones on every database."""

    impl = LargeBinary
    cache_ok = True

    def __init__(self, dictionary: int) -> None:
        super().__init__()
        self.dictionary = dictionary

    @property
    def python_type(self) -> type[Any]:
        """What goes in and comes out."""
        return bytes

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:  # noqa: ARG002
        """Pack."""
        return None if value is None else pack(value, self.dictionary)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:  # noqa: ARG002
        """Return what was packed."""
        return None if value is None else unpack(value)


class PackedText(Packed):
    """Text, packed as UTF-8."""

    cache_ok = True

    @property
    def python_type(self) -> type[Any]:
        """What goes in and comes out."""
        return str

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """Pack."""
        return None if value is None else super().process_bind_param(value.encode(), dialect)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """Return what was packed."""
        return None if value is None else super().process_result_value(value, dialect).decode()


def microseconds(value: datetime) -> int:
    """Return *value* as SQLite keeps it: microseconds since 1970 in UTC."""
    return (_with_zone(value) - _EPOCH) // _MICROSECOND


def _with_zone(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError(f"a time without zone cannot be stored: {value!r}")
    return value

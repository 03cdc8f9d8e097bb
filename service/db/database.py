"""What differs between the databases, as one protocol: each is a file of its own beside this one."""

from typing import Protocol

from sqlalchemy import Connection, Engine


class Keeper(Protocol):
    """Looks after what lies under a writer's connection; its methods run on the writer's thread."""

    def before_connecting(self) -> None:
        """Raise FileGone when what is opened next would be another database."""

    def connected(self) -> None:
        """Begin with a new connection."""

    def committed(self) -> None:
        """Raise FileGone when the commit did not go where it should."""

    def answered(self, connection: Connection) -> None:
        """Do what can wait until after the answers; raises what the database raises."""


class NothingToKeep:
    """Keeper of a database whose server looks after itself."""

    def before_connecting(self) -> None:
        """Do nothing."""

    def connected(self) -> None:
        """Do nothing."""

    def committed(self) -> None:
        """Do nothing."""

    def answered(self, connection: Connection) -> None:
        """Do nothing."""


class Database(Protocol):
    """One database, named by its URL; nothing is opened before it is asked for."""

    @property
    def title(self) -> str:
        """What messages call it: a path, or a name and a server, never a password."""

    @property
    def shared(self) -> bool:
        """Whether several processes may write to it at once."""

    def create(self) -> None:
        """Make it if there is none and this service can; raise SettingsInvalid."""

    def missing(self) -> bool:
        """Say whether there is surely none."""

    def writer_engine(self, *, writers: int = 1, wait_s: float | None = None) -> Engine:
        """Return the engine of the connections that write durably, one for each of *writers*.

        *wait_s* is how long they wait for what another one holds; without it, as the store wants it.
        """

    def reader_engine(self, *, readers: int = 10) -> Engine:
        """Return the engine of the connections that read, each transaction seeing one state.

        *readers* is how many a server is asked for at most.
        """

    def keeper(self) -> Keeper:
        """Return who looks after what lies under a writer."""

    def hold_migrations(self, connection: Connection) -> None:
        """Wait until nobody else migrates, and keep others from it until the transaction ends."""

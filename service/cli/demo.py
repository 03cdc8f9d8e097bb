"""What stands in for Midtrans and a shop while there is no key: a simulator, and a few payments in motion."""

import asyncio
import errno
import secrets
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from service.cli.ports import TRIES, url_of
from service.domain.merchant import DEFAULT_MERCHANT, Merchant
from service.errors import SettingsInvalid
from service.settings import Configuration, default_database_url
from service.simulator.demo import run_demo
from service.simulator.server import RunningSimulator, running_simulator

SIMULATOR_PORT = 8001
EVERY_S = 6.0
"""Seconds between two payments once each story has been told."""
FILES = ("midtrans.db", "midtrans.db-wal", "midtrans.db-shm", "operator.token")


@dataclass(frozen=True)
class Demo:
    """A running simulator and the settings that point the service at it."""

    configuration: Configuration
    simulator_url: str
    server_key: str

    @contextmanager
    def payments(self) -> Iterator[None]:
        """Have payments made until the block ends."""
        loop = asyncio.new_event_loop()
        task = loop.create_task(run_demo(self.simulator_url, self.server_key, every_s=EVERY_S))
        thread = threading.Thread(target=_play, args=(loop, task), name="demo", daemon=True)
        thread.start()
        try:
            yield
        finally:
            with suppress(RuntimeError):  # the loop has ended by itself
                loop.call_soon_threadsafe(task.cancel)
            thread.join(2)


@contextmanager
def demo(configuration: Configuration, port: int) -> Iterator[Demo]:
    """Run a simulator that notifies *port*; the data is new at each start and lies apart from real data."""
    key = f"SB-Mid-server-demo-{secrets.token_hex(12)}"
    folder = configuration.data_dir / "demo" / str(port)
    make_folder(folder)
    _empty(folder)
    with ExitStack() as stack:
        simulator = _simulator(stack, f"{url_of(configuration.host, port)}/notifications", key)
        merchant = Merchant(DEFAULT_MERCHANT, (key,), base_url=simulator.url)
        pointed = replace(
            configuration,
            data_dir=folder,
            database_url=default_database_url(folder),
            merchants=(merchant,),
        )
        yield Demo(pointed, simulator.url, key)


def make_folder(folder: Path) -> None:
    """Make the data folder, for its owner alone; raises `SettingsInvalid` when that cannot be."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsInvalid(
            f"the data folder {folder} cannot be made ({error.strerror}): "
            "set SERVICE_DATA_DIR to a folder that this user may write to"
        ) from error


def _empty(folder: Path) -> None:
    """Remove the last demo's data: its key and its payments are gone with its simulator."""
    for name in FILES:
        (folder / name).unlink(missing_ok=True)


def _simulator(stack: ExitStack, notify_url: str, key: str) -> RunningSimulator:
    """Start a simulator on its port or the next free one; it ends with *stack*."""
    for port in range(SIMULATOR_PORT, SIMULATOR_PORT + TRIES):
        try:
            return stack.enter_context(running_simulator(port=port, notify_url=notify_url, server_keys=[key]))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    raise SettingsInvalid(f"the ports from {SIMULATOR_PORT} on are taken: there is none for the simulator")


def _play(loop: asyncio.AbstractEventLoop, task: asyncio.Task[None]) -> None:
    try:
        with suppress(asyncio.CancelledError):
            loop.run_until_complete(task)
    finally:
        loop.close()

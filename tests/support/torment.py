"""A service under load with everything around it, and the proof to be given once the torment is over."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.simulator.server import running_simulator
from support.process import SERVICE, ServiceProcess
from support.proof import (
    check_deliveries,
    check_file,
    check_payments,
    events_of,
    wait_until,
    wait_until_ended,
)
from support.shop import Queue, Reader, Shop

KEY = "SB-Mid-server-torment"


@dataclass
class Load:
    """The service, what the simulator knows, and the threads that post, consume and read."""

    service: ServiceProcess
    database: Path
    account: Any
    shops: Sequence[Shop]
    queue: Queue
    reader: Reader

    def count(self, status: int) -> int:
        """Return how many notifications were answered so."""
        return sum(shop.answers[status] for shop in self.shops)

    def wait_for(self, status: int, more: int, *, within_s: float = 20) -> None:
        """Wait until so many more notifications were answered so."""
        until = self.count(status) + more
        wait_until(lambda: self.count(status) >= until, f"{more} more answers {status}", within_s=within_s)

    def end_stories(self) -> set[str]:
        """Let the shops end the stories at hand; return what was acknowledged."""
        for shop in self.shops:
            shop.finish()
        return {one for shop in self.shops for one in shop.acknowledged}

    def prove(self, *, within_s: float = 90) -> None:
        """Check that nothing acknowledged was lost, nothing doubled, and all of it told in order; end the service."""
        acknowledged = self.end_stories()
        wait_until_ended(self.database, acknowledged, within_s=within_s)
        events = events_of(self.database)
        ids = {event["id"] for event in events}
        wait_until(
            lambda: {each["id"] for each in self.queue.delivered} >= ids,
            "all events are delivered; one whose lease was lost again and again comes late",
            within_s=120,
        )
        wait_until(lambda: len(self.reader.read) >= len(events), "all events are read")
        self.queue.finish()
        self.reader.finish()
        assert self.service.stop() == 0
        check_file(self.database)
        check_payments(events, self.account)
        check_deliveries(self.queue.delivered, events)
        assert [event_id for _, event_id in self.reader.read] == [event["id"] for event in events]
        assert not self.service.failures(), self.service.failures()


@contextmanager
def load(
    data_dir: Path,
    port: int,
    *,
    log: Path,
    command: Sequence[str] = SERVICE,
    shops: int = 2,
    loses: float = 0.02,
    environ: Mapping[str, str] = {},
) -> Iterator[Load]:
    """Run it all; *loses* is the share of its leases that the consumer forgets, and of those it hands back."""
    with running_simulator(notify_url=None, server_keys=[KEY]) as running:  # the shops post by themselves
        account = running.simulator.midtrans.account(KEY)
        settings = {"MIDTRANS_SERVER_KEY": KEY, "MIDTRANS_BASE_URL": running.url, **environ}
        service = ServiceProcess(data_dir=data_dir, port=port, environ=settings, command=command, log=log)
        found = Load(
            service,
            data_dir / "midtrans.db",
            account,
            [Shop(account, service.url, f"shop{number}") for number in range(shops)],
            Queue(service.url, loses=loses),
            Reader(service.url),
        )
        try:
            service.start()
            found.queue.make()
            for companion in (*found.shops, found.queue, found.reader):
                companion.start()
            yield found
        finally:
            for companion in (*found.shops, found.queue, found.reader):
                companion.stopping.set()
            service.kill()

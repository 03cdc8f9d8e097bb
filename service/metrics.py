"""What is counted and measured. Each name has a line in docs/operating.md saying what to do about it."""

from collections.abc import Callable, Iterator, Mapping

import prometheus_client
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

log = structlog.get_logger(__name__)

Reading = float | Mapping[str, float]
"""What a watched gauge is worth: one number, or one for each value of its label."""

FAST_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Buckets for what should take milliseconds; Midtrans wants its answer within 5 s."""
ASKED_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Buckets for questions to Midtrans, and for pushes."""
SIZES = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000)
"""Buckets for what shares one commit."""

prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call] # series that nobody reads


class Metrics:
    """Every counter, histogram and gauge of one service, in a registry of its own.

    Labels come from settings and fixed tables, never from what a stranger sent: a merchant that is not
    configured counts under ``unknown``.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._watched = _Watched()
        self.registry.register(self._watched)
        prometheus_client.ProcessCollector(registry=self.registry)
        # receiving
        self.notifications = self._counter(
            "notifications", "Notifications, by the answer they got.", "merchant", "answer"
        )
        self.receive_seconds = self._histogram(
            "receive_seconds", "From a notification's first byte to its answer.", FAST_S
        )
        self.oddities = self._counter(
            "oddities", "Refused bodies and dashboard tests, by reason.", "merchant", "reason"
        )
        # storing
        self.commit_size = self._histogram("commit_size", "Units of work and receipts in one commit.", SIZES)
        self.commit_seconds = self._histogram("commit_seconds", "Time of one commit.", FAST_S)
        self.writer_waiting = self._gauge(
            "writer_waiting", "Units of work and receipts that wait for the writer."
        )
        # confirming
        self.receipts = self._counter(
            "receipts", "Receipts that ended or are held, by state.", "merchant", "state"
        )
        self.questions = self._counter("questions", "Questions to Midtrans, by result.", "merchant", "result")
        self.question_seconds = self._histogram(
            "question_seconds", "Time of one question to Midtrans.", ASKED_S
        )
        self.worker_up = self._gauge("worker_up", "1 while the threads that confirm are at work, else 0.")
        # events and deliveries
        self.events = self._counter("events", "Events made, by type.", "merchant", "type")
        self.leased = self._counter("deliveries_leased", "Events lent to a consumer.", "consumer")
        self.acked = self._counter("deliveries_acked", "Deliveries ended by an ack.", "consumer")
        self.nacked = self._counter("deliveries_nacked", "Deliveries given back by a nack.", "consumer")
        self.dead = self._counter("deliveries_dead", "Deliveries given up after all attempts.", "consumer")
        self.streams = self._gauge("streams", "Streams that are open.")
        self.streams_stalled = self._counter(
            "streams_stalled", "Streams that were cut off because the client read nothing."
        )
        # relaying
        self.relay_published = self._counter(
            "relay_published", "Events that a broker has confirmed, repeats counted.", "relay"
        )
        self.relay_failures = self._counter("relay_failures", "Failed tries to publish.", "relay")
        self.relay_last_published = Gauge(
            "midtrans_relay_last_published_seconds",
            "When a broker last confirmed something to this process, in seconds since 1970.",
            ("relay",),
            registry=self.registry,
        )
        # pushing
        self.pushed = self._counter("pushed", "Events that an endpoint answered with 2xx.", "consumer")
        self.push_failed = self._counter(
            "push_failed", "Pushes that did not arrive, by result.", "consumer", "result"
        )
        self.push_seconds = self._histogram("push_seconds", "Time of one push.", ASKED_S, "consumer")
        # keeping
        self.pruned = self._counter("pruned", "Rows cut because they were old enough, by table.", "table")
        # what a person must look at
        self.alarms = self._counter("alarms", "Alarms, by name.", "merchant", "alarm")

    def watch(
        self, name: str, documentation: str, callback: Callable[[], Reading], *, label: str | None = None
    ) -> None:
        """Read the gauge *name* by *callback* at each scrape; one that fails is left out and logged.

        With a *label*, *callback* returns a value for each of its values.
        """
        self._watched.add(f"midtrans_{name}", documentation, callback, label)

    def render(self) -> tuple[bytes, str]:
        """Return the text that Prometheus reads and its content type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST

    def _counter(self, name: str, documentation: str, *labels: str) -> Counter:
        return Counter(f"midtrans_{name}", documentation, labels, registry=self.registry)

    def _gauge(self, name: str, documentation: str) -> Gauge:
        return Gauge(f"midtrans_{name}", documentation, registry=self.registry)

    def _histogram(
        self, name: str, documentation: str, buckets: tuple[float, ...], *labels: str
    ) -> Histogram:
        return Histogram(f"midtrans_{name}", documentation, labels, buckets=buckets, registry=self.registry)


class _Watched:
    """Gauges that are read when somebody scrapes, and not before."""

    def __init__(self) -> None:
        self._gauges: dict[str, tuple[str, Callable[[], Reading], str | None]] = {}

    def add(self, name: str, documentation: str, callback: Callable[[], Reading], label: str | None) -> None:
        if name in self._gauges:
            raise ValueError(f"{name} is watched already")
        self._gauges[name] = (documentation, callback, label)

    def describe(self) -> list[Metric]:
        """Return nothing: the registry would otherwise scrape to learn the names."""
        return []

    def collect(self) -> Iterator[Metric]:
        for name, (documentation, callback, label) in self._gauges.items():
            try:
                reading = callback()
            except Exception as error:  # noqa: BLE001 (one gauge that cannot be read hides no other)
                log.warning("gauge_unreadable", gauge=name, error=repr(error))
                continue
            yield _family(name, documentation, reading, label)


def _family(name: str, documentation: str, reading: Reading, label: str | None) -> GaugeMetricFamily:
    if isinstance(reading, Mapping):
        family = GaugeMetricFamily(name, documentation, labels=[label or "name"])
        for value, number in reading.items():
            family.add_metric([value], number)
        return family
    return GaugeMetricFamily(name, documentation, value=reading)

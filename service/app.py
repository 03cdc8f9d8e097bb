"""Wires settings, database, gateway, threads and HTTP; the only place that reads the clock."""

import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial

import structlog

from django_midtrans import __version__
from service import gauges
from service.alarms import Alarms
from service.api.app import create_api, create_health, drain
from service.api.auth import ensure_operator_token
from service.api.context import ApiContext, new_batch
from service.api.notifications import NotificationEndpoint
from service.api.notifications_openapi import notification_paths
from service.api.posted import App
from service.clock import Clock
from service.db.engine import database_of
from service.db.faults import describe
from service.db.gauges import Gauges
from service.db.sqlite import file_of
from service.db.store import Store
from service.domain.merchant import by_name
from service.domain.pace import Asked
from service.domain.position import parse_place
from service.domain.records import Oddity, ReceiptState
from service.flow import consumers
from service.flow.apply import Report, Rules
from service.flow.confirm import Confirmer
from service.flow.receive import Receiver
from service.flow.refused import take_in_refused
from service.gateway import Gateway
from service.housekeeping import Housekeeper
from service.metrics import Metrics
from service.oddities import OddityRings
from service.push.pusher import Pusher
from service.relayer import Relayer
from service.settings import Configuration
from service.worker import Worker

log = structlog.get_logger()

MERCHANT_MISSING = (
    "Receipts of a merchant that is not in the settings are not confirmed: put it back under this name, "
    "with its keys. A merchant's name is part of every event id: never change it."
)


def utc_now() -> datetime:
    """Return the time, aware, in UTC."""
    return datetime.now(UTC)


class Part(StrEnum):
    """What one process does."""

    ALL = "run"  # all of it
    API = "api"  # takes in notifications, lends events, answers questions
    WORKER = "worker"  # confirms, relays, pushes, cuts what is old; answers only how it is


class Service:
    """All in one process, or one *part*: receiver and API, or worker. The database must have been migrated.

    *on_broken* is called once when the database file cannot be trusted any more: the process should answer what
    waits and exit.
    """

    def __init__(
        self,
        configuration: Configuration,
        *,
        part: Part = Part.ALL,
        clock: Clock = utc_now,
        on_broken: Callable[[BaseException], None] | None = None,
    ) -> None:
        self.configuration = configuration
        self._serves, self._works = part is not Part.WORKER, part is not Part.API
        shared = database_of(configuration.database_url).shared
        self.metrics = Metrics()
        self.alarms = Alarms(self.metrics)
        self._on_broken = on_broken
        self._merchants = by_name(configuration.merchants)
        self.store = Store(
            configuration.database_url,
            clock=None if shared else clock,  # the server's, the same for all
            writers=configuration.writers,
            readers=configuration.readers,
            listen_url=configuration.listen_url,
            queue_limit=configuration.receiving.queue_limit,
            on_broken=self._broken,
            on_commit=self._committed,
            on_trouble=self._unavailable,
        )
        self._gateway = Gateway(
            self._merchants,
            clock=clock,
            connections=max(1, configuration.worker_threads),
            observe=self._observe,
        )
        self.worker = Worker(
            store=self.store,
            confirmer=Confirmer(
                merchants=self._merchants,
                gateway=self._gateway,
                store=self.store,
                alarm=self.alarms.sound,
                rules=Rules(waits=configuration.waits),
                jitter=random.random,
                on_report=self._confirmed,
            ),
            merchants=configuration.merchants,
            limits=configuration.limits,
            threads=configuration.worker_threads,
            alarm=self.alarms.sound,
        )
        self.relayer = Relayer(
            store=self.store,
            relays=configuration.relays,
            metrics=self.metrics,
            alarm=self.alarms.sound,
        )
        self.pusher = Pusher(
            store=self.store,
            settings=configuration.push,
            metrics=self.metrics,
            alarms=self.alarms,
            clock=clock,
            new_batch=new_batch,
        )
        self._housekeeper = Housekeeper(self.store, configuration.keep, on_cut=self._cut)
        self._oddities = OddityRings(self.store, on_keep=self._odd)
        self.new_operator_token: str | None = None
        """The operator token that `start` made, to be shown once."""
        self.receiving: NotificationEndpoint | None = None
        context = self._context()
        if self._serves:
            self.api = create_api(context)
            self.receiving = self._make_receiver(clock)
            self.asgi: App = self.receiving.before(self.api)
        else:
            self.api = create_health(context)
            self.asgi = self.api

    def start(self) -> None:
        """Open the store, make what the settings name, begin to confirm.

        Raises SettingsInvalid when the database has not been migrated, StoreError when it cannot be written.
        """
        self.store.start()
        if self._serves:
            self.new_operator_token = ensure_operator_token(
                self.store, self.configuration.data_dir, self.configuration.operator_token
            )
        self._make_consumers()
        if self._serves:
            take_in_refused(self.store, self._merchants)
        if self._works:
            self._name_the_missing()
            self.worker.start()
            self.relayer.start()
            self.pusher.start()
            self._housekeeper.start()
        self._watch()

    def drain(self) -> None:
        """Let waiting lease calls and streams go, so that the server can close; called on the event loop."""
        if self._serves:
            drain(self.api)

    def stop(self, timeout_s: float | None = None) -> None:
        """End the questions under way as far as time allows, commit what waits, let go of the file."""
        left_s = self.configuration.shutdown_timeout_s if timeout_s is None else timeout_s
        if self._works:
            self.pusher.end(left_s * 0.3)
            self._housekeeper.stop(left_s / 10)
            self.relayer.stop(left_s / 4)
            self.worker.stop(left_s * 0.4)
            self.pusher.join(left_s / 10)
        self._oddities.close()
        self.store.close(left_s * 0.4)
        self._gateway.close()

    def _make_consumers(self) -> None:
        """Make or change the consumers that the settings name; `start` counts only when one is made."""
        for name, spec in self.configuration.consumers.items():
            start = parse_place(spec.start, self.store.epoch, field="start")
            self.store.write(partial(consumers.put, name=name, spec=spec, start=start)).result()
            after: int | None = 0
            while after is not None:
                after = self.store.write(partial(consumers.free_followers, name=name, after=after)).result()

    def _name_the_missing(self) -> None:
        """Tell of receipts whose merchant was renamed or taken out of the settings: nobody asks about them."""
        for merchant, count in self.store.read(lambda unit: Gauges(unit).waiting()).items():
            if merchant not in self._merchants:
                log.warning("merchant_missing", merchant=merchant, waiting=count, to_do=MERCHANT_MISSING)

    def _make_receiver(self, clock: Clock) -> NotificationEndpoint:
        receiving = self.configuration.receiving
        return NotificationEndpoint(
            Receiver(
                self._merchants,
                receipts=self.store,
                oddities=self._oddities,
            ),
            clock=clock,
            metrics=self.metrics,
            max_body_bytes=receiving.max_body_bytes,
            body_timeout_s=receiving.body_timeout_s,
        )

    def _context(self) -> ApiContext:
        return ApiContext(
            store=self.store,
            metrics=self.metrics,
            alarms=self.alarms,
            operator_token=self.configuration.operator_token,
            parts=self._parts,
            merchants=self._merchants,
            push=self.configuration.push,
            breakers=self.worker.breakers,
            streams=self.configuration.streams,
            relays=self.configuration.relays,
            more_paths=notification_paths,
            version=__version__,
        )

    def _parts(self) -> Mapping[str, str | None]:
        if not self._works:
            return {}
        health = self.worker.health()
        problems = ", ".join(f"{name}: {problem}" for name, problem in health.problems.items())
        relays = {"relays": self.relayer.problems()} if self.configuration.relays else {}
        return {"worker": problems or None, "pusher": self.pusher.trouble(), **relays}

    def _watch(self) -> None:
        self.metrics.writer_waiting.set_function(lambda: self.store.waiting)
        if self._works:
            self.metrics.worker_up.set_function(lambda: float(self.worker.health().ok))
        gauges.watch_relays(self.metrics, self.store, self.configuration.relays)
        gauges.watch(
            self.metrics,
            self.store,
            merchants=self._merchants,
            file=file_of(self.configuration.database_url),
        )

    def _observe(self, merchant: str, asked: Asked, *, seconds: float) -> None:
        self.metrics.questions.labels(merchant, asked.value).inc()
        self.metrics.question_seconds.observe(seconds)

    def _confirmed(self, merchant: str, report: Report) -> None:
        for step in report.receipts:
            if step.state is not ReceiptState.WAITING:
                self.metrics.receipts.labels(merchant, step.state.value).inc()
        for event in report.events:
            self.metrics.events.labels(merchant, event.type).inc()

    def _odd(self, oddity: Oddity) -> None:
        self.metrics.oddities.labels(oddity.merchant, oddity.reason).inc()

    def _cut(self, table: str, rows: int) -> None:
        self.metrics.pruned.labels(table).inc(rows)

    def _committed(self, size: int, seconds: float) -> None:
        self.metrics.commit_size.observe(size)
        self.metrics.commit_seconds.observe(seconds)

    def _unavailable(self, why: str) -> None:
        self.alarms.sound("store_unavailable", merchant="*", why=why)

    def _broken(self, error: BaseException) -> None:
        self.alarms.sound("store_broken", merchant="*", why=describe(error))
        if self._on_broken is not None:
            self._on_broken(error)


def build(
    configuration: Configuration,
    *,
    part: Part = Part.ALL,
    clock: Clock = utc_now,
    on_broken: Callable[[BaseException], None] | None = None,
) -> Service:
    """Return the service for *configuration*, or one *part* of it, not started yet."""
    return Service(configuration, part=part, clock=clock, on_broken=on_broken)

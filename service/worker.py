"""The threads that confirm: one dispatcher claims what is due, several workers ask. None of them dies silently."""

import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from service.db.claim_statements import CUT
from service.db.store import Store
from service.db.unit import Topic, Unit
from service.domain.limits import Limits
from service.domain.merchant import Merchant, by_name
from service.domain.pace import Asked, Pace, Pause
from service.domain.records import Claim, MerchantState
from service.errors import StoreError
from service.flow.confirm import OWN_FAULT, Answered, Confirmer, Finished
from service.owner import is_dead, new_owner
from service.roles import Role, Share

log = structlog.get_logger()

LEASE = timedelta(seconds=120)
"""Twice the longest that two questions take by the gateway's timeouts; a dead machine's work is taken over after it."""
LONGEST_WAIT_S = 1.0
SHORTEST_WAIT_S = 0.02
JOBS_A_THREAD = 8
"""Claims that wait for each thread at most: some seconds' work, far less than the lease."""
MOST_TOGETHER = 25
"""Claims written by one unit of work, so that the writer is soon free again."""
GATHER_S = 0.004


@dataclass(frozen=True, slots=True)
class WorkerHealth:
    """What the worker says of itself: *problems* by merchant, and whether its dispatcher is alive."""

    ok: bool
    problems: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Job:
    claim: Claim
    taken_s: float
    repeat: bool
    probe: bool


class Worker:
    """Confirms what the store holds, with *threads* questions at a time. 0 threads pause confirming."""

    def __init__(
        self,
        *,
        store: Store,
        confirmer: Confirmer,
        merchants: Sequence[Merchant],
        limits: Limits,
        threads: int,
        alarm: Callable[..., None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._confirmer = confirmer
        self._merchants = by_name(merchants)
        self._limits = limits
        self._threads_wanted = threads
        self._alarm = alarm
        self._monotonic = monotonic
        self._owner = new_owner()
        self._reconciling = Role(store, "reconcile", self._owner, monotonic=monotonic)
        self._share = Share(store, "worker", self._owner, bury=_free_the_dead, monotonic=monotonic)
        self._paces: dict[str, Pace] = {}
        self._lock = threading.Lock()  # of the paces: dispatcher and workers both note what happens
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._finished: queue.SimpleQueue[tuple[_Job, Finished] | None] = queue.SimpleQueue()
        self._unwritten: deque[Claim] = deque()
        self._busy = 0
        self._turn = list(self._merchants)
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._turned_at = monotonic()
        self._looked_at: datetime | None = None  # by the store's clock
        self._unlisten: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Load what is known of the merchants, free the claims of dead processes of this machine, begin."""
        now_s = self._monotonic()
        known = self._store.write(self._begin).result()
        for name, state in known.items():
            pause = Pause(state.pause_reason) if state.pause_reason else None
            self._paces[name] = Pace(self._limits, confirmed=state.confirmed, pause=pause, now_s=now_s)
        self._hurry_new()  # the clock may have been set back while nobody looked
        if not self._threads_wanted:
            return
        self._unlisten = self._store.listen(Topic.RECEIPTS, self._wake.set)
        self._threads = [
            threading.Thread(target=self._work, name=f"confirm-{number}", daemon=True)
            for number in range(self._threads_wanted)
        ]
        self._threads.append(threading.Thread(target=self._dispatch, name="confirm-dispatch", daemon=True))
        self._threads.append(threading.Thread(target=self._write, name="confirm-write", daemon=True))
        for thread in self._threads:
            thread.start()

    def stop(self, timeout_s: float) -> None:
        """Finish the questions under way, as far as *timeout_s* allows; give back what was not begun."""
        deadline_s = self._monotonic() + timeout_s
        self._unlisten()
        self._stopping.set()
        self._wake.set()
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads[:-1]:
            thread.join(max(0.0, deadline_s - self._monotonic()))
        self._finished.put(None)  # behind all that was asked about
        if self._store.shared and self._threads:
            with contextlib.suppress(StoreError):  # then they end by themselves
                self._reconciling.give_up()
                self._share.leave()
        for thread in self._threads[-1:]:
            thread.join(max(0.0, deadline_s - self._monotonic()))

    def health(self) -> WorkerHealth:
        """Say what holds confirming back, if anything."""
        now_s = self._monotonic()
        with self._lock:
            problems = {
                name: pace.pause.value if pace.pause else f"breaker {pace.breaker_state(now_s)}"
                for name, pace in self._paces.items()
                if pace.pause or pace.breaker_state(now_s) != "closed"
            }
        if any(not thread.is_alive() for thread in self._threads) and not self._stopping.is_set():
            problems["*"] = "a thread has died"
        elif self._threads and now_s - self._turned_at > 10 * LONGEST_WAIT_S:
            problems["*"] = "the dispatcher stands still"
        return WorkerHealth(not problems, problems)

    def breakers(self) -> dict[str, str]:
        """Say of each merchant that is asked about whether questions pass; nothing without threads."""
        if not self._threads_wanted:
            return {}
        now_s = self._monotonic()
        with self._lock:
            return {name: pace.breaker_state(now_s).value for name, pace in self._paces.items()}

    # -- the dispatcher

    def _dispatch(self) -> None:
        while not self._stopping.is_set():
            self._turned_at = self._monotonic()
            self._wake.clear()
            try:
                self._give_back_unwritten()
                wait_s = 0.0 if self._take_all() else self._wait_s()
            except StoreError as error:
                log.warning("claiming_failed", why=str(error))
                wait_s = LONGEST_WAIT_S
            except Exception:
                log.exception("claiming_failed")
                wait_s = LONGEST_WAIT_S
            if wait_s:
                self._wake.wait(wait_s)

    def _give_back_unwritten(self) -> None:
        """Free what was asked about while nothing could be written: else it would wait for its claim's end."""
        while self._unwritten:
            self._confirmer.give_back(self._unwritten[0])
            self._unwritten.popleft()

    def _take_all(self) -> int:
        """Claim what there is room for; return how much that was. No merchant is always the first."""
        if self._store.shared:
            self._use_share(self._share.of_one())
        self._turn = [*self._turn[1:], *self._turn[:1]]
        taken = sum(self._take_of(merchant) for merchant in self._turn)
        return taken or self._take_checks()  # notifications go first

    def _use_share(self, part: float) -> None:
        """Leave the other processes their part of the limits."""
        now_s = self._monotonic()
        with self._lock:
            for pace in self._paces.values():
                pace.share(part, now_s)

    def _take_of(self, merchant: str) -> int:
        if (
            self._jobs.qsize() >= self._threads_wanted
        ):  # many are claimed at once, which costs little more than one
            return 0
        with self._lock:
            probe = self._paces[merchant].may_probe(self._monotonic())
        if probe:
            return self._take(merchant, 1, repeat=False, probe=True)
        taken = 0
        for repeat in (False, True):
            with self._lock:
                room = self._paces[merchant].room(self._monotonic(), repeat=repeat)
            room = min(room, JOBS_A_THREAD * self._threads_wanted - self._busy)
            if room > 0:
                taken += self._take(merchant, room, repeat=repeat, probe=False)
        return taken

    def _take_checks(self) -> int:
        """Claim what reconcile is to ask about; one process at a time does."""
        if self._store.shared and not self._reconciling.held():
            return 0
        taken = 0
        for merchant in self._turn:
            with self._lock:
                room = self._paces[merchant].room(self._monotonic())
            room = min(room, self._threads_wanted - self._busy)
            if room > 0 and self._store.read(lambda unit, name=merchant: unit.checks.any_due(name)):  # type: ignore[misc]
                taken += self._begin_jobs(self._claim_checks(merchant, room), repeat=False, probe=False)
        return taken

    def _claim_checks(self, merchant: str, room: int) -> list[Claim]:
        return self._store.write(
            lambda unit: unit.checks.take(
                owner=self._owner, merchant=merchant, limit=room, leased_until=unit.now + LEASE
            )
        ).result()

    def _take(self, merchant: str, room: int, *, repeat: bool, probe: bool) -> int:
        if not self._store.read(lambda unit: unit.claims.any_due(merchant, repeat=repeat, at_once=probe)):
            return 0
        claims = self._store.write(
            lambda unit: unit.claims.take(
                owner=self._owner,
                merchant=merchant,
                limit=room,
                leased_until=unit.now + LEASE,
                repeat=repeat,
                at_once=probe,
            )
        ).result()
        return self._begin_jobs(claims, repeat=repeat, probe=probe)

    def _begin_jobs(self, claims: Sequence[Claim], *, repeat: bool, probe: bool) -> int:
        for claim in claims:
            with self._lock:
                self._busy += 1
                self._paces[claim.merchant].started(self._monotonic(), repeat=repeat)
            self._jobs.put(_Job(claim, self._monotonic(), repeat, probe))
        return len(claims)

    def _wait_s(self) -> float:
        """Return how long nothing needs the dispatcher, unless it is woken."""
        if self._jobs.qsize() >= self._threads_wanted or self._busy >= JOBS_A_THREAD * self._threads_wanted:
            return LONGEST_WAIT_S  # whoever finishes wakes it
        now, wait_s = self._store.read(
            lambda unit: (unit.now, min(self._waits_s(unit), default=LONGEST_WAIT_S))
        )
        before, self._looked_at = self._looked_at, now
        if before is not None and now < before:
            self._hurry_new()
            return 0.0
        return min(LONGEST_WAIT_S, max(SHORTEST_WAIT_S, wait_s))

    def _hurry_new(self) -> None:
        """Make due what came before the clock was set back, and would else wait until it is that late again."""
        for merchant in self._merchants:
            self._hurry(merchant, new=True)

    def _hurry(self, merchant: str, *, new: bool = False) -> None:
        while self._store.write(lambda unit: unit.claims.hurry(merchant, new=new)).result() == CUT:
            pass

    def _waits_s(self, unit: Unit) -> Iterator[float]:
        """Return when something is due and may be asked: a full or paused account wakes nobody before its time."""
        now_s = self._monotonic()
        for merchant in self._merchants:
            with self._lock:
                pace = self._paces[merchant]
                may_s = pace.wait_s(now_s)
                repeats_may_s = pace.wait_s(now_s, repeat=True)
            dues = (
                (unit.claims.next_due_at(merchant, repeat=False), may_s),
                (unit.claims.next_due_at(merchant, repeat=True), repeats_may_s),
                (unit.checks.next_due_at(merchant), may_s),
            )
            for due_at, wait_s in dues:
                if due_at is not None:
                    yield max(wait_s, (due_at - unit.now).total_seconds())

    # -- the workers

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._finished.put((job, self._ask(job)))

    def _ask(self, job: _Job) -> Finished:
        late = self._monotonic() - job.taken_s > LEASE.total_seconds() / 2
        if self._stopping.is_set() or late or (self._store.shared and not self._share.counts()):
            return self._confirmer.unasked(job.claim)  # too late to be sure that nobody else asks meanwhile
        try:
            return self._confirmer.ask(job.claim, probe=job.probe)
        except Exception:
            log.exception("confirming_failed", order_id=job.claim.order_id)
            return self._confirmer.failed(job.claim, OWN_FAULT)

    # -- the thread that has written what they brought

    def _write(self) -> None:
        while batch := self._take_finished():
            unwritten: list[Finished] = []
            try:
                unwritten = self._confirmer.write([finished for _, finished in batch])
            except Exception:
                log.exception("confirming_failed", claims=len(batch))
            self._unwritten.extend(finished.claim for finished in unwritten)
            lost = {finished.claim.fence for finished in unwritten}
            for job, finished in batch:
                answered = Answered(Asked.LOST) if finished.claim.fence in lost else finished.answered
                try:
                    self._ended(job, answered)
                except Exception:
                    log.exception("confirming_failed", order_id=job.claim.order_id)
            self._wake.set()

    def _take_finished(self) -> list[tuple[_Job, Finished]]:
        """Wait for what is to be written; while more is waiting to be asked about, a moment longer for others."""
        first = self._finished.get()
        if first is not None and self._jobs.qsize():
            time.sleep(GATHER_S)
        batch: list[tuple[_Job, Finished]] = []
        while first is not None:
            batch.append(first)
            if len(batch) == MOST_TOGETHER or not self._finished.qsize():
                break
            first = self._finished.get()
        if first is None and batch:
            self._finished.put(None)  # for the next call
        return batch

    def _ended(self, job: _Job, answered: Answered) -> None:
        merchant = job.claim.merchant
        with self._lock:
            self._busy -= 1
            pace = self._paces[merchant]
            before = pace.pause
            changed = pace.ended(
                answered.asked,
                order_id=job.claim.order_id,
                questions=answered.questions,
                now_s=self._monotonic(),
                repeat=job.repeat,
                notified=job.claim.check is None,
            )
            pause, confirmed = pace.pause, pace.confirmed
        if changed:
            self._note(merchant, before, pause, confirmed=confirmed)

    def _note(self, merchant: str, before: Pause | None, pause: Pause | None, *, confirmed: bool) -> None:
        """Keep a pause, or its end, and tell of it."""
        if pause is not None and before is None:
            self._alarm(pause.value, merchant=merchant)
        elif pause is None and before is not None:
            log.info("merchant_resumed", merchant=merchant, after=before.value)
        state = MerchantState(
            merchant, self._merchants[merchant].access_fingerprint, confirmed, pause.value if pause else None
        )

        self._store.write(lambda unit: unit.merchants.put(state)).add_done_callback(_log_failure)
        if pause is None and before is not None:
            self._hurry(merchant)

    def _begin(self, unit: Unit) -> dict[str, MerchantState]:
        for owner in unit.claims.owners():
            # Elsewhere a process may have the name of this machine and live: there its role tells.
            if not self._store.shared and is_dead(owner, seen_from=self._owner):
                unit.claims.free(owner)
        return {name: self._state_of(unit, merchant) for name, merchant in self._merchants.items()}

    def _state_of(self, unit: Unit, merchant: Merchant) -> MerchantState:
        """Return what is known of the account; other keys or another environment begin anew."""
        known = unit.merchants.get(merchant.name)
        if known is None or known.access_fingerprint != merchant.access_fingerprint:
            return MerchantState(merchant.name, merchant.access_fingerprint)
        return known


def _free_the_dead(unit: Unit, living: set[str]) -> None:
    """Free what workers had claimed that are gone, before their claims' end."""
    for owner in unit.claims.owners():
        if owner not in living:
            unit.claims.free(owner)


def _log_failure(future: Future[None]) -> None:
    if (error := future.exception()) is not None:
        log.warning("merchant_state_not_kept", why=str(error))

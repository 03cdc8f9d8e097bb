"""Those around the service while it is tormented: Midtrans' posts, a consumer of the queue, a reader of the log."""

import json
import random
import threading
import time
from abc import ABC, abstractmethod
from collections import defaultdict
from contextlib import closing
from typing import Any

import httpx

from support.process import OPERATOR
from support.stories import endless

ANSWERS = frozenset({200, 429, 507})
"""What the table of answers has for a notification that is all right."""
GIVES_UP_S = 150.0


def operator(url: str) -> httpx.Client:
    """Return a client of the API that may do everything."""
    return httpx.Client(base_url=url, headers={"Authorization": f"Bearer {OPERATOR}"}, timeout=10)


class Companion(threading.Thread, ABC):
    """A thread whose failure the test tells of: `finish` raises it."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self.stopping = threading.Event()
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            self.work()
        except BaseException as error:  # noqa: BLE001 (told by the test, not by this thread)
            self._error = error

    @abstractmethod
    def work(self) -> None: ...

    def finish(self) -> None:
        self.stopping.set()
        self.join(GIVES_UP_S)
        assert not self.is_alive(), f"{self.name} hangs"
        if self._error is not None:
            raise self._error


class Shop(Companion):
    """Lets stories happen and posts each notification until it is acknowledged, as Midtrans would.

    Told to stop, it ends the story at hand: what the simulator did was then all notified.
    """

    def __init__(self, account: Any, url: str, name: str) -> None:
        super().__init__(name)
        self.account = account
        self.url = url
        self.acknowledged: list[str] = []
        self.answers: dict[int, int] = defaultdict(int)
        self.unanswered = 0

    def work(self) -> None:
        stories = endless(random.Random(self.name))
        with httpx.Client(timeout=15) as client:  # as long as Midtrans waits
            for number, story in enumerate(stories):
                if self.stopping.is_set():
                    return
                for body in story(self.account, f"{self.name}-{number}"):
                    self._post(client, body)

    def _post(self, client: httpx.Client, body: dict[str, Any]) -> None:
        deadline = time.monotonic() + GIVES_UP_S
        while True:
            assert time.monotonic() < deadline, "a notification was not taken in for minutes"
            try:
                answer = client.post(f"{self.url}/notifications", content=json.dumps(body))
            except httpx.TransportError:
                self.unanswered += 1
                time.sleep(0.02)
                continue
            assert answer.status_code in ANSWERS, f"{answer.status_code} {answer.text}"
            self.answers[answer.status_code] += 1
            if answer.status_code == 200:
                self.acknowledged.append(answer.json()["id"])
                return
            time.sleep(0.02)


class Queue(Companion):
    """A consumer: leases and acks through the API, loses some leases and gives some events back."""

    LEASE_S = 2

    def __init__(self, url: str, name: str = "torment", *, loses: float = 0.02) -> None:
        super().__init__(name)
        self._path = f"/v1/consumers/{name}"
        self._client = operator(url)
        self._dice = random.Random(name)
        self._loses = loses
        self.delivered: list[dict[str, Any]] = []
        """Every event each time it came, in that order."""
        self.positions: dict[str, str] = {}

    def make(self) -> None:
        answer = self._client.put(self._path, json={"start": "beginning", "lease_seconds": self.LEASE_S})
        assert answer.status_code in (200, 201), answer.text

    def work(self) -> None:
        acks: list[str] = []
        with closing(self._client):
            while not self.stopping.is_set():
                acks = self._turn(acks)
            self._call("lease", {"limit": 1, "wait_seconds": 0, "ack": acks})

    def _turn(self, acks: list[str]) -> list[str]:
        """Ack what was done, lease more; return what to ack next."""
        answer = self._call("lease", {"limit": 50, "wait_seconds": 0.5, "ack": acks})
        if answer is None:  # whether it was acked is not known: it is harmless to say it again
            return acks
        done, back = [], []
        for delivery in answer["deliveries"]:
            self.delivered.append(delivery["event"])
            self.positions[delivery["event"]["id"]] = delivery["position"]
            fate = self._dice.random() if delivery["attempt"] == 1 else 1.0
            if fate >= 2 * self._loses:
                done.append(delivery["lease"])
            elif fate >= self._loses:  # handed back; below it is forgotten
                back.append(delivery["lease"])
        if back:
            self._call("nack", {"leases": back, "delay_seconds": 0})
        return done

    def _call(self, name: str, body: dict[str, Any]) -> dict[str, Any] | None:
        try:
            answer = self._client.post(f"{self._path}/{name}", json=body)
        except httpx.TransportError:
            time.sleep(0.02)
            return None
        assert answer.status_code in (200, 503), f"{answer.status_code} {answer.text}"
        found: dict[str, Any] | None = answer.json() if answer.status_code == 200 else None
        return found


class Reader(Companion):
    """Reads the log from its beginning by position, and goes on from where it was."""

    def __init__(self, url: str, name: str = "reader") -> None:
        super().__init__(name)
        self._client = operator(url)
        self.read: list[tuple[str, str]] = []
        """(position, id) of each event, in the order they were read."""

    def work(self) -> None:
        after: str | None = None
        with closing(self._client):
            while not self.stopping.is_set():
                after = self._turn(after)

    def _turn(self, after: str | None) -> str | None:
        try:
            answer = self._client.get(
                "/v1/events", params={"limit": 100, **({"after": after} if after else {})}
            )
        except httpx.TransportError:
            time.sleep(0.05)
            return after
        if answer.status_code == 503:
            return after
        assert answer.status_code == 200, f"{answer.status_code} {answer.text}"
        page = answer.json()
        self.read += [(each["position"], each["event"]["id"]) for each in page["events"]]
        if not page["events"]:
            time.sleep(0.05)
        following: str = page["next"]
        return following

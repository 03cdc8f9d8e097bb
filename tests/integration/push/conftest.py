"""A pusher before a real store, and an endpoint on a real socket."""

from collections.abc import Iterator

import pytest
from support.api import Clock
from support.pushing import Pushing, make_pushing
from support.receiver import Receiver

from service.db.store import Store


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(stored_at: str, clock: Clock) -> Iterator[Store]:
    store = Store(stored_at, clock=clock)
    store.start()
    yield store
    store.close()


@pytest.fixture
def pushing(store: Store, clock: Clock) -> Iterator[Pushing]:
    with make_pushing(store, clock) as pushing:
        yield pushing


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver

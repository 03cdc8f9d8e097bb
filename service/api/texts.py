"""Answers with events, put together as text: a stored event is JSON already and is not read again."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache

from fastapi import Response

from django_midtrans.values import time_text
from service.domain.delivery import DeadLetter, Delivery, Lease
from service.domain.position import format_position
from service.domain.records import LoggedEvent


def answer(text: str, status: int = 200) -> Response:
    """Return JSON text as an answer."""
    return Response(text, status, media_type="application/json")


def lease_answer(
    deliveries: Iterable[Delivery], acked: Sequence[Lease], ended: Sequence[Lease], epoch: str
) -> str:
    """Return the answer to a lease call."""
    lent = ",".join(
        f'{{"lease":"{one.lease}","attempt":{one.attempt},"leased_until":"{_time(one.leased_until)}",'
        f'"position":"{format_position(epoch, one.position)}","event":{one.body}}}'
        for one in deliveries
    )
    return f'{{"deliveries":[{lent}],"acked":{_leases(acked)},"ended":{_leases(ended)}}}'


def events_answer(events: Iterable[LoggedEvent], *, next_: int, epoch: str) -> str:
    """Return a piece of the log."""
    found = ",".join(event_text(event, epoch) for event in events)
    return f'{{"events":[{found}],"next":"{format_position(epoch, next_)}"}}'


def event_text(event: LoggedEvent, epoch: str) -> str:
    """Return one event with its place."""
    return f'{{"position":"{format_position(epoch, event.position)}","event":{event.body}}}'


def dead_letters_answer(letters: Sequence[DeadLetter], *, after: int, epoch: str) -> str:
    """Return dead letters; *after* is where they were looked for."""
    found = ",".join(
        f'{{"position":"{format_position(epoch, one.position)}","attempts":{one.attempts},'
        f'"reason":{json.dumps(one.reason)},"died_at":"{_time(one.died_at)}","event":{one.body}}}'
        for one in letters
    )
    next_ = format_position(epoch, letters[-1].position if letters else after)
    return f'{{"dead_letters":[{found}],"next":"{next_}"}}'


def _leases(leases: Sequence[Lease]) -> str:
    named = ",".join(f'"{lease}"' for lease in leases)
    return f"[{named}]"


@lru_cache(maxsize=64)  # all that one call lends ends together
def _time(moment: datetime) -> str:
    return time_text(moment)

"""What can go wrong, as a tree split by what the caller can do.

```text
ServiceError
├── SettingsInvalid             repair: a setting is wrong; says its name, its shape and how to mend it
├── GatewayError                what a question to Midtrans ran into
│   ├── GatewayUnavailable      retry: no answer, or one that says nothing about the payment
│   ├── CannotBeAsked           give up: the id cannot be part of an address
│   └── GatewayRefused          repair: the key is not accepted (401)
├── NotPushedTo                 repair: an address that events are not pushed to; says which and why
├── StoreError
│   ├── StoreOverloaded         retry: too much is waiting for the writer
│   ├── StoreUnavailable        retry: nothing was stored (disk full, read-only, locked, shut down)
│   └── StoreBroken             give up: the file cannot be trusted any more; the process exits
├── BrokerError                 what publishing ran into; says how much of the batch the broker keeps
│   ├── BrokerUnavailable       retry: down, slow, full, cut off in the middle
│   └── BrokerRefused           repair: it will not take this as things are (login, set-up, no queue, too large)
├── RelayLost                   give up: another process relays by now
├── ClaimLost                   give up: someone else holds the claim; the answer is thrown away
│   └── PaymentMoved            retry: the payment changed while Midtrans was asked; it is asked anew
├── NotTogether                 retry: what is needed was not read beforehand; write the claim by itself
├── NotFound                    repair: there is no such thing; carries what was looked for
├── Conflict                    repair: the request contradicts what is there
├── RequestInvalid              repair: the request cannot be used; says the field and how to mend it
│   └── CountMoved              retry: another number than expected matches now; says which
├── PositionGone                repair: a position of another epoch; says how to go on
├── StreamsFull                 retry: as many streams are open as may be
├── Unauthenticated             repair: no token, or one that is unknown or revoked
└── Forbidden                   repair: the token's role does not allow it
```

No error knows HTTP: `api/problems.py` maps classes to statuses. No message carries a key or a whole body.
"""


class ServiceError(Exception):
    """The root of every error that this service raises on purpose."""


class SettingsInvalid(ServiceError):
    """A setting is missing or wrong; the service refuses to start."""


class GatewayError(ServiceError):
    """A question to Midtrans did not bring the state of a payment."""


class GatewayUnavailable(GatewayError):
    """No answer, or one that says nothing about the payment: timeout, 5xx, 429, HTML, cut.

    *trips_breaker* is true for transport errors, 5xx and 429 only.
    """

    def __init__(self, reason: str, *, http_status: int | None = None, trips_breaker: bool = True) -> None:
        self.reason = reason
        self.http_status = http_status
        self.trips_breaker = trips_breaker
        super().__init__(f"Midtrans gave no usable answer: {reason}")


class CannotBeAsked(GatewayError):
    """No question can be put about this id: ``.`` and ``..`` vanish from addresses."""

    def __init__(self, asked: str) -> None:
        self.asked = asked
        super().__init__(f"{asked!r} cannot be part of an address")


class GatewayRefused(GatewayError):
    """Midtrans does not accept any of the merchant's keys (401)."""

    def __init__(self, merchant: str) -> None:
        self.merchant = merchant
        super().__init__(f"Midtrans refused every server key of merchant {merchant!r} (401)")


class NotPushedTo(ServiceError):
    """No address of the endpoint is one that events may be pushed to."""


class StoreError(ServiceError):
    """The database did not do what it was asked; nothing of the unit of work was kept."""


class StoreOverloaded(StoreError):
    """More waits for the writer than may wait."""

    def __init__(self, waiting: int) -> None:
        self.waiting = waiting
        super().__init__(f"{waiting} units of work already wait for the writer")


class StoreUnavailable(StoreError):
    """Nothing was stored and trying again may help: disk full, read-only, busy, connection lost, closing."""


class StoreBroken(StoreError):
    """A write or an fsync failed in a way after which the database file cannot be trusted."""


class BrokerError(ServiceError):
    """A broker did not confirm all of a batch; it keeps the first *confirmed* messages of it."""

    def __init__(self, reason: str, *, confirmed: int = 0) -> None:
        self.reason = reason
        self.confirmed = confirmed
        super().__init__(reason)


class BrokerUnavailable(BrokerError):
    """Trying again may help: the broker is down, slow or full, or the connection broke."""


class BrokerRefused(BrokerError):
    """The broker will not take this until a person mends something; it is tried again all the same."""


class RelayLost(ServiceError):
    """Another process holds the relay by now, or its place belongs to another epoch."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"relay {name!r} is another process' by now")


class ClaimLost(ServiceError):
    """Somebody else holds the claim by now."""


class PaymentMoved(ClaimLost):
    """The payment is not what it was when its order was claimed."""

    def __init__(self, transaction_id: str) -> None:
        self.transaction_id = transaction_id
        super().__init__(f"payment {transaction_id!r} moved while Midtrans was asked")


class NotTogether(ServiceError):
    """What a claim needs was not read for all claims beforehand: it is to be written by itself."""


class NotFound(ServiceError):
    """There is no such thing."""

    def __init__(self, what: str, name: str) -> None:
        self.what = what
        self.name = name
        super().__init__(f"there is no {what} {name!r}")


class Conflict(ServiceError):
    """The request contradicts what is there."""


class CountMoved(Conflict):
    """What a filter matches is not the number that the caller expected; nothing was changed."""

    def __init__(self, expected: int, matching: int) -> None:
        self.expected = expected
        self.matching = matching
        super().__init__(
            f"{matching} match now, not {expected}: nothing was changed; look again, then send count {matching}"
        )


class RequestInvalid(ServiceError):
    """The request cannot be used; *field* names what is wrong with it."""

    def __init__(self, field: str, problem: str) -> None:
        self.field = field
        self.problem = problem
        super().__init__(f"{field}: {problem}")


class PositionGone(ServiceError):
    """The position belongs to another epoch of the log (the database was made new or restored)."""

    def __init__(self, position: str, epoch: str) -> None:
        self.position = position
        self.epoch = epoch
        super().__init__(
            f"position {position!r} is of another epoch; the log's epoch is {epoch!r}: "
            "go on from a time, or from 'beginning' (event ids stay the same, so repeats can be told)"
        )


class StreamsFull(ServiceError):
    """As many streams are open as may be."""

    def __init__(self, most: int) -> None:
        self.most = most
        super().__init__(f"{most} streams are open, and no more may be: end some, or raise streams.most")


class Unauthenticated(ServiceError):
    """No token came, or one that is unknown or revoked."""


class Forbidden(ServiceError):
    """The token's role or names do not allow this."""

"""What a notification is answered, and what Midtrans does then: the one table.

Nothing else decides an answer to Midtrans. The status is the only thing that Midtrans looks at: it says how
often the notification comes again (docs.midtrans.com/docs/https-notification-webhooks).
"""

import json
import re
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple


class Happened(StrEnum):
    """What became of a request; also the ``error`` code or the ``status`` in the answer's body."""

    ACCEPTED = "accepted"  # on disk
    DUPLICATE = "duplicate"  # the same bytes were on disk before
    TEST = "test"  # the button in Midtrans' dashboard; nothing is stored, operators see it
    METHOD = "method_not_allowed"  # anything but POST
    ENCODING = "content_encoding"  # compressed, or encoded in another way
    UNKNOWN_MERCHANT = "unknown_merchant"  # the path names nobody who is set up
    TOO_LARGE = "too_large"
    INCOMPLETE = "incomplete"  # not whole in time, or cut
    NOT_JSON = "not_json"  # not a JSON object as text, or one that two readers could read differently
    UNUSABLE = "unusable"  # a field that we need is missing or of a wrong type
    KIND_NOT_ENABLED = "kind_not_enabled"  # a kind of notification that is not switched on
    SIGNATURE = "signature"  # no key of the merchant verifies it
    OVERLOADED = "overloaded"  # more waits than may wait
    NOT_STORED = "not_stored"  # disk full, database away, closing
    FAILED = "failed"  # anything unforeseen


class Row(NamedTuple):
    """One line of the table. *detail* is used when nothing more exact is known about the single request."""

    status: int
    what: str
    detail: str = ""
    headers: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def then(self) -> str:
        """Say what Midtrans does after this answer."""
        return _THEN[retries_after(self.status)]


class Answer(NamedTuple):
    """An answer ready to be sent: every header but ``Connection`` is in it."""

    happened: Happened
    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


ANSWERS: Final[Mapping[Happened, Row]] = MappingProxyType(
    {
        Happened.ACCEPTED: Row(200, "stored"),
        Happened.DUPLICATE: Row(200, "the same bytes were stored before; `id` is the first one's"),
        Happened.TEST: Row(200, "the test button of Midtrans' dashboard; not stored, shown to operators"),
        Happened.METHOD: Row(
            405,
            "a method other than POST",
            "notifications come by POST; a redirect makes an empty GET of one: give Midtrans the final URL",
            ((b"allow", b"POST"),),
        ),
        Happened.ENCODING: Row(
            415,
            "a content encoding",
            "send the body as it is, without Content-Encoding; a proxy in between must not compress requests",
        ),
        Happened.UNKNOWN_MERCHANT: Row(
            422,
            "a merchant that is not set up",
            "no merchant of this name is set up; the path is /notifications/{merchant} with a name from the "
            "configuration, and /notifications alone is the merchant 'default' (MIDTRANS_SERVER_KEY)",
        ),
        Happened.TOO_LARGE: Row(413, "a body over the limit, 64 KiB", "the body is larger than is taken"),
        Happened.INCOMPLETE: Row(
            408, "a body that is not whole in 10 s", "the body did not come whole in time"
        ),
        Happened.NOT_JSON: Row(
            400,
            "not a JSON object in UTF-8: empty, another encoding, other JSON, a key twice, NaN, too deep",
            "the body must be one JSON object in UTF-8",
        ),
        Happened.UNUSABLE: Row(
            422,
            "a needed field is missing or of a wrong type",
            "a field that is needed cannot be used",
        ),
        Happened.KIND_NOT_ENABLED: Row(
            422,
            "a kind of notification that is not switched on",
            "this kind of notification is not switched on",
        ),
        Happened.SIGNATURE: Row(
            403,
            "no key verifies the signature",
            "no key of this merchant verifies signature_key; look for the other environment's key, a client key "
            "in place of the server key, white space around the key, or the URL of another merchant",
        ),
        Happened.OVERLOADED: Row(
            429, "overloaded", "more is waiting than may wait; send it again", ((b"retry-after", b"5"),)
        ),
        Happened.NOT_STORED: Row(
            507, "it cannot be stored", "it could not be stored; send it again"
        ),  # 500 would bring one repeat, 503 four
        Happened.FAILED: Row(507, "any unforeseen failure", "it could not be taken in; send it again"),
    }
)
"""After the ones that end well, in the order of the checks."""

_THEN: Final[Mapping[int, str]] = {
    0: "is done",
    1: "tries once more",
    2: "tries twice, within 12 minutes",
    4: "tries 4 times",
    5: "tries 5 times in 5.7 hours",
}
_RETRIES_OF: Final[Mapping[int, int]] = {500: 1, 503: 4, 400: 2, 404: 2, 301: 0, 302: 0, 303: 0}
_LONGEST_DETAIL: Final = 400
_UNCLEAN: Final = re.compile(r"[^\x20-\x7e]+")
_JSON_TYPE: Final = (b"content-type", b"application/json")


def retries_after(status: int) -> int:
    """Return how often Midtrans repeats a notification after *status*; it follows 307 and 308, not told here."""
    if status // 100 == 2:  # noqa: PLR2004  (the class of 2xx)
        return 0
    return _RETRIES_OF.get(status, 5)


def stored(receipt_id: str, *, duplicate: bool) -> Answer:
    """Answer what is on disk, with the receipt's id (of the first one for a duplicate)."""
    happened, headers, body = _STORED[duplicate]
    return Answer(happened, 200, headers, body % receipt_id.encode())


def dashboard_test(*, verified: bool) -> Answer:
    """Answer the dashboard's test button, which counts as failed for anything but 200."""
    return _TESTS[verified]


def refusal(happened: Happened, detail: str = "") -> Answer:
    """Answer what is not taken in; *detail* is cut and cleaned, it may quote what came."""
    row = ANSWERS[happened]
    body = json.dumps(
        {"error": happened.value, "detail": clean(detail or row.detail)}, separators=(",", ":")
    ).encode()
    return Answer(happened, row.status, (*_headers(len(body)), *row.headers), body)


def clean(text: str, longest: int = _LONGEST_DETAIL) -> str:
    """Return *text* as one line of printable ASCII, at most *longest* characters."""
    if len(text) > longest:
        text = text[: longest - 3] + "..."
    return _UNCLEAN.sub("?", text)


def as_markdown() -> str:
    """Return the table as it stands in the documentation."""
    lines = ["| what happened | answer | body | then Midtrans |", "|---|---|---|---|"]
    for happened, row in ANSWERS.items():
        headers = "".join(f" with `{_title(name)}: {value.decode()}`" for name, value in row.headers)
        lines.append(f"| {row.what} | {row.status}{headers} | `{_shape(happened)}` | {row.then} |")
    return "\n".join(lines)


def _shape(happened: Happened) -> str:
    if happened is Happened.TEST:
        return '{"status":"test","signature":"good"}'
    if ANSWERS[happened].detail:
        return f'{{"error":"{happened}","detail":…}}'
    return f'{{"status":"{happened}","id":…}}'


def _title(name: bytes) -> str:
    return name.decode().title()


def _headers(length: int) -> tuple[tuple[bytes, bytes], ...]:
    return (_JSON_TYPE, (b"content-length", b"%d" % length))


def _test(signature: str) -> Answer:
    body = b'{"status":"test","signature":"%s"}' % signature.encode()
    return Answer(Happened.TEST, 200, _headers(len(body)), body)


# An id is always 36 characters: headers and all but the id are made once.
_STORED: Final = {
    False: (Happened.ACCEPTED, _headers(65), b'{"status":"accepted","id":"%s"}'),
    True: (Happened.DUPLICATE, _headers(66), b'{"status":"duplicate","id":"%s"}'),
}
_TESTS: Final = {True: _test("good"), False: _test("bad")}

#!/usr/bin/env python3
"""Write what the documentation takes from the code; with --check, say what is not up to date and write nothing.

states.md, settings.md and the contracts (JSON) are made whole; in receiving.md and events.md what stands between
two marks is.
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # a script's own folder is on the path, the checkout is not

from django_midtrans.events import REFUND_CONFIRMED, TYPE_PREFIX  # noqa: E402
from django_midtrans.status import (  # noqa: E402
    ANY_FRAUD_STATUS,
    OUTCOME_OF,
    STATUS_OF,
    STEPS,
    Outcome,
    PaymentStatus,
    Relation,
    relation,
)
from service.contracts.documents import documents  # noqa: E402
from service.domain.answers import as_markdown  # noqa: E402
from tools.settings_page import page as settings_page  # noqa: E402

DOCS = ROOT / "docs"
COLOURS = {
    Outcome.OPEN: "#fff3c4,stroke:#b7791f",
    Outcome.PAID: "#c6f6d5,stroke:#2f855a",
    Outcome.UNPAID: "#e2e8f0,stroke:#4a5568",
    Outcome.RETURNED: "#fed7d7,stroke:#c53030",
}
SIGNS = {Relation.NEXT: "next", Relation.SAME: "same", Relation.BEHIND: "·", Relation.CONTRADICTION: "✗"}
TEMPLATE = """\
# States of a payment

Made by `make docs` from `django_midtrans/status.py`; a test fails when the two differ.

## Documented direct steps

Skipping is normal: whatever is reachable in one or more steps may be seen next, and the first status seen may
be any. Sources: docs.midtrans.com `docs/transaction-status-cycle`, `reference/transaction-status`.

```mermaid
{diagram}
```

## Midtrans' words

Compared without regard to capitals. A word, or a pair of words, that is not here changes nothing: it is alarmed
and asked for again.

{words}

`deny` is *reversed* in place of *denied* when the answer has a settlement_time, when the history says settled, or
on Permata VA, Mandiri bill and Indomaret, whose only denial is a reversal.

## Every pair

A row is what is known, a column what Midtrans says now. *next* is applied; `·` is behind: late, never applied;
`✗` is a contradiction: asked again, and true after three equal answers over at least ten minutes, with
`irregular: true` in its event. With equal status the amounts decide: more refunded, charged back or confirmed by
the bank is next, less is behind, another amount is a contradiction, all else is the same.

{matrix}
"""


def diagram() -> str:
    """Return the steps as a mermaid state diagram, coloured by outcome."""
    lines = ["stateDiagram-v2", "    [*] --> pending"]
    for status, after in STEPS.items():
        lines += [f"    {status} --> {target}" for target in PaymentStatus if target in after]
        lines += [] if after else [f"    {status} --> [*]"]
    lines += [f"    classDef {outcome} fill:{colour}" for outcome, colour in COLOURS.items()]
    lines += [f"    class {status} {outcome}" for status, outcome in OUTCOME_OF.items()]
    return "\n".join(lines)


def words() -> str:
    """Return the table of transaction_status and fraud_status."""
    rows = ["| transaction_status | fraud_status | status | outcome |", "|---|---|---|---|"]
    for (word, fraud), status in STATUS_OF.items():
        shown = {None: "absent", ANY_FRAUD_STATUS: "any"}.get(fraud, f"`{fraud}`")
        rows.append(f"| `{word}` | {shown} | {status} | {OUTCOME_OF[status]} |")
    return "\n".join(rows)


def matrix() -> str:
    """Return the relation of every ordered pair."""
    rows = ["| known \\ seen | " + " | ".join(PaymentStatus) + " |", "|---" * (len(PaymentStatus) + 1) + "|"]
    for known in PaymentStatus:
        signs = (SIGNS[relation(known, seen)] for seen in PaymentStatus)
        rows.append(f"| **{known}** | " + " | ".join(signs) + " |")
    return "\n".join(rows)


def states_page() -> str:
    """Return the whole of docs/states.md."""
    return TEMPLATE.format(diagram=diagram(), words=words(), matrix=matrix())


def event_types() -> str:
    """Return the table of event types."""
    rows = ["| type | outcome |", "|---|---|"]
    rows += [f"| `{TYPE_PREFIX}{status}` | {OUTCOME_OF[status]} |" for status in PaymentStatus]
    return "\n".join([*rows, f"| `{TYPE_PREFIX}{REFUND_CONFIRMED}` | as before |"])


def between(name: str, mark: str, made: str) -> str:
    """Return the page *name* with *made* between ``<!-- mark: … -->`` and ``<!-- /mark -->``."""
    page = (DOCS / name).read_text(encoding="utf-8")
    head, inside, tail = re.split(rf"(?s)(?<=<!-- {mark}: )(.*?)(?=<!-- /{mark} -->)", page, maxsplit=1)
    return f"{head}{inside.partition(chr(10))[0]}\n{made}\n{tail}"


def pages() -> Iterator[tuple[Path, str]]:
    """Yield every page that the code has a part in, as it should be."""
    yield DOCS / "states.md", states_page()
    yield DOCS / "settings.md", settings_page()
    yield DOCS / "receiving.md", between("receiving.md", "answers", as_markdown())
    yield DOCS / "events.md", between("events.md", "types", event_types())
    for name, document in documents().items():
        yield DOCS / name, json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> int:
    """Write the pages, or check them; return the exit code."""
    stale = [
        (path, page)
        for path, page in pages()
        if not path.exists() or path.read_text(encoding="utf-8") != page
    ]
    if "--check" not in arguments:
        for path, page in stale:
            path.parent.mkdir(exist_ok=True)
            path.write_text(page, encoding="utf-8")
        return 0
    for path, _ in stale:
        sys.stderr.write(f"{path.relative_to(ROOT)} is not what the code says; run: make docs\n")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

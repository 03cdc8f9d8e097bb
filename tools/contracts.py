"""Hold the contracts of events to those of the last release: ``python tools/contracts.py`` names every break.

With ``--release`` today's become the released ones, when they break nothing.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RELEASED = ROOT / "docs" / "schemas" / "released"
sys.path.insert(0, str(ROOT))

from service.contracts.compatibility import breaks_of_asyncapi, breaks_of_schema  # noqa: E402 (found by the line above)
from service.contracts.documents import documents  # noqa: E402


def breaks() -> Iterator[str]:
    """Yield what breaks a reader of the last release."""
    now = documents()
    for path in sorted(RELEASED.glob("*.json")):
        old = json.loads(path.read_text(encoding="utf-8"))
        is_asyncapi = "asyncapi" in old
        name = path.name if is_asyncapi else f"schemas/{path.name}"
        if name not in now:
            yield f"{name}: is gone"
            continue
        compare = breaks_of_asyncapi if is_asyncapi else breaks_of_schema
        yield from (f"{name}: {one}" for one in compare(old, now[name]))


def release() -> None:
    """Make today's contracts the released ones."""
    RELEASED.mkdir(parents=True, exist_ok=True)
    for name, document in documents().items():
        text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        (RELEASED / Path(name).name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    found = list(breaks())
    if found:
        sys.exit("\n".join(["A reader of the last release would break:", *found]))
    if "--release" in sys.argv[1:]:
        release()

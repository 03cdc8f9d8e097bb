"""What the rows of receipts have in common on every database."""

import json
from functools import lru_cache


@lru_cache(maxsize=64)  # Midtrans' differ little from one notification to the next
def headers_text(headers: tuple[tuple[str, str], ...]) -> str:
    """Return the kept headers as JSON."""
    return json.dumps(dict(headers))

"""Write docs/settings.md from the settings themselves: ``python tools/settings_page.py`` (``--check`` compares)."""

import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "settings.md"
sys.path.insert(0, str(ROOT))

from service.settings import consumer_tables, relays, tables  # noqa: E402 (found by the line above)

HEAD = """# Settings

<!-- made by `make docs` from service/settings/*tables.py: change it there -->

Settings are read once, at the start, from the environment and from the TOML file that `SERVICE_CONFIG` names. A wrong
value, an unknown table or a misspelt name refuses to start: every mistake is listed at once, with its name, its shape
(never its value) and what is wanted. Nothing else in the service reads the environment.

## The service: `SERVICE_*`
"""

MIDTRANS = """
## The merchant `default`: `MIDTRANS_*`

`POST /notifications` is for this merchant. More merchants, or several keys of one, go into the TOML file.
"""

TOML = """
## The TOML file

```toml
[merchants.shop-a]               # POST /notifications/shop-a
server_keys = ["SB-Mid-server-…"]
# server_keys_file = "shop-a.keys"          # instead: one key a line, beside this file
# verification_keys_file = "shop-a.old"
is_production = false

[limits]
rate_per_s = 200

[consumers.shipping]
types = ["midtrans.payment.*"]

[consumers.shipping.push]        # docs/push.md; without it the events are leased
url = "https://shop.example.com/events"
secrets_file = "shipping.secrets"         # one whsec_… a line

[relays.nats]                    # see relays.md
kind = "nats"
url = "nats://127.0.0.1:4222"    # or url_file = "nats.url"
```

A merchant is one Midtrans account in one environment: sandbox and production are two merchants. The merchant `default`
both here and by `MIDTRANS_SERVER_KEY` refuses to start. Names of merchants, consumers and relays match
`[a-z0-9][a-z0-9_-]{0,62}`; a
merchant's name is part of every event id: never change it.

Rotating a key: put the new key first and keep the old one in `server_keys` (both are asked with and verify) until
Midtrans has stopped signing with it, then move it to `verification_keys` for six hours (a notification's last retry
comes 5.7 hours after the first), then drop it.
"""

NAMES = (
    ("merchants.NAME", tables.MerchantTable),
    ("limits", tables.LimitsTable),
    ("database", tables.DatabaseTable),
    ("receiving", tables.ReceivingTable),
    ("confirming", tables.ConfirmingTable),
    ("retention", tables.RetentionTable),
    ("streams", tables.StreamsTable),
    ("push", consumer_tables.PushTable),
    ("consumers.NAME", consumer_tables.ConsumerTable),
    ("consumers.NAME.push", consumer_tables.ConsumerPushTable),
)


def variables(prefix: str, model: type[tables.Table]) -> str:
    """Return the table of a group of variables."""
    rows = ["| variable | default | what it is | wanted |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        file = f" or `{prefix}{name.upper()}_FILE`" if name in model.from_files else ""
        rows.append(
            f"| `{prefix}{name.upper()}`{file} | {_default(field)} | {field.description} | {_wanted(field)} |"
        )
    return "\n".join(rows) + "\n"


def table(name: str, model: type[tables.Table]) -> str:
    """Return the description of a table of the TOML file."""
    rows = [f"\n### `[{name}]`\n", "| key | default | what it is | wanted |", "|---|---|---|---|"]
    for key, field in model.model_fields.items():
        rows.append(f"| `{key}` | {_default(field)} | {field.description} | {_wanted(field)} |")
    return "\n".join(rows) + "\n"


def relay_tables() -> str:
    """Return the description of ``[relays.NAME]``: what all kinds have, and what each has."""
    common = relays.RelayTable.model_fields
    text = table("relays.NAME", relays.RelayTable).replace(
        "|---|---|---|---|\n",
        "|---|---|---|---|\n| `kind` | needed | The kind of broker. | " + ", ".join(relays.KINDS) + " |\n",
        1,
    )
    for kind, model in relays.KINDS.items():
        file = "\n`url_file` names a file that holds the URL, instead.\n" if model.url_example else ""
        own = {key: field for key, field in model.model_fields.items() if key not in common}
        text += (
            f'\n#### `kind = "{kind}"`\n{file}\n| key | default | what it is | wanted |\n|---|---|---|---|\n'
        )
        for key, field in own.items():
            text += f"| `{key}` | {_default(field)} | {field.description} | {_wanted(field)} |\n"
    return text


def _default(field: Any) -> str:
    if field.is_required():
        return "needed"
    value = field.default
    if value is None or value == []:
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _wanted(field: Any) -> str:
    return str(field.json_schema_extra["wanted"])


def page() -> str:
    """Return the whole of docs/settings.md."""
    return "".join(
        (
            HEAD,
            "\n",
            variables("SERVICE_", tables.ServiceVariables),
            MIDTRANS,
            "\n",
            variables("MIDTRANS_", tables.MidtransVariables),
            TOML,
            *(table(name, model) for name, model in NAMES),
            relay_tables(),
        )
    )


if __name__ == "__main__":
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(page(), encoding="utf-8")
    elif PAGE.read_text(encoding="utf-8") != page():
        sys.exit("docs/settings.md is not what the settings say; run: python tools/settings_page.py")

"""``simulate`` on the command line."""

from typing import Any

import pytest
import typer
import uvicorn
from typer.testing import CliRunner

from service.cli.simulate import simulate


def run(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> tuple[str, Any, dict[str, Any]]:
    served: list[tuple[Any, dict[str, Any]]] = []
    monkeypatch.setattr(uvicorn, "run", lambda app, **options: served.append((app, options)))
    cli = typer.Typer()
    cli.command()(simulate)
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    ((app, options),) = served
    return result.output, app, options


def test_by_default_it_listens_on_loopback_alone_and_logs_no_urls(monkeypatch: pytest.MonkeyPatch) -> None:
    output, _, options = run([], monkeypatch)
    assert (options["host"], options["port"]) == ("127.0.0.1", 8001)
    assert options["access_log"] is False  # a card token's URL carries the card's number
    assert "http://127.0.0.1:8001" in output


def test_its_options_reach_the_simulator_and_keys_are_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "http://127.0.0.1:8000/notifications"
    arguments = ["--port", "9001", "--notify-url", url, "--server-key", "key-a", "--server-key", "key-b"]
    output, app, options = run(arguments, monkeypatch)
    simulator = app.state.simulator
    assert (simulator.notify_url, options["port"]) == (url, 9001)
    assert {account.server_key for account in simulator.midtrans.accounts()} == {"key-a", "key-b"}
    assert "key-a" not in output

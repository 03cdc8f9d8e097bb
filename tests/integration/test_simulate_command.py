"""``simulate`` on the command line."""

import asyncio
from typing import Any

import pytest
import typer
import uvicorn
from typer.testing import CliRunner

from django_midtrans.testing import SCENARIOS
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


def refused(arguments: list[str]) -> str:
    cli = typer.Typer()
    cli.command()(simulate)
    result = CliRunner().invoke(cli, arguments, env={"COLUMNS": "500", "NO_COLOR": "1", "TERM": "dumb"})
    assert result.exit_code == 2
    return result.output


def test_faults_are_chosen_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    _, app, _ = run(["--fault", "lost=0.2", "--fault", "seed=7"], monkeypatch)
    assert app.state.simulator.faults.shown()["faults"] == {"lost": 0.2, "seed": 7}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--fault", "lost"], "lost must be a number"),
        (["--fault", "losst=1"], "there is no fault 'losst'"),
        (["--fault", "lost=1.5"], "probability"),
        (["--run", "paid"], "--server-key"),
        (["--run", "paid,payed", "--server-key", "key"], "payed"),
        (["--time-factor", "0"], "above 0"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_a_reason(arguments: list[str], said: str) -> None:
    assert said in refused(arguments)


@pytest.mark.parametrize(("wanted", "count"), [("paid, expired", 2), ("all", len(SCENARIOS))])
def test_scenarios_are_played_at_the_start(monkeypatch: pytest.MonkeyPatch, wanted: str, count: int) -> None:
    arguments = ["--run", wanted, "--pause", "0", "--server-key", "key-a"]
    _, app, _ = run(arguments, monkeypatch)
    simulator = app.state.simulator

    async def live() -> None:
        async with app.router.lifespan_context(app):
            await simulator.runs.idle()

    asyncio.run(live())
    assert [run.state for run in simulator.runs.kept] == ["ended"] * count
    (account,) = simulator.midtrans.accounts()
    assert {run.merchant_id for run in simulator.runs.kept} == {account.merchant_id}

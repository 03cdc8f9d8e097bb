"""``simulate`` on the command line."""

import asyncio
import socket
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib import import_module
from typing import Any, cast

import pytest
import typer
import uvicorn
from typer.testing import CliRunner

from django_midtrans.testing import SCENARIOS
from service.cli.simulate import simulate
from service.errors import SettingsInvalid


@dataclass
class Served:
    """What would be served, and where."""

    output: str
    address: tuple[str, int]
    config: uvicorn.Config

    @property
    def simulator(self) -> Any:
        return cast("Any", self.config.app).state.simulator


def run(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> Served:
    served: list[Any] = []

    def listen(host: str, port: int, **_: object) -> AbstractContextManager[None]:
        served.append((host, port))
        return nullcontext()

    monkeypatch.setattr(import_module("service.cli.simulate"), "listen", listen)
    monkeypatch.setattr(uvicorn.Server, "run", lambda self, sockets: served.append(self.config))
    cli = typer.Typer()
    cli.command()(simulate)
    result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 0, result.output
    address, config = served
    return Served(result.output, address, config)


def test_by_default_it_listens_on_loopback_alone_and_logs_no_urls(monkeypatch: pytest.MonkeyPatch) -> None:
    served = run([], monkeypatch)
    assert served.address == ("127.0.0.1", 8001)
    assert served.config.access_log is False  # a card token's URL carries the card's number
    assert "http://127.0.0.1:8001" in served.output


def test_a_taken_port_is_refused_before_anything_is_promised() -> None:
    cli = typer.Typer()
    cli.command()(simulate)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(cli, ["--port", str(port)])
    assert isinstance(result.exception, SettingsInvalid)
    assert f"port {port} of 127.0.0.1 is taken" in str(result.exception)
    assert "set --port" in str(result.exception)
    assert result.output == ""


def test_its_options_reach_the_simulator_and_keys_are_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "http://127.0.0.1:8000/notifications"
    arguments = ["--port", "9001", "--notify-url", url, "--server-key", "key-a", "--server-key", "key-b"]
    served = run(arguments, monkeypatch)
    assert (served.simulator.notify_url, served.address[1]) == (url, 9001)
    assert {account.server_key for account in served.simulator.midtrans.accounts()} == {"key-a", "key-b"}
    assert "key-a" not in served.output


def refused(arguments: list[str]) -> str:
    cli = typer.Typer()
    cli.command()(simulate)
    result = CliRunner().invoke(cli, arguments, env={"COLUMNS": "500", "NO_COLOR": "1", "TERM": "dumb"})
    assert result.exit_code == 2
    return result.output


def test_faults_are_chosen_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    served = run(["--fault", "lost=0.2", "--fault", "seed=7"], monkeypatch)
    assert served.simulator.faults.shown()["faults"] == {"lost": 0.2, "seed": 7}


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
    served = run(arguments, monkeypatch)
    simulator, app = served.simulator, cast("Any", served.config.app)

    async def live() -> None:
        async with app.router.lifespan_context(app):
            await simulator.runs.idle()

    asyncio.run(live())
    assert [run.state for run in simulator.runs.kept] == ["ended"] * count
    (account,) = simulator.midtrans.accounts()
    assert {run.merchant_id for run in simulator.runs.kept} == {account.merchant_id}

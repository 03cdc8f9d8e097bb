import json
import socket
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

import service.cli
from service.cli import app
from service.cli.demo import demo, make_folder
from service.cli.ports import listen, url_of
from service.db.tokens import hash_of
from service.errors import NotFound, RequestInvalid, ServiceError, SettingsInvalid
from service.settings import Configuration, load

run = CliRunner().invoke


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SERVICE_DATA_DIR", str(tmp_path))
    return tmp_path


def stored_hashes(data: Path) -> set[bytes]:
    with closing(sqlite3.connect(data / "midtrans.db")) as connection:
        return {
            bytes(row[0]) for row in connection.execute("SELECT hash FROM tokens WHERE revoked_at IS NULL")
        }


def test_only_commands_that_exist_are_listed() -> None:
    shown = run(app, ["--help"]).output
    for command in (
        "run",
        "api",
        "worker",
        "migrate",
        "simulate",
        "tokens",
        "doctor",
        "tail",
        "backup",
        "restore",
    ):
        assert command in shown
    for later in ("replay", "evidence"):
        assert later not in shown


@pytest.mark.parametrize("command", ["api", "worker"])
def test_parts_apart_refuse_a_sqlite_file_and_say_why(
    command: str, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIDTRANS_SERVER_KEY", "SB-Mid-server-of-a-test")
    result = run(app, [command])
    assert isinstance(result.exception, SettingsInvalid)
    for words in ("a SQLite file is written by one alone", "postgresql+psycopg://", "`run`"):
        assert words in str(result.exception)
    assert list(data.iterdir()) == []


def test_run_without_a_key_refuses_and_says_which_variables_and_what_else(data: Path) -> None:
    result = run(app, ["run"])
    assert isinstance(result.exception, SettingsInvalid)
    for word in ("MIDTRANS_SERVER_KEY", "MIDTRANS_IS_PRODUCTION", "SERVICE_CONFIG", "make run"):
        assert word in str(result.exception)
    assert list(data.iterdir()) == []


def test_migrate_makes_a_database_that_only_its_owner_can_read(data: Path) -> None:
    result = run(app, ["migrate"])
    assert result.exit_code == 0, result.output
    assert "has schema" in result.output
    assert stat.S_IMODE((data / "midtrans.db").stat().st_mode) == 0o600
    assert run(app, ["migrate"]).exit_code == 0


def test_a_token_is_shown_once_and_kept_as_a_hash(data: Path) -> None:
    made = run(app, ["tokens", "create", "--role", "consumer", "--name", "shipping", "--json"])
    assert made.exit_code == 0, made.output
    token = json.loads(made.stdout)
    assert (token["role"], token["names"]) == ("consumer", ["shipping"])
    assert hash_of(token["token"]) in stored_hashes(data)
    listed = run(app, ["tokens", "list"])
    assert token["id"] in listed.output
    assert "consumer shipping" in listed.output
    assert token["token"] not in listed.output
    assert token["token"].encode() not in (data / "midtrans.db").read_bytes()


def test_a_token_on_stdout_stands_alone_so_that_a_script_can_take_it(data: Path) -> None:
    made = run(app, ["tokens", "create", "--role", "operator"])
    assert hash_of(made.stdout.strip()) in stored_hashes(data)
    assert "shown this once" in made.stderr
    assert f"of {data / 'midtrans.db'}." in made.stderr  # a demo has another database


def test_a_revoked_token_is_good_for_nothing(data: Path) -> None:
    token = json.loads(run(app, ["tokens", "create", "--role", "operator", "--json"]).stdout)
    assert run(app, ["tokens", "revoke", token["id"]]).exit_code == 0
    assert stored_hashes(data) == set()
    (listed,) = run(app, ["tokens", "list", "--json"]).stdout.splitlines()
    assert json.loads(listed)["revoked_at"]
    assert isinstance(run(app, ["tokens", "revoke", token["id"]]).exception, NotFound)


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["--role", "operator", "--name", "shipping"], id="operator-with-a-name"),
        pytest.param(["--role", "consumer"], id="consumer-without-a-name"),
        pytest.param(["--role", "shop", "--name", "Shop A"], id="no-name"),
    ],
)
def test_a_token_that_makes_no_sense_is_refused(arguments: list[str], data: Path) -> None:
    assert isinstance(run(app, ["tokens", "create", *arguments]).exception, RequestInvalid)
    assert list(data.iterdir()) == []


@pytest.mark.parametrize(("error", "code"), [(SettingsInvalid("so it is"), 2), (ServiceError("so it is"), 1)])
def test_what_is_wrong_is_said_in_words_without_a_traceback(
    error: ServiceError, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_args: object, **_options: object) -> None:
        raise error

    monkeypatch.setattr(service.cli, "app", fail)
    with pytest.raises(SystemExit) as exited:
        service.cli.main()
    assert exited.value.code == code
    assert capsys.readouterr().err == "so it is\n"


# -- ports --


def test_a_taken_port_is_refused_or_gives_way_to_the_next_free_one() -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsInvalid, match=f"port {port} of 127.0.0.1 is taken"):
            listen("127.0.0.1", port)
        with listen("127.0.0.1", port, or_next=True) as other:
            assert port < other.getsockname()[1] <= port + 20


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(SettingsInvalid, match="is no address of this machine"):
        listen("192.0.2.1", 8000)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),
        ("::", "http://[::1]:80"),
        ("shop.local", "http://shop.local:80"),
    ],
)
def test_the_url_shown_can_be_reached_from_this_machine(host: str, url: str) -> None:
    assert url_of(host, 80) == url


# -- the demo --


def configured(tmp_path: Path) -> Configuration:
    return load({"SERVICE_DATA_DIR": str(tmp_path)})


def test_a_demo_never_touches_real_data(tmp_path: Path, free_port: int) -> None:
    real = configured(tmp_path)
    with demo(real, free_port) as playing:
        assert playing.configuration.data_dir == tmp_path / "demo" / str(free_port)
        assert playing.configuration.database_url != real.database_url
        (merchant,) = playing.configuration.merchants
        assert (merchant.name, merchant.base_url) == ("default", playing.simulator_url)
        assert not merchant.is_production


def test_a_demo_begins_anew_each_time_with_a_key_of_its_own(tmp_path: Path, free_port: int) -> None:
    with demo(configured(tmp_path), free_port) as first:
        (first.configuration.data_dir / "midtrans.db").write_text("old")
    with demo(configured(tmp_path), free_port) as second:
        assert not (second.configuration.data_dir / "midtrans.db").exists()
        assert first.server_key != second.server_key


def test_a_data_folder_that_cannot_be_made_is_named_with_its_setting(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(
        SettingsInvalid, match=r"file/data cannot be made \(Not a directory\): set SERVICE_DATA_DIR"
    ):
        make_folder(tmp_path / "file" / "data")


def test_two_demos_run_beside_each_other(tmp_path: Path, free_port: int) -> None:
    with demo(configured(tmp_path), free_port) as one, demo(configured(tmp_path), free_port + 1) as other:
        assert one.simulator_url != other.simulator_url
        assert one.configuration.data_dir != other.configuration.data_dir


def test_the_simulator_takes_the_next_free_port(tmp_path: Path, free_port: int) -> None:
    try:
        taken = socket.create_server(("127.0.0.1", 8001))
    except OSError:  # somebody has it already, which is as good
        taken = socket.socket()
    with taken, demo(configured(tmp_path), free_port) as playing:
        assert not playing.simulator_url.endswith(":8001")


# -- the module --


@pytest.mark.slow
def test_python_dash_m_service_is_the_command() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "service", "--help"], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    assert "python -m service" in shown

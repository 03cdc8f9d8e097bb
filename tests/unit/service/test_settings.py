import ast
from datetime import timedelta
from pathlib import Path

import pytest

import service
from service.domain.limits import Limits
from service.domain.retention import Keep
from service.errors import SettingsInvalid
from service.settings import Configuration, load
from service.settings.problems import shape

KEY = "SB-Mid-server-of-the-tests"
OTHER = "SB-Mid-server-another-one"


def refusal(environ: dict[str, str]) -> str:
    with pytest.raises(SettingsInvalid) as caught:
        load(environ)
    return str(caught.value)


def with_file(tmp_path: Path, text: str, **environ: str) -> dict[str, str]:
    path = tmp_path / "service.toml"
    path.write_text(text, encoding="utf-8")
    return {"SERVICE_CONFIG": str(path), **environ}


# -- what is right --


def test_nothing_set_gives_the_documented_defaults() -> None:
    configuration = load({})
    assert configuration.data_dir == Path("data")
    assert configuration.database_url == f"sqlite:///{Path('data').absolute()}/midtrans.db"
    assert (configuration.host, configuration.port, configuration.worker_threads) == ("127.0.0.1", 8000, 8)
    assert configuration.limits == Limits(rate_per_s=200, burst=400, in_flight=16, repeat_share=0.1)
    assert configuration.waits.first == (5, 15, 60, 300, 900)
    assert configuration.receiving.max_body_bytes == 65_536
    assert configuration.keep == Keep(bodies=timedelta(days=400), answers=timedelta(days=400))
    assert configuration.merchants == ()


def test_the_midtrans_variables_make_the_merchant_default() -> None:
    (merchant,) = load(
        {"MIDTRANS_SERVER_KEY": KEY, "MIDTRANS_IS_PRODUCTION": "true", "MIDTRANS_MERCHANT_ID": "G1"}
    ).merchants
    assert (merchant.name, merchant.server_keys, merchant.environment) == ("default", (KEY,), "production")
    assert merchant.merchant_id == "G1"


def test_the_file_makes_merchants_limits_and_consumers(tmp_path: Path) -> None:
    text = f"""
        [merchants.shop-a]
        server_keys = ["{KEY}", "{OTHER}"]
        verification_keys = ["VT-server-old"]
        is_production = true
        [limits]
        rate_per_s = 10
        [receiving]
        queue_limit = 7
        [confirming]
        first_waits_s = [1, 2.5]
        [retention]
        bodies_days = 30
        confirmations_days = 0
        [consumers.shipping]
        types = ["midtrans.payment.*"]
        on_dead = "skip"
    """
    configuration = load(with_file(tmp_path, text))
    (merchant,) = configuration.merchants
    assert merchant.keys_that_verify == (KEY, OTHER, "VT-server-old")
    assert configuration.limits.rate_per_s == 10
    assert configuration.receiving.queue_limit == 7
    assert configuration.waits.first == (1.0, 2.5)
    assert configuration.keep == Keep(bodies=timedelta(days=30), answers=None)
    assert configuration.consumers["shipping"].types == ("midtrans.payment.*",)
    assert configuration.consumers["shipping"].on_dead == "skip"
    assert configuration.consumers["shipping"].lease_seconds == 30


def test_secrets_can_be_read_from_files(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{KEY}\n")
    (tmp_path / "keys").write_text(f"{OTHER}\n\n{KEY}\n")
    (tmp_path / "token").write_text("a-token-of-the-operator\n")
    configuration = load(
        with_file(
            tmp_path,
            '[merchants.shop-a]\nserver_keys_file = "keys"',  # beside the TOML file
            MIDTRANS_SERVER_KEY_FILE=str(tmp_path / "key"),
            SERVICE_OPERATOR_TOKEN_FILE=str(tmp_path / "token"),
        )
    )
    assert [merchant.server_keys for merchant in configuration.merchants] == [(KEY,), (OTHER, KEY)]
    assert configuration.operator_token == "a-token-of-the-operator"


def test_the_environment_of_a_key_is_never_guessed_from_its_prefix() -> None:
    sandbox = load({"MIDTRANS_SERVER_KEY": "Mid-server-looks-like-production"})
    production = load({"MIDTRANS_SERVER_KEY": KEY, "MIDTRANS_IS_PRODUCTION": "true"})
    assert not sandbox.merchants[0].is_production
    assert sandbox.warnings == ()
    assert production.merchants[0].is_production
    assert "begins with SB-" in production.warnings[0]


def test_strangers_with_the_same_first_word_are_left_alone() -> None:
    assert load({"SERVICE_MESH": "on", "MIDTRANS_SAMPLES": "somewhere", "PATH": "/bin"}) == load({})


# -- what is wrong --


def test_everything_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    text = refusal(
        with_file(
            tmp_path,
            '[limits]\nrate_per_s = "fast"\n[merchants.Shop]\n[relays.nats]\n[brokers.nats]\n',
            SERVICE_PORT="abc",
            SERVICE_WORKER_THREADS="-1",
            MIDTRANS_SERVER_KEY="a key",
        )
    )
    for name in (
        "SERVICE_PORT",
        "SERVICE_WORKER_THREADS",
        "MIDTRANS_SERVER_KEY",
        "limits.rate_per_s",
        "[merchants.Shop]",
        "[brokers]",
        "relays.nats.kind",
    ):
        assert name in text
    assert text.startswith("7 settings are wrong")


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        pytest.param({"SERVICE_PORT": "70000"}, "wanted: a whole number from 1 to 65535", id="port"),
        pytest.param({"SERVICE_PORT": ""}, "SERVICE_PORT is empty", id="empty-value"),
        pytest.param({"SERVICE_PROT": "80", "SERVICE_HOSTS": "x"}, "mean SERVICE_HOST", id="typo"),
        pytest.param({"SERVICE_LOG_LEVEL": "loud"}, "debug, info, warning or error", id="log-level"),
        pytest.param({"SERVICE_TRUSTED_PROXIES": "proxy"}, "addresses or networks", id="proxies"),
        pytest.param({"SERVICE_OPERATOR_TOKEN": "short"}, "at least 20 characters", id="weak-token"),
        pytest.param({"SERVICE_CONFIG": "/does/not/exist.toml"}, "cannot be read", id="no-such-file"),
        pytest.param({"MIDTRANS_SERVER_KEY": ""}, "MIDTRANS_SERVER_KEY is empty", id="empty-key"),
        pytest.param({"MIDTRANS_SERVER_KEY": f"{KEY}\n"}, "has white space", id="key-with-line-end"),
        pytest.param({"MIDTRANS_SERVER_KEY": "SB-Mid-client-x"}, "is a client key", id="client-key"),
        pytest.param({"MIDTRANS_SERVER_KEY": "SB-Mid-server-..."}, "placeholder of an example", id="example"),
        pytest.param({"MIDTRANS_SERVER_KEY": "kéy"}, "characters in it that no key has", id="odd-key"),
        pytest.param({"MIDTRANS_SERVER_KEYS": KEY}, "did you mean MIDTRANS_SERVER_KEY", id="plural"),
        pytest.param({"SERVICE_PROT": "8000"}, "did you mean SERVICE_PORT", id="letters-swapped"),
        pytest.param({"MIDTRANS_IS_PRODUCTION": "maybe"}, "wanted: true or false", id="not-a-boolean"),
        pytest.param({"MIDTRANS_BASE_URL": "api.midtrans.com"}, "must begin with http", id="no-scheme"),
        pytest.param({"MIDTRANS_BASE_URL": "https://u:p@h"}, "neither a user nor a query", id="user-in-url"),
    ],
)
def test_a_wrong_variable_is_refused_with_how_to_mend_it(environ: dict[str, str], expected: str) -> None:
    assert expected in refusal(environ)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("[merchants.a]", "merchants.a.server_keys is missing", id="no-key"),
        pytest.param("[merchants.a]\nserver_keys = []", "is a list of 0", id="no-key-in-the-list"),
        pytest.param('[merchants.a]\nserver_keys = [""]', "server_keys[0] is empty", id="empty-key"),
        pytest.param('[merchants.a]\nserver_key = "x"', "did you mean 'server_keys'?", id="singular"),
        pytest.param("[limits]\nrate_per_s = 0", "wanted: a number above 0", id="no-rate"),
        pytest.param('[limits]\nburst = "9"', "limits.burst is a text of 1 digits", id="number-in-quotes"),
        pytest.param("[retention]\nbodies_days = -1", "0 is for ever", id="retention"),
        pytest.param("[limit]\nburst = 9", "did you mean 'limits'?", id="unknown-table"),
        pytest.param("limits = 3", "wanted: a table", id="no-table"),
        pytest.param("merchants = {a = 3}", "wanted: a table, as [merchants.NAME]", id="no-merchant"),
        pytest.param("[consumers.b]\non_dead = 'drop'", "wanted: hold or skip", id="word-of-a-list"),
        pytest.param(
            "[consumers.b]\nlease_seconds = true", "consumers.b.lease_seconds", id="true-is-no-number"
        ),
        pytest.param("[consumers.'B b']", "has a name that cannot stand in a path", id="name"),
        pytest.param("[consumers.b]\ntypes = ['paid!']", "'paid!' is not a type", id="no-such-type"),
        pytest.param("[consumers.b]\nmerchants = ['A*']", "neither a merchant's name", id="no-such-merchant"),
        pytest.param("[consumers.b]\nstart = '0-1'", "wanted: now or beginning", id="position-of-a-log"),
        pytest.param("[limits", "is not TOML", id="not-toml"),
    ],
)
def test_a_wrong_file_is_refused_with_how_to_mend_it(text: str, expected: str, tmp_path: Path) -> None:
    assert expected in refusal(with_file(tmp_path, text))


@pytest.mark.parametrize("scheme", ["postgresql+psycopg", "postgresql", "postgres"])
def test_a_postgresql_database_is_taken_with_its_driver(scheme: str) -> None:
    configuration = load({"SERVICE_DATABASE_URL": f"{scheme}://u:pw@h:5433/db?sslmode=require"})
    assert configuration.database_url == "postgresql+psycopg://u:pw@h:5433/db?sslmode=require"
    assert "pw" not in repr(configuration)


def test_the_database_may_come_from_a_file_since_it_holds_a_password(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgresql+psycopg://u:pw@h/db\n")
    configuration = load({"SERVICE_DATABASE_URL_FILE": str(tmp_path / "url")})
    assert configuration.database_url == "postgresql+psycopg://u:pw@h/db"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        pytest.param("postgresql+psycopg2://u:pw@h/db", "a driver that is not here", id="other-driver"),
        pytest.param("postgresql+asyncpg://u:pw@h/db", "a driver that is not here", id="async-driver"),
        pytest.param("postgresql://u:pw@h/", "names no database", id="no-database"),
        pytest.param("postgresql://u:pw/x@h/db", "has no number for a port", id="slash-in-the-password"),
        pytest.param("postgresql://u:pw@h:port/db", "has no number for a port", id="no-port"),
    ],
)
def test_a_postgresql_database_that_cannot_be_is_refused_without_its_password(
    url: str, expected: str
) -> None:
    text = refusal({"SERVICE_DATABASE_URL": url})
    assert expected in text
    assert "pw@" not in text
    assert "u:pw" not in text


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://h/db", "midtrans.db"])
def test_a_database_that_is_no_file_on_disk_is_refused(url: str) -> None:
    assert "SQLite file" in refusal({"SERVICE_DATABASE_URL": url})


def test_the_merchant_default_in_both_places_is_refused(tmp_path: Path) -> None:
    text = f'[merchants.default]\nserver_keys = ["{OTHER}"]'
    assert "[merchants.default]" in refusal(with_file(tmp_path, text, MIDTRANS_SERVER_KEY=KEY))


def test_a_secret_both_in_a_variable_and_in_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY)
    text = refusal({"MIDTRANS_SERVER_KEY": KEY, "MIDTRANS_SERVER_KEY_FILE": str(tmp_path / "key")})
    assert "MIDTRANS_SERVER_KEY_FILE is set together with MIDTRANS_SERVER_KEY" in text


def test_a_key_file_with_two_keys_is_refused_where_one_is_wanted(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{KEY}\n{OTHER}\n")
    assert "white space" in refusal({"MIDTRANS_SERVER_KEY_FILE": str(tmp_path / "key")})


@pytest.mark.parametrize("content", [None, "", "\n \n", b"\xff\xfe"])
def test_a_key_file_that_holds_no_key_is_refused(content: str | bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert "MIDTRANS_SERVER_KEY_FILE names" in refusal({"MIDTRANS_SERVER_KEY_FILE": str(path)})


# -- what is secret --


def test_no_secret_shows_in_a_refusal_wherever_it_was_put(tmp_path: Path) -> None:
    secret = "SB-Mid-server-must-not-show"
    names = (
        "PORT",
        "HOST",
        "LOG_LEVEL",
        "DATABASE_URL",
        "WORKER_THREADS",
        "TRUSTED_PROXIES",
        "OPERATOR_TOKEN",
    )
    environ = {f"SERVICE_{name}": f"{secret} {secret}" for name in names}
    environ |= {f"MIDTRANS_{name}": f"{secret} x" for name in ("SERVER_KEY", "IS_PRODUCTION", "BASE_URL")}
    text = f'[merchants.a]\nserver_keys = ["{secret} x", 1]\nis_production = "{secret}"\n[limits]\nburst = "{secret}"'
    assert secret not in refusal(with_file(tmp_path, text, **environ))


def test_no_secret_shows_in_the_repr() -> None:
    configuration = load({"MIDTRANS_SERVER_KEY": KEY, "SERVICE_OPERATOR_TOKEN": "the-token-of-the-operator"})
    assert KEY not in repr(configuration)
    assert "the-token-of-the-operator" not in repr(configuration)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("", "empty"),
        ("  ", "only white space"),
        (" ab", "a text of 3 characters, with white space around"),
        ("8000", "a text of 4 digits"),
        (True, "true or false"),
        ([1, 2], "a list of 2"),
        ({}, "a table"),
    ],
)
def test_a_shape_tells_the_mistake_and_not_the_value(value: object, words: str) -> None:
    assert shape(value) == words


# -- what others rely on --


def test_only_the_settings_read_the_environment() -> None:
    root = Path(service.__file__).parent
    readers = {
        path.relative_to(root).parts[0]
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "environb", "getenv"}
    }
    assert readers == {"settings"}


def test_the_configuration_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        load({}).port = 1  # type: ignore[misc]
    assert load({}) == load({})
    assert isinstance(load({}), Configuration)


# -- push --

SECRETS = [f"whsec_{letter * 43}=" for letter in "AB"]


def test_the_file_says_where_events_are_pushed_to(tmp_path: Path) -> None:
    (tmp_path / "hook.secrets").write_text("\n".join(SECRETS) + "\n", encoding="utf-8")
    (tmp_path / "ca.pem").write_text("-", encoding="utf-8")
    text = """
        [push]
        allow = ["10.1.2.0/24", "::1/128"]
        pause_after_s = 3600
        ca_file = "ca.pem"
        [consumers.hook]
        types = ["midtrans.payment.*"]
        [consumers.hook.push]
        url = "http://10.1.2.3:9000/events"
        secrets_file = "hook.secrets"
        timeout_seconds = 5
        concurrency = 2
        [consumers.pulled]
    """
    configuration = load(with_file(tmp_path, text))
    assert [str(network) for network in configuration.push.allow] == ["10.1.2.0/24", "::1/128"]
    assert configuration.push.pause_after == timedelta(hours=1)
    assert configuration.push.ca_file == tmp_path / "ca.pem"
    assert configuration.consumers["pulled"].push is None
    hook = configuration.consumers["hook"]
    assert hook.types == ("midtrans.payment.*",)
    assert hook.push is not None
    assert hook.push.secrets == tuple(SECRETS)
    assert (hook.push.timeout_seconds, hook.push.concurrency) == (5, 2)
    assert SECRETS[0] not in repr(configuration)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("[push]\nallow = ['10.1.2.3/24']", "push.allow must be networks", id="host-bits"),
        pytest.param("[push]\nallow = ['localhost']", "push.allow must be networks", id="name"),
        pytest.param("[push]\npause_after_s = 5", "push.pause_after_s", id="too-soon"),
        pytest.param("[push]\nca_file = 'none.pem'", "push.ca_file names no file", id="no-such-file"),
        pytest.param("[push]\nallowed = []", "did you mean 'allow'?", id="misspelt"),
        pytest.param("[consumers.b]\npush = true", "[consumers.b.push] is true or false", id="no-table"),
        pytest.param(
            "[consumers.b.push]\nurl = 'https://shop.example.com'", "consumers.b.push.secrets", id="no-secret"
        ),
        pytest.param(
            f"[consumers.b.push]\nurl = 'https://127.0.0.1/'\nsecrets = ['{SECRETS[0]}']",
            "consumers.b.push.url names an address that is not pushed to",
            id="loopback",
        ),
        pytest.param(
            "[consumers.b.push]\nurl = 'https://shop.example.com'\nsecrets = ['hunter2']",
            "consumers.b.push.secrets[0] must be whsec_",
            id="no-such-secret",
        ),
        pytest.param(
            f"[consumers.b.push]\nurl = 'https://shop.example.com'\nsecrets = ['{SECRETS[0]}']\nsecrets_file = 'x'",
            "consumers.b.push.secrets_file is set together with secrets",
            id="both",
        ),
        pytest.param(
            f"[consumers.b.push]\nurl = 'https://shop.example.com'\nsecrets = ['{SECRETS[0]}']\nconcurrency = 0",
            "consumers.b.push.concurrency",
            id="no-concurrency",
        ),
    ],
)
def test_a_wrong_push_is_refused_without_its_secret(tmp_path: Path, text: str, said: str) -> None:
    message = refusal(with_file(tmp_path, text))
    assert said in message
    assert "hunter2" not in message
    assert SECRETS[0] not in message

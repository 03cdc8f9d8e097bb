from __future__ import annotations

import os
import sys
import types
from typing import Any

import pytest

from django_midtrans import MidtransClient, MidtransConfigurationError, settings


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("MIDTRANS_")]:
        monkeypatch.delenv(name)
    monkeypatch.delitem(sys.modules, "django.conf", raising=False)


def use_django(monkeypatch: pytest.MonkeyPatch, *, configured: bool = True, **facts: Any) -> None:
    """Stand in for an imported Django: only ``settings.configured`` and ``settings.MIDTRANS`` are asked."""
    conf = types.ModuleType("django.conf")
    conf.settings = types.SimpleNamespace(configured=configured, **facts)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "django.conf", conf)


def test_the_argument_wins_over_django_and_django_over_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MIDTRANS_SERVER_KEY", "of-environment")
    assert settings.find_server_key() == "of-environment"
    use_django(monkeypatch, MIDTRANS={"SERVER_KEY": "of-django"})
    assert settings.find_server_key() == "of-django"
    assert settings.find_server_key("of-argument") == "of-argument"


def test_a_django_that_is_not_configured_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIDTRANS_CLIENT_KEY", "of-environment")
    use_django(monkeypatch, configured=False, MIDTRANS={"CLIENT_KEY": "of-django"})
    assert settings.find_client_key() == "of-environment"


@pytest.mark.parametrize(
    "facts", [{}, {"MIDTRANS": None}, {"MIDTRANS": {}}, {"MIDTRANS": {"SERVER_KEY": None}}]
)
def test_what_django_does_not_set_comes_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, facts: dict[str, Any]
) -> None:
    monkeypatch.setenv("MIDTRANS_SERVER_KEY", "of-environment")
    use_django(monkeypatch, **facts)
    assert settings.find_server_key() == "of-environment"


def test_settings_of_another_shape_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    use_django(monkeypatch, MIDTRANS="SB-Mid-server-x")
    with pytest.raises(MidtransConfigurationError, match="must be a dict") as caught:
        settings.find_server_key()
    assert "SB-Mid" not in str(caught.value)


def test_a_missing_key_names_all_places_when_the_first_call_needs_it() -> None:
    client = MidtransClient()
    with pytest.raises(MidtransConfigurationError) as caught:
        client.get_status("order-1")
    for place in ("argument server_key", "settings.MIDTRANS['SERVER_KEY']", "MIDTRANS_SERVER_KEY"):
        assert place in caught.value.message
    assert caught.value.http_status is None


def test_a_key_that_appears_later_is_found_by_the_next_call(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MidtransConfigurationError):
        settings.find_server_key()
    monkeypatch.setenv("MIDTRANS_SERVER_KEY", "now")
    assert settings.find_server_key() == "now"


@pytest.mark.parametrize(
    "key",
    [
        pytest.param("", id="empty"),
        pytest.param("SB-Mid server", id="blank-inside"),
        pytest.param("SB-Mid-server\n", id="line-end"),
        pytest.param("\tSB-Mid-server", id="tab"),
        pytest.param("SB-Mid\u00a0server", id="no-break-space"),
        pytest.param("kunci\N{LATIN SMALL LETTER E WITH ACUTE}", id="not-ascii"),
    ],
)
def test_an_empty_or_broken_key_is_refused_by_name_and_never_shown(
    monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("MIDTRANS_SERVER_KEY", "of-another-merchant")
    with pytest.raises(MidtransConfigurationError, match="argument server_key") as caught:
        MidtransClient(key).cancel("order-1")
    assert not key or key not in caught.value.message


def test_a_key_that_is_no_text_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    use_django(monkeypatch, MIDTRANS={"SERVER_KEY": 12345})
    with pytest.raises(MidtransConfigurationError, match="is not text") as caught:
        settings.find_server_key()
    assert "12345" not in str(caught.value)


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SERVER_KEY", "IS_PRODUCTION", "BASE_URL", "MERCHANT_ID"):
        monkeypatch.setenv(f"MIDTRANS_{name}", "")
    assert settings.find_base_url() == settings.SANDBOX_URL
    assert settings.find_merchant_id() is None
    with pytest.raises(MidtransConfigurationError, match="no Midtrans server key found"):
        settings.find_server_key()


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("true", True),
        ("1", True),
        ("YES", True),
        (" on ", True),
        ("False", False),
        ("0", False),
        ("no", False),
    ],
)
def test_production_is_chosen_by_a_plain_word(
    monkeypatch: pytest.MonkeyPatch, word: str, expected: bool
) -> None:
    monkeypatch.setenv("MIDTRANS_IS_PRODUCTION", word)
    assert settings.find_is_production() is expected


@pytest.mark.parametrize("word", ["maybe", "2", "production"])
def test_an_unclear_word_for_production_is_refused(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    monkeypatch.setenv("MIDTRANS_IS_PRODUCTION", word)
    with pytest.raises(MidtransConfigurationError, match="MIDTRANS_IS_PRODUCTION"):
        MidtransClient("key").get_status("order-1")


def test_the_sandbox_is_the_default_and_a_key_never_decides() -> None:
    assert MidtransClient("Mid-server-looks-like-production").base_url == "https://api.sandbox.midtrans.com"
    assert MidtransClient("SB-Mid-server-x", True).base_url == "https://api.midtrans.com"


def test_the_address_of_a_simulator_wins_over_production(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIDTRANS_BASE_URL", "http://127.0.0.1:8001/")
    assert MidtransClient("key", True).base_url == "http://127.0.0.1:8001"
    assert MidtransClient("key", base_url="https://proxy.example/midtrans").base_url == (
        "https://proxy.example/midtrans"
    )


@pytest.mark.parametrize(
    "url",
    ["api.midtrans.com", "ftp://host", "https://", "https://user:hush@host", "https://host/?hush=1", "http://h:x",
     "https://ho st", "https://host#hush", "http://h:0", "https://host\n"],
)  # fmt: skip
def test_an_address_that_would_leak_or_break_is_refused_unseen(url: str) -> None:
    client = MidtransClient("key", base_url=url)
    with pytest.raises(MidtransConfigurationError, match="argument base_url") as caught:
        client.get_status("order-1")
    assert "hush" not in f"{caught.value} {client!r}"


def test_the_merchant_id_comes_from_the_same_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIDTRANS_MERCHANT_ID", "G141532850")
    assert MidtransClient().merchant_id == "G141532850"
    use_django(monkeypatch, MIDTRANS={"MERCHANT_ID": "M004123"})
    assert MidtransClient().merchant_id == "M004123"

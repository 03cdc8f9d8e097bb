"""Attempts to have the service call what it must not: names that change their answer, redirects, odd addresses."""

import time
from collections.abc import Iterator
from ipaddress import ip_network

import pytest
from support.api import Clock
from support.pushing import LOOPBACK, SECRET, Pushing, make_pushing
from support.receiver import Authority, Receiver, make_authority, reply

from service.db.store import Store


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    folder = tmp_path_factory.mktemp("authority")
    with make_authority(folder, names="DNS:shop.example.com,IP:127.0.0.1") as authority:
        yield authority


def failure(pushing: Pushing) -> str:
    """Return why the push failed."""
    found = pushing.until(
        lambda found: found.waiting == 1 and found.push is not None and found.push.failures > 0
    )
    return str(found.push.last_failure)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.2",
        "10.0.0.1",
        "169.254.169.254",
        "192.168.1.1",
        "100.64.0.1",
        "0.0.0.0",
        "::1",
        "::ffff:127.0.0.2",
        "::ffff:169.254.169.254",
        "64:ff9b::169.254.169.254",
        "2002:7f00:1::",
        "fd00:ec2::254",
        "fe80::1",
        "224.0.0.1",
    ],
)
def test_a_name_that_leads_inside_is_not_called(pushing: Pushing, address: str) -> None:
    pushing.names.answers["shop.example.com"] = [[address]]
    pushing.put("https://shop.example.com/events")
    pushing.append("a")
    assert "is not pushed to" in failure(pushing)
    assert pushing.count("push_failed_total", consumer="shipping", result="not_allowed") == 1


def test_a_name_is_judged_again_at_each_connection(pushing: Pushing, receiver: Receiver) -> None:
    with Receiver(host="0.0.0.0") as everywhere:  # would answer on 127.0.0.2 too
        everywhere.behave = lambda got: reply(connection="close")
        pushing.names.answers["shop.example.com"] = [["127.0.0.1"], ["127.0.0.2"]]
        pushing.put(f"http://shop.example.com:{everywhere.port}/events")
        pushing.append("a")
        everywhere.wait_for(1)
        pushing.until_done()
        pushing.append("b")
        assert "127.0.0.2 is not pushed to" in failure(pushing)
        assert len(everywhere.got) == 1
        assert pushing.names.asked == ["shop.example.com"] * 2


def test_one_look_up_decides_for_one_connection(pushing: Pushing, receiver: Receiver) -> None:
    """A name that answers well when judged and otherwise when connected to has one answer only."""
    pushing.names.answers["shop.example.com"] = [["127.0.0.1"], ["169.254.169.254"]]
    pushing.put(f"http://shop.example.com:{receiver.port}/events")
    pushing.append("a")
    (got,) = receiver.wait_for(1)
    pushing.until_done()
    assert pushing.names.asked == ["shop.example.com"]
    assert got.headers["host"] == f"shop.example.com:{receiver.port}"


def test_of_several_addresses_only_the_good_ones_are_called(pushing: Pushing, receiver: Receiver) -> None:
    pushing.names.answers["shop.example.com"] = [["10.0.0.1", "127.0.0.2", "::1", "127.0.0.1"]]
    pushing.put(f"http://shop.example.com:{receiver.port}/events")
    pushing.append("a")
    receiver.wait_for(1)
    pushing.until_done(within_s=3)


def test_the_next_address_is_tried_when_the_first_does_not_answer(
    store: Store, clock: Clock, receiver: Receiver
) -> None:
    with make_pushing(store, clock, allow=(*LOOPBACK, ip_network("::1/128"))) as pushing:
        pushing.names.answers["shop.example.com"] = [["::1", "127.0.0.1"]]
        pushing.put(f"http://shop.example.com:{receiver.port}/events")
        pushing.append("a")
        receiver.wait_for(1)
        pushing.until_done()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(pushing: Pushing, receiver: Receiver, status: int) -> None:
    with Receiver() as inside:
        receiver.behave = lambda got: reply(status, location=f"http://127.0.0.1:{inside.port}/admin")
        pushing.put(receiver.url)
        pushing.append("a")
        assert "redirects are not followed" in failure(pushing)
        time.sleep(0.05)
        assert inside.connections == 0


def test_a_url_inside_that_reached_the_database_is_not_called_either(pushing: Pushing) -> None:
    with Receiver(host="127.0.0.2") as inside:
        pushing.put(f"https://127.0.0.2:{inside.port}/")  # past the check of the API
        pushing.append("a")
        assert "is not pushed to" in failure(pushing)
        assert inside.connections == 0


def test_http_goes_to_listed_networks_only(pushing: Pushing) -> None:
    pushing.names.answers["shop.example.com"] = [["8.8.8.8"]]
    pushing.put("http://shop.example.com/events")
    pushing.append("a")
    assert "http:// goes to networks listed" in failure(pushing)


def test_proxies_of_the_environment_are_not_used(
    store: Store, clock: Clock, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Receiver() as proxy:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        with make_pushing(store, clock) as pushing:
            pushing.put(receiver.url)
            pushing.append("a")
            receiver.wait_for(1)
            pushing.until_done()
        assert proxy.connections == 0


# -- TLS --


def test_tls_keeps_the_name_although_the_address_is_called(
    store: Store, clock: Clock, authority: Authority
) -> None:
    with (
        make_pushing(store, clock, ca_file=authority.ca_file) as pushing,
        Receiver(tls=authority.server) as receiver,
    ):
        pushing.names.answers["shop.example.com."] = [["127.0.0.1"]]
        pushing.names.answers["shop.example.com"] = [["127.0.0.1"]]
        for number, host in enumerate(("shop.example.com", "shop.example.com.", "127.0.0.1"), start=1):
            pushing.put(f"https://{host}:{receiver.port}/events")
            pushing.append(f"payment-{number}")
            receiver.wait_for(number)
            pushing.until_done()


@pytest.mark.parametrize("known", [True, False], ids=["another-name", "unknown-authority"])
def test_a_certificate_that_does_not_fit_is_not_believed(
    store: Store, clock: Clock, authority: Authority, known: bool
) -> None:
    with (
        make_pushing(store, clock, ca_file=authority.ca_file if known else None) as pushing,
        Receiver(tls=authority.server) as receiver,
    ):
        host = "other.example.com" if known else "shop.example.com"
        pushing.names.answers[host] = [["127.0.0.1"]]
        pushing.put(f"https://{host}:{receiver.port}/events")
        pushing.append("a")
        assert "CERTIFICATE_VERIFY_FAILED" in failure(pushing)
        assert receiver.got == []


def test_an_endpoint_that_speaks_no_tls_is_tried_again(pushing: Pushing, receiver: Receiver) -> None:
    pushing.put(f"https://127.0.0.1:{receiver.port}/events", timeout_seconds=1)
    pushing.append("a")
    assert "no answer within 1 s" in failure(pushing)  # each waits for the other
    assert receiver.got == []


# -- what is shown --


def test_nothing_that_is_secret_is_logged_or_shown(
    pushing: Pushing, receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    receiver.behave = lambda got: reply(
        500, f'{{"secret": "{SECRET}", "got": "{got.headers["webhook-signature"]}"}}'.encode()
    )
    pushing.put(f"{receiver.url}/path-token?query-token=hunter2")
    pushing.append("a")
    shown = failure(pushing) + pushing.look().model_dump_json().replace(receiver.url, "")
    shown = shown.replace("/path-token?query-token=hunter2", "")  # the URL itself, to those who may look
    pushing.pusher.end(0.1)
    pushing.pusher.join(10)
    logged = "".join(capsys.readouterr()) + repr(pushing.alarms.sounded)
    for secret in (SECRET, SECRET.removeprefix("whsec_"), "hunter2", "path-token"):
        assert secret not in logged
        assert secret not in shown

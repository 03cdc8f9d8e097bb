"""Where events may go: every way to write an address inside, and none of them works."""

import ipaddress
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.targets import check_url, refusal
from service.errors import RequestInvalid

LOOPBACK = (ip_network("127.0.0.1/32"),)
INSIDE = (
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "169.254.170.2",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
)
INSIDE_6 = (
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::127.0.0.1",
    "64:ff9b::169.254.169.254",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "2002:808:808::1",
    "3fff::1",
    "4000::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
)
OUTSIDE = (
    "8.8.8.8",
    "1.1.1.1",
    "100.63.255.255",
    "100.128.0.1",
    "172.15.0.1",
    "172.32.0.1",
    "223.255.255.255",
)
OUTSIDE_6 = ("2606:4700::1111", "2400:cb00::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8")


@pytest.mark.parametrize("text", INSIDE + INSIDE_6)
def test_an_address_inside_is_refused(text: str) -> None:
    assert refusal(ip_address(text), ()) is not None


@pytest.mark.parametrize("text", OUTSIDE + OUTSIDE_6)
def test_an_address_of_the_internet_is_let_pass(text: str) -> None:
    assert refusal(ip_address(text), ()) is None


@given(st.ip_addresses(v=4))
def test_nothing_passes_that_python_knows_as_not_global(address: IPv4Address) -> None:
    if not address.is_global or address.is_multicast:
        assert refusal(address, ()) is not None


@given(st.ip_addresses(v=6))
def test_nothing_of_ipv6_passes_that_python_knows_as_not_global(address: IPv6Address) -> None:
    nat64 = address in ip_network("64:ff9b::/96")
    mapped = address.ipv4_mapped is not None
    if not (nat64 or mapped) and (not address.is_global or address.is_multicast):
        assert refusal(address, ()) is not None


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_in_ipv6s_clothes_counts_as_what_it_is(address: IPv4Address) -> None:
    plain = refusal(address, ())
    for clothes in ("::ffff:0:0", "64:ff9b::"):
        dressed = IPv6Address(int(IPv6Address(clothes)) | int(address))
        assert refusal(dressed, ()) == plain
    assert refusal(IPv6Address(0x2002 << 112 | int(address) << 80), ()) is not None


def test_a_listed_network_is_let_pass_and_its_neighbours_are_not() -> None:
    assert refusal(ip_address("127.0.0.1"), LOOPBACK) is None
    assert refusal(ip_address("::ffff:127.0.0.1"), LOOPBACK) is None
    assert refusal(ip_address("127.0.0.2"), LOOPBACK) is not None
    assert refusal(ip_address("::1"), LOOPBACK) is not None
    assert refusal(ip_address("64:ff9b::127.0.0.1"), LOOPBACK) is not None  # another machine's loopback


def test_without_tls_only_listed_networks_are_let_pass() -> None:
    assert refusal(ip_address("8.8.8.8"), LOOPBACK, plain=True) is not None
    assert refusal(ip_address("127.0.0.1"), LOOPBACK, plain=True) is None


# -- URLs --


@pytest.mark.parametrize("text", [*INSIDE, *(f"[{text}]" for text in INSIDE_6 if "%" not in text)])
def test_a_literal_address_inside_is_refused_before_it_is_kept(text: str) -> None:
    with pytest.raises(RequestInvalid):
        check_url(f"https://{text}/hook", ())


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("https://2130706433/", id="one-number"),
        pytest.param("https://0x7f000001/", id="hexadecimal"),
        pytest.param("https://017700000001/", id="octal"),
        pytest.param("https://127.1/", id="short"),
        pytest.param("https://0x7f.0.0.1/", id="mixed"),
        pytest.param("https://127.0.0.1./", id="dot-at-the-end"),
        pytest.param("https://0177.0.0.01/", id="octal-parts"),
        pytest.param("https://a.0x1/", id="ends-in-a-number"),
        pytest.param("https://[fe80::1%25eth0]/", id="zone"),
        pytest.param("https://[::ffff:127.0.0.1]/", id="mapped"),
        pytest.param("https://user@shop.example.com/", id="user"),
        pytest.param("https://user:word@shop.example.com/", id="password"),
        pytest.param("https://8.8.8.8@127.0.0.1/", id="host-as-user"),
        pytest.param("https://127.0.0.1\\@8.8.8.8/", id="backslash"),
        pytest.param("https://shop.example.com\t/", id="tab"),
        pytest.param("https://shop.example.com/a\r\nX-Injected: 1", id="line-end"),
        pytest.param("https://shop.example.com/a b", id="space"),
        pytest.param(" https://shop.example.com/", id="space-before"),
        pytest.param("https://shop.example.com/\u2028", id="not-ascii"),
        pytest.param("https://шоп.example.com/", id="name-not-ascii"),
        pytest.param("https://\uff11\uff12\uff17.0.0.1/", id="wide-digits"),
        pytest.param("https://shop.example.com/#top", id="fragment"),
        pytest.param("https://shop.example.com:0/", id="port-0"),
        pytest.param("https://shop.example.com:65536/", id="port-too-high"),
        pytest.param("https://shop.example.com:port/", id="port-no-number"),
        pytest.param("https:///hook", id="no-host"),
        pytest.param("https://", id="nothing"),
        pytest.param("shop.example.com/hook", id="no-scheme"),
        pytest.param("ftp://shop.example.com/", id="ftp"),
        pytest.param("file:///etc/passwd", id="file"),
        pytest.param("gopher://shop.example.com/", id="gopher"),
        pytest.param("http://shop.example.com/", id="http"),
        pytest.param("http://8.8.8.8/", id="http-address"),
        pytest.param("https://-shop.example.com/", id="host-begins-with-a-dash"),
        pytest.param("https://shop..example.com/", id="empty-label"),
        pytest.param("https://shop%2eexample.com/", id="encoded-host"),
        pytest.param("https://shop.example.com/" + "a" * 2000, id="too-long"),
    ],
)
def test_a_url_that_hides_something_is_refused(url: str) -> None:
    with pytest.raises(RequestInvalid) as caught:
        check_url(url, ())
    assert "word" not in str(caught.value).replace("password", "")


@pytest.mark.parametrize(
    ("url", "port", "path"),
    [
        ("https://shop.example.com", 443, "/"),
        ("https://shop.example.com:8443/a/b?token=x&y=%20", 8443, "/a/b?token=x&y=%20"),
        ("HTTPS://Shop.Example.COM./hook", 443, "/hook"),
        ("https://xn--80akhbyknj4f.example/", 443, "/"),
        ("https://8.8.8.8/", 443, "/"),
        ("https://[2606:4700::1111]:444/x", 444, "/x"),
    ],
)
def test_a_url_of_the_internet_is_taken_apart(url: str, port: int, path: str) -> None:
    target = check_url(url, ())
    assert (target.scheme, target.port, target.path) == ("https", port, path)


def test_http_is_for_listed_networks() -> None:
    assert check_url("http://127.0.0.1:9000/", LOOPBACK).plain
    assert check_url(
        "http://receiver:9000/", LOOPBACK
    ).plain  # its address is looked at when it is connected to
    with pytest.raises(RequestInvalid):
        check_url("http://127.0.0.2:9000/", LOOPBACK)


def test_the_table_names_networks_once() -> None:
    from service.domain.targets import _SPECIAL

    networks = [network for network, _ in _SPECIAL]
    assert len(set(networks)) == len(networks)
    assert all(isinstance(one, ipaddress.IPv4Network | ipaddress.IPv6Network) for one in networks)

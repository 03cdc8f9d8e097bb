"""Where events may be pushed to: the internet, and what the operator has listed. Decided on addresses, never on names.

A name says nothing: it may resolve to the machine itself, and to something else a moment later. So a URL is only
looked over here (`check_url`), and the address of every connection is judged by `refusal` when it is made.
"""

import re
from collections.abc import Iterable, Sequence
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

from service.errors import RequestInvalid

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

LONGEST_URL: Final = 2000
PORTS: Final = {"https": 443, "http": 80}

# Written out: what `is_global` knows differs between versions of Python.
# Source: iana.org/assignments/iana-ipv4-special-registry, iana.org/assignments/iana-ipv6-special-registry
_SPECIAL: Final[tuple[tuple[Network, str], ...]] = tuple(
    (ip_network(network), what)
    for network, what in (
        ("0.0.0.0/8", "this machine"),
        ("10.0.0.0/8", "a private network"),
        ("100.64.0.0/10", "a carrier's network"),
        ("127.0.0.0/8", "this machine"),
        ("168.63.129.16/32", "a cloud's metadata service"),  # Azure; reachable from inside alone
        ("169.254.0.0/16", "a link-local network, where metadata services are"),
        ("172.16.0.0/12", "a private network"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "reserved"),
        ("192.88.99.0/24", "reserved"),
        ("192.168.0.0/16", "a private network"),
        ("198.18.0.0/15", "reserved"),
        ("198.51.100.0/24", "reserved"),
        ("203.0.113.0/24", "reserved"),
        ("224.0.0.0/4", "a multicast address"),
        ("240.0.0.0/4", "reserved"),
        ("::/127", "this machine"),
        ("fc00::/7", "a private network"),
        ("fe80::/10", "a link-local network"),
        ("fec0::/10", "a private network"),
        ("ff00::/8", "a multicast address"),
        ("2001::/23", "reserved"),  # Teredo too: an IPv4 address inside
        ("2001:db8::/32", "reserved"),
        ("2002::/16", "6to4: an IPv4 address inside"),
        ("3fff::/20", "reserved"),
    )
)
_INTERNET: Final = ip_network("2000::/3")
_MAPPED: Final = ip_network("::ffff:0:0/96")
_NAT64: Final = ip_network("64:ff9b::/96")
_HOST: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?:\.[a-z0-9_-]{1,63})*\.?", re.IGNORECASE)
_NUMBER: Final = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)\.?", re.IGNORECASE)


class Target(NamedTuple):
    """A URL that was looked over; *address* when its host is a literal one."""

    scheme: str
    host: str
    port: int
    path: str
    address: Address | None

    @property
    def plain(self) -> bool:
        """Say whether it is asked without TLS."""
        return self.scheme == "http"


def refusal(address: Address, allow: Iterable[Network], *, plain: bool = False) -> str | None:
    """Return why nothing may be sent to *address*, or None.

    *allow* lists networks that may be reached although they are not the internet's; without TLS (*plain*) they are
    the only ones. An IPv4 address in IPv6's clothes counts as what it is.
    """
    address = _unmapped(address)
    if any(address in network for network in allow):
        return None
    if plain:
        return "http:// goes to networks listed in [push] allow only"
    if address.version == 6 and address in _NAT64:  # noqa: PLR2004 (the version of the protocol)
        address = IPv4Address(int(address) & 0xFFFF_FFFF)
    for network, what in _SPECIAL:
        if address in network:
            return what
    return "reserved" if address.version == 6 and address not in _INTERNET else None  # noqa: PLR2004 (likewise)


def check_url(url: str, allow: Sequence[Network], *, field: str = "push.url") -> Target:
    """Look a URL over before it is kept; raise RequestInvalid, which never repeats it: a path may hold a secret."""
    target = _parse(url, field)
    if target.address is not None:
        if (why := refusal(target.address, allow, plain=target.plain)) is not None:
            raise RequestInvalid(field, f"names an address that is not pushed to ({why}); see [push] allow")
    elif target.plain and not allow:
        raise RequestInvalid(field, "must begin with https://; http:// goes to networks of [push] allow only")
    return target


def split_url(url: str) -> Target:
    """Return the parts of a URL that `check_url` has let pass."""
    return _parse(url, "push.url")


def _parse(url: str, field: str) -> Target:
    if len(url) > LONGEST_URL:
        raise RequestInvalid(field, f"is longer than {LONGEST_URL} characters")
    if not url.isascii() or not url.isprintable() or re.search(r'[\s\\"<>^`{|}]', url):
        raise RequestInvalid(field, "holds characters that must be percent-encoded (a name: xn--…)")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise RequestInvalid(field, "is not a URL") from None
    if parts.scheme not in PORTS or not parts.hostname:
        raise RequestInvalid(field, "must begin with https:// and name a host")
    if "@" in parts.netloc:
        raise RequestInvalid(
            field, "must not hold a user or a password; the signature is what proves who calls"
        )
    if parts.fragment or url.endswith("#"):
        raise RequestInvalid(field, "must not hold a fragment (#…)")
    if port == 0:
        raise RequestInvalid(field, "names port 0")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    host = parts.hostname
    return Target(parts.scheme, host, port or PORTS[parts.scheme], path, _literal(parts, host, field))


def _literal(parts: SplitResult, host: str, field: str) -> Address | None:
    """Return the address that *host* is, None for a name."""
    try:
        return ip_address(host)
    except ValueError:
        pass
    if "[" in parts.netloc or _HOST.fullmatch(host) is None:
        raise RequestInvalid(field, "names a host that is neither a name nor an address")
    if _NUMBER.fullmatch(host.rpartition(".")[2] or host.rstrip(".").rpartition(".")[2]):
        # 2130706433, 0x7f.1 and 127.1 are 127.0.0.1 to most resolvers
        raise RequestInvalid(field, "names an address that is not written as four numbers, such as 192.0.2.1")
    return None


def _unmapped(address: Address) -> Address:
    if isinstance(address, IPv6Address) and address in _MAPPED:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address

"""Taking a port, or the next free one."""

import errno
import socket

from service.errors import SettingsInvalid

TRIES = 20


def listen(
    host: str, port: int, *, or_next: bool = False, names: tuple[str, str] = ("SERVICE_HOST", "SERVICE_PORT")
) -> socket.socket:
    """Return a socket that holds *port* of *host*; with *or_next* one of the next ports when it is taken.

    *names* are those of the two settings, for what is said when it fails.
    Raises `SettingsInvalid` when the address is not this machine's, or the port is taken or not allowed.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    last = min(port + TRIES, 65_535) if or_next else port
    for candidate in range(port, last + 1):
        try:
            return socket.create_server((host, candidate), family=family)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise SettingsInvalid(_why(host, port, error, names)) from error
    taken = (
        f"port {port} of {host} is taken"
        if last == port
        else f"the ports {port} to {last} of {host} are taken"
    )
    raise SettingsInvalid(f"{taken} by another program: end that one, or set {names[1]} to a free port")


def _why(host: str, port: int, error: OSError, names: tuple[str, str]) -> str:
    if error.errno == errno.EACCES:
        return f"{names[1]}: port {port} needs rights that this user does not have; take one from 1024 on"
    return f"{names[0]}: {host!r} is no address of this machine ({error.strerror or error})"


def url_of(host: str, port: int) -> str:
    """Return the URL by which this machine reaches what listens on *host* and *port*."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 (told apart, not listened on)
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"

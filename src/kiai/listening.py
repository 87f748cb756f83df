"""The listening sockets of a server: opened here, or passed by systemd (`kiai.socket`)."""

import errno
import os
import socket
from typing import Final

import msgspec

from kiai.errors import Unavailable
from kiai.exec_server import HTTP_ON, IRC_ON, IRC_TLS_ON, LISTEN_ON, announce, number_after
from kiai.logs import get_logger
from kiai.networks import parse_place
from kiai.server_settings import HTTP_PORT, Settings

BACKLOG: Final = 2_048
FIRST_PASSED: Final = 3  # sd_listen_fds(3): the descriptors that systemd passes begin here
ALLOWED_BY: Final = (
    "by a systemd socket (deploy/systemd/kiai.socket), by AmbientCapabilities=CAP_NET_BIND_SERVICE in a unit, "
    "or by `sysctl net.ipv4.ip_unprivileged_port_start=80`"
)


class HttpSockets(msgspec.Struct, frozen=True):
    """The listening sockets for players, and for plain http next to https; None where it is off."""

    main: socket.socket
    plain: socket.socket | None = None


class IrcSockets(msgspec.Struct, frozen=True):
    """The listening sockets for IRC; None where it is off."""

    plain: socket.socket | None = None
    encrypted: socket.socket | None = None


def listen_for_players(settings: Settings) -> HttpSockets:
    """Return the sockets for players. Raises Unavailable for an address that cannot be opened.

    Sockets that systemd passes replace those of `host`, `port` and `http_port`: the first is for players, the second
    for plain http.
    """
    passed = _passed_sockets()
    if passed:
        return HttpSockets(passed[0], passed[1] if len(passed) > 1 and settings.has_tls else None)
    main = _listen(settings.host, settings.port)
    try:
        return HttpSockets(main, _listen_for_http(settings))
    except Unavailable:
        main.close()
        raise


def listen_for_irc(settings: Settings) -> IrcSockets:
    """Return the sockets for IRC. Raises Unavailable for an address that cannot be opened."""

    def listen(place: str | None, flag: str) -> socket.socket | None:
        if place is None:
            return None
        listening = _listen(*parse_place(place, settings.host), f"choose another with {flag}")
        listening.listen(BACKLOG)
        return listening

    return IrcSockets(listen(settings.irc, "--irc"), listen(settings.irc_tls, "--irc-tls"))


def inherited_sockets(arguments: list[str]) -> HttpSockets | None:
    """Return the sockets for players that the process before has opened, or None if it has opened none."""
    main = _inherited(LISTEN_ON, arguments)
    return None if main is None else HttpSockets(main, _inherited(HTTP_ON, arguments))


def inherited_irc(arguments: list[str]) -> IrcSockets:
    """Return the sockets for IRC that the process before has opened."""
    return IrcSockets(_inherited(IRC_ON, arguments), _inherited(IRC_TLS_ON, arguments))


def detached(sockets: HttpSockets, irc: IrcSockets) -> dict[str, int]:
    """Return the file descriptors of the sockets, by the flag with which the next process inherits each.

    The sockets cannot be used afterwards, and the descriptors stay open.
    """
    opened = {LISTEN_ON: sockets.main, HTTP_ON: sockets.plain, IRC_ON: irc.plain, IRC_TLS_ON: irc.encrypted}
    return {flag: listening.detach() for flag, listening in opened.items() if listening is not None}


def announce_ready(scheme: str, sockets: HttpSockets) -> None:
    """Print that the server accepts requests."""
    announce(f"ready {scheme}://{_address(sockets.main)}")
    if sockets.plain is not None:
        announce(f"http {_address(sockets.plain)}")


def announce_irc(sockets: IrcSockets) -> None:
    """Print where the server accepts IRC connections."""
    for word, listening in (("irc", sockets.plain), ("irc-tls", sockets.encrypted)):
        if listening is not None:
            announce(f"{word} {_address(listening)}")


def _inherited(flag: str, arguments: list[str]) -> socket.socket | None:
    descriptor = number_after(flag, arguments)
    return None if descriptor is None else socket.socket(fileno=descriptor)


def _listen(host: str, port: int, choose: str = "choose another with --host or --port") -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        if error.errno == errno.EACCES:
            choose = f"{choose}, or allow it {ALLOWED_BY}"
        raise Unavailable(f"address {host}:{port}", f"{error.strerror}; {choose}") from error
    return listening


def _listen_for_http(settings: Settings) -> socket.socket | None:
    """Return the listening socket for plain http next to https, or None if it is off."""
    if not settings.has_tls or settings.http_port == "off":
        return None
    given = settings.http_port
    try:
        listening = _listen(settings.host, HTTP_PORT if given is None else given, "choose another with --http-port")
    except Unavailable as error:
        # The default is a convenience, except for an authority that sends its challenges to this port.
        if given is not None or (settings.tls == "auto" and settings.acme_challenge == "http-01"):
            raise
        get_logger("serve").warning("no redirects from http", why=str(error))
        return None
    listening.listen(BACKLOG)
    return listening


def _passed_sockets() -> list[socket.socket]:
    """Return the listening sockets that systemd has opened for this process, in the order of its unit."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = os.environ.get("LISTEN_FDS", "")
    for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
        os.environ.pop(name, None)  # processes that this one starts inherit none of them
    passed = []
    for descriptor in range(FIRST_PASSED, FIRST_PASSED + (int(count) if count.isdecimal() else 0)):
        os.set_inheritable(descriptor, False)
        passed.append(socket.socket(fileno=descriptor))
    return passed


def _address(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"{f'[{host}]' if ':' in host else host}:{port}"

"""Which network addresses a webhook may reach, and which URLs it may have.

Without `allow_private_webhooks` only public addresses are allowed: a webhook must not send requests into the network of
the server. IPv6 addresses that contain an IPv4 address (mapped, 6to4, NAT64) are checked by it.
"""

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final
from urllib.parse import urlsplit

from kiai.errors import Invalid
from kiai.osu.texts import UNSEEN

URL_MAX: Final = 1_000  # characters
URL_ALLOWED: Final = f"a URL of up to {URL_MAX} characters that begins with https:// or http://, without a password"
PORTS: Final = {"http": 80, "https": 443}

_NOT_PUBLIC_V4: Final = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/3",  # multicast, reserved, broadcast
        ),
    )
)
_GLOBAL_V6: Final = IPv6Network("2000::/3")
_NOT_PUBLIC_V6: Final = tuple(map(IPv6Network, ("2001::/23", "2001:db8::/32", "3fff::/20")))
_NAT64: Final = IPv6Network("64:ff9b::/96")


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Return whether an address is one of the public internet, and not private, local, multicast or reserved."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _NOT_PUBLIC_V4)
    if (inner := _inner(address)) is not None:
        return is_public(inner)
    return address in _GLOBAL_V6 and not any(address in network for network in _NOT_PUBLIC_V6)


def _inner(address: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address that packets to this address reach in the end, or None."""
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour


def is_public_text(text: str) -> bool:
    """Like `is_public`, for the text of an address. Other texts, and addresses with a zone, are not public."""
    try:
        return is_public(ip_address(text))
    except ValueError:
        return False


def host_of(url: str) -> tuple[str, int]:
    """Return host and port of a webhook's URL. Raises Invalid for a URL that is not allowed."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise Invalid("url", URL_ALLOWED, shown(url)) from error
    is_bad = (
        len(url) > URL_MAX
        or parts.scheme not in PORTS
        or not host
        or "@" in parts.netloc
        or " " in url
        or "\\" in url
        or UNSEEN.search(url) is not None
    )
    if is_bad:
        raise Invalid("url", URL_ALLOWED, shown(url))
    assert host is not None
    return host, PORTS[parts.scheme] if port is None else port


def shown(url: str) -> str:
    """Return scheme and host of a URL, for logs and errors: the path of a Discord webhook is a secret."""
    scheme, separator, rest = url.partition("://")
    host = re.split(r"[/?#\\]", rest, maxsplit=1)[0].rpartition("@")[2]
    return f"{scheme}{separator}{host}" if separator else url[:ID_SHOWN]


ID_SHOWN: Final = 20

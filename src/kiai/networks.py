"""Network addresses as rate limits and connection limits count them."""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final

Network = IPv4Network | IPv6Network

ADDRESS_TEXT_MAX: Final = 64
NETWORKS_CACHED: Final = 4_096
IPV6_PREFIX_BITS: Final = 64  # the smallest block that providers give to one customer


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """The address without zone id (`fe80::1%eth0`), an IPv4-mapped IPv6 address as IPv4; None for any other text."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


@lru_cache(maxsize=NETWORKS_CACHED)  # PERF: every request of the API asks; parsing takes 2 us
def network_of(text: str) -> str:
    """The name under which limits count an address: the address itself, or the /64 network of an IPv6 address.

    A text that is no address (a Unix socket, a damaged proxy header) counts as itself, cut to 64 characters.
    """
    address = parse_address(text)
    if address is None:
        return text[:ADDRESS_TEXT_MAX]
    if isinstance(address, IPv6Address) and not address.is_loopback:
        return str(IPv6Network((int(address), IPV6_PREFIX_BITS), strict=False))
    return str(address)


def is_within(text: str, networks: Iterable[Network]) -> bool:
    """Whether the text is an address, with a zone id or without, of one of these networks."""
    address = parse_address(text)
    return address is not None and any(address in network for network in networks)


def is_loopback(text: str) -> bool:
    """Whether the text is an address of this machine's loopback interface."""
    address = parse_address(text)
    return address is not None and address.is_loopback

"""Network addresses, as rate limits and connection limits count them."""

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Network = IPv4Network | IPv6Network

ADDRESS_TEXT_MAX: Final = 64
NETWORKS_CACHED: Final = 4_096
MAPPED_PREFIX_BITS: Final = 96  # of ::ffff:0:0/96, the IPv4-mapped addresses
IPV6_PREFIX_BITS: Final = 64  # the smallest block that providers give to one customer

_WITH_PORT: Final = re.compile(r"(?P<v4>[0-9.]{7,15}):[0-9]{1,5}|\[(?P<v6>[^\[\]]{2,64})\](?::[0-9]{1,5})?", re.ASCII)


def parse_address(text: str) -> IPv4Address | IPv6Address | None:
    """Return the address in `text`, or None.

    A zone id (`fe80::1%eth0`) is removed, and an IPv4-mapped IPv6 address becomes IPv4.
    """
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def parse_place(text: str, host: str) -> tuple[str, int]:
    """Return address and port of `[HOST:]PORT`, with `host` for a text without one. It is checked before."""
    given, _, port = text.rpartition(":")
    return given.strip("[]") or host, int(port)


@lru_cache(maxsize=NETWORKS_CACHED)  # PERF: called for each request of the API; parsing takes 2 us
def network_of(text: str) -> str:
    """Return the key under which limits count an address: the address, or the /64 network of an IPv6 address.

    Any other text (a Unix socket, a damaged proxy header) is its own key, cut to 64 characters.
    """
    address = parse_address(text)
    if address is None:
        return text[:ADDRESS_TEXT_MAX]
    if isinstance(address, IPv6Address) and not address.is_loopback:
        return str(IPv6Network((int(address), IPV6_PREFIX_BITS), strict=False))
    return str(address)


def is_within(text: str, networks: Iterable[Network]) -> bool:
    """Return whether the text is an address in one of these networks. A zone id is ignored."""
    address = parse_address(text)
    return address is not None and any(address in network for network in networks)


def parse_network(text: str) -> Network | None:
    """Return the network in `text`, an address or CIDR notation, or None.

    An IPv6 address without a prefix length means its /64 network, as in `network_of`. An IPv4-mapped network becomes
    IPv4. Bits after the prefix are ignored.
    """
    if "/" not in text:
        address = parse_address(text)
        return None if address is None else ip_network(network_of(text))
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        return None
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    if mapped is None or network.prefixlen < MAPPED_PREFIX_BITS:
        return network
    return IPv4Network((int(mapped), network.prefixlen - MAPPED_PREFIX_BITS))


class NetworkSet:
    """A set of networks. A lookup costs one step for each prefix length that occurs in the set."""

    def __init__(self, networks: Iterable[Network] = ()) -> None:
        self._by_prefix: dict[tuple[int, int], set[int]] = {}
        for network in networks:
            key = network.version, network.max_prefixlen - network.prefixlen
            self._by_prefix.setdefault(key, set()).add(int(network.network_address) >> key[1])
        self._known: dict[str, bool] = {}

    def contains(self, text: str) -> bool:
        """Return whether the text is an address in one of the networks."""
        if not self._by_prefix:
            return False
        known = self._known.get(text)
        if known is None:
            known = self._find(text)
            if len(self._known) >= NETWORKS_CACHED:
                self._known.clear()
            self._known[text] = known
        return known

    def _find(self, text: str) -> bool:
        address = parse_address(text)
        if address is None:
            return False
        number = int(address)
        return any(
            address.version == version and number >> bits in numbers
            for (version, bits), numbers in self._by_prefix.items()
        )


@lru_cache(maxsize=NETWORKS_CACHED)
def is_loopback(text: str) -> bool:
    """Return whether the text is a loopback address."""
    address = parse_address(text)
    return address is not None and address.is_loopback


def forwarded_address(headers: Iterable[tuple[bytes, bytes]], trusted: tuple[Network, ...]) -> str | None:
    """Return the client's address according to trusted proxies: the right-most untrusted one in X-Forwarded-For.

    Return None when the header is missing or has only trusted addresses. The result may be any text, cut to 64
    characters.
    """
    # Several headers are one list (RFC 9110, 5.3): some proxies add their own header after the one from the client.
    # From the right, because a client can put any addresses in front of those that the proxies add.
    hops = [
        hop.strip()
        for name, value in headers
        if name == b"x-forwarded-for"
        for hop in value.decode("latin-1").split(",")
    ]
    # Without the port, which differs between the connections of one client.
    for hop in map(_without_port, reversed(hops)):
        if hop and not is_within(hop, trusted):
            return hop[:ADDRESS_TEXT_MAX]
    return None


def _without_port(hop: str) -> str:
    """Return the address in `203.0.113.9:4711`, `[2001:db8::1]:4711` or `[2001:db8::1]`; other texts unchanged."""
    found = _WITH_PORT.fullmatch(hop)
    return hop if found is None else found["v4"] or found["v6"]

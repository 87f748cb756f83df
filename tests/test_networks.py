"""The network that a limit counts for an address."""

from ipaddress import ip_network

import pytest

from kiai.networks import forwarded_address, is_loopback, is_within, network_of


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("fe80::2%25wlan0", "fe80::/64"),
        ("::1", "::1"),
        ("unknown", "unknown"),
        ("", ""),
        ("x" * 500, "x" * 64),
    ],
)
def test_ipv6_address_counts_as_its_network(address: str, network: str) -> None:
    assert network_of(address) == network


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("10.0.0.1", False),
        ("", False),
    ],
)
def test_loopback_addresses(address: str, expected: bool) -> None:
    assert is_loopback(address) is expected


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("fe80::1%eth0", True),
        ("fe80::1", True),
        ("11.1.2.3", False),
        ("2001:db8::1", False),
        ("unknown", False),
        ("", False),
    ],
)
def test_network_contains_address_with_any_zone(address: str, expected: bool) -> None:
    assert is_within(address, (ip_network("10.0.0.0/8"), ip_network("fe80::/10"))) is expected


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ([], None),
        (["10.0.0.1"], None),
        (["203.0.113.9"], "203.0.113.9"),
        (["127.0.0.1, 203.0.113.9, 10.0.0.1"], "203.0.113.9"),
        (["127.0.0.1", "203.0.113.9"], "203.0.113.9"),  # a proxy that adds a header, such as HAProxy
        (["127.0.0.1", "203.0.113.9", "10.0.0.1"], "203.0.113.9"),
        (["203.0.113.9, "], "203.0.113.9"),
        (["203.0.113.9", ""], "203.0.113.9"),
        (["203.0.113.9:4711"], "203.0.113.9"),
        (["203.0.113.9, 10.0.0.1:4711"], "203.0.113.9"),
        (["[2001:db8::1]:4711"], "2001:db8::1"),
        (["[2001:db8::1]"], "2001:db8::1"),
        (["2001:db8::1"], "2001:db8::1"),
        (["unknown"], "unknown"),
        (["x" * 500], "x" * 64),
    ],
)
def test_forwarded_address_is_the_rightmost_untrusted_one_of_all_headers(sent: list[str], expected: str | None) -> None:
    headers = [(b"host", b"api.localhost"), *((b"x-forwarded-for", one.encode()) for one in sent)]

    assert forwarded_address(headers, (ip_network("10.0.0.0/8"),)) == expected

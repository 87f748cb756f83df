"""The country of an address."""

import subprocess
import sys
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.patience import patiently

from kiai.accounts.geography import countries_of, country_of
from kiai.osu.countries import is_country


@pytest.mark.parametrize(
    ("address", "country"),
    [
        ("8.8.8.8", "us"),
        ("2001:4860:4860::8888", "us"),
        ("193.0.6.139", "nl"),
        ("133.242.0.1", "jp"),
        ("200.160.2.3", "br"),
        ("196.25.1.1", "za"),
        ("2001:4860:4860::8888%eth0", "us"),
        ("::ffff:8.8.8.8", "us"),
    ],
)
def test_public_address_has_a_country(address: str, country: str) -> None:
    assert country_of(address) == country


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "3fff::1",
        "255.255.255.255",
        "unknown",
        "",
        "999.1.1.1",
    ],
)
def test_private_and_invalid_addresses_have_no_country(address: str) -> None:
    assert country_of(address) == "xx"


@given(st.ip_addresses().map(str) | st.text(max_size=60))
def test_any_text_has_a_country_that_the_game_knows(text: str) -> None:
    assert is_country(country_of(text))


@given(st.ip_addresses(v=4))
def test_the_spelling_of_an_address_does_not_matter(address: IPv4Address) -> None:
    mapped = IPv6Address(b"\0" * 10 + b"\xff\xff" + address.packed)

    assert country_of(str(mapped)) == country_of(mapped.exploded) == country_of(str(address))


def test_countries_of_many_addresses() -> None:
    found = countries_of(["8.8.8.8", "10.0.0.1", "8.8.8.8", *(f"193.0.6.{last}" for last in range(200))])

    assert len(found) == 100
    assert found["8.8.8.8"] == "us"
    assert found["10.0.0.1"] == "xx"
    assert found["193.0.6.97"] == "nl"


def test_the_data_are_loaded_when_an_address_is_first_looked_up() -> None:
    program = (
        "import sys, kiai.accounts.geography as geography\n"
        "geography.country_of('10.0.0.1'), print('iptocc' in sys.modules)\n"
        "geography.country_of('8.8.8.8'), print('iptocc' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=patiently(120)
    )

    assert done.stdout.split() == ["False", "True"]

"""The country of an address."""

import pytest
from tests.builders import Run

from kiai.accounts.geography import Geography


@pytest.mark.parametrize(
    ("address", "country"),
    [
        ("8.8.8.8", "us"),
        ("2001:4860:4860::8888", "us"),
        ("193.0.6.139", "nl"),
        ("2001:4860:4860::8888%eth0", "us"),
        ("::ffff:8.8.8.8", "us"),
    ],
)
def test_public_address_has_a_country(run: Run, address: str, country: str) -> None:
    assert run(Geography().country_of(address)) == country


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.1.2.3", "::1", "fe80::1", "fe80::1%eth0", "unknown", "", "999.1.1.1"]
)
def test_private_and_invalid_addresses_have_no_country(run: Run, address: str) -> None:
    geography = Geography()

    assert run(geography.country_of(address)) == "xx"
    assert geography._loaded is None  # and the database was not even loaded

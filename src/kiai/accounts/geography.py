"""The country of an address, from data in the installed package iptocc, without network access.

The data say to which country a regional registry assigned the block of an address. The result is approximate and
decides only which flag is shown. The data take 6 MB of memory. They are loaded when they are first needed.
"""

from collections.abc import Iterable
from typing import Final

from kiai.networks import parse_address
from kiai.osu.countries import is_country

UNKNOWN = "xx"
COUNTRIES_MAX: Final = 100


def country_of(address: str) -> str:
    """Return the country as two lower-case letters, or `xx` for private and unknown addresses.

    It takes 7 us on the event loop, and once 1 to 3 ms to load the data.
    """
    parsed = parse_address(address)
    if parsed is None or not parsed.is_global:
        return UNKNOWN
    from iptocc import country_code

    code = (country_code(str(parsed)) or UNKNOWN).lower()
    return code if is_country(code) else UNKNOWN


def countries_of(addresses: Iterable[str]) -> dict[str, str]:
    """Return the country of each of the first 100 different addresses."""
    unique = list(dict.fromkeys(addresses))[:COUNTRIES_MAX]
    return {address: country_of(address) for address in unique}

"""The country of an address, from a database in an installed package, without network access.

The database takes 50 MB of memory. It is loaded when it is first needed: at the login of an account without a country
from a public address. The result is approximate and decides only which flag is shown.
"""

import asyncio
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from kiai.logs import Outage
from kiai.networks import parse_address
from kiai.osu.countries import is_country

if TYPE_CHECKING:
    from geoip2fast import GeoIP2Fast

UNKNOWN = "xx"
COUNTRIES_MAX: Final = 100
DATABASE = "geoip2fast-ipv6.dat.gz"  # both IPv4 and IPv6


class Geography:
    """Looks up the countries of addresses."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loaded: GeoIP2Fast | None = None
        self._outage = Outage("geography", "country lookup failed", "country lookup works again")

    async def country_of(self, address: str) -> str:
        """Return the country as two lower-case letters, or `xx` for private and unknown addresses."""
        parsed = parse_address(address)
        if parsed is None or not parsed.is_global:
            return UNKNOWN
        # In a thread, because loading the database would block the event loop.
        return await asyncio.to_thread(self._look_up, str(parsed))

    async def countries_of(self, addresses: Iterable[str]) -> dict[str, str]:
        """Return the country of each of the first 100 different addresses."""
        unique = list(dict.fromkeys(addresses))[:COUNTRIES_MAX]
        return {address: await self.country_of(address) for address in unique}

    def _look_up(self, address: str) -> str:
        with self._lock:  # two threads must not load the database at the same time
            try:
                if self._loaded is None:
                    from geoip2fast import GeoIP2Fast

                    self._loaded = GeoIP2Fast(geoip2fast_data_file=DATABASE)
                code = str(self._loaded.lookup(address).country_code).lower()
            except Exception as error:  # a login must not fail because of a flag
                self._outage.failed(error, trace=True)
                return UNKNOWN
            self._outage.worked()
        return code if is_country(code) else UNKNOWN

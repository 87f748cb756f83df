"""The country of an address, from a database that comes with its package: no login waits for the net.

It takes 50 MB once it is loaded, and so is loaded when first needed: for a player whose account has no country yet and
who comes from a public address. It is approximate by nature and decides nothing but a flag.
"""

import asyncio
import threading
from typing import TYPE_CHECKING

from kiai.logs import Outage
from kiai.networks import parse_address
from kiai.osu.countries import is_country

if TYPE_CHECKING:
    from geoip2fast import GeoIP2Fast

UNKNOWN = "xx"
DATABASE = "geoip2fast-ipv6.dat.gz"  # both IPv4 and IPv6


class Geography:
    """Where addresses are."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loaded: GeoIP2Fast | None = None
        self._outage = Outage("geography", "country not found", "countries are found again")

    async def country_of(self, address: str) -> str:
        """The country as two lower-case letters; `xx` for a private address and for one that nobody knows."""
        parsed = parse_address(address)
        if parsed is None or not parsed.is_global:
            return UNKNOWN
        return await asyncio.to_thread(self._look_up, str(parsed))

    def _look_up(self, address: str) -> str:
        with self._lock:
            try:
                if self._loaded is None:
                    from geoip2fast import GeoIP2Fast

                    self._loaded = GeoIP2Fast(geoip2fast_data_file=DATABASE)
                code = str(self._loaded.lookup(address).country_code).lower()
            except Exception as error:  # a flag is not worth a login
                self._outage.failed(error, trace=True)
                return UNKNOWN
            self._outage.worked()
        return code if is_country(code) else UNKNOWN

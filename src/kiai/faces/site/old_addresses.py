"""Old forms of addresses: modes as words, and the variants of other servers' sites as numbers."""

from collections.abc import Mapping
from typing import Final

from kiai.faces.site.page import BadParameter, SiteRequest
from kiai.osu.modes import variant_mode

MODE_WORDS: Final[Mapping[str, int]] = {
    "osu": 0,
    "std": 0,
    "standard": 0,
    "taiko": 1,
    "fruits": 2,
    "catch": 2,
    "ctb": 2,
    "mania": 3,
}
_VARIANTS: Final[Mapping[str, str]] = {"0": "vn", "1": "rx", "2": "ap"}


def old_variant(request: SiteRequest) -> int | None:
    """Return the mode of a query such as `mode=1&rx=1`: 1 is relax, 2 autopilot. None for a query without `rx`."""
    rx = request.query.values.get("rx", "")
    if not rx:
        return None
    if rx not in _VARIANTS:
        raise BadParameter("rx", "0, 1 or 2", rx)
    mode = request.query.mode(0) % 4
    found = variant_mode(mode, _VARIANTS[rx])
    return mode if found is None else found

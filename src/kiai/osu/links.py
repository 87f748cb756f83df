"""Links to maps, in every form that the game, the official site and players write.

    75                                             a bare id
    /b/75   /b/75?m=1   /b/75&m=1                  the old site; `m` is the mode
    /beatmaps/75?mode=taiko
    /beatmapsets/1#/75   /beatmapsets/1#taiko/75   the game and the new site, with or without the slashes
    /p/beatmap?b=75&m=1
    /s/1   /beatmapsets/1                          a set, without saying which of its maps

The host is not looked at: the path says all there is to know.
"""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from kiai.osu.numbers import whole_number

LINK_MAX: Final = 200
"""Characters of a link."""

_MODES: Final[Mapping[str, int]] = {
    **{str(mode): mode for mode in range(4)},
    "osu": 0,
    "taiko": 1,
    "fruits": 2,
    "catch": 2,
    "mania": 3,
}
_HOST: Final = re.compile(r"(?:https?://)?[^/\s]{1,100}/", re.IGNORECASE)
_MODE: Final = r"(?:[?&](?:m|mode)=(?P<mode>[a-z0-9]{1,6}))?"
_OF_MAP: Final = (
    re.compile(rf"(?:b|beatmaps)/(?P<map>[0-9]+)/?{_MODE}", re.IGNORECASE),
    re.compile(r"beatmapsets/[0-9]+/?#/?(?:(?P<mode>[a-z]{1,6})/)?(?P<map>[0-9]+)/?", re.IGNORECASE),
    re.compile(rf"p/beatmap\?b=(?P<map>[0-9]+){_MODE}", re.IGNORECASE),
)
_OF_SET: Final = re.compile(r"(?:s|beatmapsets)/(?P<set>[0-9]+)/?(?:#/?[a-z]{0,6}/?)?", re.IGNORECASE)


class MapLink(msgspec.Struct, frozen=True):
    """What a link names: a map and perhaps the mode to play it in, 0-3, or else a set. Ids are 1 to 2^31 - 1."""

    map_id: int | None = None
    set_id: int | None = None
    mode: int | None = None


def parse_map_link(text: str) -> MapLink | None:
    """What `text` names; None if it is no link to a map and no id, or names an id that nothing can have."""
    if len(text) > LINK_MAX:
        return None
    if (map_id := whole_number(text, least=1)) is not None:
        return MapLink(map_id)
    host = _HOST.match(text)
    if host is None:
        return None
    path = text[host.end() :]
    for form in _OF_MAP:
        if found := form.fullmatch(path):
            map_id = whole_number(found["map"], least=1)
            # A mode that is none is the site's business: the map is named all the same.
            return None if map_id is None else MapLink(map_id, mode=_MODES.get((found["mode"] or "").lower()))
    found = _OF_SET.fullmatch(path)
    set_id = None if found is None else whole_number(found["set"], least=1)
    return None if set_id is None else MapLink(set_id=set_id)

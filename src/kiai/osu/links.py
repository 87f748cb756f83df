"""Parses links to maps in the forms that the game, the official site and players use.

    75                                             an id without a link
    /b/75   /b/75?m=1   /b/75&m=1                  the old site; `m` is the mode
    /beatmaps/75?mode=taiko
    /beatmapsets/1#/75   /beatmapsets/1#taiko/75   the game and the new site, with or without the slashes
    /p/beatmap?b=75&m=1
    /s/1   /beatmapsets/1                          a set without a map

The host is ignored.
"""

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from kiai.osu.numbers import whole_number

LINK_MAX: Final = 200
"""Characters; longer text is not a link."""

_MODES: Final[Mapping[str, int]] = {
    **{str(mode): mode for mode in range(4)},
    "osu": 0,
    "taiko": 1,
    "fruits": 2,  # the official site's name of catch
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
    """The target of a link: a map with an optional mode (0-3), or a set. Ids are 1 to 2^31 - 1."""

    map_id: int | None = None
    set_id: int | None = None
    mode: int | None = None


def parse_map_link(text: str) -> MapLink | None:
    """Return the target of a link or the map with an id. None for other texts and for ids out of range."""
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
            # An unknown mode is ignored, as on the site; the map is still valid.
            return None if map_id is None else MapLink(map_id, mode=_MODES.get((found["mode"] or "").lower()))
    found = _OF_SET.fullmatch(path)
    set_id = None if found is None else whole_number(found["set"], least=1)
    return None if set_id is None else MapLink(set_id=set_id)


_IN_LINES: Final = "mp|b|u|community/matches"


def with_link_base(line: str, own: str, other: str) -> str:
    """Return a line of the bot whose links to matches, maps and players begin with another base.

    Bases end in a slash, e.g. `https://osu.ppy.sh/`. Referee tools that were written for the official server look for
    its links, so the IRC gateway sends them (setting `irc_links`).
    """
    return re.sub(rf"{re.escape(own)}(?=(?:{_IN_LINES})/[0-9])", lambda _: other, line)

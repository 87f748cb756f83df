"""Completes the data of a delivery when it is sent: names of players, titles of maps.

The transaction of an act only stores ids. So it reads nothing more, and the names are those of the time of sending.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from sqlalchemy import bindparam, select

from kiai.osu.privileges import Privilege
from kiai.storage.port import Database, Query
from kiai.storage.tables import maps, users
from kiai.webhooks.model import Delivery

PLAYERS: Final[Mapping[str, tuple[str, ...]]] = {
    "first_place": ("player", "previous"),
    "top_play": ("player",),
    "map_status": ("actor",),
    "player_new": ("player",),
    "sanction": ("actor", "target"),
    "report": ("reporter", "target"),
}
"""The keys of an event's data that are ids of players. 0 is the operator or the server itself."""
PUBLIC: Final = ("first_place", "top_play")
"""Events about public plays: those of a player who has been hidden since are not sent."""

_VISIBLE: Final = int(Privilege.UNRESTRICTED | Privilege.VERIFIED)
_PLAYER: Final = Query(
    select(users.c.name, users.c.priv).where(users.c.id == bindparam("id")),
    lambda name, priv: (name, priv & _VISIBLE == _VISIBLE),
)
_MAP: Final = Query(
    select(maps.c.artist, maps.c.title, maps.c.version).where(maps.c.id == bindparam("id"), maps.c.current == 1),
    lambda artist, title, version: f"{artist} - {title} [{version}]",
)


async def completed(database: Database, delivery: Delivery) -> dict[str, Any] | None:
    """Return the data with players as `{id, name}` and with `map_title`, or None if it must not be sent any more."""
    data: dict[str, Any] = msgspec.json.decode(delivery.data)
    for key in PLAYERS.get(delivery.event, ()):
        user_id = data.get(key)
        if user_id is None:
            continue
        name, is_visible = await database.one(_PLAYER, id=user_id) or (None, False)
        if delivery.event in PUBLIC and not is_visible:
            if key == "player":
                return None
            data[key] = None
            continue
        data[key] = {"id": user_id, "name": name}
    if (map_id := data.get("map_id")) is not None:
        data["map_title"] = await database.one(_MAP, id=map_id)
    return data

"""Search of players by name: names that begin with the text, then names that contain it, then former names."""

import asyncio
from typing import Final

import msgspec
from sqlalchemy import select

from kiai.accounts.model import Player
from kiai.accounts.name_index import READ_MAX, NameKind, range_of, subjects
from kiai.accounts.visibility import player_columns, visible, with_clan
from kiai.osu.names import safe_name
from kiai.storage.port import Database, Lane, Query
from kiai.storage.tables import old_names, users

FOUND_MAX: Final = 3 * READ_MAX


class NameMatch(msgspec.Struct, frozen=True):
    """A found player. `formerly` is the former name that fits, or None when the present name fits."""

    player: Player
    formerly: str | None = None


_player = select(*player_columns()).select_from(with_clan(users))
_BEGINS: Final = Query(
    _player.where(users.c.id.in_(subjects(NameKind.NAME)), visible()).limit(READ_MAX), Player, lane=Lane.BOUNDED
)
_CONTAINS: Final = Query(
    _player.where(users.c.id.in_(subjects(NameKind.INSIDE)), visible()).limit(READ_MAX), Player, lane=Lane.BOUNDED
)
_FORMERLY: Final = Query(
    select(old_names.c.name, *player_columns())
    .select_from(with_clan(users.join(old_names, old_names.c.user_id == users.c.id)))
    .where(old_names.c.id.in_(subjects(NameKind.FORMER)), visible())
    .limit(READ_MAX),
    lambda name, *row: NameMatch(Player(*row), name),
    lane=Lane.BOUNDED,
)


class NameSearch:
    """Finds visible players by their names."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def players(self, text: str) -> list[NameMatch]:
        """Return the players whose name fits, each once and by name within each of the three groups; at most 300.

        Each group reads the first 100 names in the order of the alphabet; a longer text finds the others.
        """
        wanted = range_of(text)
        if wanted is None:
            return []
        begins, contains, former = await asyncio.gather(
            self._database.all(_BEGINS, **wanted),
            self._database.all(_CONTAINS, **wanted),
            self._database.all(_FORMERLY, **wanted),
        )
        found = [NameMatch(player) for player in (*_by_name(begins), *_by_name(contains))]
        found += sorted(former, key=lambda one: (safe_name(one.formerly or ""), one.player.id))
        once: dict[int, NameMatch] = {}
        for one in found:  # a present name comes before a former one
            once.setdefault(one.player.id, one)
        return list(once.values())


def _by_name(players: list[Player]) -> list[Player]:
    return sorted(players, key=lambda player: (safe_name(player.name), player.id))

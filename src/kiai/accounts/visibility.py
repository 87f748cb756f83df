"""Who may see whom: here and nowhere else.

Restricted, banned, deleted and never verified accounts do not exist for the public; the account itself and staff see
them. `can_see` decides for one account, `visible` is the same rule as SQL for lists, and `player_columns` are what a
list joins to show a player. The bot is no player: its privileges keep it out of every list by the same rule.

See docs/spec/security.md#visibility.
"""

from typing import Any, Final, Protocol

import msgspec
from sqlalchemy import ColumnElement, FromClause, select, update

from kiai.osu.privileges import Privilege
from kiai.storage.port import Command, Query, only
from kiai.storage.tables import clans, users, versions

_SEEN: Final = int(Privilege.UNRESTRICTED | Privilege.VERIFIED)


class Viewer(msgspec.Struct, frozen=True):
    """Who asks: an account (0: nobody in particular) and its effective privileges."""

    user_id: int = 0
    priv: int = 0

    @property
    def is_staff(self) -> bool:
        """Whether hidden accounts are shown to this viewer."""
        return bool(self.priv & int(Privilege.MODERATOR | Privilege.ADMINISTRATOR | Privilege.DEVELOPER))


EVERYBODY: Final = Viewer()


class _HasStanding(Protocol):
    @property
    def id(self) -> int: ...
    @property
    def priv(self) -> int: ...


def can_see(viewer: Viewer, user: _HasStanding) -> bool:
    """Whether `viewer` may know of `user`."""
    return user.priv & _SEEN == _SEEN or user.id == viewer.user_id or viewer.is_staff


def is_public(priv: int) -> bool:
    """Whether an account with these privileges is seen by everybody."""
    return priv & _SEEN == _SEEN


def visible(table: FromClause = users) -> ColumnElement[bool]:
    """The predicate over `users`, or an alias of it, for lists that everybody may read."""
    return table.c.priv.op("&")(_SEEN) == _SEEN


BOARDS_LOOK: Final = Query(select(versions.c.value).where(versions.c.name == "boards"), only)
BOARDS_LOOK_CHANGED: Final = Command(
    update(versions).where(versions.c.name == "boards").values(value=versions.c.value + 1)
)
"""Run in a transaction that changes what boards show beside scores: a name, a clan, a country."""


def player_columns() -> list[ColumnElement[Any]]:
    """The columns of `model.Player`, from `users` outer-joined with `clans` (see `with_clan`)."""
    return [users.c.id, users.c.name, users.c.priv, users.c.country, clans.c.id, clans.c.name, clans.c.tag]


def with_clan(source: Any) -> Any:
    """`source` (which holds `users`) outer-joined with the player's clan."""
    return source.outerjoin(clans, clans.c.id == users.c.clan_id)

"""The rules of visibility: which players may see which other players. No other module spells them out.

Restricted, banned, deleted and unverified accounts are visible only to themselves and to staff. `can_see` decides for
one account, `visible` is the same rule in SQL for public lists, and `player_columns` are the columns that a list joins
to show a player. The bot lacks the privileges of a visible player, so no list contains it.

See docs/spec/security.md#visibility.
"""

from typing import Any, Final, Protocol

import msgspec
from sqlalchemy import ColumnElement, FromClause, select, update

from kiai.accounts.model import Privacy, User
from kiai.osu.privileges import Privilege
from kiai.storage.port import Command, Query, scalar
from kiai.storage.tables import clans, users, versions

_SEEN: Final = int(Privilege.UNRESTRICTED | Privilege.VERIFIED)


class Viewer(msgspec.Struct, frozen=True):
    """The caller of a read: an account, or 0 for the public, and its effective privileges."""

    user_id: int = 0
    priv: int = 0

    @property
    def is_staff(self) -> bool:
        """Whether this viewer may see hidden accounts."""
        return bool(self.priv & int(Privilege.MODERATOR | Privilege.ADMINISTRATOR | Privilege.DEVELOPER))


EVERYBODY: Final = Viewer()


class _HasPrivileges(Protocol):
    @property
    def id(self) -> int: ...
    @property
    def priv(self) -> int: ...


def can_see(viewer: Viewer, user: _HasPrivileges) -> bool:
    """Return whether `viewer` may see `user`."""
    return user.priv & _SEEN == _SEEN or user.id == viewer.user_id or viewer.is_staff


def last_seen_ms(viewer: Viewer, user: User) -> int | None:
    """Return when the account was last active, or None if the player hides it from `viewer`."""
    hides = user.privacy & (Privacy.HIDE_LAST_SEEN | Privacy.HIDE_ONLINE)  # the time would tell who is online
    return None if hides and not _sees_private(viewer, user) else user.active_at_ms


def shows_online(viewer: Viewer, user: User) -> bool:
    """Return whether `viewer` may see that the player is online."""
    return not user.privacy & Privacy.HIDE_ONLINE or _sees_private(viewer, user)


def _sees_private(viewer: Viewer, user: User) -> bool:
    return user.id == viewer.user_id or viewer.is_staff


def is_public(priv: int) -> bool:
    """Return whether an account with these privileges is visible to all players."""
    return priv & _SEEN == _SEEN


def visible(table: FromClause = users) -> ColumnElement[bool]:
    """Return the condition on `users`, or on an alias of it, for public lists."""
    return table.c.priv.op("&")(_SEEN) == _SEEN


BOARDS_LOOK: Final = Query(select(versions.c.value).where(versions.c.name == "boards"), scalar)
BOARDS_LOOK_CHANGED: Final = Command(
    update(versions).where(versions.c.name == "boards").values(value=versions.c.value + 1)
)
"""Invalidates the caches of all boards.

A transaction runs it when it changes what boards show of players: a name, clan or country.
"""


def player_columns() -> list[ColumnElement[Any]]:
    """Return the columns of `model.Player`, for a statement that joins `users` and `clans` (see `with_clan`)."""
    return [users.c.id, users.c.name, users.c.priv, users.c.country, clans.c.id, clans.c.name, clans.c.tag]


def with_clan(source: Any) -> Any:
    """Return `source`, which must contain `users`, with an outer join of the player's clan."""
    # An outer join: a player without a clan has clan_id 0, which matches no row.
    return source.outerjoin(clans, clans.c.id == users.c.clan_id)

"""Clan, former names, last plays, sessions and API keys of an account, for staff."""

from collections.abc import Sequence
from typing import Final

import msgspec

from kiai.accounts import Accounts, ApiKeys, Player, User, Viewer
from kiai.accounts.model import OldName
from kiai.accounts.web_sessions import WebSessions
from kiai.errors import Unavailable
from kiai.osu.privileges import OWNER, may
from kiai.realtime.port import Realtime
from kiai.scores.model import MappedScore
from kiai.scores.profiles import Profiles
from kiai.staff.audit import Actor
from kiai.staff.authority import Authority

PERMISSION: Final = "users.notes"
COUNTS_SESSIONS: Final = "users.kick"
COUNTS_ACCESS: Final = "users.inspect"


class OpenAccess(msgspec.Struct, frozen=True):
    """The numbers of ways into an account that are open now. None: the reader may not see it, or it is unreadable."""

    game_sessions: int | None = None
    web_sessions: int | None = None
    api_keys: int | None = None


class AccountOverview(msgspec.Struct, frozen=True):
    """Facts about an account that are not in its row.

    `clan` is None without a clan. `former_names` and `plays` are newest first.
    """

    clan: Player | None
    former_names: Sequence[OldName]
    plays: Sequence[MappedScore]
    access: OpenAccess


class AccountOverviews:
    """Reads facts about accounts that are not in their rows."""

    def __init__(
        self,
        authority: Authority,
        accounts: Accounts,
        api_keys: ApiKeys,
        web_sessions: WebSessions,
        realtime: Realtime,
        profiles: Profiles,
    ) -> None:
        self._authority = authority
        self._accounts = accounts
        self._api_keys = api_keys
        self._web_sessions = web_sessions
        self._realtime = realtime
        self._profiles = profiles

    async def of(self, actor: Actor, user: User) -> AccountOverview:
        """Return the facts about an account, and the numbers that the actor may know. Raises NotAllowed."""
        priv = await self._authority.require(actor, PERMISSION)
        clan = await self._accounts.player(Viewer(priv=OWNER), id=user.id) if user.clan_id else None
        return AccountOverview(
            clan=clan if clan is not None and clan.clan_id is not None else None,
            former_names=await self._accounts.old_names(user.id),
            plays=await self._profiles.latest_of(user.id),
            access=await self._access(priv, user.id),
        )

    async def _access(self, priv: int, user_id: int) -> OpenAccess:
        game = web = keys = None
        if may(priv, COUNTS_SESSIONS):
            try:
                game = len(await self._realtime.sessions_of(user_id))
            except Unavailable:  # the shared state is down; the account is readable
                game = None
        if may(priv, COUNTS_ACCESS):
            web = len(await self._web_sessions.of(user_id))
            keys = len(await self._api_keys.of(user_id))
        return OpenAccess(game, web, keys)

"""An account as administrators see it: state, sessions and open reports. Only developers see addresses."""

from typing import Final

import msgspec

from kiai.accounts import Accounts, Logins, Player, User, Viewer
from kiai.accounts.model import GameLogin
from kiai.clock import Clock
from kiai.osu.privileges import OWNER, may
from kiai.realtime.port import Realtime, Session, SessionGone, spectate_topic
from kiai.staff import audit
from kiai.staff.audit import Actor
from kiai.staff.authority import Authority, Requirement, Who
from kiai.staff.reports import Reports
from kiai.storage.port import Transaction

PERMISSION: Final = "users.inspect"
ADDRESSES: Final = "addresses.block"
SPECTATORS_MAX: Final = 30
ADDRESSES_MAX: Final = 5


class SessionState(msgspec.Struct, frozen=True):
    """A session, and the seconds since its last packet."""

    session: Session
    idle_s: float


class Inspection(msgspec.Struct, frozen=True):
    """An account as staff sees it. `host` is the name of the player whom the account watches.

    `addresses` are the newest ones, None for staff that may not see them.
    """

    user: User
    player: Player
    sessions: list[SessionState]
    host: str
    spectators: list[str]
    open_reports: int
    addresses: list[str] | None


class Inspections:
    """Reads accounts for staff. Each reading writes an audit row."""

    def __init__(
        self,
        authority: Authority,
        accounts: Accounts,
        logins: Logins,
        reports: Reports,
        realtime: Realtime,
        clock: Clock,
    ) -> None:
        self._authority = authority
        self._accounts = accounts
        self._logins = logins
        self._reports = reports
        self._realtime = realtime
        self._clock = clock

    async def inspect(self, actor: Actor, who: Who) -> Inspection:
        """Return the state of an account. Raises NotAllowed, NotFound, and Refused for the bot."""
        priv = await self._authority.require(actor, PERMISSION)
        user = await self._authority.target(who)
        self._authority.check_not_bot(user)
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            await audit.write(tx, actor, "user_inspect", at_ms=now, target_kind="user", target_id=user.id)

        await self._authority.transaction(Requirement(actor, PERMISSION), body)
        sessions = await self._sessions(user.id)
        _, open_reports = await self._reports.listed(actor, "open", about=user.id, size=1)
        watching = await self._realtime.following(spectate_topic(user.id))
        spectators = sorted({session.name for session in watching if session.user_id != user.id})
        logins = await self._logins.recent(user.id) if may(priv, ADDRESSES) else None
        return Inspection(
            user=user,
            player=await self._accounts.player(Viewer(priv=OWNER), id=user.id),
            sessions=sessions,
            host=await self._host(sessions),
            spectators=spectators[:SPECTATORS_MAX],
            open_reports=open_reports,
            addresses=None if logins is None else _addresses(logins),
        )

    async def _sessions(self, user_id: int) -> list[SessionState]:
        found: list[SessionState] = []
        for session in await self._realtime.sessions_of(user_id):
            try:
                found.append(SessionState(session, await self._realtime.idle_s(session.token)))
            except SessionGone:
                continue
        return found

    async def _host(self, sessions: list[SessionState]) -> str:
        host_id = next((state.session.spectating for state in sessions if state.session.spectating), 0)
        host = (await self._realtime.sessions_among([host_id])).get(host_id) if host_id else None
        return "" if host is None else host.name


def _addresses(logins: list[GameLogin]) -> list[str]:
    return list(dict.fromkeys(login.address for login in logins))[:ADDRESSES_MAX]

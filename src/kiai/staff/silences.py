"""Silencing: who may say nothing for a while, and everybody who must know (docs/spec/game-rules.md#silence)."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import msgspec

from kiai.accounts import BOT_ID, Accounts, User, Viewer
from kiai.accounts.visibility import is_public
from kiai.chat.model import Silenced, Unsilenced, silence_left_s
from kiai.clock import Clock
from kiai.errors import Invalid, NotAllowed, Refused
from kiai.osu.privileges import STAFF, may, staff_rank
from kiai.realtime.port import Announce, Realtime, Session, SessionGone
from kiai.staff import audit
from kiai.staff.audit import Actor
from kiai.storage.port import Database, Transaction

SECONDS_MAX: Final = 365 * 86_400
REASON_MAX: Final = 500
SYSTEM: Final = Actor(user_id=0, source="game")
DEVELOPER_RANK: Final = 3

_STAFF: Final = Viewer(priv=STAFF)


class Imposed(msgspec.Struct, frozen=True):
    """A silence that holds: until when, unix ms, and for how many seconds that was when it was imposed."""

    until_ms: int
    lasts_s: int


class Silences:
    """Imposing and lifting. `on_silence` is told who may not speak any more: silenced players leave their match."""

    def __init__(
        self,
        database: Database,
        accounts: Accounts,
        realtime: Realtime,
        clock: Clock,
        announce: Announce,
        on_silence: Callable[[int], Awaitable[object]],
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._realtime = realtime
        self._clock = clock
        self._announce = announce
        self._on_silence = on_silence

    async def silence(self, actor: Actor, user_id: int, seconds: int, reason: str) -> Imposed:
        """Silences a user for `seconds` from now, or for as long as it is silenced already, whichever is longer.

        Raises NotFound, Invalid, NotAllowed without the right, Refused by the target rule
        (docs/spec/game-rules.md#who-may-act-on-whom).
        """
        if not 1 <= seconds <= SECONDS_MAX:
            raise Invalid("duration", "1 second to 1 year", f"{seconds} s")
        _check_reason(reason)
        target = await self._target(user_id)
        if actor.user_id == user_id:
            raise Refused("nobody can silence themselves")
        await self._check(actor, target, "silence", reason)
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> int:
            before = await self._accounts.silence_to_change(tx, user_id)
            until = max(before, now + seconds * 1000)
            await self._accounts.set_silence(tx, user_id, until)
            details = {"seconds": seconds, "before": before, "after": until}
            await _write(tx, actor, "silence", user_id, reason, now, details)
            return until

        until = await self._database.transaction(body)
        await self._set_sessions(user_id, until)
        lasts_s = silence_left_s(until, now)
        silenced = Silenced(user_id, lasts_s, hidden=not is_public(target.priv))
        await self._realtime.append(self._announce(silenced))
        await self._on_silence(user_id)
        return Imposed(until, lasts_s)

    async def unsilence(self, actor: Actor, user_id: int, reason: str) -> None:
        """Lets a user speak again. Raises NotFound, Invalid, NotAllowed, Refused; Refused too when it may speak."""
        _check_reason(reason)
        target = await self._target(user_id)
        await self._check(actor, target, "unsilence", reason)
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            before = await self._accounts.silence_to_change(tx, user_id)
            if before <= now:
                raise Refused(f"{target.name} is not silenced")
            await self._accounts.set_silence(tx, user_id, 0)
            details = {"before": before, "after": 0}
            await _write(tx, actor, "unsilence", user_id, reason, now, details)

        await self._database.transaction(body)
        await self._set_sessions(user_id, 0)
        await self._realtime.append(self._announce(Unsilenced(user_id)))

    async def flooded(self, user_id: int, seconds: int, reason: str) -> None:
        """Silences by the house's own rule, in nobody's name."""
        await self.silence(SYSTEM, user_id, seconds, reason)

    async def _target(self, user_id: int) -> User:
        if user_id == BOT_ID:
            raise Refused("the bot is never a target")
        return await self._accounts.user(_STAFF, id=user_id)

    async def _check(self, actor: Actor, target: User, action: str, reason: str) -> None:
        """The target rule; actor 0, the operator or the house, may do everything. A refusal by rank is written down."""
        if not actor.user_id:
            return
        priv = (await self._accounts.user(_STAFF, id=actor.user_id)).priv
        if not may(priv, "users.silence"):
            raise NotAllowed("users.silence")
        rank = staff_rank(priv)
        if rank == DEVELOPER_RANK or rank > staff_rank(target.priv):
            return

        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            await _write(tx, actor, "denied", target.id, reason, now, {"action": action})

        await self._database.transaction(body)
        raise Refused("only a higher role can act on this user")

    async def _set_sessions(self, user_id: int, until_ms: int) -> None:
        def rule(now: Session) -> tuple[Session, tuple[()]]:
            return msgspec.structs.replace(now, silenced_until_ms=until_ms), ()

        for session in await self._realtime.sessions_of(user_id):
            try:
                await self._realtime.change_session(session.token, rule)
            except SessionGone:
                continue


async def _write(
    tx: Transaction,
    actor: Actor,
    action: str,
    user_id: int,
    reason: str,
    at_ms: int,
    details: Mapping[str, object],
) -> None:
    await audit.write(
        tx, actor, action, at_ms=at_ms, target_kind="user", target_id=user_id, reason=reason, details=details
    )


def _check_reason(reason: str) -> None:
    if not reason.strip() or len(reason) > REASON_MAX:
        raise Invalid("reason", f"a text of 1 to {REASON_MAX} characters", reason)

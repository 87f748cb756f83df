"""Silences: imposing and lifting them, and informing the clients (docs/spec/game-rules.md#silence)."""

import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import msgspec

from kiai.accounts import Accounts, User
from kiai.accounts.visibility import is_public
from kiai.chat.events import Silenced, Unsilenced
from kiai.chat.history import ChannelHistory
from kiai.chat.model import silence_left_s
from kiai.clock import Clock
from kiai.errors import Invalid, NotFound, Unavailable, WrongState
from kiai.realtime.port import Announce, Realtime, Session, SessionGone
from kiai.staff import audit
from kiai.staff.audit import OPERATOR, Actor
from kiai.staff.authority import Authority, Who
from kiai.staff.reasons import checked_reason
from kiai.storage.outbox import enqueue
from kiai.storage.port import Transaction

SECONDS_MAX: Final = 365 * 86_400
CLI: Final = OPERATOR.source
OUTBOX_KIND: Final = "silences"
SYSTEM: Final = Actor(user_id=0, source="game")


class ImposedSilence(msgspec.Struct, frozen=True):
    """A silence in effect: its end, and its remaining length at the time of the act."""

    until_ms: int
    """Unix ms."""
    lasts_s: int
    reason: str
    audit_id: int


class Silences:
    """Imposes and lifts silences. Calls `on_silence` with each silenced user, who then leaves their match."""

    def __init__(
        self,
        accounts: Accounts,
        authority: Authority,
        realtime: Realtime,
        clock: Clock,
        announce: Announce,
        on_silence: Callable[[int], Awaitable[object]],
        history: ChannelHistory,
    ) -> None:
        self._accounts = accounts
        self._authority = authority
        self._realtime = realtime
        self._clock = clock
        self._announce = announce
        self._on_silence = on_silence
        self._history = history

    async def silence(self, actor: Actor, who: Who, seconds: int, reason: str) -> ImposedSilence:
        """Silence a user for `seconds` from now. A longer silence that is already in effect stays.

        Raises NotFound, Invalid, NotAllowed without the permission, and Refused by the target rule
        (docs/spec/game-rules.md#who-may-act-on-whom).
        """
        await self._authority.require(actor, "users.silence")
        if not 1 <= seconds <= SECONDS_MAX:
            raise Invalid("duration", "1 second to 1 year", f"{seconds} s")
        reason = checked_reason(reason)
        target = await self._authority.target(who)
        required = await self._authority.require_over(actor, "users.silence", target, action="silence", reason=reason)
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> tuple[int, int]:
            # Locks the row, so that of two concurrent silences the longer one stays.
            before = await self._accounts.silence_to_change(tx, target.id)
            until = max(before, now + seconds * 1000)
            await self._accounts.set_silence(tx, target.id, until)
            # Clients remove the lines of a silenced player, so the history of channels does not bring them back.
            await self._history.erase(tx, target.id)
            await self._enqueue(tx, actor, target.id, now)
            details = {"seconds": seconds, "before": before, "after": until}
            return until, await _write(tx, actor, "silence", target.id, reason, now, details)

        until, audit_id = await self._authority.transaction(required, body)
        await self._apply_at_once(actor, target, until)
        return ImposedSilence(until, silence_left_s(until, now), reason, audit_id)

    async def unsilence(self, actor: Actor, who: Who, reason: str = "") -> int:
        """Lift a silence and return the id of the audit row.

        Raises NotFound, Invalid, NotAllowed, Refused by the target rule, and WrongState without a silence.
        """
        await self._authority.require(actor, "users.silence")
        reason = checked_reason(reason, optional=True)
        target = await self._authority.target(who)
        required = await self._authority.require_over(
            actor, "users.silence", target, action="unsilence", reason=reason, oneself="ranked"
        )
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> int:
            before = await self._accounts.silence_to_change(tx, target.id)
            if before <= now:
                raise WrongState(f"{target.name} is not silenced")
            await self._accounts.set_silence(tx, target.id, 0)
            await self._enqueue(tx, actor, target.id, now)
            details = {"before": before, "after": 0}
            return await _write(tx, actor, "unsilence", target.id, reason, now, details)

        audit_id = await self._authority.transaction(required, body)
        await self._apply_at_once(actor, target, 0)
        return audit_id

    async def silence_by_server(self, user_id: int, seconds: int, reason: str) -> None:
        """Silence a user for flooding the chat, or for a filtered word. The audit row names the server as the actor.

        It does nothing for a user who is silenced already, who could otherwise cause audit rows without end.
        """
        if (await self._authority.target(user_id)).silenced_until_ms > self._clock.now_ms():
            return
        await self.silence(SYSTEM, user_id, seconds, reason)

    async def deliver(self, payloads: Sequence[str]) -> None:
        """Apply silences to the sessions of players. The outbox calls this, possibly twice.

        The server did so right after the act, unless the act came from the command line or the server died.
        """
        for payload in payloads:
            user_id, _, source = payload.partition(" ")
            try:
                target = await self._authority.target(int(user_id))
            except NotFound:
                continue
            until = target.silenced_until_ms if target.silenced_until_ms > self._clock.now_ms() else 0
            sessions = await self._realtime.sessions_of(target.id)
            if source == CLI or any(session.silenced_until_ms != target.silenced_until_ms for session in sessions):
                await self._apply(target, until)

    async def _enqueue(self, tx: Transaction, actor: Actor, user_id: int, now_ms: int) -> None:
        await enqueue(tx, OUTBOX_KIND, f"{user_id} {actor.source}", now_ms)

    async def _apply_at_once(self, actor: Actor, target: User, until_ms: int) -> None:
        if actor.source == CLI:
            return
        # The act is committed. Without the shared state, the outbox applies it later.
        with contextlib.suppress(Unavailable):
            await self._apply(target, until_ms)

    async def _apply(self, target: User, until_ms: int) -> None:
        """Tell the sessions of the player and the other clients about a silence, or about its end (0)."""
        # The sessions come first: when the client shows the silence, the server already rejects messages.
        await self._set_sessions(target.id, until_ms)
        if not until_ms:
            await self._realtime.append(self._announce(Unsilenced(target.id)))
            return
        lasts_s = silence_left_s(until_ms, self._clock.now_ms())
        silenced = Silenced(target.id, lasts_s, hidden=not is_public(target.priv))
        await self._realtime.append(self._announce(silenced))
        await self._on_silence(target.id)

    async def _set_sessions(self, user_id: int, until_ms: int) -> None:
        def rule(session: Session) -> tuple[Session, tuple[()]]:
            return msgspec.structs.replace(session, silenced_until_ms=until_ms), ()

        for session in await self._realtime.sessions_of(user_id):
            try:
                await self._realtime.change_session(session.token, rule)
            except SessionGone:  # logged off in the meantime; the next login reads the database
                continue


async def _write(
    tx: Transaction,
    actor: Actor,
    action: str,
    user_id: int,
    reason: str,
    at_ms: int,
    details: Mapping[str, object],
) -> int:
    return await audit.write(
        tx, actor, action, at_ms=at_ms, target_kind="user", target_id=user_id, reason=reason, details=details
    )

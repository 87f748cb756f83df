"""Acts in matches that belong to the audit log: acts of staff in matches of others, and matches made by command.

Players lead their own matches, and nothing of that is in the audit log (the history of the match has it).
"""

from typing import Any, Final

from kiai.accounts import User
from kiai.clock import Clock
from kiai.errors import NotFound
from kiai.multiplayer import commands
from kiai.multiplayer.match import Match, apply
from kiai.multiplayer.service import CommandOutcome, Matches, issuer_of
from kiai.osu.privileges import may
from kiai.realtime.port import MatchGone, Realtime, Session
from kiai.staff import audit
from kiai.staff.audit import Actor
from kiai.staff.authority import Authority, Requirement
from kiai.staff.reasons import checked_reason
from kiai.storage.port import Transaction

AUDITED: Final[dict[type[commands.MatchCommand], str]] = {
    commands.Close: "mp_close",
    commands.Kick: "mp_kick",
    commands.BanPlayer: "mp_ban",
}
"""Commands of staff in a match of another player, and their actions in the audit log."""


CLOSES: Final = "matches.referee_any"
"""The permission to close a match of another player."""


class MatchActs:
    """Runs commands of leaders, and writes the audit rows of those that need one."""

    def __init__(self, matches: Matches, realtime: Realtime, authority: Authority, clock: Clock) -> None:
        self._authority = authority
        self._matches = matches
        self._realtime = realtime
        self._clock = clock

    async def make(self, session: Session, name: str, password: str, *, private: bool) -> tuple[Session, int]:
        """Create a match by command, with the row `mp_make`. Raises the errors of `Matches.create_by_command`."""

        async def also(tx: Transaction, history_id: int) -> None:
            await self._write(tx, session, "mp_make", "match", history_id, {"name": name, "private": private})

        return await self._matches.create_by_command(session, name, password, private=private, also=also)

    async def run(
        self, session: Session, match_id: int, command: type[commands.MatchCommand], **fields: Any
    ) -> CommandOutcome | None:
        """Run a command as `Matches.act_as_leader`, with a row if staff use their right in a match of another.

        Raises the errors of that method, and NotAllowed if the player has lost the right since the login.
        """
        action = AUDITED.get(command)
        if action is not None and may(session.priv, "matches.referee_any"):
            match = await self._realtime.match(match_id, Match)
            if match is not None and match.created_by != session.user_id:
                await self._authority.require(_actor(session), "matches.referee_any")
                # Raises Refused, so that a refused command leaves no row. The row comes before the act: shared state
                # has no transaction with the database, and an act without a row is worse than a row too many.
                apply(match, command(by=issuer_of(session), at_ms=self._clock.now_ms(), **fields))
                user_id = int(fields.get("user_id", 0))
                kind, target_id = ("user", user_id) if user_id else ("match", match.history_id)
                await self._record(session, "matches.referee_any", action, kind, target_id, match)
        return await self._matches.act_as_leader(session, match_id, command, **fields)

    async def close(self, actor: Actor, match_id: int, history_id: int, reason: str) -> None:
        """Close a match as staff without a session in the game, with the row `mp_close`.

        `match_id` is the number in the game, which belongs to another match later; `history_id` names the match. Raises
        NotAllowed, Invalid for the reason, and NotFound("match").
        """
        await self._authority.require(actor, CLOSES)
        reason = checked_reason(reason)
        match = await self._realtime.match(match_id, Match)
        if match is None or match.history_id != history_id:
            raise NotFound("match")
        author = await self._authority.target(actor.user_id)
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            await audit.write(
                tx,
                actor,
                "mp_close",
                at_ms=now,
                target_kind="match",
                target_id=history_id,
                reason=reason,
                details={"match": history_id, "name": match.name},
            )

        # The row comes before the act, as in `run`.
        await self._authority.transaction(Requirement(actor, CLOSES), body)
        issuer = commands.Issuer(author.id, author.name, referee_any=True, staff=True)
        try:
            await self._matches.close(issuer, match_id)
        except MatchGone as error:
            raise NotFound("match") from error

    async def force(self, session: Session, match_id: int, user: User) -> None:
        """Seat an online player without password (docs/spec/multiplayer.md#invitations), with the row `mp_force`.

        Raises NotAllowed, AlreadySeated, Refused, and NotFound("match").
        """
        await self._authority.require(_actor(session), "matches.force")
        match = await self._realtime.match(match_id, Match)
        if match is None:
            raise NotFound("match")
        target = await self._matches.check_force(session, match, user.id)
        await self._record(session, "matches.force", "mp_force", "user", user.id, match)
        await self._matches.seat_by_force(target, match_id)

    async def _record(
        self, session: Session, permission: str, action: str, kind: str, target_id: int, match: Match
    ) -> None:
        async def body(tx: Transaction) -> None:
            await self._write(tx, session, action, kind, target_id, {"match": match.history_id, "name": match.name})

        await self._authority.transaction(Requirement(_actor(session), permission), body)

    async def _write(
        self, tx: Transaction, session: Session, action: str, kind: str, target_id: int, details: dict[str, object]
    ) -> None:
        now = self._clock.now_ms()
        await audit.write(
            tx, _actor(session), action, at_ms=now, target_kind=kind, target_id=target_id, details=details
        )


def _actor(session: Session) -> Actor:
    return Actor(user_id=session.user_id, source="irc" if session.irc else "game")

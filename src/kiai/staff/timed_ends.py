"""Ends restrictions, freezes and donor time that have run out (docs/spec/game-rules.md#restriction).

A job ends everything that is due, also after the server was down, in batches of one transaction each. A batch that
fails is repeated one account at a time, so that an account with a fault does not keep the sanctions of others.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import msgspec

from kiai.accounts import Accounts, User, sanctions
from kiai.accounts.sanctions import DueEnd, Timed
from kiai.accounts.visibility import is_public
from kiai.accounts.web_sessions import end_all_of
from kiai.clock import Clock
from kiai.errors import Unavailable
from kiai.logs import get_logger
from kiai.osu.privileges import DEVELOPER, DONATOR, UNRESTRICTED, loses_role
from kiai.scores.visibility_changes import Standing
from kiai.staff import audit
from kiai.staff.audit import JOB, WrittenAct
from kiai.staff.player_lines import enqueue_lines
from kiai.staff.restrictions import standing_of
from kiai.storage.outbox import enqueue_each
from kiai.storage.port import Command, Database, Transaction, Value

THANKS: Final = "Your donor time has ended. Thank you for your support!"

_End = Callable[[Transaction, Sequence[User], int], Awaitable[None]]
"""Ends something of these accounts, in a transaction that has locked them."""


class _Ended(msgspec.Struct, frozen=True):
    """An account whose time has run out, and what becomes of it."""

    user: User
    action: str
    priv: int
    before: object
    after: object
    reason: str = ""
    details: dict[str, object] = {}


class TimedEnds:
    """Ends what has run out."""

    def __init__(self, database: Database, accounts: Accounts, standing: Standing, clock: Clock) -> None:
        self._database = database
        self._accounts = accounts
        self._standing = standing
        self._clock = clock

    async def run(self) -> int:
        """End everything that is due and return its number. A job calls this."""
        return (
            await self._end_all(sanctions.RESTRICTIONS, self._end_restrictions)
            + await self._end_all(sanctions.FREEZES, self._end_freezes)
            + await self._end_all(sanctions.DONOR_TIMES, self._end_donor_times)
        )

    async def _end_all(self, timed: Timed, end: _End) -> int:
        now = self._clock.now_ms()
        ended = 0
        after = DueEnd(0, 0)
        # In the order of the ends: an account that cannot be changed stays due, and the others come after it.
        while due := await self._database.all(timed.due, now_ms=now, after_ms=after.end_ms, after_id=after.user_id):
            try:
                ended += await self._end_between(timed, end, after, due[-1], now)
            except Unavailable:
                raise
            except Exception as error:
                get_logger("staff").warning("sanctions are ended one by one", accounts=len(due), exc_info=error)
                ended += await self._end_each(timed, end, after, due, now)
            after = due[-1]
        return ended

    async def _end_each(self, timed: Timed, end: _End, after: DueEnd, due: Sequence[DueEnd], now: int) -> int:
        ended = 0
        for one in due:
            try:
                ended += await self._end_between(timed, end, after, one, now)
            except Unavailable:
                raise
            except Exception as error:
                get_logger("staff").error("a sanction could not be ended", user_id=one.user_id, exc_info=error)
            after = one
        return ended

    async def _end_between(self, timed: Timed, end: _End, after: DueEnd, last: DueEnd, now: int) -> int:
        """End what is due after `after`, up to `last`, in one transaction."""

        async def body(tx: Transaction) -> int:
            # Locks the rows. An account that another act has changed in the meantime is not among them.
            users = await tx.all(
                timed.to_change,
                now_ms=now,
                after_ms=after.end_ms,
                after_id=after.user_id,
                last_ms=last.end_ms,
                last_id=last.user_id,
            )
            if users:
                await end(tx, users, now)
            return len(users)

        return await self._database.transaction(body)

    async def _end_restrictions(self, tx: Transaction, users: Sequence[User], now: int) -> None:
        reason = "The restriction has run out"
        ended = [_ended(user, "unrestrict", user.priv | UNRESTRICTED, reason) for user in users]
        await self._store(tx, sanctions.SET_STANDING, [_standing(one) for one in ended], ended, now)

    async def _end_freezes(self, tx: Transaction, users: Sequence[User], now: int) -> None:
        reason = "The freeze has run out"
        developer = await self._last_developer(tx, users)
        ended = [
            # The last developer is not restricted.
            _ended(user, "unfreeze", user.priv, reason)
            if user.id == developer
            else _ended(user, "restrict", user.priv & ~UNRESTRICTED, reason, {"until_ms": 0})
            for user in users
        ]
        await self._store(tx, sanctions.SET_STANDING, [_standing(one) for one in ended], ended, now)

    async def _end_donor_times(self, tx: Transaction, users: Sequence[User], now: int) -> None:
        ended = [
            _Ended(user, "donor_end", user.priv & ~DONATOR, before=user.priv, after=user.priv & ~DONATOR)
            for user in users
        ]
        rows: list[dict[str, Value]] = [
            {"of_user": one.user.id, "priv": one.priv, "donor_until_ms": 0} for one in ended
        ]
        await self._store(tx, sanctions.SET_DONOR, rows, ended, now)
        await enqueue_lines(tx, [user.id for user in users], now, THANKS)

    async def _last_developer(self, tx: Transaction, users: Sequence[User]) -> int:
        """Return the id of the developer who has to stay because no other one would be left, or 0."""
        developers = [user.id for user in users if _is_developer(user)]
        if not developers or await self._accounts.developers(tx) > len(developers):
            return 0
        return developers[-1]

    async def _store(
        self, tx: Transaction, command: Command, rows: list[dict[str, Value]], ended: Sequence[_Ended], now: int
    ) -> None:
        await tx.run_many(command, rows)
        public = {one.user.id: is_public(one.priv) for one in ended if is_public(one.user.priv) != is_public(one.priv)}
        if public:
            await self._standing.on_visibility_changes(tx, public)
        for one in ended:
            if loses_role(one.user.priv, one.priv):
                await end_all_of(tx, one.user.id)
        # Delivered after the commit, by whichever worker has the players' sessions.
        await enqueue_each(tx, "privileges", [one.user.id for one in ended], now)
        for action in sorted({one.action for one in ended}):
            acts = [
                WrittenAct("user", one.user.id, one.reason, {"before": one.before, "after": one.after, **one.details})
                for one in ended
                if one.action == action
            ]
            await audit.write_sanctions(tx, JOB, action, acts, at_ms=now)


def _ended(user: User, action: str, priv: int, reason: str, details: dict[str, object] | None = None) -> _Ended:
    """Return the end of a restriction or a freeze, neither of which is left afterwards."""
    left = msgspec.structs.replace(user, priv=priv, banned_at_ms=None, restricted_until_ms=0, freeze_until_ms=0)
    return _Ended(user, action, priv, standing_of(user), standing_of(left), reason, details or {})


def _standing(one: _Ended) -> dict[str, Value]:
    # Nobody is banned and has a restriction or a freeze with an end.
    return {
        "of_user": one.user.id,
        "priv": one.priv,
        "banned_at_ms": None,
        "restricted_until_ms": 0,
        "freeze_until_ms": 0,
    }


def _is_developer(user: User) -> bool:
    return user.priv & (DEVELOPER | UNRESTRICTED) == DEVELOPER | UNRESTRICTED

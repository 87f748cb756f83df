"""The queue of integrity flags: staff reads them and closes them with a verdict. A verdict sanctions nobody."""

from typing import Final

from kiai.clock import Clock
from kiai.errors import Invalid, NotFound, WrongState
from kiai.scores.evidence import Examiner, ScanReport
from kiai.scores.flags import STATES, VERDICTS, FlagObject, Flags, State, flag_object
from kiai.staff import audit
from kiai.staff.audit import Actor
from kiai.staff.authority import Authority, Requirement
from kiai.storage.port import Transaction

TEXT_MAX: Final = 500
HANDLE: Final = "flags.handle"
SCAN: Final = "flags.scan"


class FlagQueue:
    """Lists and closes flags, and examines old plays. Each method checks the actor's stored privileges."""

    def __init__(self, authority: Authority, flags: Flags, examiner: Examiner, clock: Clock) -> None:
        self._authority = authority
        self._flags = flags
        self._examiner = examiner
        self._clock = clock

    async def page(
        self,
        actor: Actor,
        *,
        user_id: int | None = None,
        kind: str | None = None,
        state: State = "open",
        limit: int,
        offset: int = 0,
        before: int | None = None,
    ) -> list[FlagObject]:
        """Return flags with ids below `before`, newest first. Raises NotAllowed, and Invalid for an unknown state."""
        await self._authority.require(actor, HANDLE)
        if state not in STATES:
            raise Invalid("state", "open, closed or all", state)
        found = await self._flags.page(
            user_id=user_id, kind=kind, state=state, limit=limit, offset=offset, before=before
        )
        return [flag_object(flag) for flag in found]

    async def count(
        self, actor: Actor, *, user_id: int | None = None, kind: str | None = None, state: State = "open"
    ) -> int:
        """Return the number of flags, at most 10,000. Raises NotAllowed."""
        await self._authority.require(actor, HANDLE)
        return await self._flags.count(user_id=user_id, kind=kind, state=state)

    async def find(self, actor: Actor, flag_id: int) -> FlagObject:
        """Return a flag. Raises NotAllowed and NotFound("flag")."""
        await self._authority.require(actor, HANDLE)
        found = await self._flags.find(flag_id)
        if found is None:
            raise NotFound("flag")
        return flag_object(found)

    async def close(self, actor: Actor, flag_id: int, verdict: str, text: str = "") -> FlagObject:
        """Close an open flag, with an audit row `flag_close` in the same transaction. Return the closed flag.

        `verdict` is one of `VERDICTS`; `text` has at most 500 characters and can be empty. Raises NotAllowed, Invalid,
        NotFound("flag"), and WrongState if the flag is closed already.
        """
        await self._authority.require(actor, HANDLE)
        text = text.strip()
        if verdict not in VERDICTS:
            raise Invalid("verdict", "cheating, clean or unclear", verdict)
        if len(text) > TEXT_MAX or not all(char.isprintable() for char in text):
            raise Invalid("text", f"at most {TEXT_MAX} printable characters", text)
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> FlagObject:
            return await self.close_within(tx, actor, flag_id, verdict, text, now)

        return await self._authority.transaction(Requirement(actor, HANDLE), body)

    async def close_within(
        self, tx: Transaction, actor: Actor, flag_id: int, verdict: str, text: str, now_ms: int
    ) -> FlagObject:
        """Close an open flag and write its audit row in the caller's transaction. The caller checks the permission.

        Raises NotFound("flag"), and WrongState if the flag is closed already.
        """
        closed = await self._flags.close_within(
            tx, flag_id, verdict=verdict, text=text, closed_by=actor.user_id, now_ms=now_ms
        )
        found = await self._flags.find(flag_id, tx)
        if found is None:
            raise NotFound("flag")
        if not closed:
            raise WrongState(f"flag {flag_id} is already closed")
        await audit.write(
            tx,
            actor,
            "flag_close",
            at_ms=now_ms,
            target_kind="user",
            target_id=found.user_id,
            reason=text,
            details={
                "flag": flag_id,
                "kind": found.kind,
                "before": {"state": "open"},
                "after": {"state": "closed", "verdict": verdict},
            },
        )
        return flag_object(found)

    async def scan(self, actor: Actor, *, map_id: int | None = None, user_id: int | None = None) -> ScanReport:
        """Examine old plays, see `Examiner.scan`. Raises NotAllowed, NotFound("map") and Unavailable."""
        await self._authority.require(actor, SCAN)
        return await self._examiner.scan(map_id=map_id, user_id=user_id)

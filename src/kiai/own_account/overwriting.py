"""`!overwrite`: a donor makes their last score the best one on its map. The audit log has each use."""

from typing import Final

from kiai.clock import Clock
from kiai.errors import NotFound, Refused
from kiai.osu.modes import MODES
from kiai.realtime.port import Realtime
from kiai.scores import overwriting
from kiai.scores.model import MappedScore
from kiai.scores.profiles import Profiles
from kiai.staff import audit
from kiai.staff.audit import Actor
from kiai.staff.authority import Authority, Requirement
from kiai.storage.port import Transaction

PERMISSION: Final = "scores.overwrite"
EVERY_S: Final = 10.0
"""Seconds between two uses of a player."""


class Overwriting:
    """Finds the last score of a player, and makes it the best one."""

    def __init__(self, profiles: Profiles, authority: Authority, realtime: Realtime, clock: Clock) -> None:
        self._profiles = profiles
        self._authority = authority
        self._realtime = realtime
        self._clock = clock

    async def last(self, actor: Actor) -> MappedScore:
        """Return the last score of a player in any mode. Raises NotAllowed, and Refused without one and for a fail."""
        await self._authority.require(actor, PERMISSION)
        found = [one for mode in MODES for one in await self._profiles.recent_of(actor.user_id, mode, limit=1)]
        if not found:
            raise Refused("you have no scores yet")
        last = max(found, key=lambda one: one.score.id)
        if not last.score.status:
            raise Refused("your last play is a fail")
        return last

    async def overwrite(self, actor: Actor, score_id: int) -> MappedScore:
        """Make the last score of a player, which has this id, the best one on its map and return it.

        Raises as `last`, WrongState if it is the best one already, and Refused if the last score is another one and
        within 10 s after the last use.
        """
        last = await self.last(actor)
        if last.score.id != score_id:  # the player has played since
            raise Refused("your last score is another one now; send the command again")
        if not await self._realtime.once(f"overwrite:{actor.user_id}", EVERY_S):
            raise Refused(f"you can do this once in {EVERY_S:.0f} seconds")
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            former = await overwriting.make_best(tx, self._clock, actor.user_id, last.score.id)
            await audit.write(
                tx,
                actor,
                "score_overwrite",
                at_ms=now,
                target_kind="score",
                target_id=last.score.id,
                details={"map": last.beatmap.id, "before": {"best": former}, "after": {"best": last.score.id}},
            )

        try:
            await self._authority.transaction(Requirement(actor, PERMISSION), body)
        except NotFound as error:  # hidden in the meantime
            raise Refused("your last score does not exist any more") from error
        return last

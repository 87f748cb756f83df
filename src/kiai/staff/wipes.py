"""Acts of staff on scores: wipes of players and maps and their ends, and hiding one score.

Each act is one transaction with its audit row. The scores of a wipe follow in steps (`scores/hiding.py`).
See docs/spec/game-rules.md#hidden-scores.
"""

from typing import Final

import msgspec

from kiai.accounts import User
from kiai.beatmaps import Beatmap
from kiai.clock import Clock
from kiai.errors import NotFound, WrongState
from kiai.osu.modes import mode_text
from kiai.osu.texts import chat_text
from kiai.scores.hiding import AT_ONCE_MAX, Hiding
from kiai.staff import audit
from kiai.staff.audit import Actor
from kiai.staff.authority import Authority, Oneself, Requirement, Who
from kiai.staff.player_lines import enqueue_line
from kiai.staff.reasons import checked_reason
from kiai.staff.restrictions import Restrictions
from kiai.storage.port import Transaction

WIPES_USERS: Final = "scores.wipe"
WIPES_MAPS: Final = "beatmaps.wipe_scores"
HIDES_SCORES: Final = "scores.hide"
USER_WIPE: Final = "user_wipe"
USER_RESTORE: Final = "user_restore"


class Wiped(msgspec.Struct, frozen=True):
    """A wipe of a player, or its end. `scores` is the number of scores that it hides or shows."""

    target: User
    scores: int


class HiddenScore(msgspec.Struct, frozen=True):
    """A score that was hidden or shown, and its player."""

    score_id: int
    player: User


class Wipes:
    """Wipes, restores, hides and shows scores."""

    def __init__(self, authority: Authority, hiding: Hiding, restrictions: Restrictions, clock: Clock) -> None:
        self._authority = authority
        self._hiding = hiding
        self._restrictions = restrictions
        self._clock = clock

    # --- a player

    async def check_user(self, actor: Actor, who: Who, reason: str) -> User:
        """Return the player whose scores `wipe_user` would hide. Raises what it raises, except for the state."""
        target, _ = await self._checked_user(actor, who, reason, USER_WIPE, "refused")
        return target

    async def wipe_user(self, actor: Actor, who: Who, reason: str, *, mode: int | None = None) -> Wiped:
        """Hide all scores of a player in a mode, or in all modes. Later plays are not affected.

        Raises NotAllowed, Invalid, NotFound, Refused by the target rule, and WrongState without visible scores.
        """
        target, required = await self._checked_user(actor, who, reason, USER_WIPE, "refused")

        async def body(tx: Transaction) -> int:
            count = await self._hiding.wipe_user(tx, target.id, mode)
            if not count:
                raise WrongState(f"{target.name} already has no scores{_in_mode(mode)}")
            await self._record_user(tx, required, mode, before=count, after=0)
            why = chat_text(required.reason)
            await self._notify(tx, target.id, f"Your scores{_in_mode(mode)} were hidden by staff: {why}")
            return count

        return Wiped(target, await self._authority.transaction(required, body))

    async def restore_user(self, actor: Actor, who: Who, reason: str, *, mode: int | None = None) -> Wiped:
        """Show the scores again that wipes of a player hide, in a mode or in all modes.

        Scores that staff hid one by one, and those of a wiped map, stay hidden. Raises as `wipe_user`, and WrongState
        without a wipe.
        """
        target, required = await self._checked_user(actor, who, reason, USER_RESTORE, "ranked")

        async def body(tx: Transaction) -> int:
            count = await self._hiding.restore_user(tx, target.id, mode)
            if count is None:
                raise WrongState(f"{target.name} is not wiped{_in_mode(mode)}")
            await self._record_user(tx, required, mode, before=0, after=count)
            await self._notify(tx, target.id, f"Your scores{_in_mode(mode)} are visible again.")
            return count

        return Wiped(target, await self._authority.transaction(required, body))

    async def unrestrict(self, actor: Actor, who: Who, reason: str) -> Wiped:
        """Lift a restriction and wipe the player, so that the account is visible and its former scores are not.

        Raises as `Restrictions.unrestrict`, whose permission suffices: the scores are hidden already. No score is
        visible in between. With very many scores the wipe is an act of its own, with its audit row, before the other.
        """
        await self._authority.require(actor, "users.restrict")
        reason = checked_reason(reason)  # a wipe needs one
        target = await self._restrictions.check_unrestrict(actor, who, reason)
        count = await self._hiding.visible_scores(target.id)
        if count > AT_ONCE_MAX:

            async def body(tx: Transaction) -> int:
                hidden = await self._hiding.wipe_user(tx, target.id)
                await self._record_user(tx, required, None, before=hidden, after=0)
                return hidden

            required = Requirement(actor, "users.restrict", target.id, USER_WIPE, reason, "ranked")
            count = await self._authority.transaction(required, body)
            await self._hiding.finish_user(target.id)

        async def wipe(tx: Transaction, user: User) -> dict[str, object]:
            return {"wiped": await self._hiding.wipe_user_at_once(tx, user.id)}

        done = await self._restrictions.unrestrict(actor, target.id, reason, first=wipe)
        return Wiped(done.target, count)

    async def _checked_user(
        self, actor: Actor, who: Who, reason: str, action: str, oneself: Oneself
    ) -> tuple[User, Requirement]:
        """Return the target, and what the transaction checks again.

        Raises in the order of docs/spec/game-rules.md#who-may-act-on-whom.
        """
        await self._authority.require(actor, WIPES_USERS)
        reason = checked_reason(reason)
        target = await self._authority.target(who)
        return target, await self._authority.require_over(
            actor, WIPES_USERS, target, action=action, reason=reason, oneself=oneself
        )

    async def _record_user(
        self,
        tx: Transaction,
        required: Requirement,
        mode: int | None,
        *,
        before: int,
        after: int,
    ) -> None:
        """Write the audit row. `before` and `after` are the numbers of visible scores among those of the act."""
        await audit.write(
            tx,
            required.actor,
            required.action,
            at_ms=self._clock.now_ms(),
            target_kind="user",
            target_id=required.target_id,
            reason=required.reason,
            details={"mode": mode, "before": before, "after": after, "scores": max(before, after)},
        )

    # --- a map

    async def check_map(self, actor: Actor, reason: str) -> None:
        """Raise what `wipe_map` would raise for the actor and the reason."""
        await self._authority.require(actor, WIPES_MAPS)
        checked_reason(reason)

    async def wipe_map(self, actor: Actor, beatmap: Beatmap, reason: str) -> int:
        """Hide all scores on a revision of a map, and return their number. Later plays are not affected.

        Raises NotAllowed, Invalid, and WrongState without visible scores.
        """
        await self._authority.require(actor, WIPES_MAPS)
        reason = checked_reason(reason)

        async def body(tx: Transaction) -> int:
            count = await self._hiding.wipe_map(tx, beatmap.key)
            if not count:
                raise WrongState("the beatmap already has no scores")
            await self._record_map(tx, actor, "map_wipe", beatmap, reason, before=count, after=0)
            return count

        return await self._authority.transaction(Requirement(actor, WIPES_MAPS), body)

    async def restore_map(self, actor: Actor, beatmap: Beatmap, reason: str) -> int:
        """Show the scores again that the wipe of a map hides, and return their number.

        Raises as `wipe_map`, and WrongState without a wipe.
        """
        await self._authority.require(actor, WIPES_MAPS)
        reason = checked_reason(reason)

        async def body(tx: Transaction) -> int:
            count = await self._hiding.restore_map(tx, beatmap.key)
            if count is None:
                raise WrongState("the beatmap is not wiped")
            await self._record_map(tx, actor, "map_restore", beatmap, reason, before=0, after=count)
            return count

        return await self._authority.transaction(Requirement(actor, WIPES_MAPS), body)

    async def _record_map(
        self, tx: Transaction, actor: Actor, action: str, beatmap: Beatmap, reason: str, *, before: int, after: int
    ) -> None:
        await audit.write(
            tx,
            actor,
            action,
            at_ms=self._clock.now_ms(),
            target_kind="beatmap",
            target_id=beatmap.id,
            reason=reason,
            details={"md5": beatmap.md5, "before": before, "after": after, "count": max(before, after)},
        )

    # --- one score

    async def hide_score(self, actor: Actor, score_id: int, reason: str) -> HiddenScore:
        """Hide one score: the next best of its player takes its place.

        Raises NotAllowed, Invalid, NotFound("score"), Refused by the target rule for its player, and WrongState.
        """
        return await self._set_hidden(actor, score_id, reason, hidden=True)

    async def unhide_score(self, actor: Actor, score_id: int, reason: str) -> HiddenScore:
        """Show a single score again that staff hid. Raises as `hide_score`."""
        return await self._set_hidden(actor, score_id, reason, hidden=False)

    async def _set_hidden(self, actor: Actor, score_id: int, reason: str, *, hidden: bool) -> HiddenScore:
        action = "score_hide" if hidden else "score_unhide"
        await self._authority.require(actor, HIDES_SCORES)
        reason = checked_reason(reason)
        found = await self._hiding.score(score_id)
        try:
            player = await self._authority.target(found.user_id)
        except NotFound as error:  # the account was deleted, and its scores with it
            raise NotFound("score") from error
        required = await self._authority.require_over(
            actor, HIDES_SCORES, player, action=action, reason=reason, oneself="ranked"
        )

        async def body(tx: Transaction) -> None:
            await self._hiding.set_hidden(tx, score_id, hidden=hidden)
            await audit.write(
                tx,
                actor,
                action,
                at_ms=self._clock.now_ms(),
                target_kind="score",
                target_id=score_id,
                reason=reason,
                details={"user_id": player.id, "before": not hidden, "after": hidden},
            )
            outcome = f"was hidden by staff: {chat_text(reason)}" if hidden else "is visible again."
            await self._notify(tx, player.id, f"Your score {score_id} {outcome}")

        await self._authority.transaction(required, body)
        return HiddenScore(score_id, player)

    async def _notify(self, tx: Transaction, user_id: int, text: str) -> None:
        # Kept, because nothing on the website shows the reason.
        await enqueue_line(tx, user_id, self._clock.now_ms(), text, as_mail=True)


def _in_mode(mode: int | None) -> str:
    return "" if mode is None else f" in {mode_text(mode)}"

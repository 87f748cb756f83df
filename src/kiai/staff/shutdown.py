"""Planned stops of the server, by a developer in the game or by `kiai shutdown` (docs/operate/start.md#planned-stops).

The plan is a switch, so every worker has it, and the command line changes it in another process. A server announces
what it finds there. A plan ends with the server that it was made for: a server that starts later ignores it. At its
time each worker stops its whole server: itself, or its supervisor with all workers. The stop is the one of SIGTERM: it
answers the requests in progress and saves the sessions.
"""

from typing import Final

from kiai.clock import Clock
from kiai.errors import Invalid, WrongState
from kiai.osu.durations import duration_text
from kiai.presence import Presence
from kiai.realtime.port import Realtime
from kiai.staff import audit
from kiai.staff.audit import Actor
from kiai.staff.authority import Authority, Requirement
from kiai.staff.reasons import checked_reason
from kiai.staff.switches import Switch, Switches, locked, store
from kiai.storage.port import Transaction

PERMISSION: Final = "server.shutdown"
DELAY_LEAST_S: Final = 15
DELAY_MOST_S: Final = 86_400
CHECK_EVERY_S: Final = 0.5
REMINDERS_S: Final = (600, 60, 15)
"""The seconds before the stop at which players are reminded of it."""
NEWS_MS: Final = 60_000
"""The time for which a cancelled stop is announced to players who have not received it yet."""


def checked_delay(seconds: int | None) -> int:
    """Return the seconds until the stop; without a given delay the least. Raises Invalid."""
    delay = DELAY_LEAST_S if seconds is None else seconds
    if not DELAY_LEAST_S <= delay <= DELAY_MOST_S:
        raise Invalid("delay", "15 seconds to 1 day", f"{delay} s")
    return delay


class Shutdown:
    """Plans a stop, announces it, and says when it is due."""

    def __init__(
        self,
        authority: Authority,
        switches: Switches,
        realtime: Realtime,
        presence: Presence,
        clock: Clock,
        *,
        title: str,
    ) -> None:
        self._authority = authority
        self._switches = switches
        self._realtime = realtime
        self._presence = presence
        self._clock = clock
        self._title = title
        self.started_ms = clock.now_ms()
        """The start of the server, with several workers that of their supervisor."""

    async def check(self, actor: Actor, seconds: int | None) -> int:
        """Return the delay in seconds of a stop that could be planned now. Raises as `plan`."""
        await self._authority.require(actor, PERMISSION)
        delay = checked_delay(seconds)
        await self._switches.reload()
        self._check_free(self._switches.now("stop"))
        return delay

    async def plan(self, actor: Actor, seconds: int | None = None, reason: str = "") -> int:
        """Plan the stop and announce it to all players. Return the delay in seconds.

        Raises NotAllowed, Invalid, and WrongState if a stop is planned already.
        """
        await self._authority.require(actor, PERMISSION)
        delay = checked_delay(seconds)
        reason = checked_reason(reason, optional=True)
        now = self._clock.now_ms()
        due_ms = now + delay * 1000

        async def body(tx: Transaction) -> None:
            self._check_free(await locked(tx, "stop"))
            await store(tx, Switch("stop", due_ms, now, reason=reason))
            await audit.write(
                tx,
                actor,
                "shutdown",
                at_ms=now,
                target_kind="server",
                target_id=0,
                reason=reason,
                details={"before": {"due_ms": 0}, "after": {"due_ms": due_ms}},
            )

        await self._authority.transaction(Requirement(actor, PERMISSION), body)
        await self._switches.reload()
        await self._announce_plan(Switch("stop", due_ms, now, reason=reason))
        return delay

    async def check_cancel(self, actor: Actor) -> None:
        """Check that a planned stop could be cancelled now. Raises as `cancel`."""
        await self._authority.require(actor, PERMISSION)
        await self._switches.reload()
        self._check_planned(self._switches.now("stop"))

    async def cancel(self, actor: Actor, reason: str = "") -> None:
        """Cancel the planned stop and announce it to all players, also on other servers that use the same database.

        Raises NotAllowed, Invalid, and WrongState if no stop is planned.
        """
        await self._authority.require(actor, PERMISSION)
        reason = checked_reason(reason, optional=True)
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            plan = await locked(tx, "stop")
            self._check_planned(plan)
            await store(tx, Switch("stop", 0, now, reason=reason))
            await audit.write(
                tx,
                actor,
                "shutdown",
                at_ms=now,
                target_kind="server",
                target_id=0,
                reason=reason,
                details={"before": {"due_ms": plan.value}, "after": {"due_ms": 0}},
            )

        await self._authority.transaction(Requirement(actor, PERMISSION), body)
        await self._switches.reload()
        await self._announce_end(Switch("stop", 0, now, reason=reason))

    async def remind(self) -> None:
        """Announce a new plan or its end, and remind players of the planned stop. A job calls this."""
        plan = self._switches.now("stop")
        is_news = self.started_ms <= plan.changed_at_ms > self._clock.now_ms() - NEWS_MS
        if not plan.value and is_news:
            await self._announce_end(plan)
        if not self._is_followed(plan):
            return
        await self._announce_plan(plan)
        left_ms = plan.value - self._clock.now_ms()
        for seconds in REMINDERS_S:
            planned_s = (plan.value - plan.changed_at_ms) / 1000
            if not 0 < left_ms <= seconds * 1000 or planned_s <= seconds:
                continue
            if await self._realtime.once(f"stop:{plan.value}:{seconds}", DELAY_MOST_S):
                await self._presence.alert(self._text(max(1, round(left_ms / 1000)), plan.reason))

    async def _announce_plan(self, plan: Switch) -> None:
        if await self._realtime.once(f"stop:{plan.value}:{plan.changed_at_ms}", DELAY_MOST_S):
            # In round numbers: the plan of another process is a second or two old when a server reads it.
            await self._presence.alert(self._text(round((plan.value - plan.changed_at_ms) / 1000), plan.reason))

    async def _announce_end(self, plan: Switch) -> None:
        if await self._realtime.once(f"no-stop:{plan.changed_at_ms}", NEWS_MS / 1000):
            await self._presence.alert(f"{self._title} does not stop{f': {plan.reason}' if plan.reason else '.'}")

    def is_due(self) -> bool:
        """Return whether the server must stop now."""
        plan = self._switches.now("stop")
        return self._is_followed(plan) and plan.value <= self._clock.now_ms()

    def _is_followed(self, plan: Switch) -> bool:
        """Return whether a stop is planned that is not older than this server."""
        return plan.value != 0 and plan.changed_at_ms >= self.started_ms

    def _check_free(self, plan: Switch) -> None:
        left_ms = plan.value - self._clock.now_ms()
        if left_ms > 0 and self._is_followed(plan):
            raise WrongState(
                f"a stop is already planned, in {duration_text(max(1, round(left_ms / 1000)))}; "
                "!shutdown cancel cancels it"
            )

    def _check_planned(self, plan: Switch) -> None:
        if plan.value <= self._clock.now_ms():
            raise WrongState("no stop is planned")

    def _text(self, seconds: int, reason: str) -> str:
        because = f": {reason}" if reason else "."
        return f"{self._title} stops in {duration_text(seconds)}{because}"

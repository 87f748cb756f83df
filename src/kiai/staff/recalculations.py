"""Recalculations of pp that developers ask for: `!recalc` and the panel. They are runs of the job `recalc`.

One that was interrupted by a restart continues behind its last finished map (`scores/recalculation.py`).
"""

from collections.abc import Mapping
from typing import Final

from kiai.accounts import User
from kiai.beatmaps import Beatmaps
from kiai.errors import Invalid
from kiai.osu.modes import parse_mode
from kiai.osu.numbers import whole_number
from kiai.scores.recalculation import Recalculation
from kiai.staff.audit import Actor
from kiai.staff.authority import Authority
from kiai.staff.job_runs import CheckedStart, JobDesk, JobKind, JobProgress, JobRun

PERMISSION: Final = "recalc.run"
KIND: Final = "recalc"
ID_MAX: Final = 2**31 - 1


class Recalculations:
    """Queues recalculations, and carries them out."""

    def __init__(self, authority: Authority, recalculation: Recalculation, beatmaps: Beatmaps, desk: JobDesk) -> None:
        self._authority = authority
        self._recalculation = recalculation
        self._beatmaps = beatmaps
        self._desk = desk
        desk.add(
            JobKind(
                KIND,
                "Recalculation",
                self._check,
                self._run,
                permission=PERMISSION,
                action="recalc",
                parallel=True,
                waits=True,
            )
        )

    async def queue(
        self, actor: Actor, *, map_id: int | None = None, user_id: int | None = None, mode: int | None = None
    ) -> int:
        """Queue the recalculation of a map, a player or a mode, or without any of them of everything. Return its id.

        Raises NotAllowed, NotFound, WrongState if the same one is queued, and Refused at the limit.
        """
        given = {"map": map_id, "user": None if user_id is None else f"#{user_id}", "mode": mode}
        return await self._desk.start(
            actor, KIND, {name: str(value) for name, value in given.items() if value is not None}
        )

    async def _check(self, given: Mapping[str, str]) -> CheckedStart:
        """Check the parameters `map` (an id), `user` (a name, or # and an id) and `mode`."""
        params: dict[str, str] = {}
        target = "server", 0
        if "user" in given:
            user = await self._user(given["user"])
            params["user"], target = f"#{user.id}", ("user", user.id)
        if "map" in given:
            map_id = whole_number(given["map"], ID_MAX)
            if not map_id:
                raise Invalid("map", "the id of a map", given["map"])
            params["map"], target = str(map_id), ("beatmap", map_id)
        if "mode" in given:
            mode = parse_mode(given["mode"])
            if mode is None:
                raise Invalid("mode", "0 to 6 or 8", given["mode"])
            params["mode"] = str(mode)
        return CheckedStart(params, *target)

    async def _user(self, text: str) -> User:
        user_id = whole_number(text.removeprefix("#"), ID_MAX) if text.startswith("#") else None
        return await self._authority.target(text if user_id is None else user_id)

    async def _run(self, run: JobRun, progress: JobProgress) -> str:
        given = run.parameters
        beatmap = await self._beatmaps.find(id=int(given["map"])) if "map" in given else None
        user = await self._user(given["user"]) if "user" in given else None
        mode = int(given["mode"]) if "mode" in given else None
        report = await self._recalculation.run(mode=mode, beatmap=beatmap, user=user, progress=progress)
        for line in report.failed:
            progress.say(line)
        failed = f" {len(report.failed)} maps cannot be computed." if report.failed else ""
        return f"{report.scores} scores computed, {report.changed} changed.{failed}"

"""The charts of the server's own figures, for staff."""

from typing import Final

from kiai.errors import Invalid
from kiai.samples import DAY_MINUTES, STEPS, Samples, Series, finest_step
from kiai.staff.audit import Actor
from kiai.staff.authority import Authority

PERMISSION: Final = "server.samples"


class ServerCharts:
    """Reads the samples for accounts with the permission."""

    def __init__(self, authority: Authority, samples: Samples) -> None:
        self._authority = authority
        self._samples = samples

    async def last(self, actor: Actor, minutes: int = DAY_MINUTES, step: int | None = None) -> Series:
        """Return the figures of the last `minutes`, as `Samples.last` does.

        Raises NotAllowed, and Invalid for a step that charts of so long a time do not have.
        """
        await self._authority.require(actor, PERMISSION)
        if step is not None and step not in (allowed := [one for one in STEPS if one >= finest_step(minutes)]):
            listed = f"{', '.join(map(str, allowed[:-1]))} or {allowed[-1]}"
            raise Invalid("step", f"{listed} for the last {minutes // 60} hours", step)
        return await self._samples.last(minutes, step)

"""Version 2: the server's own figures over time, for keys of staff."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from kiai.faces.api.operation import Caller, Operation
from kiai.faces.api.v2.paging import NoMeta, Success, get
from kiai.samples import DAYS, STEPS, Sample
from kiai.staff import Actor
from kiai.staff.server_charts import PERMISSION, ServerCharts

HOURS_MAX: Final = 24 * DAYS
_STEPS: Final = f"{', '.join(map(str, STEPS[:-1]))} or {STEPS[-1]}"


class SamplesQuery(msgspec.Struct, frozen=True):
    """The parameters of /server/samples."""

    hours: Annotated[int, Meta(ge=1, le=HOURS_MAX, description="Number of hours, ending now.")] = 24
    step: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=STEPS[-1],
                description=f"Minutes between two samples: {_STEPS}. At least 15 for more than 24 hours, and at most "
                "1,440 samples. Default: the smallest with at most 240 samples.",
            ),
        ]
        | None
    ) = None


class SampleData(msgspec.Struct, frozen=True):
    """The figures of `step` minutes that begin at `at` (unix seconds). All are null while the server was down.

    `seconds` of the time are covered. `requests_per_s` is an average over them; `requests`, `errors` (answers with a
    status from 500) and `submissions` (stored plays) are counts. `p99_ms` of the requests, `loop_lag_ms` and `online`
    are the largest values of a minute.
    """

    at: int
    seconds: int
    requests: int | None
    requests_per_s: float | None
    p99_ms: float | None
    loop_lag_ms: float | None
    online: int | None
    submissions: int | None
    errors: int | None


class SamplesData(msgspec.Struct, frozen=True):
    """Samples of all servers together, oldest first, `step` minutes apart."""

    step: int
    samples: list[SampleData]


class SamplesPage(msgspec.Struct, frozen=True):
    """The response of /server/samples."""

    status: Success
    data: SamplesData
    meta: NoMeta


class SamplesV2:
    """The endpoint of the samples. The first line of a handler's docstring is the summary in the OpenAPI document."""

    def __init__(self, charts: ServerCharts) -> None:
        self._charts = charts

    async def samples(self, caller: Caller, query: SamplesQuery) -> SamplesPage:
        """Requests, times, players online, plays and errors of the last hours, for staff."""
        actor = Actor(caller.viewer.user_id, "api")
        series = await self._charts.last(actor, 60 * query.hours, query.step)
        return SamplesPage("success", SamplesData(series.step, [_sample(one) for one in series.samples]), NoMeta())

    def operations(self) -> list[Operation]:
        """Return the operations of this class."""
        return [
            get("/server/samples", self.samples, SamplesPage, tag="staff", query=SamplesQuery, permission=PERMISSION),
        ]


def _sample(sample: Sample) -> SampleData:
    rate, gap = sample.requests_per_s, sample.is_gap
    return SampleData(
        at=sample.at_ms // 1000,
        seconds=sample.seconds,
        requests=None if gap else sample.requests,
        requests_per_s=None if rate is None else round(rate, 3),
        p99_ms=None if sample.p99_ms is None else round(sample.p99_ms, 2),
        loop_lag_ms=None if sample.lag_ms is None else round(sample.lag_ms, 2),
        online=sample.online,
        submissions=None if gap else sample.submissions,
        errors=None if gap else sample.errors,
    )

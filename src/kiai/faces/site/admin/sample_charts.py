"""The six charts of the server's own figures of the last day, for any page of the panel.

A page reads them with `read_charts` and draws them with the macros of `admin/samples.html`:

    values = {"samples": await read_charts(self._charts, staff_actor(request))}

    {% import "admin/samples.html" as sample_parts %}
    {{ sample_parts.charts(samples) }}
    {{ sample_parts.table(samples) }}
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from markupsafe import Markup

from kiai.faces.site.chart_drawing import broken_line
from kiai.faces.site.formats import utc
from kiai.samples import Sample
from kiai.staff import Actor
from kiai.staff.server_charts import ServerCharts

TABLE_STEP: Final = 30
"""Minutes between two rows of the table, so that the page stays within its 60 KB."""
DAY_MINUTES: Final = 1_440

Value = float | None


class _Figure(msgspec.Struct, frozen=True):
    """One of the figures: its name in the API, its title, its unit, and how it is read. `digits` after the point."""

    name: str
    title: str
    unit: str
    digits: int
    of: Callable[[Sample], Value]


_FIGURES: Final = (
    _Figure("requests_per_s", "Requests per second", "", 2, lambda sample: sample.requests_per_s),
    _Figure("p99_ms", "Time of 99 % of requests", "ms", 1, lambda sample: sample.p99_ms),
    _Figure("loop_lag_ms", "Loop lag", "ms", 1, lambda sample: sample.lag_ms),
    _Figure("online", "Players online", "", 0, lambda sample: sample.online),
    _Figure("submissions", "Submissions", "", 0, lambda sample: None if sample.is_gap else sample.submissions),
    _Figure("errors", "Errors", "", 0, lambda sample: None if sample.is_gap else sample.errors),
)


class SampleChart(msgspec.Struct, frozen=True):
    """A chart: `last` and `largest` are texts with the unit, `values` the values with commas between, "" for a gap.

    `line` is the path of the line, in a field of 100 x 100, and empty without values.
    """

    name: str
    title: str
    unit: str
    last: str
    largest: str
    last_value: Value
    values: str
    line: str


class SampleCharts(msgspec.Struct, frozen=True):
    """All charts. `first_ms` is the time of the first value, `step` the minutes between two values.

    `rows` are the rows of the table of the same day, newest first. `gaps` is the number of minutes without a sample,
    rounded to steps.
    """

    first_ms: int
    step: int
    charts: list[SampleChart]
    titles: tuple[str, ...]
    rows: Markup
    gaps: int


async def read_charts(charts: ServerCharts, actor: Actor) -> SampleCharts:
    """Return the charts of the last 24 hours. Raises NotAllowed without the permission `server.samples`."""
    series, by_half_hour = await asyncio.gather(charts.last(actor), charts.last(actor, DAY_MINUTES, TABLE_STEP))
    samples = series.samples
    return SampleCharts(
        samples[0].at_ms,
        series.step,
        [_chart(figure, [figure.of(sample) for sample in samples]) for figure in _FIGURES],
        tuple(f"{figure.title} ({figure.unit})" if figure.unit else figure.title for figure in _FIGURES),
        _rows(by_half_hour.samples),
        series.step * sum(sample.is_gap for sample in samples),
    )


def _chart(figure: _Figure, values: Sequence[Value]) -> SampleChart:
    known = [value for value in values if value is not None]
    return SampleChart(
        figure.name,
        figure.title,
        figure.unit,
        _text(figure, values[-1]),
        _text(figure, max(known, default=None)),
        None if values[-1] is None else round(values[-1], figure.digits),
        ",".join("" if value is None else f"{round(value, figure.digits):g}" for value in values),
        broken_line(values),
    )


def _text(figure: _Figure, value: Value) -> str:
    return "-" if value is None else f"{value:,.{figure.digits}f} {figure.unit}".rstrip()


def _rows(samples: Sequence[Sample]) -> Markup:
    """Return the rows without end tags of cells, which HTML does not need."""
    drawn = []
    for sample in reversed(samples):
        when = utc(sample.at_ms)
        values = [(figure, figure.of(sample)) for figure in _FIGURES]
        cells = "".join(
            f"<td class=num>{'-' if value is None else f'{value:,.{figure.digits}f}'}" for figure, value in values
        )
        drawn.append(f'<tr><td><time datetime="{when:%Y-%m-%dT%H:%MZ}">{when:%H:%M}</time>{cells}')
    return Markup("\n".join(drawn))  # noqa: S704  # numbers and times only

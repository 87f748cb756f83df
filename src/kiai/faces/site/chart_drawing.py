"""The parts of charts that have an entry for each value. PERF: in a template, a graph of 90 days takes over 1 ms."""

from collections.abc import Sequence

from markupsafe import Markup, escape

Point = tuple[str, float | None, str]
"""When, the value (None for a gap), and the value as text."""


def polyline(points: Sequence[Point], *, invert: bool = False) -> str:
    """Return the points of a line in a field of 100 x 100. With `invert`, small values are at the top."""
    values = [value for _, value, _ in points if value is not None]
    if not values:
        return ""
    low, high = min(values), max(values)
    step, scale = 100 / max(len(values) - 1, 1), 88 / ((high - low) or 1)
    heights = [value - low if invert else high - value for value in values]
    return " ".join(f"{at * step:.2f},{6 + height * scale:.2f}" for at, height in enumerate(heights))


def chart_rows(points: Sequence[Point]) -> Markup:
    """Return the rows of the table below a chart."""
    rows = [
        f'<tr><td>{escape(when)}</td><td class="num">'
        f'<data value="{"" if value is None else value}">{escape(shown)}</data></td></tr>'
        for when, value, shown in points
    ]
    return Markup("\n".join(rows))  # noqa: S704  # texts are escaped above, values are numbers


def columns(rows: Sequence[tuple[str, float, str]]) -> Markup:
    """Return the columns of a bar chart in a field of 100 x 100. `rows` are name, value and value as text."""
    top, width = max((value for _, value, _ in rows), default=0) or 1, 100 / max(len(rows), 1)
    return Markup(  # noqa: S704  # texts are escaped, the rest are numbers
        "\n".join(
            f'<rect class="column" x="{(at + 0.12) * width:.2f}" width="{0.76 * width:.2f}" '
            f'y="{100 - 100 * value / top:.2f}" height="{100 * value / top:.2f}">'
            f"<title>{escape(when)}: {escape(shown)}</title></rect>"
            for at, (when, value, shown) in enumerate(rows)
        )
    )


def strain_area(values: Sequence[float]) -> str:
    """Return the path of an area in a field of 100 x 100, with the largest value near the top."""
    top, step = max(values) or 1, 100 / max(len(values) - 1, 1)
    line = "L".join(f"{at * step:.1f} {100 - 96 * value / top:.1f}" for at, value in enumerate(values))
    return f"M-1 101L{line}L101 101Z"


def broken_line(values: Sequence[float | None]) -> str:
    """Return the path of a line in a field of 100 x 100 whose scale begins at zero. A value of None interrupts it."""
    top = max((value for value in values if value is not None), default=None)
    if top is None:
        return ""
    step, scale = 100 / max(len(values) - 1, 1), 94 / (top or 1)
    parts, is_open = [], False
    for at, value in enumerate(values):
        if value is None:
            is_open = False
            continue
        parts.append(f"{'L' if is_open else 'M'}{at * step:.1f} {98 - value * scale:.1f}")
        if not is_open:
            parts.append("h.1")  # a value between two gaps is a dot
        is_open = True
    return "".join(parts)

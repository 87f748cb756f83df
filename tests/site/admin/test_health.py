"""The page of the health, and the charts of the last day with and without script."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import delete, insert
from tests.site.admin.kit import DEVELOPER, World
from tests.wire.kit import eventually, run_kiai

from kiai.faces.site.chart_drawing import broken_line
from kiai.storage.tables import samples

CHARTS: Final = ("requests_per_s", "p99_ms", "loop_lag_ms", "online", "submissions", "errors")
HTML_MAX: Final = 60_000
MINUTES_AGO: Final = (range(1_440, 700, -1), range(600, 0, -1))
"""The server was down from 700 to 600 minutes ago."""


@pytest.fixture
def sampled(world: World) -> Iterator[World]:
    """A day of samples of another server on the same database."""
    now = int(time.time()) // 60
    figures = {"minutes": 1, "seconds": 60, "errors": 0, "submissions": 1}
    rows = [
        {**figures, "minute": now - ago, "server": "demo:1", "requests": 60 * (ago % 90), "p99_ms": 5.0 + ago % 7,
         "lag_ms": 1.5, "online": ago % 40}
        for span in MINUTES_AGO
        for ago in span
    ]  # fmt: skip
    world.write(insert(samples).values(rows[:800]))
    world.write(insert(samples).values(rows[800:]))
    yield world
    world.write(delete(samples))


def test_page_has_every_part_of_the_health(sampled: World) -> None:
    page = sampled.browser(DEVELOPER).get("/admin/health")

    assert (page.status, page.h1) == (200, "Health")
    headings = [heading.text(strip=True) for heading in page.css("h2")]
    assert {
        "Last 24 hours",
        "Components",
        "Queues",
        "Pools",
        "Slow statements",
        "Disks",
        "Certificates",
        "Doctor",
        "Versions",
    } <= {*headings}
    assert [part.attributes["data-component"] for part in page.css("[data-component]")] == [
        "database",
        "state",
        "files",
    ]
    assert page.one('data[data-stat="outbox"]').attributes["value"] is not None
    assert len(page.body) < HTML_MAX


def test_slow_statements_are_shown_by_name(tmp_path: Path) -> None:
    world = World(tmp_path / "data", SLOW_STATEMENT_MS="1")
    try:
        developer = world.browser(DEVELOPER)

        def names() -> list[str]:
            return [cell.text(strip=True) for cell in developer.get("/admin/health").css("[data-statement]")]

        eventually(lambda: bool(names()), within_s=20)
        assert all(name.startswith("kiai.") for name in names())
    finally:
        world.server.kill()


def test_six_charts_show_the_day_with_its_gap(sampled: World) -> None:
    page = sampled.browser(DEVELOPER).get("/admin/health")

    figures = page.css('figure[data-chart="line"]')
    assert len(figures) == len(CHARTS)
    for name, figure in zip(CHARTS, figures, strict=True):
        assert page.css(f'data[data-stat="{name}"]'), name
        values = str(figure.attributes["data-values"]).split(",")
        assert len(values) == 240
        assert figure.attributes["data-step"] == "360"
        assert 15 <= values.count("") <= 18, name
        assert "" not in (values[0], values[-1])
        [line] = figure.css("path.line")
        assert str(line.attributes["d"]).count("M") == 2, "the line is interrupted once"
    assert "there is no data" in page.one("main").text()


def test_table_has_the_same_day_without_script(sampled: World) -> None:
    page = sampled.browser(DEVELOPER).get("/admin/health")

    [table] = [table for table in page.css("table") if "Every 30 minutes" in table.text()]
    assert [len(row.css("td")) for row in table.css("tbody tr")] == [1 + len(CHARTS)] * 48
    assert 2 <= sum(row.css("td")[1].text(strip=True) == "-" for row in table.css("tbody tr")) <= 4


def test_server_without_samples_has_charts_without_lines(world: World) -> None:
    def says_so() -> bool:
        world.write(delete(samples))  # the server itself may write its minute at any time
        page = world.browser(DEVELOPER).get("/admin/health")
        empty = [text for text in page.css("p") if text.text().startswith("No data")]
        return len(empty) == len(CHARTS) and page.css('figure[data-chart="line"]') == []

    eventually(says_so)


def test_last_run_of_the_doctor_is_shown(world: World) -> None:
    before = world.browser(DEVELOPER).get("/admin/health")
    said = json.loads(run_kiai(world.server.data, "doctor", "--json").stdout)  # the accounts were changed behind it
    after = world.browser(DEVELOPER).get("/admin/health")

    assert "Nobody has run" in before.one("main").text()
    text = after.one("main").text()
    assert said["problems"]
    assert f"{len(said['problems'])} problems" in text
    assert all(problem["what"] in text for problem in said["problems"])


def test_line_that_is_not_interrupted_is_one_part_and_a_single_value_a_dot() -> None:
    assert broken_line([None, None]) == ""
    assert broken_line([0.0, 10.0, 5.0]) == "M0.0 98.0h.1L50.0 4.0L100.0 51.0"
    assert broken_line([1.0, None, 0.5, None, 1.0]).count("M") == 3
    assert broken_line([0.0, 0.0]) == "M0.0 98.0h.1L100.0 98.0"

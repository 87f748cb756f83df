"""The generated alert rules, scrape configuration and dashboards: current, valid, and about metrics that exist."""

import asyncio
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from scripts.lib import dashboards
from tests.patience import patiently
from tests.repository.promql import Metrics, Problem, check

from kiai.app import open_services
from kiai.logs import AccessLog
from kiai.server import HttpServer
from kiai.settings import load_settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
HEALTH = (ROOT / "docs/operate/health.md").read_text("utf-8")
RULES = yaml.safe_load((DEPLOY / "prometheus/rules.yml").read_text("utf-8"))
SCRAPE = yaml.safe_load((DEPLOY / "prometheus/scrape.yml").read_text("utf-8"))
ALERTS = {rule["alert"]: rule for group in RULES["groups"] for rule in group["rules"]}
DASHBOARDS = {path.name: json.loads(path.read_text("utf-8")) for path in sorted((DEPLOY / "grafana").glob("*.json"))}
EXPRESSIONS = {
    **{name: rule["expr"] for name, rule in ALERTS.items()},
    **{
        f"{file}: {panel['title']} {target['refId']}": target["expr"]
        for file, dashboard in DASHBOARDS.items()
        for panel in dashboard["panels"]
        for target in panel.get("targets", [])
    },
}
NO_CHART = {
    "process_virtual_memory_bytes": "says little: SQLite maps its file into memory",
    "process_start_time_seconds": "an alert counts its changes",
}


@pytest.fixture(scope="module")
def metrics(tmp_path_factory: pytest.TempPathFactory) -> Metrics:
    """The metrics of a server."""

    async def look() -> Metrics:
        async with open_services(load_settings(data=tmp_path_factory.mktemp("data"))) as services:
            served = HttpServer(services, AccessLog()).metrics
            types = dict(re.findall(r"(?m)^# TYPE (\S+) (\S+)$", served.text().decode()))
            return Metrics(types, served.labels)

    return asyncio.run(look())


def test_the_files_are_those_that_the_script_generates() -> None:
    assert {path: path.read_text("utf-8") for path in dashboards.files()} == dashboards.files()
    assert {path.name for path in dashboards.files()} == {"rules.yml", "scrape.yml", *DASHBOARDS}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_expression_is_valid_and_about_metrics_that_exist(metrics: Metrics, name: str) -> None:
    assert check(EXPRESSIONS[name], metrics) != set()


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ("kiai_player_online", "is no metric"),
        ("kiai_http_seconds", "is no metric"),
        ("kiai_rooms{place='data'}", "unknown characters"),
        ('kiai_rooms{place="data"}', "has no label place"),
        ('kiai_job_failures_total{job_name="outbox"}', "has no label job_name"),
        ("kiai_logins_total > 3", "is a counter"),
        ("rate(kiai_rooms[5m])", "does not suit"),
        ("max_over_time(kiai_logins_total[5m])", "does not suit"),
        ("rate(kiai_logins_total)", "needs a range"),
        ("kiai_rooms[5m]", "has a range"),
        ("sum by (face) (kiai_rooms)", "no series has the labels"),
        ("kiai_rooms unless on (face) kiai_workers", "no series has the labels"),
        ("sum(kiai_rooms", "the end is missing"),
        ("kiai_rooms > 3)", "unexpected"),
        ("kiai_rooms >", "the end is missing"),
        ("kiai_rooms > )", "name expected"),
        ("rates(kiai_logins_total[5m])", "is no function"),
        ("histogram_quantile(kiai_rooms)", "takes 2 arguments"),
    ],
)
def test_wrong_expression_is_found(metrics: Metrics, wrong: str, why: str) -> None:
    with pytest.raises(Problem, match=re.escape(why)):
        check(wrong, metrics)


def test_every_metric_is_on_a_dashboard(metrics: Metrics) -> None:
    shown = {
        re.sub(r"_(bucket|sum|count)$", "", metric)
        for name, expression in EXPRESSIONS.items()
        if ".json" in name
        for metric in check(expression, metrics)
    }

    documented = set(re.findall(r"(?m)^\| `((?:kiai|process)_\w+)` \|", HEALTH))
    assert documented - shown == set(NO_CHART)


def test_every_alert_has_a_text_a_severity_and_a_line_in_the_docs() -> None:
    assert len(ALERTS) == sum(len(group["rules"]) for group in RULES["groups"])
    for name, rule in ALERTS.items():
        assert re.fullmatch(r"Kiai[A-Z]\w+", name)
        assert rule["labels"]["severity"] in ("critical", "warning"), name
        assert re.fullmatch(r"\d+[smhd]", str(rule["for"])), name
        assert set(rule["annotations"]) == {"summary", "description"}, name
    assert re.findall(r"(?m)^\| `(Kiai\w+)` \|", HEALTH) == list(ALERTS)


def templates(text: str) -> Iterator[str]:
    """Yield the labels that a text of an alert or a legend names."""
    yield from re.findall(r"\{\{ ?(?:\$labels\.)?([a-z]\w*) ?\}\}", text)


def test_texts_and_legends_name_labels_that_the_result_has() -> None:
    named = {
        **{name: (rule["expr"], rule["annotations"]["summary"]) for name, rule in ALERTS.items()},
        **{
            f"{file} {panel['title']}": (target["expr"], target["legendFormat"])
            for file, dashboard in DASHBOARDS.items()
            for panel in dashboard["panels"]
            for target in panel.get("targets", [])
        },
    }
    checked = 0
    for name, (expression, text) in named.items():
        kept = re.search(r"sum by \(([^)]*)\)", expression)
        for label in templates(text):
            checked += 1
            if kept is not None:
                assert label in kept[1].split(", "), name
            else:
                assert label in {"instance", "place", "pool", "what", "exported_job", "version", "statement"}, name
    assert checked > len(ALERTS)


def test_the_scrape_configuration_reads_the_rules_and_this_server() -> None:
    [job] = SCRAPE["scrape_configs"]

    assert SCRAPE["rule_files"] == ["rules.yml"]
    assert job["job_name"] == "kiai"
    assert job.get("metrics_path", "/metrics") == "/metrics"
    assert job["static_configs"] == [{"targets": ["127.0.0.1:8080"]}]


@pytest.mark.parametrize("name", DASHBOARDS)
def test_panels_of_a_dashboard_have_distinct_ids_and_places(name: str) -> None:
    dashboard: dict[str, Any] = DASHBOARDS[name]
    panels = dashboard["panels"]
    cells = [
        (place["x"] + right, place["y"] + down)
        for place in (panel["gridPos"] for panel in panels)
        for right in range(place["w"])
        for down in range(place["h"])
    ]

    assert dashboard["uid"] == name.removesuffix(".json")
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len(set(cells)) == len(cells)
    assert max(right for right, _ in cells) < 24
    variables = {variable["name"] for variable in dashboard["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(panels)))
    assert used - {"__rate_interval"} <= variables == {"source", "job", "instance"}


def test_promtool_accepts_the_files_where_it_is_installed(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        assert RULES["groups"]  # the tests above check the same with a parser of this repository
        return
    for name in ("rules.yml", "scrape.yml"):
        shutil.copy(DEPLOY / "prometheus" / name, tmp_path)

    rules = subprocess.run(
        [promtool, "check", "rules", tmp_path / "rules.yml"], capture_output=True, check=False, timeout=patiently(120)
    )
    config = subprocess.run(
        [promtool, "check", "config", tmp_path / "scrape.yml"], capture_output=True, check=False, timeout=patiently(120)
    )

    assert rules.returncode == 0, rules
    assert config.returncode == 0, config

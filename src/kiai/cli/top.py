"""The command `kiai top`."""

import contextlib
import sys
import time
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from kiai.cli.common import DataOption, JsonOption, Output, errors_as_exit, pluralized, settings_of

if TYPE_CHECKING:
    from rich.table import Table

    from kiai.served_figures import Rates, ServerFigures

EVERY_S: Final = 1.0
WINDOW: Final = 10  # readings; rates of the view are over this many seconds, so that they can be read
MIB: Final = 1 << 20
SLOW_SHOWN: Final = 5  # of the statements, so that the view fits into a small terminal


def top(
    once: Annotated[bool, typer.Option("--once", help="Print the figures of one second and end.")] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the figures of the running server until Ctrl-C: players, requests, delays, memory, stores, slow statements.

    With --json, or if the output is not a terminal, as with --once.
    """
    out = Output(as_json)
    with errors_as_exit(out):
        from kiai.served_figures import rates_between, read_figures
        from kiai.stores import require_data

        settings = settings_of(data)
        require_data(settings)
        first = read_figures(settings.data)
        if not (once or as_json) and sys.stdout.isatty():
            _follow(settings.data, first)
            return
        time.sleep(EVERY_S)
        rates = rates_between(first, read_figures(settings.data))
        out.result(rates, *(f"{name}: {value}" for name, value in _rows(rates)))


def _follow(data: Path, first: "ServerFigures") -> None:
    from rich.live import Live

    from kiai.served_figures import rates_between, read_figures

    readings = deque([first], maxlen=WINDOW)
    with contextlib.suppress(KeyboardInterrupt), Live(auto_refresh=False, screen=True) as view:
        while True:
            time.sleep(EVERY_S)
            readings.append(read_figures(data))
            view.update(_table(rates_between(readings[0], readings[-1]), data), refresh=True)


def _table(rates: "Rates", data: Path) -> "Table":
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(f"kiai on {data}"), show_header=False)
    for name, value in _rows(rates):
        table.add_row(name, escape(value))
    return table


def _rows(rates: "Rates") -> list[tuple[str, str]]:
    def ms(value: float | None) -> str:
        return "-" if value is None else f"{value:g} ms"

    rows = [
        ("Players online", "-" if rates.online is None else str(rates.online)),
        ("Requests per second", f"{rates.requests_per_s:g}"),
        ("99 % of requests within", ms(rates.p99_ms)),
        ("Delay of the event loop", ms(rates.loop_lag_ms)),
        ("Memory", f"{rates.rss_bytes / MIB:.0f} MiB"),
        ("Workers", str(rates.workers)),
    ]
    for name, store in rates.stores.items():
        calls = f", {store.calls_per_s:g} calls per second, 99 % within {ms(store.p99_ms)}" if store.calls_per_s else ""
        rows.append((f"Store {name}", f"{store.status}{calls}"))
    return rows + [
        ("Slow statement", f"{slow.statement}, up to {ms(slow.ms)}, {pluralized(slow.times, 'time')}")
        for slow in rates.slow[:SLOW_SHOWN]
    ]

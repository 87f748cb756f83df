"""The commands `kiai filter ...`."""

from typing import TYPE_CHECKING, Annotated

import typer

from kiai.cli.common import Invocation, with_options
from kiai.staff import OPERATOR

if TYPE_CHECKING:
    from kiai.app import Services
    from kiai.chat.model import FilterRule

app = typer.Typer(
    help="Manage the word filter of the chat. A running server applies changes within 5 seconds.", no_args_is_help=True
)

Pattern = Annotated[
    str,
    typer.Argument(metavar="PATTERN", help="1 to 5 words. * stands for any letters and digits. Case does not matter."),
]


@app.command("list")
@with_options
def list_(call: Invocation) -> None:
    """List all patterns. A replacement of null blocks the line; `silence` is in seconds."""
    from kiai.staff.filter_desk import rule_object

    out = call.out

    async def work(services: "Services") -> list["FilterRule"]:
        return await services.community.filter_desk.all(OPERATOR)

    found = call.run(work)
    out.result({"filter": [rule_object(rule) for rule in found]}, *map(_line, found))


@app.command("set")
@with_options
def set_(
    call: Invocation,
    pattern: Pattern,
    replace: Annotated[
        str | None, typer.Option("--replace", metavar="TEXT", help="Text in its place. Without: the line is not sent.")
    ] = None,
    silence: Annotated[
        str | None, typer.Option("--silence", metavar="DURATION", help="Silences the author, e.g. for 10m.")
    ] = None,
) -> None:
    """Add or replace a pattern.

    Example: kiai filter set "buy gold*" --silence 1h
    """
    from kiai.errors import Invalid
    from kiai.osu.durations import parse_duration
    from kiai.staff.filter_desk import rule_object

    out = call.out

    async def work(services: "Services") -> "FilterRule":
        seconds = 0 if silence is None else parse_duration(silence)
        if seconds is None:
            raise Invalid("silence", "a time up to a year, such as 30m, 12h or 7d", silence)
        return await services.community.filter_desk.set(OPERATOR, pattern, replacement=replace, silence_s=seconds)

    rule = call.run(work)
    out.result(rule_object(rule), _line(rule))


@app.command("remove")
@with_options
def remove(call: Invocation, pattern: Pattern) -> None:
    """Remove a pattern."""
    from kiai.staff.filter_desk import rule_object

    out = call.out

    async def work(services: "Services") -> "FilterRule":
        return await services.community.filter_desk.remove(OPERATOR, pattern)

    rule = call.run(work)
    out.result(rule_object(rule), f"Removed {rule.pattern}.")


def _line(rule: "FilterRule") -> str:
    from kiai.osu.durations import duration_text

    act = "blocked" if rule.replacement is None else f"becomes {rule.replacement}"
    return f"{rule.pattern}: {act}" + (f", silence for {duration_text(rule.silence_s)}" if rule.silence_s else "")

"""The command `kiai profile`."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import typer

from kiai.cli.common import DataOption, JsonOption, Output, errors_as_exit, settings_of
from kiai.errors import Invalid, Unavailable
from kiai.osu.durations import parse_duration

if TYPE_CHECKING:
    from kiai.profiling import Profile

LEAST_SHARE: Final = 0.01  # of the time of a process; the text leaves out smaller branches
DEPTH_MAX: Final = 60


class _Branch:
    """A function with the time of the stacks that go through it, and the functions that it calls."""

    def __init__(self) -> None:
        self.ms = 0.0
        self.calls: dict[str, _Branch] = {}


def profile(
    duration: Annotated[str, typer.Argument(metavar="DURATION", help="1s to 60s.")] = "10s",
    pid: Annotated[
        int | None,
        typer.Option("--pid", metavar="PID", help="Only this process of the server, as `kiai profile` shows."),
    ] = None,
    flame: Annotated[
        Path | None,
        typer.Option("--flame", metavar="FILE", help="Also write the profile in the format of speedscope.app."),
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show which functions of the running server use the processor, as a tree for each process and thread."""
    out = Output(as_json)
    with errors_as_exit(out):
        from kiai.profiling import SECONDS_MAX, SECONDS_MIN
        from kiai.served_profile import read_profiles, speedscope
        from kiai.stores import require_data

        seconds = parse_duration(duration)
        if seconds is None or not SECONDS_MIN <= seconds <= SECONDS_MAX:
            raise Invalid("DURATION", f"{SECONDS_MIN}s to {SECONDS_MAX}s", duration)
        settings = settings_of(data)
        require_data(settings)
        profiles = read_profiles(settings.data, seconds, pid)
        if flame is not None:
            try:
                flame.write_bytes(msgspec.json.encode(speedscope(profiles)))
            except OSError as error:
                raise Unavailable(str(flame), f"{error.strerror}; choose another file with --flame") from error
        out.result({"profiles": profiles}, *(line for one in profiles for line in _lines(one)))


def _lines(profile: "Profile") -> Iterator[str]:
    """Yield the text of a profile."""
    total = sum(stack.ms for stack in profile.stacks)
    kind = "CPU time" if profile.is_cpu else "time"
    yield f"Process {profile.pid}: {total:.0f} ms of {kind} in {profile.seconds:g} s, {profile.looks} looks"
    root = _Branch()
    for stack in profile.stacks:
        branch = root
        for name in (f"thread {stack.thread}", *stack.frames):
            branch = branch.calls.setdefault(name, _Branch())
            branch.ms += stack.ms
    yield from _branches(root, total, 0)


def _branches(branch: _Branch, total: float, depth: int) -> Iterator[str]:
    if depth >= DEPTH_MAX:
        return
    for name, one in sorted(branch.calls.items(), key=lambda item: -item[1].ms):
        if one.ms >= LEAST_SHARE * total:
            yield f"{100 * one.ms / total:5.1f} % {one.ms:8.0f} ms  {' ' * depth}{name}"
            yield from _branches(one, total, depth + 1)

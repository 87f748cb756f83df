"""What every command shares: its data folder, people's text or JSON, one line for an error, progress."""

import asyncio
import contextlib
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import msgspec
import typer

from kiai.errors import KiaiError
from kiai.osu.texts import visible, visible_json
from kiai.settings import Settings, load_settings

if TYPE_CHECKING:
    from kiai.app import Services

T = TypeVar("T")

LOOK_EVERY_S: Final = 0.2

DataOption = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="The data folder.", envvar="KIAI_DATA", show_default="./data"),
]
DatabaseOption = Annotated[
    str | None, typer.Option("--database", metavar="URL", help="postgresql://... instead of SQLite in the data folder.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object instead of text.")]


class Out:
    """Where a command's result goes: text for people, or one JSON object."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json

    def result(self, found: Any, *lines: str) -> None:
        """Prints the result once. Control characters in it are shown as escapes: it may hold text from outside."""
        if self.as_json:
            print(visible_json(msgspec.json.encode(found).decode()))
        else:
            print("\n".join(map(visible, lines)))

    def failed(self, message: str) -> None:
        """Prints an error."""
        if self.as_json:
            print(visible_json(msgspec.json.encode({"error": message}).decode()))
        print("\n".join(map(visible, f"kiai: {message}".split("\n"))), file=sys.stderr)


def settings_of(data: Path | None, **flags: Any) -> Settings:
    """The settings with these flags on top; flags that were not given count as absent."""
    given = {name: value for name, value in (("data", data), *flags.items()) if value is not None}
    return load_settings(**given)


@contextlib.contextmanager
def failing(out: Out) -> Iterator[None]:
    """Turns an error of the domain into one line and exit code 1."""
    try:
        yield
    except KiaiError as error:
        out.failed(str(error))
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def with_services(
    out: Out, settings: Callable[[], Settings], work: Callable[[Any], Awaitable[T]], *, create: bool = False
) -> T:
    """Opens the services, does the work, closes them; errors end the command.

    Without `create` the command is for data that exist: where there are none it fails and makes nothing.
    """
    with failing(out):
        return run_with_services(settings, work, create=create)


def run_with_services(
    settings: Callable[[], Settings], work: Callable[[Any], Awaitable[T]], *, create: bool = False
) -> T:
    """As `with_services`, for commands that have more to say about an error. Raises KiaiError."""
    from kiai.app import open_services  # commands that only print help start without it

    async def main() -> T:
        async with open_services(settings(), create=create) as services:
            return await work(services)

    return asyncio.run(main())


def counted(number: int, noun: str) -> str:
    """A number with its noun, in the singular or the plural."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


@contextlib.contextmanager
def progress_bar(out: Out, about: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on a terminal, silence elsewhere. Yields `advance(done, total)`."""
    if out.as_json or not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(about, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


async def settle(out: Out, services: "Services") -> None:
    """Waits until nothing waits to be settled: the server does it, or this command where no server runs."""
    with progress_bar(out, "Computing totals") as progress:
        most = 0
        while left := (await services.settling.waiting()).left:
            most = max(most, left)
            progress(most - left, most)
            if await services.is_served():
                await asyncio.sleep(LOOK_EVERY_S)
            else:
                await services.settling.work(rest=False)


async def settle_without_server(out: Out, services: "Services") -> None:
    """Does what waits to be settled where no server runs that would do it."""
    if not await services.is_served():
        await settle(out, services)

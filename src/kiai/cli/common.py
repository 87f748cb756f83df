"""Helpers of all commands: options, text or JSON output, errors, progress bars."""

import asyncio
import contextlib
import inspect
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import msgspec
import typer

from kiai.errors import Invalid, KiaiError
from kiai.osu.texts import visible, visible_json
from kiai.server_settings import Settings
from kiai.settings import load_settings

if TYPE_CHECKING:
    from kiai.app import Services

T = TypeVar("T")

POLL_EVERY_S: Final = 0.2  # while a server does the work and this command only waits

DataOption = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="Data folder.", envvar="KIAI_DATA", show_default="./data"),
]
DatabaseOption = Annotated[
    str | None,
    typer.Option("--database", metavar="URL", help="PostgreSQL database (postgresql://...) to use instead of SQLite."),
]
TlsOption = Annotated[
    str | None,
    typer.Option(
        "--tls",
        metavar="off|self|auto|CERT",
        show_default="off; in kiai init auto, for localhost off",
        help="Serve https: with a local authority for tests, an ACME authority, or a PEM chain; off with a proxy.",
    ),
]
TlsKeyOption = Annotated[
    str | None, typer.Option("--tls-key", metavar="KEY", help="Private key of CERT, if CERT does not contain it.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


class Output:
    """The output of a command: text, or one JSON object."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json

    def result(self, found: Any, *lines: str) -> None:
        """Print the result. Control characters are escaped, because the result may contain text from outside."""
        if self.as_json:
            print(visible_json(msgspec.json.encode(found).decode()))
        else:
            print("\n".join(map(visible, lines)))  # each line separately: a line break in a name must not add a line

    def failed(self, message: str) -> None:
        """Print an error to stderr, and with JSON also to stdout."""
        if self.as_json:
            print(visible_json(msgspec.json.encode({"error": message}).decode()))
        print("\n".join(map(visible, f"kiai: {message}".split("\n"))), file=sys.stderr)


def settings_of(data: Path | None, **flags: Any) -> Settings:
    """Load the settings, overridden by the flags that are not None."""
    # A flag that is not given must not replace a setting from the file or the environment by its default.
    given = {name: value for name, value in (("data", data), *flags.items()) if value is not None}
    return load_settings(**given)


@contextlib.contextmanager
def errors_as_exit(out: Output) -> Iterator[None]:
    """Turn a KiaiError into one line and exit code 1."""
    try:
        yield
    except KiaiError as error:
        out.failed(str(error))
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        raise typer.Exit(130) from None  # 128 + SIGINT, as shells report it


def with_services(
    out: Output, settings: Callable[[], Settings], work: Callable[[Any], Awaitable[T]], *, create: bool = False
) -> T:
    """Open the services, run `work` and close the services. A KiaiError ends the command with exit code 1.

    Without `create`, the command fails if the data do not exist, and creates nothing.
    """
    with errors_as_exit(out):
        return run_with_services(settings, work, create=create)


class Invocation:
    """One run of a command: where the data are, and how it prints."""

    def __init__(self, data: Path | None, database: str | None, as_json: bool) -> None:
        self._data = data
        self._database = database
        self.out = Output(as_json)

    def run(self, work: Callable[[Any], Awaitable[T]]) -> T:
        """Open the services, run `work` and close the services. A KiaiError ends the command with exit code 1."""
        return with_services(self.out, lambda: settings_of(self._data, database=self._database), work)


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options --data, --database and --json. Its first parameter is the `Invocation`."""

    def called(
        data: DataOption = None, database: DatabaseOption = None, as_json: JsonOption = False, **given: Any
    ) -> None:
        command(Invocation(data, database, as_json), **given)

    own = [*inspect.signature(command).parameters.values()][1:]
    shared = [one for one in inspect.signature(called).parameters.values() if one.name != "given"]
    called.__name__, called.__doc__, called.__module__ = command.__name__, command.__doc__, command.__module__
    # Typer reads the parameters and the types of a command from these.
    called.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]
    called.__annotations__ = {one.name: one.annotation for one in (*own, *shared)}
    return called


def run_with_services(
    settings: Callable[[], Settings], work: Callable[[Any], Awaitable[T]], *, create: bool = False
) -> T:
    """Like `with_services`, but raise KiaiError, for commands that handle errors themselves."""
    # PERF: the server's modules take longer to import than the command line. Help and usage errors do not need them.
    from kiai.app import open_services

    async def main() -> T:
        async with open_services(settings(), create=create) as services:
            return await work(services)

    return asyncio.run(main())


def read_password(given: str | None) -> str:
    """Return the password of the option, or ask for it at the terminal, or read it from stdin. Raises Invalid."""
    if given is None:
        if sys.stdin.isatty():
            given = str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
        else:
            given = sys.stdin.readline().rstrip("\r\n")  # only the line break: a password can end with a space
    if not given:
        raise Invalid("password", "given with --password, at the prompt or on stdin", given)
    return given


def pluralized(number: int, noun: str) -> str:
    """Return a number with its noun, in the singular or plural."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


@contextlib.contextmanager
def progress_bar(out: Output, about: str) -> Iterator[Callable[[int, int], None]]:
    """Show a progress bar on a terminal only. Yield `advance(done, total)`."""
    if out.as_json or not sys.stderr.isatty():  # the bar is on stderr, so stdout can be piped
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(about, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


async def reconcile(out: Output, services: "Services") -> None:
    """Wait until all waiting totals are recomputed, by the server or, if no server runs, by this command."""
    with progress_bar(out, "Computing totals") as progress:
        most = 0
        while left := (await services.reconciler.pending()).left:
            most = max(most, left)  # the server can add work while the command waits
            progress(most - left, most)
            # Asked again in each round: a server can start or stop in between.
            if await services.is_served():
                await asyncio.sleep(POLL_EVERY_S)
            else:
                await services.reconciler.run(rest=False)


async def reconcile_without_server(out: Output, services: "Services") -> None:
    """Recompute the waiting totals if no server runs."""
    if not await services.is_served():
        await reconcile(out, services)

"""The commands `kiai faq ...`."""

from typing import TYPE_CHECKING, Annotated

import typer

from kiai.cli.common import Invocation, with_options
from kiai.staff import OPERATOR

if TYPE_CHECKING:
    from kiai.app import Services
    from kiai.staff.faq import FaqEntry

app = typer.Typer(
    help="Manage the texts of !faq. The bot sends the text `welcome` to each new player.", no_args_is_help=True
)

Key = Annotated[str, typer.Argument(metavar="KEY", help="1 to 32 of a-z, 0-9, _ and -.")]


@app.command("list")
@with_options
def list_(call: Invocation) -> None:
    """List all texts."""
    out = call.out

    async def work(services: "Services") -> list["FaqEntry"]:
        return await services.community.faq.all()

    found = call.run(work)
    out.result({"faq": found}, *(f"{entry.key}: {entry.text}" for entry in found))


@app.command("set")
@with_options
def set_(
    call: Invocation,
    key: Key,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The text; the bot sends at most 10 lines.")],
) -> None:
    """Add or replace a text.

    Example: kiai faq set rules "Be nice."
    """
    out = call.out

    async def work(services: "Services") -> "FaqEntry":
        return await services.community.faq.set(OPERATOR, key, text)

    entry = call.run(work)
    out.result(entry, f"{entry.key}: {entry.text}")


@app.command("remove")
@with_options
def remove(call: Invocation, key: Key) -> None:
    """Remove a text."""
    out = call.out

    async def work(services: "Services") -> "FaqEntry":
        return await services.community.faq.remove(OPERATOR, key)

    entry = call.run(work)
    out.result(entry, f"Removed {entry.key}.")

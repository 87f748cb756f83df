"""The commands `kiai faq ...`."""

from typing import TYPE_CHECKING, Annotated

import typer

from kiai.cli.common import DatabaseOption, DataOption, JsonOption, Output, settings_of, with_services
from kiai.staff import OPERATOR

if TYPE_CHECKING:
    from kiai.app import Services
    from kiai.staff.faq import FaqEntry

app = typer.Typer(
    help="Manage the texts of !faq. The bot sends the text `welcome` to each new player.", no_args_is_help=True
)

Key = Annotated[str, typer.Argument(metavar="KEY", help="1 to 32 of a-z, 0-9, _ and -.")]


@app.command("list")
def list_(data: DataOption = None, database: DatabaseOption = None, as_json: JsonOption = False) -> None:
    """List all texts."""
    out = Output(as_json)

    async def work(services: "Services") -> list["FaqEntry"]:
        return await services.community.faq.all()

    found = with_services(out, lambda: settings_of(data, database=database), work)
    out.result({"faq": found}, *(f"{entry.key}: {entry.text}" for entry in found))


@app.command("set")
def set_(
    key: Key,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The text; the bot sends at most 10 lines.")],
    data: DataOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add or replace a text.

    Example: kiai faq set rules "Be nice."
    """
    out = Output(as_json)

    async def work(services: "Services") -> "FaqEntry":
        return await services.community.faq.set(OPERATOR, key, text)

    entry = with_services(out, lambda: settings_of(data, database=database), work)
    out.result(entry, f"{entry.key}: {entry.text}")


@app.command("remove")
def remove(key: Key, data: DataOption = None, database: DatabaseOption = None, as_json: JsonOption = False) -> None:
    """Remove a text."""
    out = Output(as_json)

    async def work(services: "Services") -> "FaqEntry":
        return await services.community.faq.remove(OPERATOR, key)

    entry = with_services(out, lambda: settings_of(data, database=database), work)
    out.result(entry, f"Removed {entry.key}.")

"""The commands `kiai devices ...`."""

from typing import TYPE_CHECKING, Annotated

import typer

from kiai.cli.common import Invocation, with_options
from kiai.errors import Invalid
from kiai.staff import OPERATOR
from kiai.staff.audit import utc_text

if TYPE_CHECKING:
    from kiai.app import Services
    from kiai.staff.shared_devices import SharedDevice

app = typer.Typer(
    help="Manage the list of devices that unrelated players share. They are no evidence of a second account.",
    no_args_is_help=True,
)


@app.command("list")
@with_options
def list_(call: Invocation) -> None:
    """List the entries. They have ids, because the hashes identify devices."""
    out = call.out

    async def work(services: "Services") -> list["SharedDevice"]:
        return await services.community.shared_devices.all(OPERATOR)

    found = call.run(work)
    lines = [*map(_line, found)] or ["There are no shared devices."]
    out.result({"devices": found, "total": len(found)}, *lines)


@app.command("allow")
@with_options
def allow(
    call: Invocation,
    hash_: Annotated[
        str | None, typer.Argument(metavar="HASH", help="A hash as clients send it: md5 in hex.", show_default=False)
    ] = None,
    player: Annotated[
        str | None,
        typer.Option("--player", metavar="NAME", help="Instead of a hash: the device that this player used last."),
    ] = None,
    note: Annotated[str, typer.Option("--note", metavar="T", help="Description of the device.")] = "",
) -> None:
    """Add a device. Players who share only this device match no other account.

    Example: kiai devices allow --player "Some Player" --note "school"
    """
    out = call.out

    async def work(services: "Services") -> list["SharedDevice"]:
        devices = services.community.shared_devices
        if (hash_ is None) == (player is None):
            raise Invalid("device", "given by a hash or by --player", "both or none")
        if hash_ is not None:
            return await devices.allow(OPERATOR, hash_, note)
        return await devices.allow_device_of(OPERATOR, player or "", note)

    found = call.run(work)
    out.result({"devices": found}, *map(_line, found))


@app.command("forget")
@with_options
def forget(
    call: Invocation,
    which: Annotated[str, typer.Argument(metavar="ID", help="The id of the entry, or the hash.")],
) -> None:
    """Remove a device from the list. It is compared again from then on."""
    out = call.out

    async def work(services: "Services") -> "SharedDevice":
        return await services.community.shared_devices.forget(OPERATOR, which)

    entry = call.run(work)
    out.result(entry, f"Removed {entry.id}.")


def _line(entry: "SharedDevice") -> str:
    by = "" if entry.added_by is None else f" by {entry.added_by}"
    return f"{entry.id}  {utc_text(entry.at * 1000)}{by}  {entry.note}".rstrip()

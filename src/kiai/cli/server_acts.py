"""The commands about the whole server: `kiai maintenance` and `kiai addresses ...`."""

from typing import TYPE_CHECKING, Annotated

import typer

from kiai.cli.common import DatabaseOption, DataOption, JsonOption, Output, settings_of, with_services
from kiai.cli.sanctions import For, Reason, seconds_of
from kiai.errors import Invalid
from kiai.staff import OPERATOR
from kiai.staff.audit import utc_text

if TYPE_CHECKING:
    from kiai.app import Services
    from kiai.staff.address_blocks import AddressBlock


def maintenance(
    state: Annotated[
        str | None, typer.Argument(metavar="[on|off]", help="The new state. Without: show the state.")
    ] = None,
    reason: Annotated[str, typer.Option("--reason", metavar="R", help="The reason, for the audit log.")] = "",
    data: DataOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let only staff log in, or everybody again. A running server follows within two seconds.

    Players are notified and logged out, at once or after their match.
    """
    out = Output(as_json)

    async def work(services: "Services") -> bool:
        if state not in (None, "on", "off"):
            raise Invalid("state", "on or off", state)
        if state is not None:
            await services.community.maintenance.switch(OPERATOR, on=state == "on", reason=reason)
        return await services.community.maintenance.is_on(OPERATOR)

    is_on = with_services(out, lambda: settings_of(data, database=database), work)
    out.result({"maintenance": is_on}, f"Maintenance is {'on' if is_on else 'off'}.")


addresses = typer.Typer(
    help="Refuse connections from addresses. Running servers follow within two seconds.", no_args_is_help=True
)

Address = Annotated[str, typer.Argument(metavar="ADDRESS", help="An IP address, or a network such as 203.0.113.0/24.")]


@addresses.command("list")
def list_addresses(data: DataOption = None, database: DatabaseOption = None, as_json: JsonOption = False) -> None:
    """List the blocked addresses, oldest first."""
    out = Output(as_json)

    async def work(services: "Services") -> list["AddressBlock"]:
        return await services.community.address_blocks.all(OPERATOR)

    found = with_services(out, lambda: settings_of(data, database=database), work)
    out.result({"blocks": [_block_object(block) for block in found]}, *map(_block_line, found))


@addresses.command("block")
def block_address(
    address: Address,
    reason: Reason,
    for_: For = None,
    data: DataOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Block an address or a network. An IPv6 address without a prefix length means its /64 network.

    Example: kiai addresses block 203.0.113.0/24 --reason spam --for 7d
    """
    out = Output(as_json)

    async def work(services: "Services") -> "AddressBlock":
        return await services.community.address_blocks.block(OPERATOR, address, reason, seconds=seconds_of(for_))

    block = with_services(out, lambda: settings_of(data, database=database), work)
    out.result(_block_object(block), f"Blocked {_block_line(block)}")


@addresses.command("unblock")
def unblock_address(
    address: Address,
    reason: Reason = "",
    data: DataOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """End the block of an address or a network."""
    out = Output(as_json)

    async def work(services: "Services") -> "AddressBlock":
        return await services.community.address_blocks.unblock(OPERATOR, address, reason)

    block = with_services(out, lambda: settings_of(data, database=database), work)
    out.result(_block_object(block), f"{block.network} is unblocked.")


def _block_object(block: "AddressBlock") -> dict[str, object]:
    return {
        "id": block.id,
        "network": block.network,
        "at": block.at_ms // 1000,
        "until": block.ends_at_ms // 1000 or None,
        "actor_id": block.actor_id,
        "reason": block.reason,
    }


def _block_line(block: "AddressBlock") -> str:
    until = f"until {utc_text(block.ends_at_ms)}" if block.ends_at_ms else "without an end"
    return f"{block.network} {until}: {block.reason}"

"""The commands about the whole server: `kiai maintenance`, `registration`, `shutdown` and `addresses ...`."""

from typing import TYPE_CHECKING, Annotated

import typer

from kiai.cli.common import Invocation, with_options
from kiai.cli.sanctions import For, Reason, seconds_of
from kiai.errors import Invalid
from kiai.osu.durations import duration_text
from kiai.staff import OPERATOR
from kiai.staff.audit import utc_text
from kiai.staff.registration_switch import WORDS

if TYPE_CHECKING:
    from kiai.app import Services
    from kiai.server_settings import RegistrationState
    from kiai.staff.address_blocks import AddressBlock


@with_options
def maintenance(
    call: Invocation,
    state: Annotated[
        str | None, typer.Argument(metavar="[on|off]", help="The new state. Without: show the state.")
    ] = None,
    reason: Annotated[str, typer.Option("--reason", metavar="R", help="The reason, for the audit log.")] = "",
) -> None:
    """Let only staff log in, or everybody again. A running server follows within two seconds.

    Players are notified and logged out, at once or after their match.
    """
    out = call.out

    async def work(services: "Services") -> bool:
        if state not in (None, "on", "off"):
            raise Invalid("state", "on or off", state)
        if state is not None:
            await services.community.maintenance.switch(OPERATOR, on=state == "on", reason=reason)
        return await services.community.maintenance.is_on(OPERATOR)

    is_on = call.run(work)
    out.result({"maintenance": is_on}, f"Maintenance is {'on' if is_on else 'off'}.")


@with_options
def registration(
    call: Invocation,
    state: Annotated[
        str | None, typer.Argument(metavar="[on|invite|off|setting]", help="The new state. Without: show the state.")
    ] = None,
    reason: Annotated[str, typer.Option("--reason", metavar="R", help="The reason, for the audit log.")] = "",
) -> None:
    """Let everybody, people with an invite code or nobody register, or follow the setting again.

    A running server follows within two seconds.
    """
    out = call.out

    async def work(services: "Services") -> "RegistrationState":
        switch = services.community.registration_switch
        return await (switch.state(OPERATOR) if state is None else switch.switch(OPERATOR, state, reason=reason))

    now = call.run(work)
    out.result({"registration": now}, f"Registration is {WORDS[now]}.")


@with_options
def shutdown(
    call: Invocation,
    after: Annotated[str, typer.Option("--in", metavar="DURATION", help="15s to 1d, such as 10m.")] = "15s",
    reason: Annotated[str, typer.Option("--reason", metavar="R", help="A text that all players get.")] = "",
    cancel: Annotated[bool, typer.Option("--cancel", help="Cancel the planned stop.")] = False,
) -> None:
    """Plan a stop of the running server with all its workers, or cancel it. All players are notified.

    Example: kiai shutdown --in 10m --reason "We update the server"
    """
    out = call.out

    async def work(services: "Services") -> int:
        stops = services.community.shutdown
        stops.started_ms = 0  # the running server is older than this process, and its plan counts
        if cancel:
            await stops.cancel(OPERATOR, reason)
            return 0
        return await stops.plan(OPERATOR, seconds_of(after), reason)

    seconds = call.run(work)
    out.result(
        {"stops_in": seconds or None},
        f"The server stops in {duration_text(seconds)}." if seconds else "The planned stop is cancelled.",
    )


addresses = typer.Typer(
    help="Refuse connections from addresses. Running servers follow within two seconds.", no_args_is_help=True
)

Address = Annotated[str, typer.Argument(metavar="ADDRESS", help="An IP address, or a network such as 203.0.113.0/24.")]


@addresses.command("list")
@with_options
def list_addresses(call: Invocation) -> None:
    """List the blocked addresses, oldest first."""
    out = call.out

    async def work(services: "Services") -> list["AddressBlock"]:
        return await services.community.address_blocks.all(OPERATOR)

    found = call.run(work)
    out.result({"blocks": [_block_object(block) for block in found]}, *map(_block_line, found))


@addresses.command("block")
@with_options
def block_address(
    call: Invocation,
    address: Address,
    reason: Reason,
    for_: For = None,
) -> None:
    """Block an address or a network. An IPv6 address without a prefix length means its /64 network.

    Example: kiai addresses block 203.0.113.0/24 --reason spam --for 7d
    """
    out = call.out

    async def work(services: "Services") -> "AddressBlock":
        return await services.community.address_blocks.block(OPERATOR, address, reason, seconds=seconds_of(for_))

    block = call.run(work)
    out.result(_block_object(block), f"Blocked {_block_line(block)}")


@addresses.command("unblock")
@with_options
def unblock_address(
    call: Invocation,
    address: Address,
    reason: Reason = "",
) -> None:
    """End the block of an address or a network."""
    out = call.out

    async def work(services: "Services") -> "AddressBlock":
        return await services.community.address_blocks.unblock(OPERATOR, address, reason)

    block = call.run(work)
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

"""The commands `kiai channels ...`."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from kiai.cli.common import Invocation, Output, with_options
from kiai.staff import OPERATOR

if TYPE_CHECKING:
    from kiai.app import Services
    from kiai.chat.channels import Channel

app = typer.Typer(
    help="Manage the channels of the chat. A running server applies changes at once.", no_args_is_help=True
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the channel, with or without #.")]


@app.command("list")
@with_options
def list_(call: Invocation) -> None:
    """List all channels. `read` and `write` are masks of privileges; one of the bits is enough, 0 admits everybody."""
    from kiai.staff.channel_desk import channel_object

    out = call.out

    async def work(services: "Services") -> list["Channel"]:
        return await services.community.channel_desk.all(OPERATOR)

    found = call.run(work)
    out.result({"channels": [channel_object(channel) for channel in found]}, *map(_line, found))


@app.command("add")
@with_options
def add(
    call: Invocation,
    name: Name,
    topic: Annotated[str, typer.Option("--topic", metavar="T", help="The topic.")] = "",
    read: Annotated[
        list[str] | None,
        typer.Option("--read", metavar="ROLE", help="Role that may read; repeatable. Without: all players."),
    ] = None,
    write: Annotated[
        list[str] | None,
        typer.Option("--write", metavar="ROLE", help="Role that may write; repeatable. Without: verified players."),
    ] = None,
    auto: Annotated[bool, typer.Option("--auto", help="Players join the channel when they log in.")] = False,
) -> None:
    """Add a channel.

    Example: kiai channels add "#team" --topic "For the team" --read moderator --write moderator
    """
    from kiai.staff.channel_desk import READ, WRITE

    out = call.out

    async def work(services: "Services") -> "Channel":
        return await services.community.channel_desk.add(
            OPERATOR, name, topic, read=_roles(read) or READ, write=_roles(write) or _roles(read) or WRITE, auto=auto
        )

    _show(out, call.run(work))


@app.command("topic")
@with_options
def topic(
    call: Invocation,
    name: Name,
    topic: Annotated[str, typer.Argument(metavar="T", help="The new topic.")],
) -> None:
    """Change a channel's topic."""
    out = call.out

    async def work(services: "Services") -> "Channel":
        return await services.community.channel_desk.set_topic(OPERATOR, name, topic)

    _show(out, call.run(work))


@app.command("moderated")
@with_options
def moderated(
    call: Invocation,
    name: Name,
    state: Annotated[Literal["on", "off"], typer.Argument(metavar="on|off", help="Whether only staff may write.")],
) -> None:
    """Allow only staff to write in a channel, or everybody again."""
    out = call.out

    async def work(services: "Services") -> "Channel":
        return await services.community.channel_desk.set_moderated(OPERATOR, name, state == "on")

    _show(out, call.run(work))


@app.command("remove")
@with_options
def remove(call: Invocation, name: Name) -> None:
    """Remove a channel. Its members leave it."""
    out = call.out

    async def work(services: "Services") -> "Channel":
        return await services.community.channel_desk.remove(OPERATOR, name)

    _show(out, call.run(work))


def _show(out: Output, channel: "Channel") -> None:
    from kiai.staff.channel_desk import channel_object

    out.result(channel_object(channel), _line(channel))


def _roles(given: list[str] | None) -> tuple[str, ...]:
    return tuple(role for text in given or () for role in text.replace(",", " ").split())


def _line(channel: "Channel") -> str:
    marks = [word for word, on in (("auto", channel.auto_join), ("moderated", channel.moderated)) if on]
    masks = f"read {channel.read_priv}, write {channel.write_priv}"
    return f"{channel.name:<20}  {', '.join([masks, *marks])}  {channel.topic}"

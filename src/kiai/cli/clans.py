"""The commands `kiai clans ...`."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kiai.accounts import Viewer
from kiai.accounts.picture_files import UPLOAD_MAX
from kiai.clans.model import FORMS, JoinForm, Role
from kiai.cli.common import Invocation, pluralized, with_options
from kiai.errors import Invalid, Refused
from kiai.osu.privileges import STAFF
from kiai.staff import OPERATOR

if TYPE_CHECKING:
    from kiai.app import Services
    from kiai.clans import Clan

app = typer.Typer(help="Manage clans.", no_args_is_help=True)

Tag = Annotated[str, typer.Argument(metavar="TAG", help="Tag of the clan, in any case.")]
Player = Annotated[str, typer.Argument(metavar="PLAYER", help="Name of the player; quote a name with spaces.")]


async def clan_object(services: "Services", clan: "Clan") -> dict[str, Any]:
    """Return a clan as `--json` shows it; `created_at` is in unix seconds."""
    owner = await services.accounts.user(Viewer(priv=STAFF), id=clan.owner_id)
    return {
        "id": clan.id,
        "tag": clan.tag,
        "name": clan.name,
        "join": JoinForm(clan.joining).name.lower(),
        "owner": {"id": owner.id, "name": owner.name},
        "members": await services.clans.size(clan.id),
        "created_at": clan.created_at_ms // 1000,
    }


def _line(clan: dict[str, Any]) -> str:
    return (
        f"{clan['id']:>8}  {clan['tag']:<6}  {clan['name']:<16}  {clan['join']:<7}  "
        f"{pluralized(clan['members'], 'member')}, owner {clan['owner']['name']}"
    )


def _change(
    call: Invocation,
    tag: str,
    act: Callable[["Services", "Clan"], Awaitable[Any]],
) -> None:
    """Run an act on the clan with a tag, and print the clan afterwards."""
    out = call.out

    async def work(services: "Services") -> dict[str, Any]:
        clan = await services.site.clans.with_tag(tag)
        await act(services, clan)
        return await clan_object(services, await services.clans.clan(clan.id))

    found = call.run(work)
    out.result(found, _line(found))


@app.command("list")
@with_options
def list_(call: Invocation) -> None:
    """List all clans."""
    out = call.out

    async def work(services: "Services") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        # In pages, so that a running server never waits for one long statement.
        while page := (await services.clans.listed(limit=500, after=found[-1]["id"] if found else 0))[0]:
            found += [await clan_object(services, clan) for clan in page]
        return found

    clans = call.run(work)
    out.result({"clans": clans, "total": len(clans)}, *(map(_line, clans) if clans else ["There are no clans."]))


@app.command("show")
@with_options
def show(call: Invocation, tag: Tag) -> None:
    """Show a clan with its members."""
    out = call.out

    async def work(services: "Services") -> dict[str, Any]:
        clan = await services.site.clans.with_tag(tag)
        members = [
            {"id": member.id, "name": member.name, "role": Role(member.clan_priv).name.lower()}
            for member in await services.clans.members(clan.id)
        ]
        return {**await clan_object(services, clan), "members": members}

    found = call.run(work)
    members = found["members"]
    lines = [f"{member['id']:>8}  {member['name']:<15}  {member['role']}" for member in members]
    out.result(found, _line({**found, "members": len(members)}), *lines)


@app.command("create")
@with_options
def create(
    call: Invocation,
    tag: Tag,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the clan.")],
    owner: Annotated[str, typer.Option("--owner", metavar="PLAYER", help="Name of the player who owns the clan.")],
) -> None:
    """Found a clan for a player.

    Example: kiai clans create OWL "Night Owls" --owner "Some Player"
    """
    out = call.out

    async def work(services: "Services") -> dict[str, Any]:
        account = await services.accounts.account(owner)
        clan_id = await services.community.clan_staff.found(OPERATOR, account.id, tag, name)
        return await clan_object(services, await services.clans.clan(clan_id))

    found = call.run(work)
    out.result(found, _line(found))


@app.command("disband")
@with_options
def disband(
    call: Invocation,
    tag: Tag,
    reason: Annotated[str, typer.Option("--reason", metavar="R", help="Reason, recorded in the audit log.")],
    yes: Annotated[bool, typer.Option("--yes", help="Confirm: this cannot be undone.")] = False,
) -> None:
    """Disband a clan. Its name and tag stay reserved for 30 days."""
    out = call.out

    async def work(services: "Services") -> dict[str, Any]:
        clan = await services.site.clans.with_tag(tag)
        if not yes:
            raise Refused("disbanding cannot be undone; add --yes")
        if not reason.strip():
            raise Invalid("reason", "a text of 1 to 500 characters", reason)
        await services.community.clan_staff.disband(OPERATOR, clan.id, reason)
        return {"id": clan.id, "tag": clan.tag, "disbanded": True}

    found = call.run(work)
    out.result(found, f"Disbanded {found['tag']}.")


@app.command("rename")
@with_options
def rename(
    call: Invocation,
    tag: Tag,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new name.")],
) -> None:
    """Give a clan another name."""

    async def act(services: "Services", clan: "Clan") -> None:
        await services.community.clan_staff.edit(OPERATOR, clan.id, name=name)

    _change(call, tag, act)


@app.command("tag")
@with_options
def retag(
    call: Invocation,
    tag: Tag,
    new: Annotated[str, typer.Argument(metavar="NEW", help="The new tag.")],
) -> None:
    """Give a clan another tag."""

    async def act(services: "Services", clan: "Clan") -> None:
        await services.community.clan_staff.edit(OPERATOR, clan.id, tag=new)

    _change(call, tag, act)


@app.command("status")
@with_options
def status(
    call: Invocation,
    tag: Tag,
    form: Annotated[str, typer.Argument(metavar="FORM", help="closed, open, invite or request.")],
) -> None:
    """Set how players join a clan: closed, open, invite or request."""

    async def act(services: "Services", clan: "Clan") -> None:
        if form.lower() not in FORMS:
            raise Invalid("form", f"one of {', '.join(FORMS)}", form)
        await services.community.clan_staff.edit(OPERATOR, clan.id, form=FORMS[form.lower()])

    _change(call, tag, act)


@app.command("description")
@with_options
def description(
    call: Invocation,
    tag: Tag,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The text; without it the description is removed.")] = "",
) -> None:
    """Change the description on a clan's page, or remove it."""

    async def act(services: "Services", clan: "Clan") -> None:
        await services.community.clan_staff.edit(OPERATOR, clan.id, description=text)

    _change(call, tag, act)


@app.command("icon")
@with_options
def icon(
    call: Invocation,
    tag: Tag,
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="FILE", help="A PNG, JPEG, GIF or WebP picture of at most 4 MiB; without it the icon is removed."
        ),
    ] = None,
) -> None:
    """Change the icon of a clan, or remove it."""

    async def act(services: "Services", clan: "Clan") -> None:
        if file is None:
            await services.community.clan_staff.remove_icon(OPERATOR, clan.id)
        else:
            await services.community.clan_staff.change_icon(OPERATOR, clan.id, _picture(file))

    _change(call, tag, act)


def _picture(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            data = opened.read(UPLOAD_MAX + 1)
    except OSError as error:
        raise Refused(f"{file} cannot be read: {error.strerror}; correct the path") from error
    if len(data) > UPLOAD_MAX:
        raise Refused(f"{file} has more than {UPLOAD_MAX} bytes; make it smaller")
    return data


@app.command("kick")
@with_options
def kick(call: Invocation, tag: Tag, player: Player) -> None:
    """Remove a member from a clan."""

    async def act(services: "Services", clan: "Clan") -> None:
        account = await services.accounts.account(player)
        await services.community.clan_staff.kick(OPERATOR, clan.id, account.id)

    _change(call, tag, act)


@app.command("transfer")
@with_options
def transfer(call: Invocation, tag: Tag, player: Player) -> None:
    """Make a member the owner of a clan."""

    async def act(services: "Services", clan: "Clan") -> None:
        account = await services.accounts.account(player)
        await services.community.clan_staff.transfer(OPERATOR, clan.id, account.id)

    _change(call, tag, act)

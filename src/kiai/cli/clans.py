"""The commands `kiai clans ...`."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kiai.accounts import Viewer
from kiai.clans.model import FORMS, JoinForm, Role
from kiai.cli.common import DatabaseOption, DataOption, JsonOption, Output, pluralized, settings_of, with_services
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
    tag: str,
    act: Callable[["Services", "Clan"], Awaitable[Any]],
    data: Path | None,
    database: str | None,
    *,
    as_json: bool,
) -> None:
    """Run an act on the clan with a tag, and print the clan afterwards."""
    out = Output(as_json)

    async def work(services: "Services") -> dict[str, Any]:
        clan = await services.site.clans.with_tag(tag)
        await act(services, clan)
        return await clan_object(services, await services.clans.clan(clan.id))

    found = with_services(out, lambda: settings_of(data, database=database), work)
    out.result(found, _line(found))


@app.command("list")
def list_(data: DataOption = None, database: DatabaseOption = None, as_json: JsonOption = False) -> None:
    """List all clans."""
    out = Output(as_json)

    async def work(services: "Services") -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        # In pages, so that a running server never waits for one long statement.
        while page := (await services.clans.listed(limit=500, after=found[-1]["id"] if found else 0))[0]:
            found += [await clan_object(services, clan) for clan in page]
        return found

    clans = with_services(out, lambda: settings_of(data, database=database), work)
    out.result({"clans": clans, "total": len(clans)}, *(map(_line, clans) if clans else ["There are no clans."]))


@app.command("show")
def show(tag: Tag, data: DataOption = None, database: DatabaseOption = None, as_json: JsonOption = False) -> None:
    """Show a clan with its members."""
    out = Output(as_json)

    async def work(services: "Services") -> dict[str, Any]:
        clan = await services.site.clans.with_tag(tag)
        members = [
            {"id": member.id, "name": member.name, "role": Role(member.clan_priv).name.lower()}
            for member in await services.clans.members(clan.id)
        ]
        return {**await clan_object(services, clan), "members": members}

    found = with_services(out, lambda: settings_of(data, database=database), work)
    members = found["members"]
    lines = [f"{member['id']:>8}  {member['name']:<15}  {member['role']}" for member in members]
    out.result(found, _line({**found, "members": len(members)}), *lines)


@app.command("create")
def create(
    tag: Tag,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the clan.")],
    owner: Annotated[str, typer.Option("--owner", metavar="PLAYER", help="Name of the player who owns the clan.")],
    data: DataOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Found a clan for a player.

    Example: kiai clans create OWL "Night Owls" --owner "Some Player"
    """
    out = Output(as_json)

    async def work(services: "Services") -> dict[str, Any]:
        account = await services.accounts.account(owner)
        clan_id = await services.community.clan_staff.found(OPERATOR, account.id, tag, name)
        return await clan_object(services, await services.clans.clan(clan_id))

    found = with_services(out, lambda: settings_of(data, database=database), work)
    out.result(found, _line(found))


@app.command("disband")
def disband(
    tag: Tag,
    reason: Annotated[str, typer.Option("--reason", metavar="R", help="Reason, recorded in the audit log.")],
    yes: Annotated[bool, typer.Option("--yes", help="Confirm: this cannot be undone.")] = False,
    data: DataOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Disband a clan. Its name and tag stay reserved for 30 days."""
    out = Output(as_json)

    async def work(services: "Services") -> dict[str, Any]:
        clan = await services.site.clans.with_tag(tag)
        if not yes:
            raise Refused("disbanding cannot be undone; add --yes")
        if not reason.strip():
            raise Invalid("reason", "a text of 1 to 500 characters", reason)
        await services.community.clan_staff.disband(OPERATOR, clan.id, reason)
        return {"id": clan.id, "tag": clan.tag, "disbanded": True}

    found = with_services(out, lambda: settings_of(data, database=database), work)
    out.result(found, f"Disbanded {found['tag']}.")


@app.command("rename")
def rename(
    tag: Tag,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The new name.")],
    data: DataOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a clan another name."""

    async def act(services: "Services", clan: "Clan") -> None:
        await services.community.clan_staff.edit(OPERATOR, clan.id, name=name)

    _change(tag, act, data, database, as_json=as_json)


@app.command("tag")
def retag(
    tag: Tag,
    new: Annotated[str, typer.Argument(metavar="NEW", help="The new tag.")],
    data: DataOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a clan another tag."""

    async def act(services: "Services", clan: "Clan") -> None:
        await services.community.clan_staff.edit(OPERATOR, clan.id, tag=new)

    _change(tag, act, data, database, as_json=as_json)


@app.command("status")
def status(
    tag: Tag,
    form: Annotated[str, typer.Argument(metavar="FORM", help="closed, open, invite or request.")],
    data: DataOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Set how players join a clan: closed, open, invite or request."""

    async def act(services: "Services", clan: "Clan") -> None:
        if form.lower() not in FORMS:
            raise Invalid("form", f"one of {', '.join(FORMS)}", form)
        await services.community.clan_staff.edit(OPERATOR, clan.id, form=FORMS[form.lower()])

    _change(tag, act, data, database, as_json=as_json)


@app.command("description")
def description(
    tag: Tag,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The text; without it the description is removed.")] = "",
    data: DataOption = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change the description on a clan's page, or remove it."""

    async def act(services: "Services", clan: "Clan") -> None:
        await services.community.clan_staff.edit(OPERATOR, clan.id, description=text)

    _change(tag, act, data, database, as_json=as_json)


@app.command("kick")
def kick(
    tag: Tag, player: Player, data: DataOption = None, database: DatabaseOption = None, as_json: JsonOption = False
) -> None:
    """Remove a member from a clan."""

    async def act(services: "Services", clan: "Clan") -> None:
        account = await services.accounts.account(player)
        await services.community.clan_staff.kick(OPERATOR, clan.id, account.id)

    _change(tag, act, data, database, as_json=as_json)


@app.command("transfer")
def transfer(
    tag: Tag, player: Player, data: DataOption = None, database: DatabaseOption = None, as_json: JsonOption = False
) -> None:
    """Make a member the owner of a clan."""

    async def act(services: "Services", clan: "Clan") -> None:
        account = await services.accounts.account(player)
        await services.community.clan_staff.transfer(OPERATOR, clan.id, account.id)

    _change(tag, act, data, database, as_json=as_json)

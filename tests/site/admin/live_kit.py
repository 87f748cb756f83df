"""Clients of the game for the tests of the panel: they log in and open matches."""

from sqlalchemy import select
from tests.faces.bancho.client_bytes import whole
from tests.site.admin.kit import World
from tests.wire.submitting import PASSWORD, log_in, poll

from kiai.faces.bancho.packets import ClientPacket, MatchForm, SlotForm
from kiai.storage.tables import users


def id_of(world: World, name: str) -> int:
    """Return the id of an account, which is added if it does not exist."""
    safe = name.lower().replace(" ", "_")
    found = world.row(select(users.c.id).where(users.c.safe_name == safe))
    if found is None:
        added = world.server.cli("users", "add", name, "--email", f"{safe}@example.org", "--password", PASSWORD)
        return int(added["id"])
    return int(found[0])


def in_game(world: World, name: str) -> str:
    """Log an account in with the game; return the token of the session."""
    id_of(world, name)
    return log_in(world.server, name)


def open_match(world: World, token: str, host: str, name: str) -> int:
    """Open a match; return the id of its page."""
    form = MatchForm(
        id=0,
        in_progress=False,
        mods=0,
        name=name,
        password="",
        map_name="Artist - Title [Hard]",
        map_id=75,
        map_md5="0" * 32,
        slots=(SlotForm(1, 0, 0, 0),) * 16,
        host_id=id_of(world, host),
        mode=0,
        win_condition=0,
        team_type=0,
        free_mods=False,
        seed=0,
    )
    poll(world.server, token, whole(ClientPacket.CREATE_MATCH, form))
    listed = world.server.get("/v2/matches").json["data"]
    return next(int(one["id"]) for one in listed if one["name"] == name)


def open_match_named(world: World, name: str) -> int:
    """Return the id of the page of an open match."""
    listed = world.server.get("/v2/matches").json["data"]
    return next(int(one["id"]) for one in listed if one["name"] == name)

"""The pages of sessions and matches: who is online, what they do, and the acts that end it."""

from sqlalchemy import update
from tests.faces.bancho.client_bytes import whole
from tests.site.admin.kit import DEVELOPER, MODERATOR, NOMINATOR, World, confirmed
from tests.site.admin.live_kit import id_of, in_game, open_match
from tests.wire.kit import eventually
from tests.wire.submitting import poll

from kiai.faces.bancho.packets import ClientPacket
from kiai.storage.tables import users

HOSTILE = "<script>alert(1)</script>"


def test_sessions_are_listed_with_their_clients_and_found_by_name(world: World) -> None:
    in_game(world, "seen online")
    browser = world.browser(MODERATOR)

    page = browser.get("/admin/live")
    row = page.one(f'tr[data-user-id="{id_of(world, "seen online")}"]').text()
    found = browser.get("/admin/live").form("Search sessions").set("Search sessions", "seen").press()
    none = browser.get("/admin/live?q=nobody-is-called-so")

    assert page.h1 == "Live"
    assert "b20260711" in row
    assert "idle" in row
    assert [node.attributes["data-user-id"] for node in found.css("tr[data-user-id]")] == [
        str(id_of(world, "seen online"))
    ]
    assert none.css("tr[data-user-id]") == []
    assert "No session fits." in none.text


def test_restricted_player_is_listed_with_the_state(world: World) -> None:
    user_id = id_of(world, "hidden online")
    world.write(update(users).where(users.c.id == user_id).values(priv=2))
    in_game(world, "hidden online")

    row = world.browser(MODERATOR).get("/admin/live?q=hidden+online").one(f'tr[data-user-id="{user_id}"]')

    assert "restricted" in row.text()


def test_spectator_is_shown_with_the_host(world: World) -> None:
    in_game(world, "watched host")
    watcher, host_id = in_game(world, "a watcher"), id_of(world, "watched host")
    poll(world.server, watcher, whole(ClientPacket.START_SPECTATING, host_id))

    own = world.browser(MODERATOR).get("/admin/live?q=a+watcher").one("tr[data-user-id]")
    assert own.css(f'a[href="/admin/live/sessions/{host_id}"]')
    host = world.browser(MODERATOR).get("/admin/live?q=watched+host").one("tr[data-user-id]")
    assert host.css("td")[-1].text(strip=True) == "1"


def test_kick_ends_the_sessions(world: World) -> None:
    in_game(world, "to be kicked")
    user_id = id_of(world, "to be kicked")
    page = world.browser(MODERATOR).get(f"/admin/live/sessions/{user_id}")
    assert page.css("tr[data-user-id]")

    after = confirmed(page.form("Kick").fill(Reason="stuck"))

    assert after.message == "to be kicked is kicked."
    eventually(
        lambda: not world.browser(MODERATOR).get(f"/admin/live/sessions/{user_id}").css("tr[data-user-id]"),
    )


def test_match_is_listed_with_its_seats_and_closed(world: World) -> None:
    token = in_game(world, "match host")
    match_id = open_match(world, token, "match host", HOSTILE)
    moderator = world.browser(MODERATOR).get("/admin/live")
    row = moderator.one(f'tr[data-match-id="{match_id}"]')

    assert HOSTILE in row.text()
    assert "match host" in row.text()
    assert HOSTILE.encode() not in moderator.body
    # A moderator sees the match and does not close it.
    assert world.browser(MODERATOR).get(f"/admin/live/matches/{match_id}").css("form h3") == []

    page = world.browser(DEVELOPER).get(f"/admin/live/matches/{match_id}")
    after = confirmed(page.form("Close match").fill(Reason="abuse"))

    assert after.path == "/admin/live?closed=1"
    assert after.message == "The match is closed."
    assert after.css(f'tr[data-match-id="{match_id}"]') == []
    assert world.browser(DEVELOPER).get(f"/admin/live/matches/{match_id}").status == 404
    [row] = [one for one in world.audit() if one.action == "mp_close" and one.target_id == match_id]
    assert (row.target_kind, row.actor_id, row.source, row.reason) == ("match", DEVELOPER, "web", "abuse")


def test_page_is_not_for_those_who_cannot_kick(world: World) -> None:
    assert world.browser(NOMINATOR).get("/admin/live").status == 404

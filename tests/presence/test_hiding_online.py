"""Players who hide that they are online: the public feed has none of their presence events."""

import json
from pathlib import Path

from sqlalchemy import update
from tests.builders import Run, World, a_player

from kiai.accounts.model import Privacy
from kiai.faces.api.announce import TABLE
from kiai.presence import Presence
from kiai.realtime.port import Entry, Session, SessionStats, Status
from kiai.storage.port import Database
from kiai.storage.tables import users


def test_feed_has_no_presence_of_a_player_who_hides_it(database: Database, run: Run, tmp_path: Path) -> None:
    world = World(database, run, tmp_path)
    alice = world.add_player(a_player())
    feed: list[bool] = []

    def announce(event: object) -> list[Entry]:
        entries = list(TABLE[type(event)](event)) if type(event) in TABLE else []
        feed.extend(json.loads(entry.body)["data"]["online"] for entry in entries)
        return entries

    async def stats_of(user_id: int, mode: int) -> SessionStats:
        return SessionStats()

    presence = Presence(world.realtime, world.accounts, world.clock, announce, stats_of)

    def hide(privacy: Privacy) -> None:
        world.change(update(users).where(users.c.id == alice).values(privacy=int(privacy)))
        run(presence.on_profile_change([str(alice)]))

    session = run(presence.open_session(Session(token="t", user_id=alice, login_time_ms=1)))
    assert feed == [True]

    hide(Privacy.HIDE_ONLINE)
    assert feed == [True, False], "followers of the feed see the player go"
    run(presence.set_status(session, Status(action=2)))
    run(presence.end("t"))
    hidden = Session(token="u", user_id=alice, login_time_ms=1, hides_online=True)
    run(presence.open_session(hidden))
    assert feed == [True, False]

    hide(Privacy(0))
    assert feed == [True, False, True]

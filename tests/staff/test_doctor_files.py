"""The doctor reports missing files that rows name."""

import io
import time
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import insert, update
from tests.builders import Run, World, a_map, a_player
from tests.decoders import DECODER

from kiai.accounts.avatars import Avatars
from kiai.accounts.covers import ProfileCovers
from kiai.beatmaps import osu_key
from kiai.beatmaps.importing import archive_key
from kiai.ids import SequenceIds, SystemIds
from kiai.screenshots import Screenshots, screenshot_key
from kiai.storage.port import Database
from kiai.storage.tables import clans, screenshots, sets, users


def png() -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (32, 32), (1, 90, 150)).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def world(database: Database, run: Run, tmp_path: Path) -> World:
    world = World(database, run, tmp_path)
    world.clock.set_now_ms(time.time_ns() // 1_000_000)
    return world


def test_missing_files_are_reported(world: World) -> None:
    alice = world.add_player(a_player())
    song = world.add_map(a_map(7, set_id=70))
    avatars = Avatars(world.accounts, world.files, DECODER, world.clock, SequenceIds())
    world.run(avatars.change(alice, png()))
    covers = ProfileCovers(world.accounts, world.files, DECODER, world.clock, SequenceIds())
    world.run(covers.change(alice, png()))
    avatar, cover = world.user(alice).avatar, world.user(alice).cover
    assert avatar is not None
    assert cover is not None
    clan = {"name": "Night Owls", "safe_name": "night_owls", "tag": "OWL", "owner_id": alice, "created_at_ms": 1}
    icon = "clan-icons/7-0123.png"
    world.run(world.files.put(icon, b"icon"))
    world.change(insert(clans).values(id=7, **clan, icon=icon))
    world.change(update(users).where(users.c.id == alice).values(clan_id=7, clan_priv=3))
    name = world.run(Screenshots(world.database, world.files, DECODER, world.clock, SystemIds()).save(alice, png()))
    world.run(world.files.put(archive_key(70), b"archive"))
    world.change(update(sets).where(sets.c.id == 70).values(osz_size=7))
    world.clock.advance(120)
    assert world.problems() == []

    for key in (
        avatar,
        cover,
        icon,
        screenshot_key(name.removesuffix(".png"), "png"),
        archive_key(70),
        osu_key(song.md5),
    ):
        world.run(world.files.delete(key))

    assert sorted(world.problems()) == [
        f"I3: the .osu file of map 7 ({song.md5}) is missing",
        "I3: the archive of set 70, the source of its covers, is missing",
        f"I3: the avatar of user {alice} is missing",
        f"I3: the cover of user {alice} is missing",
        "I3: the icon of clan 7 is missing",
        f"I3: the screenshot {name} is missing",
    ]


def test_screenshot_is_not_reported_during_its_upload(world: World) -> None:
    alice = world.add_player(a_player())
    world.change(
        insert(screenshots).values(id="aB-_0189", user_id=alice, kind="png", size=1, at_ms=world.clock.now_ms())
    )

    assert world.problems() == []
    world.clock.advance(120)
    assert world.problems() == ["I3: the screenshot aB-_0189.png is missing"]

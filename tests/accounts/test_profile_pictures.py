"""Avatars and covers: what is stored, replaced, removed and swept, and who sees them."""

import io
import time
from typing import Any

import pytest
from PIL import Image
from tests.builders import World, a_player
from tests.decoders import DECODER

from kiai.accounts import Viewer
from kiai.accounts.avatars import Avatars, NotAPicture
from kiai.accounts.covers import ProfileCovers
from kiai.accounts.profile_pictures import ProfilePictures
from kiai.clans.picture_sweep import PictureSweep
from kiai.decoding import pictures
from kiai.errors import Invalid, Refused
from kiai.ids import SequenceIds
from kiai.storage.tables import users


def a_picture(width: int, height: int, kind: str = "PNG", colour: Any = (200, 30, 30), **options: Any) -> bytes:
    out = io.BytesIO()
    mode = "RGBA" if len(colour) == 4 else "RGB"
    Image.new(mode, (width, height), colour).save(out, kind, **options)
    return out.getvalue()


@pytest.fixture
def covers(world: World) -> ProfileCovers:
    world.clock.set_now_ms(time.time_ns() // 1_000_000)  # the file system sets the times of files
    return ProfileCovers(world.accounts, world.files, DECODER, world.clock, SequenceIds())


@pytest.fixture
def alice(world: World) -> int:
    return world.add_player(a_player())


def test_cover_is_a_webp_of_1920_x_640_pixels(world: World, covers: ProfileCovers, alice: int) -> None:
    world.run(covers.change(alice, a_picture(600, 900, "JPEG")))

    data = world.run(covers.find(alice))
    assert data is not None
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.size, image.mode) == ("WEBP", (1920, 640), "RGB")
    assert len(world.user(alice).cover or "") <= 64


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"not a picture", NotAPicture),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", NotAPicture),
        (a_picture(10, 10)[:-40], Invalid),
        (a_picture(4097, 10), Invalid),
    ],
)
def test_bad_upload_changes_nothing(
    world: World, covers: ProfileCovers, alice: int, data: bytes, error: type[Exception]
) -> None:
    with pytest.raises(error):
        world.run(covers.change(alice, data))

    assert world.user(alice).cover is None


def test_replaced_and_removed_covers_are_swept_a_day_later_and_the_present_one_stays(
    world: World, covers: ProfileCovers, alice: int
) -> None:
    avatars = Avatars(world.accounts, world.files, DECODER, world.clock, SequenceIds())
    bob = world.add_player(a_player("bob"))
    for user_id in (alice, bob):
        world.run(covers.change(user_id, a_picture(30, 10)))
        world.run(covers.change(user_id, a_picture(30, 10, colour=(1, 2, 3))))
        world.run(avatars.change(user_id, a_picture(10, 10)))
    world.run(covers.remove(bob))
    world.run(avatars.remove(bob))
    world.clock.advance(86_400 + 60)

    swept = world.run(PictureSweep(world.database, world.accounts, world.files, world.clock).run())

    async def stored() -> list[str]:
        return sorted([file.key async for file in world.files.keys("")])

    left = world.run(stored())
    assert swept == 4
    assert left == [world.user(alice).avatar, world.user(alice).cover]
    assert world.run(covers.find(bob)) is None
    assert world.user(bob).avatar is None


def test_same_picture_again_changes_nothing(world: World, covers: ProfileCovers, alice: int) -> None:
    world.run(covers.change(alice, a_picture(30, 10)))
    before = world.user(alice).cover
    world.run(covers.change(alice, a_picture(30, 10)))

    assert world.user(alice).cover == before


def test_cover_of_a_hidden_player_is_seen_by_the_player_and_by_staff(
    world: World, covers: ProfileCovers, alice: int
) -> None:
    world.run(covers.change(alice, a_picture(30, 10)))
    assert world.run(covers.find(alice)) is not None
    world.change(users.update().where(users.c.id == alice).values(priv=2))

    assert world.run(covers.find(alice)) is None
    assert world.run(covers.find(alice, Viewer(user_id=alice + 1))) is None
    assert world.run(covers.find(alice, Viewer(user_id=alice))) is not None
    assert world.run(covers.find(alice, Viewer(priv=4096))) is not None


@pytest.mark.parametrize("kind", [Avatars, ProfileCovers])
def test_silenced_player_cannot_change_pictures(world: World, alice: int, kind: Any) -> None:
    shown: ProfilePictures = kind(world.accounts, world.files, DECODER, world.clock, SequenceIds())
    until = world.clock.now_ms() + 60_000
    world.change(users.update().where(users.c.id == alice).values(silenced_until_ms=until))

    with pytest.raises(Refused, match="silenced"):
        world.run(shown.change(alice, a_picture(10, 10)))


def test_cover_is_upright_opaque_and_without_metadata() -> None:
    sideways = Image.new("RGB", (40, 120), (255, 0, 0))
    sideways.paste((0, 0, 255), (0, 0, 40, 60))
    out = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # to be rotated by 90 degrees clockwise: the top becomes the right side
    exif[0x010E] = "where I live"
    sideways.save(out, "JPEG", exif=exif)

    upright = pictures.cover(out.getvalue(), "JPEG")
    opaque = pictures.cover(a_picture(30, 10, colour=(255, 255, 255, 0)), "PNG")

    with Image.open(io.BytesIO(upright)) as image:
        left, right = image.getpixel((200, 320)), image.getpixel((1700, 320))
        assert isinstance(left, tuple)
        assert isinstance(right, tuple)
        assert (left[0] > 200, right[2] > 200) == (True, True)
        assert not image.getexif()
    assert b"where I live" not in upright
    with Image.open(io.BytesIO(opaque)) as image:
        assert image.mode == "RGB"

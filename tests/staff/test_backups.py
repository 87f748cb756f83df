"""Back-ups beside changes: what the copied database names is among the copied files."""

import asyncio
import io
import time
from pathlib import Path
from typing import Final

import pytest
from PIL import Image
from sqlalchemy import select
from tests.builders import Run, World, a_player
from tests.decoders import DECODER

from kiai.accounts.avatars import Avatars
from kiai.errors import Refused
from kiai.files.retiring import BACK_UP_MAX_S
from kiai.ids import SequenceIds
from kiai.staff.backups import FILES, back_up
from kiai.storage.port import Database
from kiai.storage.tables import users

DAY_S: Final = 86_400


def a_picture(shade: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (32, 32), (shade, 90, 150)).save(out, "PNG")
    return out.getvalue()


class House:
    """A server with one player who has an avatar. The clock shows the time that the files' own times are of."""

    def __init__(self, world: World) -> None:
        self.world = world
        world.clock.set_now_ms(time.time_ns() // 1_000_000)
        self.avatars = Avatars(world.accounts, world.files, DECODER, world.clock, SequenceIds())
        self.alice = world.add_player(a_player())
        world.run(self.avatars.change(self.alice, a_picture(1)))

    def named(self) -> str:
        [(key,)] = self.world.look(select(users.c.avatar).where(users.c.id == self.alice))
        assert isinstance(key, str)
        return key

    def stored(self, prefix: str) -> set[str]:
        async def keys() -> set[str]:
            return {one.key async for one in self.world.files.keys(prefix)}

        return self.world.run(keys())

    def pass_s(self, seconds: float) -> None:
        self.world.clock.advance(seconds)


@pytest.fixture
def house(database: Database, run: Run, tmp_path: Path) -> House:
    return House(World(database, run, tmp_path / "house"))


def test_an_avatar_that_is_replaced_during_a_back_up_is_in_the_back_up(house: House, tmp_path: Path) -> None:
    copied: list[str | None] = []

    async def dump(folder: Path) -> None:
        (folder / "kiai.db").write_bytes(b"the database")
        copied.append(await house.world.accounts.avatar_of(house.alice))
        await house.avatars.change(house.alice, a_picture(2))
        await house.avatars.sweep()

    house.world.run(
        back_up(
            tmp_path / "copy", engine="sqlite", schema="1", dump=dump, files=house.world.files, clock=house.world.clock
        )
    )

    [key] = copied
    assert key is not None
    assert key != house.named()
    assert (tmp_path / "copy" / FILES / key).is_file()


def test_a_replaced_avatar_is_deleted_when_no_back_up_can_need_it(house: House) -> None:
    first = house.named()
    house.world.run(house.avatars.change(house.alice, a_picture(2)))
    second = house.named()

    house.pass_s(BACK_UP_MAX_S - 60)
    assert house.world.run(house.avatars.sweep()) == 0
    assert house.stored("avatars/") == {first, second}

    house.pass_s(120)
    assert house.world.run(house.avatars.sweep()) == 1
    assert house.stored("avatars/") == {second}
    assert house.stored("retired/") == set()


def test_an_old_picture_that_is_chosen_again_stays(house: House) -> None:
    house.world.run(house.avatars.change(house.alice, a_picture(2)))
    house.world.run(house.avatars.change(house.alice, a_picture(1)))

    house.pass_s(2 * DAY_S)
    assert house.world.run(house.avatars.sweep()) == 2

    assert house.stored("avatars/") == {house.named()}
    assert house.world.run(house.avatars.find(house.alice)) is not None


def test_the_same_picture_sent_again_is_no_change(house: House) -> None:
    before = house.named()

    house.world.run(house.avatars.change(house.alice, a_picture(1)))

    assert house.named() == before
    assert house.stored("retired/") == set()


def test_the_file_of_a_change_that_failed_after_it_was_retired_stays(house: House) -> None:
    key = house.named()
    house.world.run(house.world.files.put(f"retired/{key}", b""))

    house.pass_s(2 * DAY_S)
    assert house.world.run(house.avatars.sweep()) == 0

    assert house.stored("avatars/") == {key}
    assert house.stored("retired/") == set()


def test_of_changes_at_once_one_picture_is_left(house: House) -> None:
    async def change_all() -> None:
        await asyncio.gather(*(house.avatars.change(house.alice, a_picture(shade)) for shade in range(2, 8)))

    house.world.run(change_all())
    house.pass_s(2 * DAY_S)
    house.world.run(house.avatars.sweep())

    assert house.stored("avatars/") == {house.named()}


def test_a_back_up_that_takes_longer_than_files_are_kept_fails(house: House, tmp_path: Path) -> None:
    async def dump(folder: Path) -> None:
        (folder / "kiai.db").write_bytes(b"the database")
        house.pass_s(BACK_UP_MAX_S + 1)

    with pytest.raises(Refused, match="longer than 24 hours"):
        house.world.run(
            back_up(
                tmp_path / "copy",
                engine="sqlite",
                schema="1",
                dump=dump,
                files=house.world.files,
                clock=house.world.clock,
            )
        )
    assert not (tmp_path / "copy" / "manifest.json").exists()

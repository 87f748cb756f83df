"""Backups during changes of avatars: the backup contains each file that the copied database names."""

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
from kiai.clans.picture_sweep import PictureSweep
from kiai.errors import Refused
from kiai.files.folder_place import FolderPlace
from kiai.files.retiring import BACK_UP_MAX_S
from kiai.ids import SequenceIds
from kiai.staff.backup_model import FILES
from kiai.staff.backups import BackupSource, BackupWriter, Dump
from kiai.storage.port import Database
from kiai.storage.tables import users

DAY_S: Final = 86_400


def png_of(shade: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (32, 32), (shade, 90, 150)).save(out, "PNG")
    return out.getvalue()


class AvatarServer:
    """A server with one player who has an avatar."""

    def __init__(self, world: World) -> None:
        self.world = world
        # The file system sets the times of files, so the clock starts at the real time.
        world.clock.set_now_ms(time.time_ns() // 1_000_000)
        self.avatars = Avatars(world.accounts, world.files, DECODER, world.clock, SequenceIds())
        self.pictures = PictureSweep(world.database, world.accounts, world.files, world.clock)
        self.alice = world.add_player(a_player())
        world.run(self.avatars.change(self.alice, png_of(1)))

    def current_key(self) -> str:
        [(key,)] = self.world.look(select(users.c.avatar).where(users.c.id == self.alice))
        assert isinstance(key, str)
        return key

    def stored_keys(self, prefix: str) -> set[str]:
        async def keys() -> set[str]:
            return {file.key async for file in self.world.files.keys(prefix)}

        return self.world.run(keys())

    def sweep(self) -> int:
        return self.world.run(self.pictures.run())

    def advance(self, seconds: float) -> None:
        self.world.clock.advance(seconds)


def back_up(server: AvatarServer, folder: Path, dump: Dump) -> None:
    """Write a backup to `folder / "copy"`."""
    (folder / "work").mkdir()
    source = BackupSource("sqlite", "1", dump, server.world.files)
    writer = BackupWriter(FolderPlace(folder), "copy", source, folder / "work", server.world.clock)
    server.world.run(writer.write())


@pytest.fixture
def server(database: Database, run: Run, tmp_path: Path) -> AvatarServer:
    return AvatarServer(World(database, run, tmp_path / "server"))


def test_avatar_replaced_during_back_up_is_in_the_back_up(server: AvatarServer, tmp_path: Path) -> None:
    copied: list[str | None] = []

    async def dump(folder: Path) -> None:
        (folder / "kiai.db").write_bytes(b"the database")
        copied.append(await server.world.accounts.picture_of(server.alice, "avatar"))
        await server.avatars.change(server.alice, png_of(2))
        await server.pictures.run()

    back_up(server, tmp_path, dump)

    [key] = copied
    assert key is not None
    assert key != server.current_key()
    assert (tmp_path / "copy" / FILES / key).is_file()


def test_replaced_avatar_is_deleted_after_the_longest_back_up(server: AvatarServer) -> None:
    first = server.current_key()
    server.world.run(server.avatars.change(server.alice, png_of(2)))
    second = server.current_key()

    server.advance(BACK_UP_MAX_S - 60)
    assert server.sweep() == 0
    assert server.stored_keys("avatars/") == {first, second}

    server.advance(120)
    assert server.sweep() == 1
    assert server.stored_keys("avatars/") == {second}
    assert server.stored_keys("retired/") == set()


def test_former_avatar_that_is_set_again_stays(server: AvatarServer) -> None:
    server.world.run(server.avatars.change(server.alice, png_of(2)))
    server.world.run(server.avatars.change(server.alice, png_of(1)))

    server.advance(2 * DAY_S)
    assert server.sweep() == 2

    assert server.stored_keys("avatars/") == {server.current_key()}
    assert server.world.run(server.avatars.find(server.alice)) is not None


def test_uploading_the_current_avatar_changes_nothing(server: AvatarServer) -> None:
    before = server.current_key()

    server.world.run(server.avatars.change(server.alice, png_of(1)))

    assert server.current_key() == before
    assert server.stored_keys("retired/") == set()


def test_retired_file_that_is_still_in_use_stays(server: AvatarServer) -> None:
    key = server.current_key()
    server.world.run(server.world.files.put(f"retired/{key}", b""))

    server.advance(2 * DAY_S)
    assert server.sweep() == 0

    assert server.stored_keys("avatars/") == {key}
    assert server.stored_keys("retired/") == set()


def test_concurrent_changes_leave_one_avatar(server: AvatarServer) -> None:
    async def change_all() -> None:
        await asyncio.gather(*(server.avatars.change(server.alice, png_of(shade)) for shade in range(2, 8)))

    server.world.run(change_all())
    server.advance(2 * DAY_S)
    server.sweep()

    assert server.stored_keys("avatars/") == {server.current_key()}


def test_back_up_over_the_time_limit_is_refused(server: AvatarServer, tmp_path: Path) -> None:
    async def dump(folder: Path) -> None:
        (folder / "kiai.db").write_bytes(b"the database")
        server.advance(BACK_UP_MAX_S + 1)

    with pytest.raises(Refused, match="longer than 24 hours"):
        back_up(server, tmp_path, dump)
    assert not (tmp_path / "copy" / "manifest.json").exists()

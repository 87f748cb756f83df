"""Icons of clans: who sets them, what is stored, and what becomes of the files of former icons."""

import io
import json
import time
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import select, update
from tests.accounts.test_profile_pictures import a_picture
from tests.builders import World
from tests.clans.kit import icons_of
from tests.clans.test_acts import ClanWorld

from kiai.accounts.picture_files import NotAPicture
from kiai.clans.icons import ClanIcons
from kiai.clans.picture_sweep import PictureSweep
from kiai.errors import Invalid, LacksRole, NotFound, OutRanked, WrongState
from kiai.staff.audit import Actor
from kiai.storage.outbox import Outbox
from kiai.storage.tables import audit_log, users

RED, BLUE = (200, 30, 30), (30, 30, 200)


class IconWorld:
    """The clan of `ClanWorld` with a store of icons, and the outbox."""

    def __init__(self, world: World) -> None:
        world.clock.set_now_ms(time.time_ns() // 1_000_000)  # the file system sets the times of files
        self.clan = ClanWorld(world)
        self.world = world
        self.run = world.run
        self.outbox = Outbox(world.database, world.clock)
        self.icons: ClanIcons = icons_of(world, self.clan.acts, self.outbox)

    def set(self, by: int, colour: Any = RED) -> None:
        self.run(self.icons.change(by, self.clan.id, a_picture(300, 200, colour=colour)))

    def key(self) -> str | None:
        return self.run(self.clan.clans.clan(self.clan.id)).icon

    def files(self) -> list[str]:
        async def stored() -> list[str]:
            return sorted([file.key async for file in self.world.files.keys("clan-icons/")])

        return self.run(stored())

    def sweep(self) -> int:
        """Deliver the outbox, and do what the job does after the longest backup."""
        self.run(self.outbox.deliver())
        self.world.clock.advance(2 * 86_400)
        return self.run(
            PictureSweep(self.world.database, self.world.accounts, self.world.files, self.world.clock).run()
        )


@pytest.fixture
def owls(world: World) -> IconWorld:
    return IconWorld(world)


def test_icon_is_a_square_png_of_at_most_256_pixels(owls: IconWorld) -> None:
    owls.set(owls.clan.alice)

    data = owls.run(owls.icons.find(owls.clan.id))
    assert data is not None
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.size) == ("PNG", (200, 200))
    assert owls.key() == owls.files()[0]
    assert len(owls.key() or "") <= 64


def test_only_the_owner_sets_and_removes_the_icon(owls: IconWorld) -> None:
    owls.set(owls.clan.alice)
    before = owls.files()

    for other in (owls.clan.bob, owls.clan.carol, owls.clan.dave):
        with pytest.raises(LacksRole, match="only the owner"):
            owls.set(other, BLUE)
        with pytest.raises(LacksRole, match="only the owner"):
            owls.run(owls.icons.remove(other, owls.clan.id))

    assert owls.files() == before
    assert owls.sweep() == 0
    assert owls.run(owls.icons.find(owls.clan.id)) is not None


def test_refused_icon_leaves_no_file(owls: IconWorld) -> None:
    until = owls.world.clock.now_ms() + 60_000
    owls.world.change(update(users).where(users.c.id == owls.clan.alice).values(silenced_until_ms=until))

    with pytest.raises(LacksRole, match="silenced"):
        owls.set(owls.clan.alice)

    assert owls.key() is None
    owls.sweep()
    assert owls.files() == []


@pytest.mark.parametrize(
    ("data", "error"),
    [(b"not a picture", NotAPicture), (a_picture(10, 10)[:-40], Invalid), (a_picture(4097, 10), Invalid)],
)
def test_bad_upload_changes_nothing(owls: IconWorld, data: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        owls.run(owls.icons.change(owls.clan.alice, owls.clan.id, data))

    assert owls.key() is None
    assert owls.files() == []


def test_former_icons_are_swept_and_the_present_one_stays(owls: IconWorld) -> None:
    owls.set(owls.clan.alice)
    owls.set(owls.clan.alice, BLUE)
    second = owls.key()
    owls.set(owls.clan.alice, BLUE)  # the same picture again
    assert owls.key() == second

    assert owls.sweep() == 1
    assert owls.files() == [second]

    owls.run(owls.icons.remove(owls.clan.alice, owls.clan.id))
    assert owls.key() is None
    assert owls.run(owls.icons.find(owls.clan.id)) is None
    assert owls.sweep() == 1
    assert owls.files() == []
    with pytest.raises(WrongState, match="no icon"):
        owls.run(owls.icons.remove(owls.clan.alice, owls.clan.id))


def test_retired_icon_that_a_clan_still_has_stays(owls: IconWorld) -> None:
    owls.set(owls.clan.alice)
    owls.run(owls.world.files.put(f"retired/{owls.key()}", b""))

    assert owls.sweep() == 0
    assert owls.files() == [owls.key()]


def test_icon_of_a_disbanded_clan_is_swept(owls: IconWorld) -> None:
    owls.set(owls.clan.alice)
    owls.run(owls.clan.acts.disband(owls.clan.alice, owls.clan.id))

    assert owls.sweep() == 1

    assert owls.files() == []
    assert owls.run(owls.icons.find(owls.clan.id)) is None
    with pytest.raises(NotFound):
        owls.run(owls.icons.remove(owls.clan.alice, owls.clan.id))


def test_staff_changes_and_removes_an_icon_with_audit_rows(owls: IconWorld) -> None:
    staff, admin = owls.clan.staff, Actor(owls.clan.admin, "web")
    owls.run(staff.change_icon(admin, owls.clan.id, a_picture(9, 9), "asked for it"))
    key = owls.key()
    owls.run(staff.remove_icon(admin, owls.clan.id, "hateful"))

    assert owls.key() is None
    columns = [audit_log.c[name] for name in ("actor_id", "target_kind", "target_id", "reason", "details")]
    rows = owls.world.look(select(*columns).where(audit_log.c.action == "clan_edit").order_by(audit_log.c.id))
    assert [(*row[:4], json.loads(row[4])) for row in rows] == [
        (owls.clan.admin, "clan", owls.clan.id, reason, {"tag": "OWL", "name": "Night Owls", **change})
        for reason, change in (
            ("asked for it", {"before": {"icon": None}, "after": {"icon": key}}),
            ("hateful", {"before": {"icon": key}, "after": {"icon": None}}),
        )
    ]


def test_staff_does_not_touch_the_icon_of_an_equal(owls: IconWorld) -> None:
    owls.set(owls.clan.alice)
    priv = select(users.c.priv).where(users.c.id == owls.clan.admin).scalar_subquery()
    owls.world.change(update(users).where(users.c.id == owls.clan.alice).values(priv=priv))

    with pytest.raises(OutRanked):
        owls.run(owls.clan.staff.remove_icon(Actor(owls.clan.admin, "web"), owls.clan.id, "why not"))

    assert owls.key() is not None

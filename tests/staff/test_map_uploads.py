"""Archives that nominators upload: nothing before the confirmation, no board from an upload, one audit row."""

import hashlib
import io
import json
import zipfile

import pytest
from sqlalchemy import select, update
from tests.builders import NORMAL, World, a_map, a_play, a_player
from tests.decoders import DECODER

from kiai.beatmaps import MapStatus
from kiai.beatmaps.importing import archive_key
from kiai.errors import Invalid, NotAllowed, WrongState
from kiai.osu.privileges import Privilege
from kiai.staff import Actor
from kiai.staff.audit import ChangedMeanwhile
from kiai.staff.map_imports import FOLDER, KEPT_MS, UPLOAD_MAX, MapImports, UploadReport
from kiai.staff.map_requests import MapRequests, NominationRules
from kiai.storage.tables import audit_log, maps, users


def an_archive(*new: bytes, **more: bytes) -> bytes:
    """Return an archive of .osu files, and of other files by name."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, data in enumerate(new):
            archive.writestr(f"{number}.osu", data)
        for name, data in more.items():
            archive.writestr(name.replace("_", "."), data)
    return buffer.getvalue()


class Desk:
    """The acts of a nominator."""

    def __init__(self, world: World) -> None:
        self.world = world
        requests = MapRequests(world.database, world.authority, world.beatmaps, world.clock, NominationRules())
        self.imports = MapImports(
            world.authority, world.beatmaps, requests, world.importer, DECODER, world.files, None, world.clock
        )
        self.nora = Actor(world.add_player(a_player("nora", priv=NORMAL | Privilege.NOMINATOR)), "web")

    def upload(self, archive: bytes, actor: Actor | None = None) -> UploadReport:
        """Upload and confirm."""
        received = self.world.run(self.imports.receive(actor or self.nora, archive))
        return self.world.run(self.imports.import_received(actor or self.nora, received.sha256, reason="a new set"))

    def rows(self) -> list[tuple[str, int, str, str]]:
        """Return action, actor, reason and details of the audit log."""
        columns = audit_log.c.action, audit_log.c.actor_id, audit_log.c.reason, audit_log.c.details
        return list(self.world.look(select(*columns).order_by(audit_log.c.id)))

    def waiting(self) -> list[str]:
        """Return the keys of the archives that wait."""

        async def keys() -> list[str]:
            return [file.key async for file in self.world.files.keys(FOLDER)]

        return self.world.run(keys())


@pytest.fixture
def desk(world: World) -> Desk:
    return Desk(world)


def statuses(world: World) -> dict[int, int]:
    query = select(maps.c.id, maps.c.status).where(maps.c.current == 1)
    return dict(world.look(query))


def test_archive_waits_for_the_confirmation(desk: Desk) -> None:
    archive = an_archive(a_map(1, set_id=7).data, a_map(2, set_id=7, version="Hard").data, broken_osu=b"no map")

    received = desk.world.run(desk.imports.receive(desk.nora, archive))

    assert (received.name, received.maps, received.skipped) == ("Artist - Song", 3, 0)
    assert received.sha256 == hashlib.sha256(archive).hexdigest()
    assert (statuses(desk.world), desk.rows()) == ({}, [])
    assert desk.waiting() == [f"{FOLDER}{desk.nora.user_id}.osz"]


def test_new_maps_are_pending_with_one_audit_row_and_a_download(desk: Desk) -> None:
    archive = an_archive(a_map(1, set_id=7).data, a_map(2, set_id=7, version="Hard").data, broken_osu=b"no map")

    done = desk.upload(archive)

    assert statuses(desk.world) == {1: MapStatus.PENDING, 2: MapStatus.PENDING}
    assert (done.report.maps, done.report.sets) == (2, 1)
    assert [file.path for file in done.report.skipped] == ["broken.osu"]
    assert [(one.map_id, one.before, one.status, one.is_new_file) for one in done.maps] == [
        (1, None, 0, True),
        (2, None, 0, True),
    ]
    [(action, actor_id, reason, text)] = desk.rows()
    details = json.loads(text)
    assert (action, actor_id, reason) == ("beatmap_upload", desk.nora.user_id, "a new set")
    assert (details["sets"], details["maps"], details["new_files"]) == ([7], 2, 2)
    assert (details["before"], details["after"]) == ({"1": None, "2": None}, {"1": 0, "2": 0})
    assert desk.world.run(desk.world.files.get(archive_key(7))) == archive
    assert desk.waiting() == []


def test_known_file_keeps_its_board_and_a_changed_file_loses_it(desk: Desk) -> None:
    same, old, new = a_map(1, set_id=7), a_map(2, set_id=7, version="Hard"), a_map(2, set_id=7, version="Harder")
    alice = desk.world.add_player(a_player("alice"))
    desk.world.add_map(same)
    song = desk.world.add_map(old)
    desk.world.change(update(maps).where(maps.c.id == 2).values(frozen=0))
    desk.world.record(a_play(by=alice, on=song))

    done = desk.upload(an_archive(same.data, new.data))
    desk.world.reconcile()

    assert statuses(desk.world) == {1: MapStatus.RANKED, 2: MapStatus.PENDING}
    assert [(one.map_id, one.before, one.status, one.is_new_file) for one in done.maps] == [
        (1, 2, 2, False),
        (2, 2, 0, True),
    ]
    assert desk.world.problems() == []
    assert desk.world.stats(alice).pp == 0


def test_only_nominators_upload(desk: Desk) -> None:
    archive = an_archive(a_map(1).data)
    admin = Actor(desk.world.add_player(a_player("admin", priv=NORMAL | Privilege.ADMINISTRATOR)), "web")

    with pytest.raises(NotAllowed):
        desk.world.run(desk.imports.receive(admin, archive))
    with pytest.raises(NotAllowed):
        desk.world.run(desk.imports.import_received(admin, "", reason="x"))
    assert desk.waiting() == []


def test_role_that_is_taken_away_before_the_confirmation_stops_the_import(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    received = desk.world.run(desk.imports.receive(desk.nora, an_archive(a_map(1).data)))

    async def demoted(*_: object) -> int:
        return 0

    # After the first check of the right: the check in the transaction has to find it.
    monkeypatch.setattr(desk.world.authority, "require", demoted)
    desk.world.change(update(users).where(users.c.id == desk.nora.user_id).values(priv=NORMAL))

    with pytest.raises(NotAllowed):
        desk.world.run(desk.imports.import_received(desk.nora, received.sha256, reason="x"))
    assert (statuses(desk.world), desk.rows()) == ({}, [])


def test_archive_is_imported_once_and_only_the_one_that_was_confirmed(desk: Desk) -> None:
    first, second = an_archive(a_map(1).data), an_archive(a_map(2).data)
    received = desk.world.run(desk.imports.receive(desk.nora, first))
    desk.world.run(desk.imports.receive(desk.nora, second))

    with pytest.raises(WrongState):
        desk.world.run(desk.imports.import_received(desk.nora, received.sha256, reason="x"))
    desk.upload(first)
    with pytest.raises(WrongState):
        desk.world.run(desk.imports.import_received(desk.nora, received.sha256, reason="x"))

    assert list(statuses(desk.world)) == [1]
    assert len(desk.rows()) == 1


def test_second_press_at_the_same_time_leaves_one_row(desk: Desk) -> None:
    archive = an_archive(a_map(1).data)
    received = desk.world.run(desk.imports.receive(desk.nora, archive))
    actor = Actor(desk.nora.user_id, "web", seen_id=0)
    desk.world.run(desk.imports.import_received(actor, received.sha256, reason="x"))
    desk.world.clock.advance(1)
    desk.world.run(desk.imports.receive(desk.nora, archive))

    with pytest.raises(ChangedMeanwhile):
        desk.world.run(desk.imports.import_received(actor, received.sha256, reason="x"))
    assert len(desk.rows()) == 1


@pytest.mark.parametrize(
    "archive",
    [
        b"",
        b"no archive",
        an_archive(readme_txt=b"x"),
        an_archive(b"no map"),
        b"x" * (UPLOAD_MAX + 1),
    ],
    ids=["empty", "no archive", "no .osu file", "no map", "too large"],
)
def test_archive_without_a_map_is_refused(desk: Desk, archive: bytes) -> None:
    with pytest.raises(Invalid) as caught:
        desk.world.run(desk.imports.receive(desk.nora, archive))

    assert caught.value.field == "archive"
    assert desk.waiting() == []


def test_archive_that_nobody_confirms_is_deleted(desk: Desk) -> None:
    desk.world.run(desk.imports.receive(desk.nora, an_archive(a_map(1).data)))
    [key] = desk.waiting()

    async def modified_ms() -> int:
        [found] = [file.modified_ms async for file in desk.world.files.keys(FOLDER)]
        return found

    desk.world.clock.set_now_ms(desk.world.run(modified_ms()) + KEPT_MS)
    desk.world.run(desk.imports.sweep())
    assert desk.waiting() == [key]

    desk.world.clock.advance(1)
    desk.world.run(desk.imports.sweep())

    assert desk.waiting() == []

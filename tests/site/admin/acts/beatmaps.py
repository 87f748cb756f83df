"""The acts on the maps of a set."""

import io
import zipfile

from sqlalchemy import delete, insert, select, update
from tests.builders import a_map
from tests.site.admin.kit import NOMINATOR, OWNER, PLAYER, Case, World
from tests.site.kit import Browser, File, FormOnPage

from kiai.storage.tables import map_requests, maps, nominations, sets

PATH = "/admin/beatmaps/{set}"
SET = 300_001
UPLOAD = "/admin/beatmaps/upload"


def map_of_set(world: World) -> int:
    """Return the id of a map of the set."""
    return int(world.row(select(maps.c.id).where(maps.c.set_id == SET, maps.c.current == 1))[0])


def name_of_set(world: World) -> str:
    """Return artist and title."""
    row = world.row(select(sets.c.artist, sets.c.title).where(sets.c.id == SET))
    return f"{row[0]} - {row[1]}"


def on_set(form: str, *, of_map: bool = True, **fields: str):  # type: ignore[no-untyped-def]
    """Return a function that fills in a form on the page of the set, for one map if `of_map`."""

    def filled_in(world: World, browser: Browser) -> FormOnPage:
        chosen = {"Map": str(map_of_set(world))} if of_map else {}
        return browser.get(f"/admin/beatmaps?set={SET}").form(form).fill(**chosen, **fields)

    return filled_in


def state(**values: object):  # type: ignore[no-untyped-def]
    """Return a function that gives the maps of the set these values, and removes its requests and nominations."""

    def prepare(world: World) -> None:
        world.write(update(maps).where(maps.c.set_id == SET).values(**{"status": 2, "frozen": 0, **values}))
        world.write(delete(map_requests).where(map_requests.c.set_id == SET))
        world.write(delete(nominations).where(nominations.c.set_id == SET))

    return prepare


def requested(world: World) -> None:
    """Make the set pending, with a request of a player."""
    state(status=0)(world)
    values = {"user_id": PLAYER, "set_id": SET, "map_id": map_of_set(world), "at_ms": 1}
    world.write(insert(map_requests).values(**values))


def nominated(world: World) -> None:
    """Make the set pending, with a nomination of the owner."""
    state(status=0)(world)
    world.write(insert(nominations).values(set_id=SET, user_id=OWNER, at_ms=1))


def an_archive(**files: bytes) -> File:
    """Return an archive with two maps of set 77 and other files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("easy.osu", a_map(771, set_id=77, title="Upload").data)
        archive.writestr("hard.osu", a_map(772, set_id=77, title="Upload", version="Hard", objects=200).data)
        for name, data in files.items():
            archive.writestr(name, data)
    return File(buffer.getvalue(), "77.osz", "application/octet-stream")


def upload(world: World, browser: Browser) -> FormOnPage:
    """Fill in the form of an upload."""
    return browser.get(UPLOAD).form("Upload beatmaps").fill(Archive=an_archive(), Reason="asked for")


CASES = {
    UPLOAD: Case("beatmap_upload", NOMINATOR, upload, target=lambda world: "Artist - Upload"),
    f"{PATH}/status": Case(
        "beatmap_status", NOMINATOR, on_set("Map status", Status="5", Reason="fun"), state(), name_of_set
    ),
    f"{PATH}/nominate": Case(
        "nominate", NOMINATOR, on_set("Nominate", of_map=False, Reason="fine"), state(status=0), name_of_set
    ),
    f"{PATH}/denominate": Case(
        "nominate_reset", NOMINATOR, on_set("Reset nominations", of_map=False, Reason="wrong"), nominated, name_of_set
    ),
    f"{PATH}/freeze": Case("beatmap_status", NOMINATOR, on_set("Freeze status"), state(), name_of_set),
    f"{PATH}/unfreeze": Case("beatmap_status", NOMINATOR, on_set("Unfreeze status"), state(frozen=1), name_of_set),
    f"{PATH}/close": Case(
        "request_close", NOMINATOR, on_set("Close requests", of_map=False, Reason="not yet"), requested, name_of_set
    ),
    f"{PATH}/refresh": Case(
        "beatmap_refresh", NOMINATOR, on_set("Refresh from upstream", of_map=False), state(), name_of_set
    ),
}

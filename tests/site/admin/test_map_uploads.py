"""The upload of an archive in the panel."""

from sqlalchemy import select
from tests.site.admin.acts.beatmaps import UPLOAD, an_archive
from tests.site.admin.kit import ADMINISTRATOR, NOMINATOR, World
from tests.site.kit import File, FormOnPage, a_browser

from kiai.staff.map_imports import UPLOAD_MAX
from kiai.storage.tables import maps

HOSTILE = "<script>alert(1)<script>.osu"


def form(world: World) -> FormOnPage:
    """Open the form by the link on the page of beatmaps."""
    page = world.browser(NOMINATOR).get("/admin/beatmaps").follow("Upload beatmaps")
    assert page.path == UPLOAD
    return page.form("Upload beatmaps")


def statuses(world: World) -> list[int]:
    """Return the statuses of the maps of the archive."""
    return [row.status for row in world.rows(select(maps.c.status).where(maps.c.set_id == 77, maps.c.current == 1))]


def test_question_names_the_set_and_the_report_names_maps_and_skipped_files(world: World) -> None:
    question = form(world).fill(Archive=an_archive(**{HOSTILE: b"no map"}), Reason="asked for").press("Upload")

    assert question.h1 == "Upload beatmaps: Artist - Upload?"
    assert question.link("Cancel") == UPLOAD
    assert statuses(world) == []
    page = question.form(question.h1).press("Confirm")

    assert (page.message, page.alert) == ("2 maps in 1 sets are imported.", None)
    assert statuses(world) == [0, 0]
    assert [row.attributes["data-map-id"] for row in page.css("tr[data-map-id]")] == ["771", "772"]
    assert HOSTILE in page.one("section[aria-labelledby='skipped-heading']").text()
    assert b"<script>alert" not in page.body
    visitor = a_browser(world.server)
    assert visitor.get("/beatmapsets/77").stat("status") == "0"
    again = question.form(question.h1).press("Confirm")
    assert (again.status, again.alert) == (422, "The archive was imported or replaced; upload it again.")


def test_wrong_file_and_missing_reason_are_explained(world: World) -> None:
    wrong = form(world).fill(Archive=File(b"no archive"), Reason="x").press("Upload")
    assert wrong.status == 422
    assert wrong.form("Upload beatmaps").error("Archive") == "Must be an .osz or .olz archive with beatmaps."

    wordless = form(world).fill(Archive=an_archive()).press("Upload")
    assert wordless.status == 422
    assert "Must be a text" in (wordless.form("Upload beatmaps").error("Reason") or "")

    missing = form(world).fill(Reason="x").press("Upload")
    assert missing.status == 422
    assert missing.form("Upload beatmaps").error("Archive")


def test_archive_above_the_limit_is_refused(world: World) -> None:
    page = form(world).fill(Archive=File(b"x" * (UPLOAD_MAX + 1)), Reason="x").press("Upload")

    assert page.status == 422
    assert page.form("Upload beatmaps").error("Archive") == "Must be a file of up to 19 MiB."


def test_administrator_without_the_role_of_nominators_has_no_upload(world: World) -> None:
    browser = world.browser(ADMINISTRATOR)

    assert browser.get("/admin/beatmaps").link("Upload beatmaps") is None
    assert browser.get(UPLOAD).status == 404

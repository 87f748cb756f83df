"""`/admin/beatmaps/upload`: the upload of an archive, the question with its contents, and the report of the import."""

from typing import Final

import msgspec

from kiai.errors import Invalid, KiaiError, NotFound, Refused, Unavailable
from kiai.faces.rate_limit import RateLimit
from kiai.faces.site.admin.beatmaps import PATH as BEATMAPS
from kiai.faces.site.admin.beatmaps import STATUS_WORDS
from kiai.faces.site.admin.frame import admin_view, staff_actor, staff_form, staff_page
from kiai.faces.site.page import FORM_MAX, FormState, Page, Response, SiteRequest, View
from kiai.osu.numbers import whole_number
from kiai.staff import Actor
from kiai.staff.audit import ChangedMeanwhile
from kiai.staff.audit_reading import AuditReading
from kiai.staff.map_imports import UPLOAD_MAX, MapImports, ReceivedArchive
from kiai.staff.map_requests import SETS_STATUS
from kiai.staff.reasons import REASON_MAX, checked_reason

PATH: Final = f"{BEATMAPS}/upload"
TITLE: Final = "Upload beatmaps"
UPLOADS: Final = RateLimit("map-uploads", 60, 3_600.0)
"""The limit of an account for uploads and their confirmations."""
SHOWN_MAX: Final = 500
"""Lines of each part of a report, as many as an archive has entries."""


class UploadQuestion(msgspec.Struct, frozen=True):
    """The texts of `admin/confirm.html` about an import."""

    title: str
    effect: str
    danger: bool = False


EFFECT: Final = (
    "The maps are imported. New maps become pending, and so does a map that gets another file: nobody is on its board "
    "until its status is set. Maps with the same file keep their status."
)


class MapUploadPages:
    """The page that imports an archive."""

    def __init__(self, audit: AuditReading, imports: MapImports) -> None:
        self._audit = audit
        self._imports = imports

    def pages(self) -> list[Page]:
        """Return the page and its form."""
        form = staff_form(PATH, self._upload, SETS_STATUS, UPLOAD_MAX + FORM_MAX)
        return [staff_page(PATH, self._show, SETS_STATUS), msgspec.structs.replace(form, rate_limit=UPLOADS)]

    async def _show(self, request: SiteRequest) -> Response:
        return self._page(request)

    def _page(self, request: SiteRequest, form: FormState | None = None, status: int = 200) -> View:
        values = {"form": form, "reason_max": REASON_MAX, "most_mib": UPLOAD_MAX // 1024**2}
        return admin_view(request, "map_upload.html", TITLE, values, status=status, crumbs=((BEATMAPS, "Beatmaps"),))

    async def _upload(self, request: SiteRequest) -> Response:
        typed = {"reason": (request.form.text("reason") or "").strip()}
        seen = whole_number(request.form.text("seen") or "")
        try:
            reason = checked_reason(typed["reason"])
            if request.form.text("confirmed") == "1":
                actor = Actor(request.visitor.player.id, "web", seen)
                return await self._import(request, actor, request.form.text("sha256") or "", reason)
            received = await self._imports.receive(staff_actor(request), request.form.file("archive") or b"")
            return await self._question(request, received, reason)
        except Invalid as error:
            fault = f"Must be {error.allowed}."
            errors = {error.field: fault} if error.field in ("archive", "reason") else {}
            return self._page(request, FormState(typed, errors, "" if errors else fault), 422)
        except ChangedMeanwhile as error:
            name = await self._audit.name_of(error.actor_id)
            message = f"Changed by {name} a moment ago ({error.action}). Nothing was imported."
            return self._page(request, FormState(typed, message=message), 409)
        except (Refused, Unavailable, NotFound) as error:
            status = 503 if isinstance(error, Unavailable) else 422
            return self._page(request, FormState(typed, message=_sentence(error)), status)

    async def _question(self, request: SiteRequest, received: ReceivedArchive, reason: str) -> View:
        given = [("Maps", str(received.maps)), ("Reason", reason)]
        if received.skipped:
            given.insert(1, ("Files that cannot be used", str(received.skipped)))
        values = {
            "act": UploadQuestion(TITLE, EFFECT),
            "target": received,
            "given": given,
            "hidden": [
                ("sha256", received.sha256),
                ("reason", reason),
                ("seen", str(await self._audit.newest_id())),
            ],
            "back": PATH,
            "action": PATH,
        }
        title = f"{TITLE}: {received.name}?"
        return admin_view(request, "confirm.html", title, values, crumbs=((BEATMAPS, "Beatmaps"), (PATH, TITLE)))

    async def _import(self, request: SiteRequest, actor: Actor, sha256: str, reason: str) -> View:
        done = await self._imports.import_received(actor, sha256, reason=reason)
        values = {
            "done": done,
            "maps": done.maps[:SHOWN_MAX],
            "notes": done.report.notes[:SHOWN_MAX],
            "skipped": done.report.skipped[:SHOWN_MAX],
            "words": STATUS_WORDS,
        }
        return admin_view(
            request,
            "map_upload_report.html",
            "Uploaded beatmaps",
            values,
            crumbs=((BEATMAPS, "Beatmaps"), (PATH, TITLE)),
        )


def _sentence(error: KiaiError) -> str:
    text = error.reason if isinstance(error, Refused) else str(error)
    return f"{text[:1].upper()}{text[1:].removesuffix('.')}."

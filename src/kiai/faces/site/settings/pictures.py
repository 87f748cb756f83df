"""`/settings/avatar`: the avatar and the cover. Without script the server crops the middle of the picture."""

from typing import Final

from kiai.accounts.avatars import Avatars, NotAPicture
from kiai.accounts.covers import ProfileCovers
from kiai.accounts.picture_files import UPLOAD_MAX
from kiai.accounts.profile_pictures import ProfilePictures
from kiai.errors import Invalid, Refused
from kiai.faces.rate_limit import RateLimit
from kiai.faces.site.page import FormState, Head, Page, Response, SiteRequest, View
from kiai.faces.site.settings import common
from kiai.own_account.acts import own_change

PATH: Final = "/settings/avatar"
FORM_OVERHEAD: Final = 16 * 1024  # of the other parts of the form


class PictureSettingsPages:
    """The page of avatar and cover, and its forms."""

    def __init__(self, avatars: Avatars, covers: ProfileCovers, uploads: RateLimit) -> None:
        self._pictures: dict[str, ProfilePictures] = {"avatar": avatars, "cover": covers}
        self._uploads = uploads

    def pages(self) -> list[Page]:
        """Return the page and its forms."""

        def upload(path: str, picture: str) -> Page:
            async def handle(request: SiteRequest) -> Response:
                return await self._upload(request, picture)

            return common.form(path, handle, self._uploads, UPLOAD_MAX + FORM_OVERHEAD)

        def remove(path: str, picture: str) -> Page:
            async def handle(request: SiteRequest) -> Response:
                player = request.visitor.player
                await self._pictures[picture].remove(player.id, own_change(player.id, picture))
                return common.saved(PATH, f"{picture}-removed")

            # The button is in the form of the upload, so the request may contain a chosen file.
            return common.form(path, handle, self._uploads, UPLOAD_MAX + FORM_OVERHEAD)

        return [
            common.show(PATH, self._show),
            upload(PATH, "avatar"),
            remove(f"{PATH}/remove", "avatar"),
            upload("/settings/cover", "cover"),
            remove("/settings/cover/remove", "cover"),
        ]

    async def _show(self, request: SiteRequest) -> Response:
        return self._page(request, {})

    def _page(self, request: SiteRequest, forms: dict[str, FormState], status: int = 200) -> View:
        text = request.locale.text
        sentences = {
            "avatar": text("Your avatar was changed."),
            "avatar-removed": text("Your avatar was removed."),
            "cover": text("Your cover was changed."),
            "cover-removed": text("Your cover was removed."),
        }
        values = {
            "forms_of": {name: forms.get(name) for name in self._pictures},
            "user": request.visitor.player,
            "silenced": request.visitor.player.silenced_until_ms > request.now_ms,
            "saved": common.message_of(request, sentences),
        }
        return View("settings/avatar.html", values, Head(title=text("Avatar and cover")), status)

    async def _upload(self, request: SiteRequest, picture: str) -> Response:
        locale, text = request.locale, request.locale.text
        data = request.form.file(picture) or b""
        if len(data) > UPLOAD_MAX:
            return self._wrong(request, picture, text("The file must have at most 4 MiB."), 413)
        if not data:
            return self._wrong(request, picture, text("Choose a file."), 422)
        try:
            player = request.visitor.player
            await self._pictures[picture].change(player.id, data, own_change(player.id, picture))
        except NotAPicture:
            return self._wrong(request, picture, text("The file must be a PNG, JPEG, GIF or WebP picture."), 422)
        except Invalid as error:
            return self._page(request, {picture: common.invalid(locale, {}, error, {error.field: picture})}, 422)
        except Refused as error:
            return self._page(request, {picture: common.refused(request.locale, {}, error.reason)}, 422)
        return common.saved(PATH, picture)

    def _wrong(self, request: SiteRequest, picture: str, message: str, status: int) -> View:
        return self._page(request, {picture: common.wrong(request.locale, {}, picture, message)}, status)

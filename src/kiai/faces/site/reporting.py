"""The forms that report a player, a score or a comment to the staff, as `!report` of the bot does."""

from collections.abc import Awaitable, Callable
from typing import Final

import msgspec

from kiai.accounts import BOT_ID, Accounts, User
from kiai.beatmaps.model import full_title
from kiai.beatmaps.set_comments import SetComments
from kiai.errors import Conflict, Invalid, NotATarget, NotFound, Refused
from kiai.faces.site.locale import Locale
from kiai.faces.site.page import Access, FormState, Head, Page, Redirect, Response, SiteRequest, View
from kiai.faces.site.settings import common
from kiai.osu.numbers import whole_number
from kiai.scores.details import ScoreReader
from kiai.staff.reports import OTHER, TEXT_MAX, Reports

ID_MAX: Final = 2**63 - 1
WORDS_MAX: Final = 250
"""Characters that a player can write about a score or comment. The rest of the text names the score or comment."""
QUOTED_MAX: Final = 180
"""Characters of a comment in a report about it. The author can delete the comment afterwards."""
KINDS: Final = ("Cheating", "Insults", "Spamming", "Unwanted content", OTHER)
"""The kinds in the words of the game's report window."""


class Subject(msgspec.Struct, frozen=True):
    """The player, score or comment of a report.

    - `prefix`: the start of the stored text, which names the score or the comment.
    - `path`: the page that it is on. `done` is the address after the report.
    - `about`: a line under the heading: the title of the map, or the text of the comment.
    """

    target: User
    heading: str
    prefix: str
    words_max: int
    action: str
    path: str
    done: str
    about: str = ""


class ReportPages:
    """The page of a report for each kind of subject, with its form."""

    def __init__(self, reports: Reports, accounts: Accounts, scores: ScoreReader, comments: SetComments) -> None:
        self._reports = reports
        self._accounts = accounts
        self._scores = scores
        self._comments = comments

    def pages(self) -> list[Page]:
        """Return the pages and their forms."""
        return [
            *self._of("/users/{user}/report", self._player),
            *self._of("/scores/{score}/report", self._score),
            *self._of("/beatmapsets/{set}/comments/{comment}/report", self._comment),
        ]

    def _of(self, path: str, find: Callable[[SiteRequest], Awaitable[Subject]]) -> list[Page]:
        async def show(request: SiteRequest) -> Response:
            try:
                return _page(request, await find(request), None)
            except NotATarget as error:  # no page links to it
                raise NotFound("page") from error

        async def send(request: SiteRequest) -> Response:
            return await self._send(request, await find(request))

        return [Page("GET", path, show, Access.PLAYER), Page("POST", path, send, Access.PLAYER)]

    # --- the subjects; what the visitor may not see is not found

    async def _player(self, request: SiteRequest) -> Subject:
        target = await self._target(request, request.id("user"))
        path = f"/users/{target.id}"
        heading = request.locale.text("Report %(name)s", name=target.name)
        return Subject(target, heading, "", TEXT_MAX, f"{path}/report", path, f"{path}?done=reported")

    async def _score(self, request: SiteRequest) -> Subject:
        score_id = whole_number(request.path["score"], ID_MAX)
        if not score_id:
            raise NotFound("score")
        found = await self._scores.find(score_id, request.visitor.viewer)
        target = await self._target(request, found.score.user_id)
        path = f"/scores/{found.score.id}"
        heading = request.locale.text("Report the score of %(name)s", name=target.name)
        return Subject(
            target,
            heading,
            f"Score {found.score.id}",
            WORDS_MAX,
            f"{path}/report",
            path,
            f"{path}?done=report",
            full_title(found.beatmap),
        )

    async def _comment(self, request: SiteRequest) -> Subject:
        comment_id = whole_number(request.path["comment"], ID_MAX)
        if not comment_id:
            raise NotFound("comment")
        found = await self._comments.one(comment_id, request.visitor.viewer)
        if found.set_id != request.id("set"):
            raise NotFound("comment")
        target = await self._target(request, found.player.id)
        path = f"/beatmapsets/{found.set_id}"
        quote = found.text if len(found.text) <= QUOTED_MAX else f"{found.text[: QUOTED_MAX - 3]}..."
        return Subject(
            target,
            request.locale.text("Report the comment of %(name)s", name=target.name),
            f'Comment {found.id} on set {found.set_id}, "{quote}"',
            WORDS_MAX,
            f"{path}/comments/{found.id}/report",
            f"{path}#comment-{found.id}",
            f"{path}?done=reported#comments",
            found.text,
        )

    async def _target(self, request: SiteRequest, user_id: int | None) -> User:
        if user_id is None:
            raise NotFound("player")
        if user_id == BOT_ID:
            raise NotATarget("you can't do that to the bot")
        if user_id == request.visitor.player.id:
            raise NotATarget("you can't do that to yourself")
        return await self._accounts.user(request.visitor.viewer, id=user_id)

    # --- the form

    async def _send(self, request: SiteRequest, subject: Subject) -> Response:
        typed, text = common.typed(request, "kind", "text"), request.locale.text
        kind, words = typed["kind"], typed["text"].replace("\r\n", "\n").strip()
        wrong = {}
        if kind not in KINDS:
            wrong["kind"] = text("Choose what the report is about.")
        if len(words) > subject.words_max or (not words and kind == OTHER):
            most = request.locale.number(subject.words_max)
            wrong["text"] = text("Say what happened, in 1 to %(most)s characters.", most=most)
        if wrong:
            message = text("Nothing was sent. Check the marked field.")
            return _page(request, subject, FormState(typed, wrong, message))
        said = ": ".join(part for part in (subject.prefix, words) if part)
        try:
            await self._reports.send(request.visitor.player.id, subject.target, kind, said, source="web")
        except Conflict:
            message = text("You have reported this player already. Staff will look at it.")
            return _page(request, subject, FormState(typed, message=message))
        except Refused as error:
            return _page(request, subject, common.refused(request.locale, typed, error.reason))
        except Invalid as error:
            return _page(request, subject, common.invalid(request.locale, typed, error, {}))
        return Redirect(subject.done)


def _page(request: SiteRequest, subject: Subject, form: FormState | None) -> View:
    values = {"subject": subject, "form": form, "kinds": _kinds(request.locale)}
    return View("report.html", values, Head(title=subject.heading), 200 if form is None else 422)


def _kinds(locale: Locale) -> list[tuple[str, str]]:
    """Return the kinds as staff reads them, with their words in the visitor's language."""
    text, text_in = locale.text, locale.text_in
    words = (
        text("Cheating"),
        text("Insults"),
        text("Spamming"),
        text("Unwanted content"),
        text_in("kind of a report", "Other"),
    )
    return list(zip(KINDS, words, strict=True))

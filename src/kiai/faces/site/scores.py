"""The page of a score, its picture for links, its replay, and the forms about it."""

import asyncio
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec
from markupsafe import Markup

from kiai.beatmaps.model import full_title, settings_of
from kiai.errors import NotFound, Refused, Unavailable
from kiai.faces.rate_limit import RateLimit
from kiai.faces.site.page import (
    Access,
    Content,
    FormState,
    Head,
    Page,
    Redirect,
    Response,
    SiteRequest,
    View,
)
from kiai.faces.site.score_charts import bars, timeline
from kiai.faces.site.templating import Templates
from kiai.networks import network_of
from kiai.osu.map_settings import with_mods
from kiai.osu.modes import vanilla
from kiai.osu.mods import clock_rate, mods_text
from kiai.osu.replay_analysis import ReplayAnalysis
from kiai.osu.replay_file import FIRST_LAZER_VERSION
from kiai.osu.texts import attachment
from kiai.scores.cards import ScoreCards
from kiai.scores.details import ScoreDetails, ScoreReader
from kiai.scores.model import Score
from kiai.scores.performance import CannotCalculate
from kiai.scores.pins import Pins
from kiai.scores.pp_tables import ACCURACIES, PpTable, PpTables
from kiai.scores.replay_analyses import Analysed, CannotAnalyse, ReplayAnalyses
from kiai.scores.replays import Replays
from kiai.scores.rules import has_board

CARDS: Final = RateLimit("site-cards", 60, 60.0)
"""The limit of an address for pictures of scores."""
ANALYSES: Final = RateLimit("site-analyses", 30, 60.0)
"""The limit of an address for analyses of replays."""
PP_WAIT_S: Final = 0.25
"""The time for which a page waits for a calculation of pp."""
PARTS_MAX: Final = 1_024
"""Rendered parts of pages in the cache, up to 15 KB each."""
CARD_SIZE: Final = (1200, 630)
_CARD_CACHED: Final = "public, max-age=300"
_CARD_PRIVATE: Final = "private, no-store"
"""For visitors with a session: restricted players and staff get pictures that others must not find in a cache."""
_ID: Final = re.compile(r"[0-9]{1,18}", re.ASCII)
_MODE_WORDS: Final = ("osu", "taiko", "fruits", "mania")


class Count(msgspec.Struct, frozen=True):
    """A number of judgements: its name in the game, its name for programs, and its share in percent."""

    label: str
    stat: str
    number: int
    share: float


class ScorePages:
    """The pages under `/scores`. `replays_per_minute` is the limit of an address for replays."""

    def __init__(
        self,
        reader: ScoreReader,
        pp_tables: PpTables,
        analyses: ReplayAnalyses,
        cards: ScoreCards,
        replays: Replays,
        pins: Pins,
        templates: Templates,
        *,
        replays_per_minute: int,
    ) -> None:
        self._reader = reader
        self._pp_tables = pp_tables
        self._analyses = analyses
        self._cards = cards
        self._replays = replays
        self._pins = pins
        self._templates = templates
        self._parts: OrderedDict[tuple[object, ...], Markup] = OrderedDict()
        self._replay_limit = RateLimit("site-replays", replays_per_minute, 60.0)

    def pages(self) -> list[Page]:
        """Return the pages of scores."""
        return [
            Page("GET", "/scores/{score}", self._score),
            Page("GET", "/scores/{score}/{part}", self._with_mode),
            Page("GET", "/scores/{score}/card.png", self._card, rate_limit=CARDS),
            Page("GET", "/scores/{score}/analysis", self._analysis, rate_limit=ANALYSES),
            Page("GET", "/scores/{score}/replay", self._replay, rate_limit=self._replay_limit),
            Page("POST", "/scores/{score}/pin", self._pin, access=Access.PLAYER),
            Page("POST", "/scores/{score}/unpin", self._unpin, access=Access.PLAYER),
        ]

    async def _find(self, request: SiteRequest) -> ScoreDetails:
        text = request.path["score"]
        if not _ID.fullmatch(text):
            raise NotFound("score")
        return await self._reader.find(int(text), request.visitor.viewer)

    async def _with_mode(self, request: SiteRequest) -> Response:
        """Redirect the addresses of the official site, which name the mode."""
        if request.path["score"] not in _MODE_WORDS or not _ID.fullmatch(request.path["part"]):
            raise NotFound("page")
        return Redirect(f"/scores/{int(request.path['part'])}", 301)

    async def _score(self, request: SiteRequest) -> Response:
        found = await self._find(request)
        return await self._page(request, found, await self._known(request, found))

    async def _known(self, request: SiteRequest, found: ScoreDetails) -> Markup | None:
        """Return the analysis as a part of the page, or None if it is not computed yet."""
        if found.replay is None:
            return None
        part = self._parts.get(_analysis_key(request, found))
        if part is not None:
            return part
        try:
            analysed = await self._analyses.known(found)
        except Unavailable:  # the part then loads itself, and the visitor sees if that fails too
            return None
        return None if analysed is None else self._analysis_part(request, found, analysed)

    async def _analysis(self, request: SiteRequest) -> Response:
        """Return the page with the analysis, computed if necessary; to the page's script, only this part."""
        found = await self._find(request)
        analysed = await self._analyses.of(found, caller=network_of(request.address))
        part = self._analysis_part(request, found, analysed)
        if request.fragment:
            return View("score_part.html", {"part": part})
        return await self._page(request, found, part)

    async def _page(
        self,
        request: SiteRequest,
        found: ScoreDetails,
        analysis: Markup | None,
        *,
        form: FormState | None = None,
    ) -> Response:
        user = request.visitor.user
        own = user is not None and user.id == found.score.user_id
        places, others, first, mine, (table, no_table) = await asyncio.gather(
            self._reader.places(found),
            self._reader.others(found),
            self._reader.first(found),
            self._best_of_visitor(found, None if own or user is None else user.id),
            self._table(found),
        )
        score, beatmap = found.score, found.beatmap
        stars = table.stars if table is not None else beatmap.diff if not score.mods else None
        values: dict[str, Any] = {
            "score": score,
            "map": beatmap,
            "player": found.player,
            "found": found,
            "own": own,
            "places": places,
            "has_board": has_board(beatmap.status),
            "star_rating": stars,
            "facts": self._facts_part(request, found, table, no_table),
            "reached": _reached(found),
            "client": _client(found.client_version),
            "others": others,
            "first": first,
            "mine": mine,
            "saved": request.query.choice("done", ("", "report", "pin", "unpin"), ""),
            "form": form,
            "analysis": analysis,
        }
        return View(
            "score.html", values, _head(request, found), status=200 if form is None else 422, public=user is None
        )

    def _facts_part(self, request: SiteRequest, found: ScoreDetails, table: PpTable | None, no_table: str) -> Markup:
        score = found.score
        key = ("facts", score.id, request.locale.language, score.pp, score.acc, no_table)
        return self._part(
            request,
            key,
            "score_facts.html",
            lambda: {
                "score": score,
                "counts": _counts(score),
                "settings": with_mods(settings_of(found.beatmap), vanilla(score.mode), score.mods),
                "map_settings": settings_of(found.beatmap),
                "table": table,
                "no_table": no_table,
                "at": [] if table is None else list(zip(ACCURACIES, table.at, strict=True)),
            },
        )

    def _analysis_part(self, request: SiteRequest, found: ScoreDetails, analysed: Analysed) -> Markup:
        return self._part(
            request,
            _analysis_key(request, found),
            "score_analysis.html",
            lambda: {"score": found.score, **_analysis_values(analysed)},
        )

    def _part(
        self, request: SiteRequest, key: tuple[object, ...], template: str, values: Callable[[], Mapping[str, Any]]
    ) -> Markup:
        """Return a rendered part of the page, from the cache if possible."""
        # PERF: these parts take three quarters of the time of the page, and they do not change.
        part = self._parts.get(key)
        if part is None:
            rendered = self._templates.render(template, request.locale, values())
            part = self._parts[key] = Markup(rendered)  # noqa: S704 (the template escapes)
            if len(self._parts) > PARTS_MAX:
                self._parts.popitem(last=False)
        else:
            self._parts.move_to_end(key)
        return part

    async def _best_of_visitor(self, found: ScoreDetails, user_id: int | None) -> Score | None:
        return None if user_id is None else await self._reader.best_of(found, user_id)

    async def _table(self, found: ScoreDetails) -> tuple[PpTable | None, str]:
        """Return the pp table, or None and the reason: "waiting" or "impossible"."""
        try:
            return await self._pp_tables.of(found, wait_s=PP_WAIT_S), ""
        except CannotCalculate:
            return None, "impossible"
        except Unavailable:
            return None, "waiting"

    async def _card(self, request: SiteRequest) -> Response:
        found = await self._find(request)
        table, _ = await self._table(found)
        picture = await self._cards.picture(
            found, stars=None if table is None else table.stars, caller=network_of(request.address)
        )
        cached = _CARD_CACHED if request.visitor.user is None else _CARD_PRIVATE
        return Content(picture, "image/png", headers=(("Cache-Control", cached),))

    async def _replay(self, request: SiteRequest) -> Response:
        found = await self._find(request)
        replay = await self._replays.download(
            found.score.id, request.visitor.viewer, network=network_of(request.address)
        )
        headers = (("Content-Disposition", attachment(replay.name)), ("Cache-Control", "private, no-store"))
        return Content(replay.data, "application/octet-stream", headers=headers)

    async def _refused(self, request: SiteRequest, found: ScoreDetails, form: FormState) -> Response:
        return await self._page(request, found, await self._known(request, found), form=form)

    async def _pin(self, request: SiteRequest) -> Response:
        found = await self._find(request)
        try:
            await self._pins.pin(request.visitor.player.id, found.score.id)
        except Refused as refusal:
            return await self._refused(request, found, FormState(message=f"{refusal}."))
        return Redirect(f"/scores/{found.score.id}?done=pin")

    async def _unpin(self, request: SiteRequest) -> Response:
        found = await self._find(request)
        await self._pins.unpin(request.visitor.player.id, found.score.id)
        return Redirect(f"/scores/{found.score.id}?done=unpin")


def _analysis_key(request: SiteRequest, found: ScoreDetails) -> tuple[object, ...]:
    return "analysis", found.score.id, request.locale.language


def _analysis_values(analysed: Analysed) -> Mapping[str, Any]:
    if isinstance(analysed, CannotAnalyse):
        return {"analysis": None, "cannot_analyse": analysed.why}
    return {
        "analysis": analysed,
        "cannot_analyse": None,
        "bars": [] if analysed.errors is None else bars(analysed.errors),
        "timeline": timeline(analysed),
        "keys": _keys(analysed),
    }


def _keys(analysed: ReplayAnalysis) -> list[tuple[str, int, float]]:
    """Return the name, the number of presses and the share in percent of each key."""
    total = sum(count.presses for count in analysed.keys) or 1
    return [(count.key, count.presses, 100 * count.presses / total) for count in analysed.keys]


def _counts(score: Score) -> list[Count]:
    """Return the judgements in the order of the game's panel. In osu! and taiko, geki and katu are part of others."""
    labels: tuple[tuple[str, str], ...]
    match vanilla(score.mode):
        case 0:
            labels = (("300", "n300"), ("100", "n100"), ("50", "n50"), ("Miss", "nmiss"))
        case 1:
            labels = (("Great", "n300"), ("Good", "n100"), ("Miss", "nmiss"))
        case 2:
            labels = (
                ("Fruits", "n300"),
                ("Ticks", "n100"),
                ("Droplets", "n50"),
                ("Droplets missed", "nkatu"),
                ("Misses", "nmiss"),
            )
        case _:
            labels = (
                ("MAX", "ngeki"),
                ("300", "n300"),
                ("200", "nkatu"),
                ("100", "n100"),
                ("50", "n50"),
                ("Miss", "nmiss"),
            )
    total = sum(getattr(score, name) for _, name in labels) or 1
    return [Count(label, name, getattr(score, name), 100 * getattr(score, name) / total) for label, name in labels]


def _reached(found: ScoreDetails) -> int | None:
    """Return how much of the map a failed play reached, in percent."""
    length_ms = found.beatmap.total_length * 1_000
    if found.score.status or not length_ms:
        return None
    return min(round(100 * found.score.time_elapsed * clock_rate(found.score.mods) / length_ms), 100)


def _client(version: int) -> str:
    if not version:
        return ""
    return "osu!(lazer)" if version >= FIRST_LAZER_VERSION else f"osu!(stable) {version}"


def _head(request: SiteRequest, found: ScoreDetails) -> Head:
    score, locale = found.score, request.locale
    mods = f" +{mods_text(score.mods)}" if score.mods else ""
    description = locale.text(
        "%(player)s: %(accuracy)s, %(combo)sx%(mods)s, %(pp)s pp",
        player=found.player.name,
        accuracy=locale.formats.accuracy(score.acc),
        combo=locale.formats.number(score.max_combo),
        mods=mods,
        pp=locale.formats.number(score.pp, 2),
    )
    return Head(
        title=f"{found.player.name} · {full_title(found.beatmap)}",
        description=description,
        path=f"/scores/{score.id}",
        image=f"/scores/{score.id}/card.png",
        image_size=CARD_SIZE,
        kind="article",
    )

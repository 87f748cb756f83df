"""The page of a set: difficulties, figures with mods, leaderboard, calculator, comments, favourite, history."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from kiai.accounts import Accounts, Viewer
from kiai.beatmaps import Beatmap, Beatmaps, MapStatus
from kiai.beatmaps.favourites import Favourites
from kiai.beatmaps.mirrors import Mirrors
from kiai.beatmaps.model import OWN_ID_FIRST
from kiai.beatmaps.ratings import RATING_MAX, RATING_MIN, Ratings, why_no_vote
from kiai.beatmaps.set_comments import ID_MAX, LISTED_MAX, TEXT_MAX, SetComments
from kiai.beatmaps.set_search import CatalogueSet, SetSearches
from kiai.errors import Conflict, Invalid, NotAllowed, NotFound, Refused, Unavailable, WrongState
from kiai.faces.rate_limit import RateLimit
from kiai.faces.site.page import (
    Access,
    BadParameter,
    Content,
    FormState,
    Head,
    Page,
    QueryString,
    Redirect,
    Response,
    SiteRequest,
    View,
)
from kiai.faces.site.set_boards import SetBoards
from kiai.faces.site.settings import common
from kiai.faces.site.templating import url
from kiai.networks import network_of
from kiai.osu.map_settings import MapSettings, with_mods
from kiai.osu.modes import vanilla, variant_mode
from kiai.osu.mods import AP, DT, EZ, FI, FL, HD, HR, HT, NC, NF, PF, RX, SD, SO, difficulty_mods, mods_text, parse_mods
from kiai.osu.numbers import whole_number
from kiai.osu.privileges import may
from kiai.scores.analyses import Analyses
from kiai.scores.calculator import CalculatorResult, MapAnalysis
from kiai.scores.performance import CannotCalculate, Difficulties, Difficulty
from kiai.scores.what_if import WhatIf, WhatIfs
from kiai.staff import Staff
from kiai.staff.audit import Actor
from kiai.staff.map_requests import MapRequests
from kiai.staff.nominations import NOMINATE, NominationAct, NominationMode
from kiai.staff.status_history import StatusChange, StatusHistory

CALCULATING: Final = RateLimit("site-pp", 30, 60.0, 10)
"""Plays that one address may calculate."""
COMMENTS_BEFORE: Final = "comments_before"
COMMENTING: Final = RateLimit("site-comments", 5, 60.0)
ANALYSIS_S: Final = 1.5
"""Time that the page waits for the strain. A later request finds the result."""
SCOPES: Final = ("global", "country", "friends", "mods")

_TOGGLES: Final[Mapping[int, tuple[int, ...]]] = {
    0: (EZ, NF, HT, HR, SD, PF, DT, NC, HD, FL, SO),
    1: (EZ, NF, HT, HR, SD, PF, DT, NC, HD, FL),
    2: (EZ, NF, HT, HR, SD, PF, DT, NC, HD, FL),
    3: (EZ, NF, HT, HR, SD, PF, DT, NC, HD, FI, FL),
}
"""The mods that the page offers in each mode of the game."""
_RATING_CHOICES: Final = (("", "-"), *((number, number) for number in range(RATING_MAX, RATING_MIN - 1, -1)))
_EXCLUSIVE: Final = ((EZ, HR), (DT, NC, HT), (SD, PF, NF), (HD, FI))
"""Of each group, a play has one mod at most."""


class Chosen(msgspec.Struct, frozen=True):
    """The choice of a visitor: a map of a set, its mode and mods, and the scope of the leaderboard.

    `mods` is None without a filter. Relax and autopilot are modes and not in it.
    """

    of_set: CatalogueSet
    beatmap: Beatmap
    mode: int
    mods: int | None
    scope: str

    def address(self, **changes: object) -> str:
        """Return the address of the page with other parameters."""
        default_mode = self.beatmap.mode
        values: dict[str, object] = {
            "map": self.beatmap.id,
            "mode": None if self.mode == default_mode else self.mode,
            "mods": None if self.mods is None else mods_text(self.mods),
            "scope": None if self.scope == "global" else self.scope,
        }
        return url(f"/beatmapsets/{self.of_set.figures.id}", **(values | changes))


class FiguresWithMods(msgspec.Struct, frozen=True):
    """The figures of the map in a mode with mods. `stars` and `max_combo` are None if they cannot be computed."""

    stars: float | None
    max_combo: int | None
    settings: MapSettings
    difficulty: Difficulty | None = None


class SetPages:
    """The pages below `/beatmapsets/{set}`, and redirects of maps to their sets."""

    def __init__(
        self,
        searches: SetSearches,
        boards: SetBoards,
        beatmaps: Beatmaps,
        accounts: Accounts,
        favourites: Favourites,
        ratings: Ratings,
        comments: SetComments,
        history: StatusHistory,
        requests: MapRequests,
        nominations: NominationMode,
        analyses: Analyses,
        difficulties: Difficulties,
        what_ifs: WhatIfs,
        staff: Staff,
        mirrors: Mirrors,
    ) -> None:
        self._searches = searches
        self._boards = boards
        self._beatmaps = beatmaps
        self._accounts = accounts
        self._favourites = favourites
        self._ratings = ratings
        self._comments = comments
        self._history = history
        self._requests = requests
        self._nominations = nominations
        self._analyses = analyses
        self._difficulties = difficulties
        self._what_ifs = what_ifs
        self._staff = staff
        self._mirrors = mirrors

    def pages(self) -> list[Page]:
        """Return the pages."""
        path, comment = "/beatmapsets/{set}", "/beatmapsets/{set}/comments/{comment}"
        player = Access.PLAYER
        return [
            Page("GET", path, self._set),
            Page("GET", f"{path}/calculate", self._calculate, rate_limit=CALCULATING),
            Page("POST", f"{path}/favourite", self._favourite, access=player),
            Page("POST", f"{path}/rating", self._rate, access=player),
            Page("POST", f"{path}/request", self._request, access=player),
            Page("POST", f"{path}/comments", self._comment, access=player, rate_limit=COMMENTING),
            Page("POST", f"{comment}/delete", self._delete_comment, access=player),
            Page("GET", "/s/{set}", self._of_set),
            Page("GET", "/b/{map}", self._of_map),
            Page("GET", "/beatmaps/{map}", self._of_map),
            Page("GET", "/beatmaps", self._search),
        ]

    # --- redirects

    async def _of_set(self, request: SiteRequest) -> Response:
        set_id = request.id("set")
        if set_id is None:
            raise NotFound("set")
        return Redirect(f"/beatmapsets/{set_id}", 301)

    async def _of_map(self, request: SiteRequest) -> Response:
        map_id = request.id("map")
        if map_id is None:
            raise NotFound("map")
        # A map that is not stored is fetched from upstream; an address can request a few in a minute.
        found = await self._beatmaps.find_or_fetch(id=map_id)
        return Redirect(url(f"/beatmapsets/{found.set_id}", map=map_id, mode=request.query.values.get("mode")), 302)

    async def _search(self, request: SiteRequest) -> Response:
        return Redirect("/beatmapsets", 301)

    # --- the page

    async def _set(self, request: SiteRequest) -> Response:
        return await self._view(request, await self._chosen(request))

    async def _calculate(self, request: SiteRequest) -> Response:
        """Calculate a play: JSON for the script of the page, the whole page for its form."""
        chosen = await self._chosen(request)
        typed = {name: request.query.text(name, 12) for name in ("accuracy", "combo", "misses")}
        state, result = FormState(typed), None
        try:
            wanted = _what_if(chosen, typed)
            [result] = await self._what_ifs.calculate(chosen.beatmap, wanted, caller=network_of(request.address))
        except Invalid as error:
            field = error.field if error.field in typed else "accuracy"
            state = FormState(typed, {field: _sentence(request, error)})
        except Refused as error:
            state = FormState(typed, message=request.locale.phrase(error.reason))
        except Unavailable:
            state = FormState(typed, message=request.locale.text("The calculator is busy. Try again in a moment."))
        if request.fragment:
            return _calculated(request, result, state)
        return await self._view(request, chosen, calculator=state, result=result)

    async def _chosen(self, request: SiteRequest) -> Chosen:
        set_id = request.id("set")
        found = None if set_id is None else await self._searches.one(set_id)
        if found is None:
            raise NotFound("set")
        query = request.query
        map_id = query.whole("map", 0, at_least=1, at_most=2**31 - 1)
        # Without a choice: the hardest difficulty of the set's first mode.
        first_mode = [beatmap for beatmap in found.maps if beatmap.mode == found.maps[0].mode]
        beatmap = next((one for one in found.maps if one.id == map_id), None) if map_id else first_mode[-1]
        if beatmap is None:
            raise NotFound("map")
        mode = query.mode(beatmap.mode)
        if mode not in modes_of(beatmap):
            raise BadParameter("mode", f"one of {', '.join(map(str, modes_of(beatmap)))} on this map", str(mode))
        text = query.text("mods", 64)
        try:
            mods = parse_mods(text) & ~(RX | AP) if text else None
        except ValueError as error:
            raise BadParameter("mods", "a number, or mods in letters such as HDDT", text) from error
        scope = query.choice("scope", SCOPES, "global" if mods is None else "mods")
        return Chosen(found, beatmap, mode, 0 if mods is None and scope == "mods" else mods, scope)

    async def _view(
        self,
        request: SiteRequest,
        chosen: Chosen,
        *,
        calculator: FormState | None = None,
        result: CalculatorResult | None = None,
        comment: FormState | None = None,
        rating: FormState | None = None,
        refused: str = "",
    ) -> View:
        found, beatmap, visitor = chosen.of_set, chosen.beatmap, request.visitor
        before = request.query.whole(COMMENTS_BEFORE, 0, at_most=ID_MAX) or None
        board, figures, analysis, comments, mapper, is_favourite = await asyncio.gather(
            self._boards.of(beatmap, chosen.mode, chosen.scope, chosen.mods, visitor.user),
            self._figures(chosen),
            self._analysis(chosen),
            self._comments.on(found.figures.id, visitor.viewer, before=before, limit=LISTED_MAX + 1),
            self._mapper(found, visitor.viewer),
            self._is_favourite(request, found),
        )
        values: dict[str, object] = {
            "chosen": chosen,
            "figures": found.figures,
            "beatmap": beatmap,
            "groups": _groups(found),
            "mode_choices": _mode_choices(chosen),
            "toggles": _toggles(chosen),
            "board": board,
            "map_figures": figures,
            "analysis": analysis,
            "comments": comments[:LISTED_MAX],
            "comments_before": before,
            "older_comments": (
                chosen.address(**{COMMENTS_BEFORE: comments[LISTED_MAX - 1].id}) + "#comments"
                if len(comments) > LISTED_MAX
                else None
            ),
            "newest_comments": chosen.address() + "#comments" if before is not None else None,
            "history": _history(await self._history.of(beatmap.id), await self._nominations.history(beatmap.set_id)),
            "nominations": await self._nominations.of_set(beatmap.set_id),
            "nomination_mode": self._nominations.rules.on,
            "mapper": mapper,
            "is_favourite": is_favourite,
            "calculator": calculator or FormState(),
            "result": result,
            "comment_form": comment or FormState(),
            "comment_max": TEXT_MAX,
            "may_comment": _may_comment(request),
            "rating_form": rating,
            "rating_choices": _RATING_CHOICES,
            "may_rate": _may_rate(request, beatmap),
            "own_vote": None if visitor.user is None else await self._ratings.vote_of(visitor.user.id, beatmap.key),
            "request_state": await self._request_state(request, beatmap),
            "refused": refused,
            "may_moderate": visitor.user is not None and may(visitor.user.priv, "chat.moderate"),
            "mirrors": self._mirrors.hosts if found.figures.id < OWN_ID_FIRST else (),
            "votes": sum(one.rating_count for one in found.maps),
            "plays": sum(one.plays for one in found.maps),
            "done_message": _message(request),
        }
        status = 422 if refused else _status(calculator, comment, rating)
        return View("beatmapset.html", values, _head(request, chosen), status=status)

    async def _figures(self, chosen: Chosen) -> FiguresWithMods:
        beatmap, game_mode = chosen.beatmap, vanilla(chosen.mode)
        mods = (chosen.mods or 0) | _mods_of_mode(chosen.mode)
        base = MapSettings(beatmap.cs, beatmap.ar, beatmap.od, beatmap.hp, beatmap.bpm, float(beatmap.total_length))
        settings = with_mods(base, game_mode, mods)
        if game_mode == beatmap.mode and not difficulty_mods(mods):
            return FiguresWithMods(beatmap.diff, beatmap.max_combo, settings)
        try:
            async with asyncio.timeout(ANALYSIS_S):
                found = await self._difficulties.of(beatmap.key, beatmap.md5, game_mode, mods)
        except (CannotCalculate, Unavailable, TimeoutError):
            return FiguresWithMods(None, None, settings)
        return FiguresWithMods(found.stars, found.max_combo, settings, found)

    async def _analysis(self, chosen: Chosen) -> MapAnalysis | None:
        mods = (chosen.mods or 0) | _mods_of_mode(chosen.mode)
        try:
            async with asyncio.timeout(ANALYSIS_S):
                return await self._analyses.of(chosen.beatmap, vanilla(chosen.mode), mods)
        except (CannotCalculate, Unavailable, TimeoutError):
            return None

    async def _mapper(self, found: CatalogueSet, viewer: Viewer) -> int | None:
        """Return the id of the player with the mapper's name, or None."""
        try:
            return (await self._accounts.player(viewer, name=found.figures.creator)).id
        except NotFound:
            return None

    async def _is_favourite(self, request: SiteRequest, found: CatalogueSet) -> bool:
        user = request.visitor.user
        return user is not None and await self._favourites.has(user.id, found.figures.id)

    # --- acts of players

    async def _favourite(self, request: SiteRequest) -> Response:
        set_id = request.id("set")
        if set_id is None:
            raise NotFound("set")
        player = request.visitor.player
        if (request.form.text("favourite") or "1") == "0":
            await self._favourites.remove(player.id, set_id)
            return Redirect(_back(request, set_id, "unfavourite"))
        try:
            await self._favourites.add(player.id, set_id)
        except Conflict:  # pressed twice
            pass
        except Refused:
            return Redirect(_back(request, set_id, "favourites-full"))
        return Redirect(_back(request, set_id, "favourite"))

    async def _rate(self, request: SiteRequest) -> Response:
        """Vote on a map, as the game does after a play. A vote cannot be changed."""
        player, chosen = request.visitor.player, await self._sent(request)
        refused = _may_rate(request, chosen.beatmap)
        if refused:
            return await self._view(request, chosen, refused=refused)
        typed = request.form.text("rating") or ""
        rating = whole_number(typed, RATING_MAX, RATING_MIN)
        if rating is None:
            wrong = request.locale.text(
                "Choose a number from %(least)s to %(most)s.", least=RATING_MIN, most=RATING_MAX
            )
            return await self._view(request, chosen, rating=FormState({"rating": typed}, {"rating": wrong}))
        await self._ratings.vote(player.id, chosen.beatmap, rating)
        return Redirect(_back(request, chosen.of_set.figures.id, "rated"))

    async def _request(self, request: SiteRequest) -> Response:
        """Request the set of a pending map, as `!request` does."""
        chosen = await self._sent(request)
        refused = _may_comment(request)  # the same players who may write
        if not refused:
            try:
                await self._requests.request(request.visitor.player.id, chosen.beatmap)
            except WrongState:  # pressed twice
                pass
            except Refused as error:
                refused = common.refused(request.locale, {}, error.reason).message
        if refused:
            return await self._view(request, chosen, refused=refused)
        return Redirect(_back(request, chosen.of_set.figures.id, "requested"))

    async def _request_state(self, request: SiteRequest, beatmap: Beatmap) -> str:
        """Return the state of the button: `none`, `open` for a set that the visitor has requested, or `possible`."""
        user = request.visitor.user
        if user is None or request.visitor.restricted or beatmap.status != MapStatus.PENDING:
            return "none"
        return "open" if await self._requests.has_requested(user.id, beatmap.set_id) else "possible"

    async def _sent(self, request: SiteRequest) -> Chosen:
        """Return the map of a form with the default choices. Raises NotFound for a map of another set."""
        map_id = whole_number(request.form.text("map") or "")
        if map_id is None:
            raise NotFound("map")
        return await self._chosen(msgspec.structs.replace(request, query=QueryString({"map": str(map_id)})))

    async def _comment(self, request: SiteRequest) -> Response:
        set_id = request.id("set")
        if set_id is None:
            raise NotFound("set")
        text = request.form.text("comment") or ""
        try:
            await self._comments.add(request.visitor.player, set_id, text)
        except (Invalid, Refused) as error:
            chosen = await self._chosen(request)
            message = (
                _sentence(request, error)
                if isinstance(error, Invalid)
                else common.refused(request.locale, {}, error.reason).message
            )
            return await self._view(request, chosen, comment=FormState({"comment": text}, {"comment": message}))
        return Redirect(_back(request, set_id, "commented", "comments"))

    async def _delete_comment(self, request: SiteRequest) -> Response:
        set_id, player = request.id("set"), request.visitor.player
        comment_id = _comment_id(request)
        found = await self._comments.one(comment_id, request.visitor.viewer)
        if found.set_id != set_id:
            raise NotFound("comment")
        if found.player.id == player.id:
            await self._comments.remove_own(player, comment_id)
        elif may(player.priv, "chat.moderate"):
            await self._staff.remove_comment(Actor(player.id, "web"), found)
        else:
            raise NotAllowed("chat.moderate")
        return Redirect(_back(request, found.set_id, "comment-deleted", "comments"))


def modes_of(beatmap: Beatmap) -> tuple[int, ...]:
    """Return the modes in which a map has boards. Only maps of osu! are converted to other modes."""
    games = (0, 1, 2, 3) if beatmap.mode == 0 else (beatmap.mode,)
    modes = [variant_mode(game, variant) for variant in ("vn", "rx", "ap") for game in games]
    return tuple(mode for mode in modes if mode is not None)


def toggled(mods: int, mod: int) -> int:
    """Return the mods with one of them turned on or off, without those that exclude it."""
    implied = {NC: NC | DT, PF: PF | SD}
    if _is_on(mods, mod):
        return mods & ~implied.get(mod, mod)
    for group in _EXCLUSIVE:
        if mod in group:
            for other in group:
                mods &= ~other
    return mods | implied.get(mod, mod)


def _is_on(mods: int, mod: int) -> bool:
    # NC contains DT, and PF contains SD; a play shows only one of each pair.
    shown = mods & ~DT if mods & NC else mods
    shown = shown & ~SD if shown & PF else shown
    return bool(shown & mod)


class ModToggle(msgspec.Struct, frozen=True):
    """A mod of the page, and the address that turns it on or off."""

    bit: int
    code: str
    on: bool
    address: str


def _toggles(chosen: Chosen) -> list[ModToggle]:
    mods = chosen.mods or 0
    return [
        ModToggle(mod, mods_text(mod), _is_on(mods, mod), _with_mods(chosen, toggled(mods, mod)))
        for mod in _TOGGLES[vanilla(chosen.mode)]
    ]


def _with_mods(chosen: Chosen, mods: int) -> str:
    if not mods:
        return chosen.address(mods=None, scope=None)
    return chosen.address(mods=mods_text(mods), scope=None)


class ModeChoice(msgspec.Struct, frozen=True):
    """A mode of the game or a variant. `address` is None where the map has no such board."""

    key: str
    name: str
    current: bool
    address: str | None


def _mode_choices(chosen: Chosen) -> tuple[list[ModeChoice], list[ModeChoice]]:
    """Return the choices of modes and of variants."""
    allowed, game = modes_of(chosen.beatmap), vanilla(chosen.mode)
    word = "vn" if chosen.mode < 4 else "rx" if chosen.mode < 8 else "ap"

    def choice(key: str, name: str, mode: int | None, current: bool) -> ModeChoice:
        possible = mode is not None and mode in allowed
        address = chosen.address(mode=None if mode == chosen.beatmap.mode else mode) if possible else None
        return ModeChoice(key, name, current, address)

    games = [
        choice(key, name, number if (same := variant_mode(number, word)) is None else same, number == game)
        for number, (key, name) in enumerate(
            (("osu", "osu!"), ("taiko", "taiko"), ("catch", "catch"), ("mania", "mania"))
        )
    ]
    variants = [
        choice(key, name, variant_mode(game, variant), variant == word)
        for variant, key, name in (
            ("vn", "vanilla", "Vanilla"),
            ("rx", "relax", "Relax"),
            ("ap", "autopilot", "Autopilot"),
        )
    ]
    return games, variants


def _groups(found: CatalogueSet) -> list[tuple[int, list[Beatmap]]]:
    """Return the maps of a set by mode, each sorted by stars."""
    groups: dict[int, list[Beatmap]] = {}
    for beatmap in found.maps:  # sorted by mode and stars already
        groups.setdefault(beatmap.mode, []).append(beatmap)
    return list(groups.items())


def _mods_of_mode(mode: int) -> int:
    return RX if 4 <= mode < 8 else AP if mode == 8 else 0


def _what_if(chosen: Chosen, typed: Mapping[str, str]) -> WhatIf:
    """Return the play of the calculator's form. Raises Invalid."""
    text = typed["accuracy"].replace(",", ".") or "100"
    try:
        accuracy = float(text)
    except ValueError:
        accuracy = -1.0
    if not 0 <= accuracy <= 100:  # also false for NaN
        raise Invalid("accuracy", "a number from 0 to 100", typed["accuracy"])
    return WhatIf(
        vanilla(chosen.mode),
        (chosen.mods or 0) | _mods_of_mode(chosen.mode),
        _count("combo", typed["combo"]),
        _count("misses", typed["misses"]) or 0,
        (accuracy,),
    )


def _count(name: str, text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit()) or int(text) > 65_535:
        raise Invalid(name, "a whole number from 0 to 65535", text)
    return int(text)


def _calculated(request: SiteRequest, result: CalculatorResult | None, state: FormState) -> Content:
    formats = request.locale.formats
    body: dict[str, object] = {"errors": dict(state.errors), "message": state.message}
    if result is not None:
        body |= {
            "pp": round(result.pp, 3),
            "stars": round(result.stars, 3),
            "max_combo": result.max_combo,
            "pp_text": f"{formats.number(result.pp, 2)} pp",
            "stars_text": formats.stars(result.stars),
        }
    return Content(
        msgspec.json.encode(body),
        "application/json; charset=utf-8",
        200 if result is not None else 422,
        (("Cache-Control", "no-store"),),
    )


HistoryEntry = tuple[StatusChange | None, NominationAct | None, bool]
"""A new status, or a nomination and whether it is a reset."""


def _history(changes: Sequence[StatusChange], acts: Sequence[NominationAct]) -> list[HistoryEntry]:
    """Return statuses and nominations in one list, newest first."""
    both: list[tuple[int, int, HistoryEntry]] = []
    both += [(change.at_ms, 0, (change, None, False)) for change in changes if change.before != change.after]
    both += [(act.at_ms, 1, (None, act, act.action != NOMINATE)) for act in acts]
    # Of one time, the status comes first: it results from the last nomination.
    return [entry for _, _, entry in sorted(both, key=lambda one: (-one[0], one[1]))]


def _sentence(request: SiteRequest, error: Invalid) -> str:
    return request.locale.text("Must be %(allowed)s.", allowed=request.locale.phrase(error.allowed))


def _status(*forms: FormState | None) -> int:
    return 422 if any(form is not None and (form.errors or form.message) for form in forms) else 200


def _comment_id(request: SiteRequest) -> int:
    text = request.path.get("comment", "")
    if not (text.isascii() and text.isdigit()) or len(text) > 19 or not 0 < int(text) <= ID_MAX:
        raise NotFound("comment")
    return int(text)


def _back(request: SiteRequest, set_id: int, done: str, part: str = "") -> str:
    """Return the address of the page after a form, with the map and the comments that the visitor looked at."""
    text = request.form.text("map") or ""
    map_id = text if text.isascii() and text.isdigit() and len(text) <= 10 else None
    before = whole_number(request.form.text(COMMENTS_BEFORE) or "", ID_MAX, 1)
    address = url(f"/beatmapsets/{set_id}", **{"map": map_id, COMMENTS_BEFORE: before, "done": done})
    return address + (f"#{part}" if part else "")


def _message(request: SiteRequest) -> tuple[str, str]:
    """Return the role and the text of the message about a form that was sent before, or empty texts."""
    text = request.locale.text
    messages = {
        "favourite": ("status", text("The set is one of your favourites now.")),
        "unfavourite": ("status", text("The set is no longer one of your favourites.")),
        "favourites-full": ("alert", text("You have the maximum number of favourites. Remove one first.")),
        "requested": ("status", text("Your request has been sent to the nominators.")),
        "rated": ("status", text("Your rating is saved.")),
        "commented": ("status", text("Your comment is posted.")),
        "comment-deleted": ("status", text("The comment is deleted.")),
        "reported": ("status", text("Thank you. Moderators will look at the comment.")),
    }
    return messages.get(request.query.values.get("done", ""), ("", ""))


def _may_comment(request: SiteRequest) -> str:
    """Return an empty text if the visitor may comment, else the reason."""
    user, text = request.visitor.user, request.locale.text
    if user is None:
        return text("Log in to write a comment.")
    if request.visitor.restricted:
        return text("Your account is restricted.")
    if user.silenced_until_ms > request.now_ms:
        return text("You are silenced.")
    if not may(user.priv, "chat.write"):
        return text("Log in to the game once to write comments.")
    return ""


def _may_rate(request: SiteRequest, beatmap: Beatmap) -> str:
    """Return an empty text if the visitor may vote on the map, else the reason."""
    user, text = request.visitor.user, request.locale.text
    if user is None:
        return text("Log in to rate maps.")
    if request.visitor.restricted:
        return text("Your account is restricted.")
    if not may(user.priv, "chat.write"):
        return text("Log in to the game once to rate maps.")
    match why_no_vote(beatmap, user.safe_name):
        case "not ranked":
            return text("Only maps with a leaderboard can be rated.")
        case "owner":
            return text("You cannot rate your own map.")
    return ""


def _head(request: SiteRequest, chosen: Chosen) -> Head:
    figures = chosen.of_set.figures
    stars = [beatmap.diff for beatmap in chosen.of_set.maps]
    formats = request.locale.formats
    description = request.locale.plural(
        "%(num)s difficulty by %(mapper)s, %(low)s to %(high)s stars.",
        "%(num)s difficulties by %(mapper)s, %(low)s to %(high)s stars.",
        len(stars),
        mapper=figures.creator,
        low=formats.stars(min(stars)),
        high=formats.stars(max(stars)),
    )
    return Head(
        title=f"{figures.artist} - {figures.title}",
        description=description,
        path=f"/beatmapsets/{figures.id}",
        image=f"/pictures/sets/{figures.id}/cover",
        image_size=(900, 250),
    )

"""Profiles: the page of a player, the full lists, and the forms for friends and pinned scores."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import msgspec
from markupsafe import Markup

from kiai.accounts import Accounts, User
from kiai.accounts.model import BOT_ID, FIRST_PLAYER_ID, Privacy
from kiai.accounts.userpages import Userpages
from kiai.errors import Invalid, NotAllowed, NotFound, Refused
from kiai.faces.rate_limit import RateLimit
from kiai.faces.site.locale import Locale
from kiai.faces.site.medal_groups import medal_groups
from kiai.faces.site.old_addresses import MODE_WORDS, old_variant
from kiai.faces.site.page import Access, BadParameter, Head, Page, Redirect, Response, SiteRequest, View
from kiai.faces.site.settings import common
from kiai.faces.site.settings.profile import words_of
from kiai.faces.site.signs import mode_name
from kiai.faces.site.templating import url
from kiai.multiplayer.history import MatchHistory
from kiai.osu.mods import board_key, parse_mods
from kiai.osu.numbers import is_id
from kiai.osu.privileges import VERIFIED
from kiai.osu.weights import bonus_pp, level
from kiai.own_account import Friendships
from kiai.realtime.port import Realtime, Session, order_of_sessions
from kiai.realtime.while_unavailable import sessions_of
from kiai.scores import medals
from kiai.scores.months import month_text
from kiai.scores.overview import PREFERRED, SHOWN, Overview, Overviews, ProfileHead
from kiai.scores.player_scores import FIRST_YEAR, LAST_YEAR, SORTS, TEXT_MAX, ScoreFilters
from kiai.scores.profiles import Profiles
from kiai.scores.ranks import Ranks
from kiai.scores.showcase import Showcase

PAGE_SIZE: Final = 50
START_MAX: Final = 10_000
LISTS: Final = ("best", "recent", "firsts", "most-played", "pinned", "scores", "medals", "matches")
GRAPHS: Final = ("rank", "pp")
GRADES: Final = ("XH", "X", "SH", "S", "A", "B", "C", "D", "F")
FRIENDS: Final = RateLimit("site-friends", 30, 60.0)
WEIGHT: Final = 0.95
MODS_TEXT_MAX: Final = 32
PIN_ACTIONS: Final = ("pin", "unpin", "up", "down")


_Relate = tuple[Callable[[int, int], Awaitable[None]], str]
"""An act on a friendship or block, and the name of its message."""


class _Shown(msgspec.Struct, frozen=True):
    """A score in a list, with the percentage of its pp that counts, and the pp that it adds; None without them."""

    row: Any
    weight: float | None = None


class ProfilePages:
    """The pages below `/users`."""

    def __init__(
        self,
        overviews: Overviews,
        accounts: Accounts,
        friendships: Friendships,
        profiles: Profiles,
        ranks: Ranks,
        showcase: Showcase,
        matches: MatchHistory,
        realtime: Realtime,
        userpages: Userpages,
        *,
        bonus: str,
    ) -> None:
        self._overviews = overviews
        self._accounts = accounts
        self._friendships = friendships
        self._profiles = profiles
        self._ranks = ranks
        self._showcase = showcase
        self._matches = matches
        self._realtime = realtime
        self._userpages = userpages
        self._bonus = bonus

    def pages(self) -> list[Page]:
        """Return the pages of profiles."""
        lists = {
            "best": self._best,
            "recent": self._recent,
            "firsts": self._firsts,
            "most-played": self._most_played,
            "pinned": self._pinned,
            "scores": self._scores,
            "medals": self._medals,
            "matches": self._past_matches,
        }
        return [
            Page("GET", "/users/{user}", self._profile),
            *[Page("GET", f"/users/{{user}}/{name}", handler) for name, handler in lists.items()],
            Page("GET", "/users/{user}/{word}", self._in_mode),
            Page("POST", "/users/{user}/friend", self._befriend, access=Access.PLAYER, rate_limit=FRIENDS),
            Page("POST", "/users/{user}/block", self._block, access=Access.PLAYER, rate_limit=FRIENDS),
            Page("POST", "/users/{user}/pins", self._pin, access=Access.PLAYER),
        ]

    # --- the overview

    async def _profile(self, request: SiteRequest) -> Response:
        return await self._show(request)

    async def _show(self, request: SiteRequest, *, refused: str = "") -> Response:
        text = request.path["user"]
        variant = old_variant(request)
        if not text.isdigit() or not text.isascii() or str(int(text[:20])) != text:
            found = await self._accounts.user(request.visitor.viewer, **_id_or_name(text))
            parameters = _mode_of(request) if variant is None else {"mode": variant}
            return Redirect(url(f"/users/{found.id}", **parameters), 302)
        if variant is not None:
            return Redirect(url(f"/users/{text}", mode=variant), 301)
        if int(text) == BOT_ID:
            return await self._bot_page(request)
        head = await self._head(request)
        mode = request.query.mode(head.user.preferred_mode)
        graph = request.query.choice("graph", GRAPHS, "rank")
        user = head.user
        if not user.priv & int(VERIFIED):
            return View("profile_unverified.html", {"head_of": head}, Head(user.name))
        overview, rank, by_score, online = await asyncio.gather(
            self._overviews.overview(user, mode),
            self._ranks.of_mode(user.id, mode),
            self._ranks.by_ranked_score(user.id, mode),
            sessions_of(self._realtime, user.id),
        )
        figures = head.stats
        tells_all = user.id == request.visitor.viewer.user_id or request.visitor.viewer.is_staff
        if user.privacy & Privacy.HIDE_ONLINE and not tells_all:
            online = []
        reached, progress = level(figures.tscore if figures else 0)
        values: dict[str, Any] = {
            **self._common(request, head, mode),
            "overview": overview,
            "shown": SHOWN,
            "rank": rank,
            "score_rank": by_score,
            "level": reached,
            "progress": progress,
            "status_words": status_words(online, request.locale) if online else "",
            "about": await self._about(user, request.locale),
            "shows_last_seen": tells_all or not user.privacy & Privacy.HIDE_LAST_SEEN,
            "graph": graph,
            "graph_points": _points(overview, graph, request.locale),
            "month_bars": [
                (month_text(month), plays, request.locale.number(plays)) for month, plays in overview.months
            ],
            "best": weighted(overview.best[:SHOWN], 0),
            "bonus": bonus_pp(figures.bests, self._bonus) if figures else 0.0,
            "medals": [
                (medals.BY_ID[id_], at_ms) for id_, at_ms, _ in overview.medals[::-1][:8] if id_ in medals.BY_ID
            ],
            "medal_count": len(overview.medals),
            "medal_total": len(medals.MEDALS),
            "medals_by_id": medals.BY_ID,
            "refused": refused,
            "done_message": _message(request),
        }
        description = request.locale.text(
            "%(name)s in %(mode)s: %(pp)s pp, rank %(rank)s",
            name=user.name,
            mode=mode_name(mode),
            pp=request.locale.number(figures.pp if figures else 0),
            rank=f"#{request.locale.number(rank.rank)}" if rank.rank else "-",
        )
        path = url(f"/users/{user.id}", mode=None if mode == user.preferred_mode else mode)
        title = Head(user.name, description, path, f"/pictures/avatars/{user.id}-0", kind="profile")
        return View("profile.html", values, title, 422 if refused else 200)

    async def _about(self, user: User, locale: Locale) -> Markup:
        """Return the userpage as HTML; empty without one."""
        source = user.userpage_content or ""
        if not source.strip():
            return Markup("")
        return Markup(await self._userpages.html(source, words_of(locale)))  # noqa: S704  # the renderer escapes

    async def _in_mode(self, request: SiteRequest) -> Response:
        """Redirect an address with the mode as a word, as the game's own site has them."""
        mode = MODE_WORDS.get(request.path["word"])
        if mode is None:
            raise NotFound("page")
        found = await self._accounts.user(request.visitor.viewer, **_id_or_name(request.path["user"]))
        return Redirect(url(f"/users/{found.id}", mode=mode), 302)

    async def _bot_page(self, request: SiteRequest) -> Response:
        name = await self._accounts.bot_name()
        description = request.locale.text("The chat bot of this server.")
        return View("profile_bot.html", {"name": name}, Head(name, description, f"/users/{BOT_ID}"))

    async def _head(self, request: SiteRequest) -> ProfileHead:
        user_id = request.id("user")
        if user_id is None or not is_id(user_id) or user_id < FIRST_PLAYER_ID:
            raise NotFound("player")
        return await self._overviews.head(user_id, request.query.mode(PREFERRED), request.visitor.viewer)

    def _common(self, request: SiteRequest, head: ProfileHead, mode: int) -> dict[str, Any]:
        user = request.visitor.user
        return {
            "profile": head,
            "player": head.user,
            "figures": head.stats,
            "mode": mode,
            "own": user is not None and user.id == head.user.id,
            "path": f"/users/{head.user.id}",
            "layout": "part.html" if request.fragment else "layout.html",
            "url": url,
        }

    # --- the full lists

    async def _list(
        self, request: SiteRequest, name: str, title: str, head: ProfileHead, mode: int, **values: Any
    ) -> Response:
        user = head.user
        if not user.priv & int(VERIFIED):
            return View("profile_unverified.html", {"head_of": head}, Head(user.name))
        path = url(f"/users/{user.id}/{name}", mode=None if mode == user.preferred_mode else mode)
        shown = {**self._common(request, head, mode), "list": name, "title": title, **values}
        name = f"{user.name} · {title}"
        return View("profile_list.html", shown, Head(name, description=name, path=path))

    async def _of(self, request: SiteRequest) -> tuple[ProfileHead, int]:
        head = await self._head(request)
        return head, request.query.mode(head.user.preferred_mode)

    async def _best(self, request: SiteRequest) -> Response:
        head, mode = await self._of(request)
        start = request.query.whole("start", 0, at_most=START_MAX)
        rows = await self._profiles.best_of(head.user.id, mode, limit=PAGE_SIZE + 1, offset=start)
        more = start + PAGE_SIZE if len(rows) > PAGE_SIZE else None
        bonus = bonus_pp(head.stats.bests, self._bonus) if head.stats else 0.0
        title = request.locale.text("Best scores")
        rows_shown = weighted(rows[:PAGE_SIZE], start)
        return await self._list(request, "best", title, head, mode, rows=rows_shown, more=_start(more), bonus=bonus)

    async def _firsts(self, request: SiteRequest) -> Response:
        head, mode = await self._of(request)
        start = request.query.whole("start", 0, at_most=START_MAX)
        rows, total = await self._profiles.firsts_of(head.user.id, mode, limit=PAGE_SIZE, offset=start)
        more = start + PAGE_SIZE if start + PAGE_SIZE < total else None
        title = request.locale.text("First places")
        return await self._list(request, "firsts", title, head, mode, rows=unweighted(rows), more=_start(more))

    async def _recent(self, request: SiteRequest) -> Response:
        head, mode = await self._of(request)
        rows, more = await self._newest(request, head, mode)
        title = request.locale.text("Recent scores")
        return await self._list(request, "recent", title, head, mode, rows=unweighted(rows), more=more)

    async def _newest(
        self, request: SiteRequest, head: ProfileHead, mode: int
    ) -> tuple[Sequence[Any], dict[str, object]]:
        cursor = request.query.whole("cursor", 0, at_most=10**17)
        rows = await self._showcase.player_scores.page(head.user.id, mode, limit=PAGE_SIZE + 1, cursor=cursor)
        return rows[:PAGE_SIZE], _cursor([row.score.id for row in rows])

    async def _pinned(self, request: SiteRequest) -> Response:
        head, mode = await self._of(request)
        rows = await self._showcase.pins.of(head.user.id, mode)
        title = request.locale.text("Pinned scores")
        return await self._list(request, "pinned", title, head, mode, rows=unweighted(rows), more={})

    async def _most_played(self, request: SiteRequest) -> Response:
        head, mode = await self._of(request)
        start = request.query.whole("start", 0, at_most=START_MAX)
        rows = await self._profiles.most_played(head.user.id, mode, limit=PAGE_SIZE + 1, offset=start)
        more = start + PAGE_SIZE if len(rows) > PAGE_SIZE else None
        title = request.locale.text("Most played")
        return await self._list(request, "most-played", title, head, mode, rows=rows[:PAGE_SIZE], more=_start(more))

    async def _scores(self, request: SiteRequest) -> Response:
        head, mode = await self._of(request)
        query = request.query
        chosen = {
            "sort": query.choice("sort", SORTS, "date"),
            "grade": query.choice("grade", GRADES, ""),
            "mods": query.text("mods", MODS_TEXT_MAX),
            "status": query.choice("status", ("0", "1", "2"), ""),
            "year": query.whole("year", 0, at_least=FIRST_YEAR, at_most=LAST_YEAR) or "",
            "q": query.text("q", TEXT_MAX),
        }
        rows = await self._showcase.player_scores.page(
            head.user.id,
            mode,
            sort=str(chosen["sort"]),
            filters=_filters(chosen),
            limit=PAGE_SIZE + 1,
            cursor=query.whole("cursor", 0, at_most=10**17),
        )
        given = {name: value for name, value in chosen.items() if value and (name, value) != ("sort", "date")}
        more = _cursor([row.score.id for row in rows])
        year = request.now_ms // 31_556_952_000 + 1970
        return await self._list(
            request,
            "scores",
            request.locale.text("All scores"),
            head,
            mode,
            rows=unweighted(rows[:PAGE_SIZE]),
            more=given | more if more else {},
            chosen=chosen,
            grades=GRADES,
            years=range(year, FIRST_YEAR - 1, -1),
        )

    async def _medals(self, request: SiteRequest) -> Response:
        head, mode = await self._of(request)
        held = {id_: at_ms for id_, at_ms, _ in await self._showcase.history.medals(head.user.id)}
        return await self._list(
            request,
            "medals",
            request.locale.text("Medals"),
            head,
            mode,
            groups=medal_groups(request.locale),
            held=held,
            medal_count=len(held),
            medal_total=len(medals.MEDALS),
            more={},
        )

    async def _past_matches(self, request: SiteRequest) -> Response:
        head, mode = await self._of(request)
        cursor = request.query.whole("cursor", 0, at_most=10**17)
        rows = await self._matches.of_player(head.user.id, limit=PAGE_SIZE + 1, before=cursor or 2**63 - 1)
        more = _cursor([row.match.id for row in rows])
        title = request.locale.text("Matches")
        return await self._list(request, "matches", title, head, mode, rows=rows[:PAGE_SIZE], more=more)

    # --- forms

    async def _befriend(self, request: SiteRequest) -> Response:
        acts = self._friendships
        return await self._relate(request, (acts.befriend, "friend"), (acts.remove_friend, "unfriend"))

    async def _block(self, request: SiteRequest) -> Response:
        acts = self._friendships
        return await self._relate(request, (acts.block, "block"), (acts.unblock, "unblock"))

    async def _relate(self, request: SiteRequest, add: _Relate, remove: _Relate) -> Response:
        own, target = request.visitor.player.id, request.id("user")
        if target is None:
            raise NotFound("player")
        # As the visitor, so that the form does not tell which hidden players exist.
        await self._accounts.player(request.visitor.viewer, id=target)
        act, done = remove if request.form.text("action") == "remove" else add
        try:
            await act(own, target)
        except Refused as error:
            return await self._show(request, refused=common.refused(request.locale, {}, error.reason).message)
        return Redirect(url(f"/users/{target}", **_mode_of(request), done=done))

    async def _pin(self, request: SiteRequest) -> Response:
        own, pins = request.visitor.player.id, self._showcase.pins
        if request.id("user") != own:
            raise NotAllowed("the player of the profile")
        score_id, action = request.form.text("score_id") or "", request.form.text("action")
        if not score_id.isascii() or not score_id.isdigit() or len(score_id) > 18:
            raise Invalid("score_id", "the id of a score", score_id)
        if action not in PIN_ACTIONS:
            raise Invalid("action", f"one of {', '.join(PIN_ACTIONS)}", action)
        score = int(score_id)
        if action == "pin":
            await pins.pin(own, score)
        elif action == "unpin":
            await pins.unpin(own, score)
        else:
            await pins.shift(own, score, -1 if action == "up" else 1)
        return Redirect(url(f"/users/{own}/pinned", **_mode_of(request)))


def _message(request: SiteRequest) -> str:
    """Return the message about a form that was sent before, or an empty text."""
    text = request.locale.text
    messages = {
        "reported": text("Thank you. Staff will look at your report."),
        "friend": text("The player is your friend now."),
        "unfriend": text("The friend was removed."),
        "block": text("The player is blocked. You see no more of their messages."),
        "unblock": text("The player was unblocked."),
    }
    return messages.get(request.query.values.get("done", ""), "")


def weighted(rows: Sequence[Any], start: int) -> list[_Shown]:
    """Return scores of the list of bests, the first of which has `start` better ones, with their weights in percent."""
    return [_Shown(row, 100 * WEIGHT ** (start + at)) for at, row in enumerate(rows)]


def unweighted(rows: Sequence[Any]) -> list[_Shown]:
    """Return scores of another list."""
    return [_Shown(row) for row in rows]


def status_words(sessions: Sequence[Session], locale: Locale) -> str:
    """Return what a player who is online does (docs/spec/protocol.md#actions)."""
    # Tournament clients mostly watch, so a player's game client has the status of interest.
    status = min(sessions, key=order_of_sessions).status
    words = {
        1: locale.text("Away"),
        2: locale.text("Playing"),
        3: locale.text("Editing"),
        4: locale.text("Modding"),
        5: locale.text("In a match"),
        6: locale.text("Watching"),
        8: locale.text("Testing"),
        9: locale.text("Submitting a score"),
        10: locale.text("Paused"),
        11: locale.text("In the lobby"),
        12: locale.text("Playing in a match"),
        13: locale.text("Browsing beatmaps"),
    }.get(status.action, locale.text("Online"))
    return f"{words} {status.info_text}".strip()


def _points(overview: Overview, graph: str, locale: Locale) -> list[tuple[str, int | None, str]]:
    """Return the points of the graph: the day, the value, the value as text. Empty for fewer than two days."""
    if len(overview.days) < 2:
        return []
    return [
        (
            day.date,
            value or None,
            ("#" if graph == "rank" else "") + locale.number(value) if value else "-",
        )
        for day in overview.days
        for value in [day.rank if graph == "rank" else day.pp]
    ]


def _id_or_name(text: str) -> dict[str, Any]:
    if text.isascii() and text.isdigit():
        return {"id": int(text[:20])}
    return {"name": text[:64]}


def _mode_of(request: SiteRequest) -> dict[str, object]:
    return {"mode": request.query.mode(0)} if "mode" in request.query.values else {}


def _start(more: int | None) -> dict[str, object]:
    return {} if more is None or more > START_MAX else {"start": more}


def _cursor(ids: Sequence[int]) -> dict[str, object]:
    """Return the parameters of the next page of a list that was read with one row more than a page."""
    return {"cursor": ids[PAGE_SIZE - 1]} if len(ids) > PAGE_SIZE else {}


def _filters(chosen: dict[str, Any]) -> ScoreFilters:
    mods = None
    if chosen["mods"]:
        try:
            mods = board_key(parse_mods(chosen["mods"]))
        except ValueError as error:
            raise BadParameter("mods", "mods such as HDDT, or NM", chosen["mods"]) from error
    return ScoreFilters(
        chosen["grade"] or None,
        mods,
        int(chosen["status"]) if chosen["status"] else None,
        chosen["year"] or None,
        chosen["q"] or None,
    )

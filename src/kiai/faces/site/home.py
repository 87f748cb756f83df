"""The start page."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from markupsafe import Markup

from kiai.accounts import User
from kiai.accounts.relationships import Relationships
from kiai.accounts.visibility import EVERYBODY
from kiai.chat.mail import Mail
from kiai.faces.site.live import Fragment, LivePart, for_everybody
from kiai.faces.site.locale import Locale
from kiai.faces.site.page import BadParameter, Head, Page, Redirect, Response, SiteRequest, View, Visitor
from kiai.faces.site.start_page import ROOMS_SHOWN, StartPage, StartPages
from kiai.faces.site.templating import Templates
from kiai.live import Live
from kiai.realtime.following import LiveEvent
from kiai.realtime.port import Realtime
from kiai.realtime.while_unavailable import online_or_nobody
from kiai.scores.history import DAY_MS, History
from kiai.scores.latest import PERSONAL_BEST, ShownPlay, Variant, variant_of
from kiai.scores.profiles import Profiles
from kiai.scores.ranks import Ranks

ALL: Final = "all"
VARIANTS: Final = (ALL, *(variant.value for variant in Variant))


class HomePages:
    """The start page and its live parts."""

    def __init__(
        self,
        live: Live,
        start: StartPages,
        templates: Templates,
        ranks: Ranks,
        profiles: Profiles,
        history: History,
        mail: Mail,
        relationships: Relationships,
        realtime: Realtime,
    ) -> None:
        self._live = live
        self._start = start
        self._templates = templates
        self._ranks = ranks
        self._profiles = profiles
        self._history = history
        self._mail = mail
        self._relationships = relationships
        self._realtime = realtime
        self._bodies: dict[tuple[str, str], tuple[StartPage, list[ShownPlay], Markup]] = {}

    def pages(self) -> list[Page]:
        """Return the start page and its old address."""
        return [Page("GET", "/", self._home), Page("GET", "/home", self._moved)]

    def live_parts(self) -> list[LivePart]:
        """Return the parts that change while the page is open."""
        return [
            LivePart("plays", _variants_of, self._plays_fragment, _variant_allowed, busy_s=2.0),
            LivePart("online", _presence, self._online_fragment, for_everybody, pause_s=2.0),
            LivePart("figures", _counted, self._figures_fragment, for_everybody, pause_s=1.0),
            LivePart("rooms", rooms_of, self._rooms_fragment, _rooms_allowed, pause_s=1.0),
        ]

    async def _moved(self, request: SiteRequest) -> Response:
        return Redirect("/", 301)

    async def _home(self, request: SiteRequest) -> Response:
        chosen = request.query.choice("variant", VARIANTS, ALL)
        page, plays = await self._start.read(_variant(chosen))
        user = request.visitor.user
        values: dict[str, Any] = {
            "page": page,
            "body": self._body(page, plays, chosen, request.locale),
            "own": None if user is None else await self._own(user, request.now_ms),
        }
        description = request.locale.text(
            "An osu! private server. Scores, pp, leaderboards and replays, with an open JSON API."
        )
        return View("home.html", values, Head(description=description, path="/"))

    def _body(self, page: StartPage, plays: list[ShownPlay], chosen: str, locale: Locale) -> Markup:
        """Return the parts of the page that are the same for all visitors of a language."""
        # PERF: rendering takes 6 ms. The page is read again at least every 10 s, so its times in words are current.
        stored = self._bodies.get((chosen, locale.language))
        if stored is None or stored[0] is not page or stored[1] is not plays:
            rendered = self._fragment(
                "live/home.html", locale, page=page, plays=plays, variant=chosen, variants=VARIANTS
            )
            body = Markup(rendered.html)  # noqa: S704 (the template has escaped it)
            stored = self._bodies[chosen, locale.language] = (page, plays, body)
        return stored[2]

    async def _own(self, user: User, now_ms: int) -> dict[str, Any]:
        """Return the figures of a player for the start page."""
        mode = user.preferred_mode
        rank, stats, days, unread, (friends, _) = await asyncio.gather(
            self._ranks.of_mode(user.id, mode),
            self._profiles.stats_in(user.id, mode),
            self._history.days(user.id, mode),
            self._mail.unread(user.id),
            self._relationships.relations_of(user.id),
        )
        yesterday = next((day for day in days if day.day == now_ms // DAY_MS - 1), None)
        online = await online_or_nobody(self._realtime, sorted(friends)) if friends else set()
        return {
            "mode": mode,
            "rank": rank.rank or None,
            "pp": stats.pp if stats else None,
            "rank_gained": yesterday.rank - rank.rank if yesterday and yesterday.rank and rank.rank else None,
            "pp_gained": stats.pp - yesterday.pp if yesterday and stats else None,
            "unread": len(unread),
            "friends_online": len(online),
        }

    # --- live parts

    async def _plays_fragment(self, key: str, locale: Locale, changes: int) -> Fragment:
        _, plays = await self._start.read(_variant(key), fresh_s=0.0)
        summary = locale.plural("%(num)s new play", "%(num)s new plays", changes) if changes else ""
        return self._fragment("live/plays.html", locale, summary, plays=plays)

    async def _online_fragment(self, key: str, locale: Locale, changes: int) -> Fragment:
        page, _ = await self._start.read(None, fresh_s=0.0)
        return self._fragment("live/online.html", locale, page=page)

    async def _figures_fragment(self, key: str, locale: Locale, changes: int) -> Fragment:
        page, _ = await self._start.read(None, fresh_s=0.0)
        return self._fragment("live/figures.html", locale, page=page)

    async def _rooms_fragment(self, key: str, locale: Locale, changes: int) -> Fragment:
        rooms = await self._live.rooms.visible_to(EVERYBODY)
        names = await self._live.host_names(rooms)
        shown = rooms[:ROOMS_SHOWN] if key == "top" else rooms
        return self._fragment("live/rooms.html", locale, rooms=shown, hosts=names)

    def _fragment(self, template: str, locale: Locale, summary: str = "", **values: object) -> Fragment:
        given = {"visitor": Visitor(), "now_ms": self._live.clock.now_ms(), **values}
        return Fragment(self._templates.render(template, locale, given), summary)


def _variant(text: str) -> Variant | None:
    return None if text == ALL else Variant(text)


async def _variant_allowed(request: SiteRequest, key: str) -> str:
    if key not in VARIANTS:
        raise BadParameter("parts", f"plays with one of {', '.join(VARIANTS)}", key)
    return key


async def _rooms_allowed(request: SiteRequest, key: str) -> str:
    if key not in ("", "top"):
        raise BadParameter("parts", "rooms or rooms.top", key)
    return key


def _variants_of(event: LiveEvent) -> Sequence[str]:
    if event.type != "score" or event.data.get("status") != PERSONAL_BEST:
        return ()
    variant = variant_of(event.data["mode"])
    return (ALL, variant.value)


def _presence(event: LiveEvent) -> Sequence[str]:
    return ("",) if event.type == "presence" else ()


def _counted(event: LiveEvent) -> Sequence[str]:
    return ("",) if event.type == "online_count" else ()


def rooms_of(event: LiveEvent) -> Sequence[str]:
    """Return the keys of the lists of rooms that an event changes."""
    return ("", "top") if event.type == "room" else ()

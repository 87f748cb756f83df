"""Commands about the map of the last `/np`: requests of players, and decisions of nominators."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from kiai.beatmaps import Beatmap, Beatmaps, MapStatus
from kiai.beatmaps.mirrors import Mirrors
from kiai.beatmaps.model import STATUS_BY_WORD
from kiai.chat.bot import Argument, ArgumentKind, BadArgument, BotCommand, CommandContext, Handler
from kiai.errors import NotFound, Refused
from kiai.faces.bot.acting import actor_of
from kiai.faces.bot.now_playing import NowPlaying
from kiai.osu.texts import chat_link, chat_name, chat_text
from kiai.staff.audit import utc_text
from kiai.staff.map_imports import MapImports
from kiai.staff.map_requests import NAMED_MAX, PAGE, SEES_REQUESTS, SETS_STATUS, MapRequests
from kiai.staff.nominations import MAP_CHANGED, NOMINATE, RESET, NominationMode
from kiai.staff.status_history import StatusHistory

FREEZE: Final = "freeze"
UNFREEZE: Final = "unfreeze"
MODES: Final = {"osu": 0, "std": 0, "taiko": 1, "catch": 2, "ctb": 2, "mania": 3}
SEARCHED_MAX: Final = 100  # characters
PAGES_MAX: Final = 1_000


class MapCommands:
    """Handlers of `!request`, `!whoranked`, `!search`, and of the commands of nominators."""

    def __init__(
        self,
        now_playing: NowPlaying,
        beatmaps: Beatmaps,
        requests: MapRequests,
        nominations: NominationMode,
        history: StatusHistory,
        mirrors: Mirrors,
        imports: MapImports,
        link: Callable[[str], str],
    ) -> None:
        self._now_playing = now_playing
        self._beatmaps = beatmaps
        self._requests = requests
        self._nominations = nominations
        self._history = history
        self._mirrors = mirrors
        self._imports = imports
        self._link = link

    async def request(self, context: CommandContext) -> Sequence[str]:
        """`!request`."""
        beatmap = await self._now_playing.stored_map(context.session.user_id)
        await self._requests.request(context.session.user_id, beatmap)
        return (f"Your request for {self._title(beatmap)} has been sent to the nominators.",)

    async def who_ranked(self, context: CommandContext) -> Sequence[str]:
        """`!whoranked`."""
        beatmap = await self._now_playing.stored_map(context.session.user_id)
        changes = [change for change in await self._history.of(beatmap.id) if change.before != change.after]
        status = MapStatus(beatmap.status).name.lower()
        if not changes or changes[0].after != beatmap.status:
            return (f"{self._title(beatmap)} is {status}. No staff member has set this status.",)
        change = changes[0]
        by = chat_name(change.by) if change.by else "the server"
        return (
            f"{self._title(beatmap)} is {status} since {datetime.fromtimestamp(change.at_ms // 1000, UTC):%Y-%m-%d}, "
            f"by {by}.",
        )

    async def search(self, context: CommandContext, text: str) -> Sequence[str]:
        """`!search`."""
        if not self._mirrors:
            raise Refused("this server has no mirror to search")
        found = await self._mirrors.search(text[:SEARCHED_MAX], mode=None, status=None, page=0)
        if not found:
            return ("No beatmap set found.",)
        first = found[0]
        return (chat_link(self._link(f"beatmapsets/{first.set_id}"), f"{first.artist} - {first.title}"),)

    async def queue(self, context: CommandContext, page: int | None) -> Sequence[str]:
        """`!requests`."""
        number, actor = page or 1, actor_of(context)
        found, total = await self._requests.queue(actor, number)
        if not found:
            return ("There are no open requests.",) if not total else ("This page does not exist.",)
        lines = []
        for requested in found:
            title = chat_link(self._link(f"b/{requested.map_id}"), f"{requested.artist} - {requested.title}")
            since = datetime.fromtimestamp(requested.since_ms // 1000, UTC)
            counts = [MAP_CHANGED] if requested.changed else []
            by = ""
            if requested.count:
                names = [one.name for one in await self._requests.requesters(actor, requested.set_id)]
                by = ", by " + ", ".join(map(chat_name, names[:NAMED_MAX]))
                by += " and others" if len(names) > NAMED_MAX else ""
                counts.append(str(requested.count))
            lines.append(f"{title}: {' and '.join(counts)} since {since:%Y-%m-%d}{by}")
        return [*lines, f"Page {number} of {-(-total // PAGE)}, {total} set{'' if total == 1 else 's'}."]

    async def map(self, context: CommandContext, status: str, scope: str | None, modes: str | None) -> Sequence[str]:
        """`!map`."""
        beatmap = await self._now_playing.stored_map(context.session.user_id)
        maps = await self._beatmaps.of_set(beatmap.set_id) if scope == "set" else [beatmap]
        if modes:
            wanted = {_mode(word) for word in modes.lower().split()}
            maps = [one for one in maps if one.mode in wanted]
            if not maps:
                raise NotFound("map of these modes")
        title = self._title(beatmap)
        count = f"{len(maps)} map" if len(maps) == 1 else f"{len(maps)} maps"
        if status in (FREEZE, UNFREEZE):
            await self._requests.set_frozen(actor_of(context), maps, status == FREEZE)
            return (f"{title}: {'froze' if status == FREEZE else 'unfroze'} the status of {count}.",)
        new = STATUS_BY_WORD[status]
        await self._requests.set_status(actor_of(context), maps, new)
        return (f"{title}: set the status of {count} to {new.name.lower()}.",)

    async def rank_set(self, context: CommandContext) -> Sequence[str]:
        """`!mrs`."""
        return await self.map(context, "rank", "set", None)

    async def nominate(self, context: CommandContext, reason: str | None) -> Sequence[str]:
        """`!nominate`."""
        beatmap = await self._now_playing.stored_map(context.session.user_id)
        found = await self._nominations.nominate(actor_of(context), beatmap, reason or "")
        title = self._title(beatmap)
        if found.ranks_at_ms is None:
            return (f"{title}: nominated. The set has {found.count} of {found.needed} nominations.",)
        return (f"{title}: qualified. The set will be ranked at {utc_text(found.ranks_at_ms)}.",)

    async def denominate(self, context: CommandContext, reason: str) -> Sequence[str]:
        """`!denominate`."""
        beatmap = await self._now_playing.stored_map(context.session.user_id)
        count = await self._nominations.reset(actor_of(context), beatmap, reason)
        return (f"{self._title(beatmap)}: reset {count} nomination{'' if count == 1 else 's'}: {chat_text(reason)}",)

    async def close(self, context: CommandContext, reason: str) -> Sequence[str]:
        """`!close`."""
        beatmap = await self._now_playing.stored_map(context.session.user_id)
        count = await self._requests.close(actor_of(context), beatmap, reason)
        return (f"{self._title(beatmap)}: closed {count} request{'' if count == 1 else 's'}: {chat_text(reason)}",)

    async def refresh(self, context: CommandContext) -> Sequence[str]:
        """`!refresh`."""
        beatmap = await self._now_playing.stored_map(context.session.user_id)
        await self._imports.refresh(actor_of(context), beatmap)
        return (f"{self._title(beatmap)}: the set is up to date with upstream.",)

    def _title(self, beatmap: Beatmap) -> str:
        return chat_link(self._link(f"b/{beatmap.id}"), f"{beatmap.artist} - {beatmap.title}")

    def commands(self) -> list[BotCommand]:
        """Return the declarations of these commands."""
        status = Argument("status", ArgumentKind.CHOICE, choices=(*STATUS_BY_WORD, FREEZE, UNFREEZE))
        scope = Argument("scope", ArgumentKind.CHOICE, optional=True, choices=("map", "set"))
        page = Argument("page", ArgumentKind.NUMBER, optional=True, least=1, most=PAGES_MAX)
        return [
            BotCommand(
                name="request",
                aliases=("req",),
                handler=self.request,
                help="Asks the nominators to rank the set of your last /np.",
            ),
            BotCommand(
                name="whoranked",
                handler=self.who_ranked,
                help="Shows who set the status of the map of your last /np.",
            ),
            BotCommand(
                name="search",
                handler=self.search,
                help="Links the first beatmap set that a search finds.",
                arguments=(Argument("text", ArgumentKind.TEXT),),
                hidden=True,
                heavy=True,
            ),
            _for_nominators(
                "requests",
                self.queue,
                "Lists the sets that players want ranked, the oldest request first.",
                page,
                aliases=("reqs",),
                permission=SEES_REQUESTS,
            ),
            _for_nominators(
                "map",
                self.map,
                "Sets the status of the map of your last /np, or of its set, or of the set's maps of some modes.",
                status,
                scope,
                Argument("modes", ArgumentKind.TEXT, optional=True),
                audit="beatmap_status",
            ),
            _for_nominators(
                "mrs", self.rank_set, "Ranks the set of your last /np, like !map rank set.", audit="beatmap_status"
            ),
            _for_nominators(
                "nominate",
                self.nominate,
                "Nominates the set of your last /np. Enough nominations qualify it, and it is ranked later.",
                Argument("reason", ArgumentKind.REASON, optional=True),
                audit=NOMINATE,
            ),
            _for_nominators(
                "denominate",
                self.denominate,
                "Resets the nominations of the set of your last /np. The nominators get the reason.",
                Argument("reason", ArgumentKind.REASON),
                audit=RESET,
            ),
            _for_nominators(
                "close",
                self.close,
                "Closes the requests for the set of your last /np. The players get the reason.",
                Argument("reason", ArgumentKind.REASON),
                permission=SEES_REQUESTS,
                audit="request_close",
            ),
            _for_nominators(
                "refresh", self.refresh, "Gets the set of your last /np from upstream again.", audit="beatmap_refresh"
            ),
        ]


def _for_nominators(
    name: str,
    handler: Handler,
    about: str,
    *arguments: Argument,
    aliases: tuple[str, ...] = (),
    permission: str = SETS_STATUS,
    audit: str = "",
) -> BotCommand:
    """Declare a command that only its author sees."""
    return BotCommand(
        name=name,
        aliases=aliases,
        handler=handler,
        help=about,
        arguments=arguments,
        permission=permission,
        audit=audit,
        hidden=True,
    )


def _mode(word: str) -> int:
    if word not in MODES:
        raise BadArgument("modes must be of osu, taiko, catch, mania.")
    return MODES[word]

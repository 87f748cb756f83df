"""`/np`: which map somebody plays, edits, watches or listens to, and what plays on it are worth (docs/spec/bot.md)."""

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from kiai.beatmaps import Beatmap, Beatmaps
from kiai.beatmaps.model import full_title
from kiai.chat.bot import Argument, Asker, BadArgument, Command, Kind, Where
from kiai.errors import KiaiError, NotFound
from kiai.osu.links import parse_map_link
from kiai.osu.modes import mode_of, mode_text, vanilla
from kiai.osu.mods import EZ, HR, clock_rate, mods_text, normalise, parse_mods
from kiai.osu.texts import chat_link, chat_text
from kiai.realtime.port import Realtime, Session
from kiai.scores import calculator
from kiai.scores.performance import CannotCalculate, Performance

KEPT_S: Final = 300.0
ACCURACIES: Final = (90.0, 95.0, 98.0, 99.0, 100.0)

_LINE: Final = re.compile(
    r"\x01ACTION (?:is )?(?:playing|editing|watching|listening to) "
    r"\[(?P<link>https?://[^\s\x01]{1,200})(?P<rest>[^\x01]*)\x01?"
)
_MODES: Final = {"<osu!>": 0, "<taiko>": 1, "<catchthebeat>": 2, "<osu!mania>": 3}
_SIGNS: Final = "+-~|"
# The game writes each mod with its sign (docs/spec/game-rules.md#mods); a word without one is of the title.
_MODS: Final = {
    "nofail": "NF",
    "easy": "EZ",
    "touchdevice": "TD",
    "hidden": "HD",
    "hardrock": "HR",
    "suddendeath": "SD",
    "doubletime": "DT",
    "relax": "RX",
    "halftime": "HT",
    "nightcore": "NC",
    "flashlight": "FL",
    "autoplay": "AU",
    "spunout": "SO",
    "autopilot": "AP",
    "perfect": "PF",
    "fadein": "FI",
    "random": "RN",
    "cinema": "CN",
    "target": "TP",
    "scorev2": "V2",
    "mirror": "MR",
    **{f"{keys}k": f"{keys}K" for keys in range(1, 10)},
    **{f"{2 * keys}k": f"{keys}KCO" for keys in range(5, 10)},
}


class Playing(msgspec.Struct, frozen=True):
    """What somebody's `/np` named. `mode` is the game's own, 0-3."""

    beatmap: Beatmap
    mode: int
    mods: int


class NowPlaying:
    """Remembers the last `/np` of each player for five minutes, and answers with pp."""

    def __init__(self, beatmaps: Beatmaps, performance: Performance, realtime: Realtime) -> None:
        self._beatmaps = beatmaps
        self._performance = performance
        self._realtime = realtime

    async def hear(self, session: Session, where: str, text: str) -> Sequence[str] | None:
        """Remembers what an action line names; the answer in a message to the bot, None elsewhere."""
        found = _LINE.fullmatch(text)
        if found is None:
            return None
        beatmap = await self._map(found["link"].removesuffix("]"))
        if beatmap is None:
            await self._remember(session.user_id, b"")
            return None if where else ("I do not know this map.",)
        mode, mods = _mode_and_mods(_after_link(found["rest"]), beatmap, session)
        playing = Playing(beatmap, mode, mods)
        await self._remember(session.user_id, msgspec.msgpack.encode(playing))
        return None if where else await self._worth(playing, [{"accuracy": one} for one in ACCURACIES])

    async def last(self, user_id: int) -> Playing:
        """What the player named last. Raises BadArgument without one."""
        kept = (await self._realtime.kept(f"np:{user_id}")).get("")
        if not kept:
            raise BadArgument("Tell me which map first: /np.")
        return msgspec.msgpack.decode(kept, type=Playing)

    async def _remember(self, user_id: int, playing: bytes) -> None:
        await self._realtime.keep(f"np:{user_id}", "", playing, KEPT_S)

    async def _map(self, text: str) -> Beatmap | None:
        link = parse_map_link(text)
        if link is None:
            return None
        if link.map_id is None:
            maps = await self._beatmaps.of_set(link.set_id or 0)
            return maps[-1] if maps else None
        try:
            return await self._beatmaps.find_or_fetch(id=link.map_id)
        except NotFound:
            return None

    async def _worth(self, playing: Playing, wanted: Sequence[dict[str, float | int]]) -> list[str]:
        plays = [_play(playing.mods, one) for one in wanted]
        try:
            results = await self._performance.plays(playing.beatmap.md5, playing.mode, plays)
        except CannotCalculate as error:
            return [f"I cannot compute this map: {chat_text(str(error))}."]
        except KiaiError:
            return ["I am busy; please ask again."]
        beatmap = playing.beatmap
        mode = mode_of(playing.mode, playing.mods)
        title = f"{chat_text(full_title(beatmap))} {mods_text(playing.mods)}".rstrip()
        worth = " | ".join(f"{_words(one)}: {result.pp:.2f}pp" for one, result in zip(wanted, results, strict=True))
        rate = clock_rate(playing.mods)
        minutes, seconds = divmod(round(beatmap.total_length / rate), 60)
        ar, od = _approach_and_overall(beatmap, playing.mods, rate)
        about = (
            f"{results[0].stars:.2f} stars | {minutes}:{seconds:02} | {beatmap.bpm * rate:g} bpm | "
            f"AR {ar:g} OD {od:g} | {mode_text(mode)}"
        )
        return [title, worth, about]

    async def with_(self, asker: Asker, values: str) -> Sequence[str]:
        """`!with`."""
        playing = await self.last(asker.session.user_id)
        wanted: dict[str, float | int] = {}
        for word in values.lower().split():
            key, value = _with_word(word, playing.beatmap)
            if key in wanted:
                raise BadArgument("Each of accuracy, misses, combo, score and mods at most once.")
            wanted[key] = value
        mods = normalise(int(wanted.pop("mods", playing.mods)), playing.mode)
        return await self._worth(msgspec.structs.replace(playing, mods=mods), [wanted or {"accuracy": 100.0}])

    async def maplink(self, asker: Asker) -> Sequence[str]:
        """`!maplink`."""
        beatmap = (await self.last(asker.session.user_id)).beatmap
        return (chat_link(f"https://osu.ppy.sh/beatmapsets/{beatmap.set_id}", f"{beatmap.artist} - {beatmap.title}"),)

    def commands(self) -> list[Command]:
        """What this page declares."""
        values = Argument("95% 2m 429x +HDDT", Kind.TEXT)
        return [
            Command(
                name="with",
                aliases=("w",),
                handler=lambda asker, **given: self.with_(asker, given[values.name]),
                help="pp of your last /np with an accuracy, misses, a combo, mods.",
                arguments=(values,),
                where=Where.DM,
                heavy=True,
            ),
            Command(
                name="maplink",
                aliases=("mirror", "mapdl"),
                handler=self.maplink,
                help="Where the map of your last /np can be downloaded.",
            ),
        ]


def _approach_and_overall(beatmap: Beatmap, mods: int, rate: float) -> tuple[float, float]:
    """Approach rate and overall difficulty as they feel with the mods (osu!wiki: Beatmap/Approach rate)."""
    factor = 1.4 if mods & HR else 0.5 if mods & EZ else 1.0
    ar, od = min(10.0, beatmap.ar * factor), min(10.0, beatmap.od * factor)
    preempt_ms = (1_200 - 750 * (ar - 5) / 5 if ar > 5 else 1_200 + 600 * (5 - ar) / 5) / rate
    ar = 5 + 5 * (1_200 - preempt_ms) / 750 if preempt_ms < 1_200 else 5 - 5 * (preempt_ms - 1_200) / 600
    return round(ar, 1), round((80 - (80 - 6 * od) / rate) / 6, 1)


def _play(mods: int, wanted: dict[str, float | int]) -> calculator.Play:
    score, combo = wanted.get("legacy_score"), wanted.get("combo")
    return calculator.Play(
        mods=mods,
        nmiss=int(wanted.get("nmiss", 0)),
        combo=None if combo is None else int(combo),
        legacy_score=None if score is None else int(score),
        accuracy=wanted.get("accuracy", 100.0),
    )


def _words(one: dict[str, float | int]) -> str:
    shown = {"accuracy": "{:g}%", "nmiss": "{} misses", "combo": "{}x", "legacy_score": "{} points"}
    return " ".join(shown[name].format(value) for name, value in one.items())


def _with_word(word: str, beatmap: Beatmap) -> tuple[str, float | int]:
    if word.startswith("+"):
        try:
            return "mods", parse_mods(word[1:])
        except ValueError as error:
            raise BadArgument(f"{word[:32]} are no mods.") from error
    if re.fullmatch(r"[0-9]{1,9}m", word) and int(word[:-1]) <= beatmap.objects:
        return "nmiss", int(word[:-1])
    if re.fullmatch(r"[0-9]{1,9}x", word) and int(word[:-1]) <= beatmap.max_combo:
        return "combo", int(word[:-1])
    if re.fullmatch(r"[0-9]{1,4}k", word):
        return "legacy_score", min(1_000_000, int(word[:-1]) * 1_000)
    if re.fullmatch(r"[0-9]{1,3}(?:\.[0-9]{1,4})?%?", word) and float(word.rstrip("%")) <= 100:
        return "accuracy", float(word.rstrip("%"))
    raise BadArgument(f"{word[:32]} is none of 95%, 2m, 429x, +HDDT, 985k that this map allows.")


def _after_link(rest: str) -> str:
    """What follows the link's closing bracket: the last that closes what is open, or of a title with too many `[` the
    last there is. Titles and difficulties have brackets of their own."""
    depth, end = 1, rest.rfind("]")
    for at, one in enumerate(rest):
        depth += (one == "[") - (one == "]")
        if one == "]" and not depth:
            end = at
    return rest[end + 1 :]


def _mode_and_mods(rest: str, beatmap: Beatmap, session: Session) -> tuple[int, int]:
    """The game's mode and the mods that the words behind the link mean, as they can be played."""
    mods, mode = 0, None
    for word in rest.lower().split():
        if word in _MODES:
            mode = _MODES[word]
        elif word[0] in _SIGNS and (name := _MODS.get(word.strip(_SIGNS))) is not None:
            mods |= parse_mods(name)
    if mode is None or beatmap.mode not in (0, mode):
        mode = beatmap.mode if beatmap.mode else vanilla(session.status.mode or 0)
    return mode, normalise(mods, mode)

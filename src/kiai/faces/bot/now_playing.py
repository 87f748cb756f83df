"""`/np`: the map that a player plays, edits, watches or listens to, and the pp of plays on it (docs/spec/bot.md)."""

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from kiai.beatmaps import Beatmap, Beatmaps
from kiai.beatmaps.model import full_title, settings_of
from kiai.chat.bot import Argument, ArgumentKind, BadArgument, BotCommand, CommandContext, CommandScope
from kiai.errors import KiaiError, NotFound, Refused
from kiai.osu.links import parse_map_link
from kiai.osu.map_settings import with_mods
from kiai.osu.modes import mode_of, mode_text, vanilla
from kiai.osu.mods import mods_text, normalise, parse_mods
from kiai.osu.texts import chat_text
from kiai.realtime.port import Realtime, Session
from kiai.scores import calculator
from kiai.scores.performance import CannotCalculate, Performance

STASHED_S: Final = 300.0  # long enough to type `!with` after `/np`
ACCURACIES: Final = (90.0, 95.0, 98.0, 99.0, 100.0)

# The bounds on the link keep matching linear: any player can send any action line.
_ACTION_LINE: Final = re.compile(
    r"\x01ACTION (?:is )?(?:playing|editing|watching|listening to) "
    r"\[(?P<link>https?://[^\s\x01]{1,200})(?P<rest>[^\x01]*)\x01?"
)
_MODES: Final = {"<osu!>": 0, "<taiko>": 1, "<catchthebeat>": 2, "<osu!mania>": 3}
# The game writes each mod with a sign (docs/spec/game-rules.md#mods). A word without a sign belongs to the title.
_SIGNS: Final = "+-~|"
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


class NowPlayingMap(msgspec.Struct, frozen=True):
    """The map of a player's `/np`. `mode` is 0-3, `mods` are bits."""

    beatmap: Beatmap
    mode: int
    mods: int


class NowPlaying:
    """Stores the last `/np` of each player for five minutes, and answers with pp."""

    def __init__(self, beatmaps: Beatmaps, performance: Performance, realtime: Realtime) -> None:
        self._beatmaps = beatmaps
        self._performance = performance
        self._realtime = realtime

    async def on_action(self, session: Session, channel: str, text: str) -> Sequence[str] | None:
        """Store the map of an action line. Return the pp lines in a message to the bot, None in a channel."""
        found = _ACTION_LINE.fullmatch(text)
        if found is None:
            return None
        beatmap = await self._map(found["link"].removesuffix("]"))
        if beatmap is None:
            # Otherwise `!with` would answer about the map before.
            await self._stash(session.user_id, b"")
            return None if channel else ("Unknown beatmap.",)
        mode, mods = _mode_and_mods(_after_link(found["rest"]), beatmap, session)
        playing = NowPlayingMap(beatmap, mode, mods)
        await self._stash(session.user_id, msgspec.msgpack.encode(playing))
        return None if channel else await self._pp_lines(playing, [{"accuracy": accuracy} for accuracy in ACCURACIES])

    async def last_map(self, user_id: int) -> NowPlayingMap:
        """Return the map of the player's last `/np`. Raises BadArgument after five minutes without `/np`."""
        stashed = (await self._realtime.stashed(f"np:{user_id}")).get("")
        if not stashed:
            raise BadArgument("Choose a beatmap with /np first.")
        return msgspec.msgpack.decode(stashed, type=NowPlayingMap)

    async def stored_map(self, user_id: int) -> Beatmap:
        """Return the map of the player's last `/np` as it is stored now. Raises Refused without one, and NotFound."""
        try:
            playing = await self.last_map(user_id)
        except BadArgument as error:
            raise Refused("choose a beatmap with /np first") from error
        return await self._beatmaps.find(id=playing.beatmap.id)

    async def _stash(self, user_id: int, playing: bytes) -> None:
        await self._realtime.stash(f"np:{user_id}", "", playing, STASHED_S)

    async def _map(self, text: str) -> Beatmap | None:
        link = parse_map_link(text)
        if link is None:
            return None
        if link.map_id is None:
            maps = await self._beatmaps.of_set(link.set_id or 0)
            return maps[-1] if maps else None  # the newest map of the set
        try:
            return await self._beatmaps.find_or_fetch(id=link.map_id)
        except NotFound:
            return None

    async def _pp_lines(self, playing: NowPlayingMap, results_of: Sequence[dict[str, float | int]]) -> list[str]:
        # One request for all plays: the difficulty of the map is calculated once.
        plays = [_play(playing.mods, values) for values in results_of]
        try:
            results = await self._performance.plays(playing.beatmap.md5, playing.mode, plays)
        except CannotCalculate as error:
            return [f"Can't calculate the pp of this beatmap: {chat_text(str(error))}."]
        except KiaiError:
            # The queue of the performance workers is full, or upstream does not answer.
            return ["The server is busy. Please try again."]
        beatmap = playing.beatmap
        mode = mode_of(playing.mode, playing.mods)
        title = f"{chat_text(full_title(beatmap))} {mods_text(playing.mods)}".rstrip()
        worth = " | ".join(
            f"{_values_text(values)}: {result.pp:.2f}pp" for values, result in zip(results_of, results, strict=True)
        )
        settings = with_mods(settings_of(beatmap), playing.mode, playing.mods)
        minutes, seconds = divmod(round(settings.length_s), 60)
        about = (
            f"{results[0].stars:.2f} stars | {minutes}:{seconds:02} | {settings.bpm:g} bpm | "
            f"AR {round(settings.ar, 1):g} OD {round(settings.od, 1):g} | {mode_text(mode)}"
        )
        return [title, worth, about]

    async def with_(self, context: CommandContext, values: str) -> Sequence[str]:
        """`!with`."""
        playing = await self.last_map(context.session.user_id)
        given: dict[str, float | int] = {}
        for word in values.lower().split():
            key, value = _with_word(word, playing.beatmap)
            if key in given:
                raise BadArgument("Give each of accuracy, misses, combo, score and mods at most once.")
            given[key] = value
        # Words for mods replace the mods of the /np. The other words describe the play.
        mods = normalise(int(given.pop("mods", playing.mods)), playing.mode)
        return await self._pp_lines(msgspec.structs.replace(playing, mods=mods), [given or {"accuracy": 100.0}])

    def commands(self) -> list[BotCommand]:
        """Return the declaration of `!with`."""
        # The name of the argument is an example, because it appears in the usage line. So it cannot be a parameter's
        # name, and the handler below passes it on.
        values = Argument("95% 2m 429x +HDDT", ArgumentKind.TEXT)
        return [
            BotCommand(
                name="with",
                aliases=("w",),
                handler=lambda context, **given: self.with_(context, given[values.key]),
                help="Calculates the pp of your last /np for an accuracy, misses, combo and mods.",
                arguments=(values,),
                scope=CommandScope.DM,
                heavy=True,  # a performance worker calculates the map
            ),
        ]


def _play(mods: int, values: dict[str, float | int]) -> calculator.CalculatorPlay:
    score, combo = values.get("legacy_score"), values.get("combo")
    return calculator.CalculatorPlay(
        mods=mods,
        nmiss=int(values.get("nmiss", 0)),
        combo=None if combo is None else int(combo),
        legacy_score=None if score is None else int(score),
        accuracy=values.get("accuracy", 100.0),
    )


def _values_text(values: dict[str, float | int]) -> str:
    formats = {"accuracy": "{:g}%", "nmiss": "{} misses", "combo": "{}x", "legacy_score": "{} points"}
    return " ".join(formats[name].format(value) for name, value in values.items())


def _with_word(word: str, beatmap: Beatmap) -> tuple[str, float | int]:
    if word.startswith("+"):
        try:
            return "mods", parse_mods(word[1:])
        except ValueError as error:
            raise BadArgument(f"Unknown mods: {word[:32]}.") from error
    # Each pattern bounds the digits, so that int() and the calculator get no absurd numbers.
    if re.fullmatch(r"[0-9]{1,9}m", word) and int(word[:-1]) <= beatmap.objects:
        return "nmiss", int(word[:-1])
    if re.fullmatch(r"[0-9]{1,9}x", word) and int(word[:-1]) <= beatmap.max_combo:
        return "combo", int(word[:-1])
    if re.fullmatch(r"[0-9]{1,4}k", word):
        return "legacy_score", min(1_000_000, int(word[:-1]) * 1_000)
    if re.fullmatch(r"[0-9]{1,3}(?:\.[0-9]{1,4})?%?", word) and float(word.rstrip("%")) <= 100:
        return "accuracy", float(word.rstrip("%"))
    raise BadArgument(f"Invalid value for this beatmap: {word[:32]}. Examples: 95%, 2m, 429x, +HDDT, 985k.")


def _after_link(rest: str) -> str:
    """Return the words after the closing bracket of the link.

    Titles and difficulties may contain brackets. The closing bracket is the last one at which all brackets are closed,
    or the last one of all if the title has more opening brackets.
    """
    depth, end = 1, rest.rfind("]")  # the pattern has consumed the opening bracket
    for position, character in enumerate(rest):
        depth += (character == "[") - (character == "]")
        if character == "]" and not depth:
            end = position
    return rest[end + 1 :]


def _mode_and_mods(rest: str, beatmap: Beatmap, session: Session) -> tuple[int, int]:
    """Return the mode (0-3) and the mods named after the link, without mods that the mode does not have."""
    mods, mode = 0, None
    for word in rest.lower().split():
        if word in _MODES:
            mode = _MODES[word]
        elif word[0] in _SIGNS and (name := _MODS.get(word.strip(_SIGNS))) is not None:
            mods |= parse_mods(name)
    if mode is None or beatmap.mode not in (0, mode):
        # The game writes no mode for osu!, so the mode that the player has selected decides.
        mode = beatmap.mode if beatmap.mode else vanilla(session.status.mode or 0)
    return mode, normalise(mods, mode)

"""The process that computes pp: `python -m kiai.scores.calculator`.

rosu-pp-py holds the interpreter lock while it computes, and one hostile map can cost it minutes, so it runs in
processes of its own that can be killed. Its difficulty attributes can neither be pickled nor constructed; they stay
here, in a cache by map, mode and difficulty mods, where the pp of a play costs microseconds.

A request names a map by md5; the answer `need_file` asks for the same request again with the .osu file in it. What is
wrong with a map is an answer too. `worker_process.py` has the frames and the limits.
"""

import traceback
from collections import OrderedDict
from typing import Final, Generic, TypeVar

import msgspec
import rosu_pp_py as rosu

from kiai.worker_process import serve

MAPS_BYTES_MAX: Final = 16 * 1024 * 1024  # of .osu files; parsed, they take two to three times that
MAP_BYTES_MIN: Final = 64 * 1024  # what even the smallest counts, so that 256 maps are held at most
ATTRIBUTES_MAX: Final = 8_192  # 1 KB each

PP_MAX: Final = 9_999.999
STARS_MAX: Final = 100.0
_U32_MAX: Final = 2**32 - 1

DIFFICULTY_MODS: Final = 0x3F1FA5DE
"""The mods that `kiai.osu.mods.difficulty_mods` keeps; this process imports as little as it can."""
CONVERT_MODS: Final = 0x1F0F8000
"""The mods that conversion to mania looks at: the key counts and their doubling."""
_DT: Final = 64
_NC: Final = 512

_MANIA: Final = 3
_MODES: Final = (rosu.GameMode.Osu, rosu.GameMode.Taiko, rosu.GameMode.Catch, rosu.GameMode.Mania)

K = TypeVar("K")
V = TypeVar("V")


# PERF: batches make thousands of Play and Result, which hold nothing but numbers; counted by the garbage collector they
# would set it off in the middle of the server (30 ms).
class Play(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What was hit: counts, or an accuracy in percent from which likely counts are made. `combo` None: the maximum.

    Counts that add up to less than the map has are filled up with the best judgement. `legacy_score` is the total
    score that a stable client shows.
    """

    mods: int
    n300: int | None = None
    n100: int | None = None
    n50: int | None = None
    ngeki: int | None = None
    nkatu: int | None = None
    nmiss: int | None = None
    combo: int | None = None
    legacy_score: int | None = None
    accuracy: float | None = None


class Result(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a play is worth; None where the mode has no such part. The counts are those that were used.

    osu! has pp_acc, pp_aim, pp_speed, pp_flashlight, effective_miss_count, aim, speed, flashlight, slider_factor and
    speed_note_count; taiko has pp_acc, pp_difficulty, stamina, color, rhythm and `peak`, which is stamina and colour
    together (rosu-pp's mechanical difficulty); mania has pp_difficulty; catch has none of them.

    `flagged` marks a pp that is no number or above 9,999.999, or stars that are no number or above 100: such a play
    counts 0 pp (docs/spec/game-rules.md#pp-of-a-play), such stars as 100 or, if no number, 0.
    """

    pp: float
    pp_acc: float | None
    pp_aim: float | None
    pp_speed: float | None
    pp_flashlight: float | None
    pp_difficulty: float | None
    effective_miss_count: float | None
    stars: float
    max_combo: int
    aim: float | None
    speed: float | None
    flashlight: float | None
    slider_factor: float | None
    speed_note_count: float | None
    stamina: float | None
    color: float | None
    rhythm: float | None
    peak: float | None
    n300: int
    n100: int
    n50: int
    ngeki: int
    nkatu: int
    nmiss: int
    flagged: bool = False


class Request(msgspec.Struct, frozen=True, array_like=True):
    """Plays of one map in one vanilla mode."""

    id: int
    md5: str
    mode: int
    plays: list[Play]
    osu: bytes | None = None


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """The results in the order of the plays, or why there are none.

    `error` is "suspicious" (made to hurt, by rosu-pp's judgement), "unreadable" (no map, or one without objects),
    "cannot convert" (to this mode), "impossible play" (a number outside 32 bits) or "crashed" (the library broke).
    """

    id: int
    results: list[Result] | None = None
    need_file: bool = False
    error: str | None = None


class _NeedFile(Exception):
    """The map is not at hand and did not come with the request."""


class _Refusal(Exception):
    """There will be no results; the argument is the answer's `error`."""


class _Recent(Generic[K, V]):
    """The most recently used values whose weights add up to at most `weight_max`."""

    def __init__(self, weight_max: int) -> None:
        self._weight_max = weight_max
        self._weight = 0
        self._held: OrderedDict[K, tuple[V, int]] = OrderedDict()

    def get(self, key: K) -> V | None:
        found = self._held.get(key)
        if found is None:
            return None
        self._held.move_to_end(key)
        return found[0]

    def put(self, key: K, value: V, weight: int) -> None:
        self._held[key] = (value, weight)
        self._weight += weight
        while self._weight > self._weight_max:
            _, (_, freed) = self._held.popitem(last=False)
            self._weight -= freed


class _Rating:
    """The live attributes of a map with mods, and their part of a result."""

    __slots__ = ("attributes", "figures", "flagged")

    def __init__(self, attributes: rosu.DifficultyAttributes) -> None:
        stars = attributes.stars
        self.attributes = attributes
        self.flagged = not 0.0 <= stars <= STARS_MAX
        # PERF: read once for all plays; crossing to the library for each figure of each play costs 1 us a play.
        self.figures = (
            stars if not self.flagged else STARS_MAX if stars > STARS_MAX else 0.0,
            attributes.max_combo,
            attributes.aim,
            attributes.speed,
            attributes.flashlight,
            attributes.slider_factor,
            attributes.speed_note_count,
            attributes.stamina,
            attributes.color,
            attributes.rhythm,
            attributes.mechanical_difficulty,
        )


class Calculator:
    """Parsed maps and their difficulty attributes, the most recently used of each."""

    def __init__(self, *, maps_bytes_max: int = MAPS_BYTES_MAX, attributes_max: int = ATTRIBUTES_MAX) -> None:
        self._maps: _Recent[tuple[str, int, int], rosu.Beatmap] = _Recent(maps_bytes_max)
        self._ratings: _Recent[tuple[str, int, int], _Rating] = _Recent(attributes_max)

    def answer(self, request: Request) -> Answer:
        """Computes what is asked, by the rule for stable clients: no lazer, their counts, combo and total score."""
        try:
            return Answer(request.id, [self._result(request, play) for play in request.plays])
        except _NeedFile:
            return Answer(request.id, need_file=True)
        except _Refusal as refusal:
            return Answer(request.id, error=str(refusal))
        except BaseException:  # a panic of the library is an exception, but none of `Exception`
            traceback.print_exc()
            return Answer(request.id, error="crashed")

    def _result(self, request: Request, play: Play) -> Result:
        # The game always sends NC with DT; to the library, NC alone is no mod at all.
        mods = play.mods | _DT if play.mods & _NC else play.mods
        if not 0 <= mods <= _U32_MAX:
            raise _Refusal("impossible play")
        try:
            performance = rosu.Performance(mods=mods, lazer=False, **_given(play))
        except TypeError:
            raise _Refusal("impossible play") from None
        rating = self._rating(request, mods & DIFFICULTY_MODS)
        return _result(performance.calculate(rating.attributes), rating)

    def _rating(self, request: Request, mods: int) -> _Rating:
        key = (request.md5, request.mode, mods)
        rating = self._ratings.get(key)
        if rating is None:
            beatmap = self._map(request, mods)
            rating = _Rating(rosu.Difficulty(mods=mods, lazer=False).calculate(beatmap))
            self._ratings.put(key, rating, 1)
        return rating

    def _map(self, request: Request, mods: int) -> rosu.Beatmap:
        key = (request.md5, request.mode, mods & CONVERT_MODS if request.mode == _MANIA else 0)
        beatmap = self._maps.get(key)
        if beatmap is None:
            if request.osu is None:
                raise _NeedFile
            beatmap = _read(request.osu, request.mode, mods)
            self._maps.put(key, beatmap, max(len(request.osu), MAP_BYTES_MIN))
        return beatmap


def _read(osu: bytes, mode: int, mods: int) -> rosu.Beatmap:
    if b"\n" not in osu:  # to the library, a line ends with nothing else
        osu = osu.replace(b"\r", b"\n")
    try:
        beatmap = rosu.Beatmap(bytes=osu)
    except rosu.ParseError:
        raise _Refusal("unreadable") from None
    if beatmap.n_objects == 0:  # what is no map at all is read as an empty one
        raise _Refusal("unreadable")
    if beatmap.is_suspicious():
        raise _Refusal("suspicious")
    if beatmap.mode != _MODES[mode]:
        try:
            beatmap.convert(_MODES[mode], mods)
        except rosu.ConvertError:
            raise _Refusal("cannot convert") from None
    return beatmap


def _given(play: Play) -> dict[str, int | float]:
    given = {
        "n300": play.n300,
        "n100": play.n100,
        "n50": play.n50,
        "n_geki": play.ngeki,
        "n_katu": play.nkatu,
        "misses": play.nmiss,
        "combo": play.combo,
        "accuracy": play.accuracy,
    }
    if play.legacy_score is not None:  # only osu!'s is looked at; taiko's and catch's can pass 32 bits
        given["legacy_total_score"] = min(play.legacy_score, _U32_MAX)
    return {name: value for name, value in given.items() if value is not None}


def _result(found: rosu.PerformanceAttributes, rating: _Rating) -> Result:
    pp, state = found.pp, found.state
    assert state is not None
    flagged = rating.flagged or not 0.0 <= pp <= PP_MAX
    return Result(
        0.0 if flagged else pp,
        found.pp_accuracy,
        found.pp_aim,
        found.pp_speed,
        found.pp_flashlight,
        found.pp_difficulty,
        found.effective_miss_count,
        *rating.figures,
        state.n300,
        state.n100,
        state.n50,
        state.n_geki,
        state.n_katu,
        state.misses,
        flagged,
    )


def main() -> None:
    """Answers until the other side closes."""
    calculator = Calculator()
    decode = msgspec.msgpack.Decoder(Request).decode

    serve(lambda head, _: msgspec.msgpack.encode(calculator.answer(decode(head))))


if __name__ == "__main__":
    main()

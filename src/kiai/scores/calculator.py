"""The worker process that computes pp: the module `kiai.scores.calculator`, started with `python -m`.

rosu-pp-py holds the interpreter lock while it computes, and a hostile map can keep it busy for minutes, so it runs in
separate processes that can be killed. Its difficulty attributes cannot be pickled or constructed. They stay in this
process, in a cache by map, mode and difficulty mods; from there, the pp of a play takes microseconds.

A request names a map by md5. The reply `need_file` means: send the request again, with the .osu file. A fault of a map
is a reply, not an exception. `pool_process.py` has the frames of the protocol and the limits of the process.
"""

import itertools
import traceback
from collections import OrderedDict
from typing import Final, Generic, TypeVar

import msgspec
import rosu_pp_py as rosu

from kiai.pool_process import serve

MAPS_BYTES_MAX: Final = 16 * 1024 * 1024  # of .osu files; parsed maps take two to three times as much memory
MAP_BYTES_MIN: Final = 64 * 1024  # a smaller file counts as this size, which limits the cache to 256 maps
ATTRIBUTES_MAX: Final = 8_192  # 1 KB each

POINTS_MAX: Final = 120
_SKILLS: Final = ("aim", "speed", "stamina", "color", "rhythm", "movement", "strains")
"""The skills that add up to the strain of a mode; those of other modes are None."""

PP_MAX: Final = 9_999.999
STARS_MAX: Final = 100.0
_U32_MAX: Final = 2**32 - 1

DIFFICULTY_MODS: Final = 0x3F1FA5DE
"""The mods that `kiai.osu.mods.difficulty_mods` keeps. A copy: this process imports as little as possible."""
CONVERT_MODS: Final = 0x1F0F8000
"""The mods that change a conversion to mania: the key counts and co-op, which doubles them."""
_DT: Final = 64
_NC: Final = 512

_MANIA: Final = 3
_MODES: Final = (rosu.GameMode.Osu, rosu.GameMode.Taiko, rosu.GameMode.Catch, rosu.GameMode.Mania)

K = TypeVar("K")
V = TypeVar("V")


# PERF: a batch makes thousands of plays and results. They contain numbers only, so they cannot form cycles. Tracked by
# the garbage collector they would start a collection, which stops the server for 30 ms.
class CalculatorPlay(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A play to compute: counts of judgements, or an accuracy in percent, from which the library derives counts.

    `combo` None is the maximum. If the counts add up to fewer than the objects of the map, the rest count as the best
    judgement. `legacy_score` is the total score that a stable client shows.
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


class CalculatorResult(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """pp and difficulty of a play; None for values that the mode does not have. The counts are those that were used.

    osu! has pp_acc, pp_aim, pp_speed, pp_flashlight, effective_miss_count, aim, speed, flashlight, slider_factor and
    speed_note_count; taiko has pp_acc, pp_difficulty, stamina, color, rhythm and `peak`, which is stamina and colour
    together (rosu-pp's mechanical difficulty); mania has pp_difficulty; catch has none of them.

    `flagged` is set if pp is NaN or above 9,999.999, or if stars are NaN or above 100. Then pp is 0
    (docs/spec/game-rules.md#pp-of-a-play), stars above 100 become 100, and NaN stars become 0.
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


class MapAnalysis(msgspec.Struct, frozen=True, array_like=True):
    """The objects of a map by kind, its slowest and fastest tempo, and its strain.

    `strains` are the peaks of equal parts of the map, at most `POINTS_MAX`, in order. The tempo is that without mods;
    kinds are those of the file, also for a convert.
    """

    circles: int
    sliders: int
    spinners: int
    holds: int
    bpm_least: float
    bpm_most: float
    strains: list[float]


class CalculatorRequest(msgspec.Struct, frozen=True, array_like=True):
    """Plays of one map in one vanilla mode. `analysed_with` requests its analysis with these mods instead."""

    id: int
    md5: str
    mode: int
    plays: list[CalculatorPlay]
    osu: bytes | None = None
    analysed_with: int | None = None


class CalculatorReply(msgspec.Struct, frozen=True, array_like=True):
    """The results in the order of the plays, or the reason for an error.

    `error` is "suspicious" (rosu-pp takes the map for an attack), "unreadable" (not a map, or without objects),
    "cannot convert" (to this mode), "impossible play" (a number outside 32 bits) or "crashed" (a panic of the library).
    """

    id: int
    results: list[CalculatorResult] | None = None
    need_file: bool = False
    error: str | None = None
    analysis: MapAnalysis | None = None


class _NeedFile(Exception):
    """The map is not in the cache, and the request does not contain it."""


class _Refusal(Exception):
    """The request cannot be computed. The argument is the `error` of the reply."""


class _Recent(Generic[K, V]):
    """The most recently used values whose weights add up to at most `weight_max`."""

    def __init__(self, weight_max: int) -> None:
        self._weight_max = weight_max
        self._weight = 0
        self._values: OrderedDict[K, tuple[V, int]] = OrderedDict()

    def get(self, key: K) -> V | None:
        found = self._values.get(key)
        if found is None:
            return None
        self._values.move_to_end(key)
        return found[0]

    def put(self, key: K, value: V, weight: int) -> None:
        self._values[key] = (value, weight)
        self._weight += weight
        while self._weight > self._weight_max:
            _, (_, freed) = self._values.popitem(last=False)
            self._weight -= freed


class _Rating:
    """The library's attributes of a map with mods, and the values that each result copies from them."""

    __slots__ = ("attributes", "figures", "flagged")

    def __init__(self, attributes: rosu.DifficultyAttributes) -> None:
        stars = attributes.stars
        self.attributes = attributes
        self.flagged = not 0.0 <= stars <= STARS_MAX
        # PERF: read once for all plays. Reading these attributes from the library for each play costs 1 us a play.
        self.figures = (
            stars if not self.flagged else STARS_MAX if stars > STARS_MAX else 0.0,  # a comparison with NaN is false
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
    """Computes pp, with a cache of the most recently used parsed maps and difficulty attributes."""

    def __init__(self, *, maps_bytes_max: int = MAPS_BYTES_MAX, attributes_max: int = ATTRIBUTES_MAX) -> None:
        self._maps: _Recent[tuple[str, int, int], rosu.Beatmap] = _Recent(maps_bytes_max)
        self._ratings: _Recent[tuple[str, int, int], _Rating] = _Recent(attributes_max)

    def answer(self, request: CalculatorRequest) -> CalculatorReply:
        """Return the results of a request, or its error, by the rules for scores of stable clients."""
        try:
            if request.analysed_with is not None:
                return CalculatorReply(request.id, [], analysis=_analysis(request, request.analysed_with))
            return CalculatorReply(request.id, [self._result(request, play) for play in request.plays])
        except _NeedFile:
            return CalculatorReply(request.id, need_file=True)
        except _Refusal as refusal:
            return CalculatorReply(request.id, error=str(refusal))
        except BaseException:  # PyO3 raises a panic of the library as a subclass of BaseException, not of Exception
            traceback.print_exc()
            return CalculatorReply(request.id, error="crashed")

    def _result(self, request: CalculatorRequest, play: CalculatorPlay) -> CalculatorResult:
        # The game always sends NC with DT. The library ignores NC without DT.
        mods = play.mods | _DT if play.mods & _NC else play.mods
        if not 0 <= mods <= _U32_MAX:
            raise _Refusal("impossible play")
        try:
            performance = rosu.Performance(mods=mods, lazer=False, **_parameters(play))
        except TypeError:  # a count that does not fit into the library's u32
            raise _Refusal("impossible play") from None
        rating = self._rating(request, mods & DIFFICULTY_MODS)
        return _result(performance.calculate(rating.attributes), rating)

    def _rating(self, request: CalculatorRequest, mods: int) -> _Rating:
        key = (request.md5, request.mode, mods)
        rating = self._ratings.get(key)
        if rating is None:
            beatmap = self._map(request, mods)
            rating = _Rating(rosu.Difficulty(mods=mods, lazer=False).calculate(beatmap))
            self._ratings.put(key, rating, 1)
        return rating

    def _map(self, request: CalculatorRequest, mods: int) -> rosu.Beatmap:
        # Only a conversion to mania depends on mods, so the other modes share one parsed map for all mods.
        key = (request.md5, request.mode, mods & CONVERT_MODS if request.mode == _MANIA else 0)
        beatmap = self._maps.get(key)
        if beatmap is None:
            if request.osu is None:
                raise _NeedFile
            beatmap = _read(request.osu, request.mode, mods)
            self._maps.put(key, beatmap, max(len(request.osu), MAP_BYTES_MIN))
        return beatmap


def _analysis(request: CalculatorRequest, mods: int) -> MapAnalysis:
    # A parsed map does not have the tempos, so the analysis always needs the file.
    if request.osu is None:
        raise _NeedFile
    # PERF: here, because few workers need it.
    from kiai.osu.beatmap_file import BadBeatmap, parse_beatmap

    beatmap = _read(request.osu, request.mode, mods)
    strains = rosu.Difficulty(mods=mods, lazer=False).strains(beatmap)
    skills = [found for name in _SKILLS if (found := getattr(strains, name)) is not None]
    try:
        file = parse_beatmap(request.osu)
    except BadBeatmap:
        raise _Refusal("unreadable") from None
    return MapAnalysis(
        file.circles,
        file.sliders,
        file.spinners,
        file.holds,
        file.bpm_least,
        file.bpm_most,
        _peaks([sum(section) for section in zip(*skills, strict=False)]),
    )


def _peaks(values: list[float]) -> list[float]:
    """Return the highest values of at most `POINTS_MAX` equal parts. NaN and negative numbers count as 0."""
    count = min(len(values), POINTS_MAX)
    edges = [len(values) * at // count for at in range(count + 1)] if count else []
    return [
        round(max((value for value in values[first:last] if value > 0), default=0.0), 3)
        for first, last in itertools.pairwise(edges)
    ]


def _read(osu: bytes, mode: int, mods: int) -> rosu.Beatmap:
    if b"\n" not in osu:  # the game accepts lines that end in CR only, the library does not
        osu = osu.replace(b"\r", b"\n")
    try:
        beatmap = rosu.Beatmap(bytes=osu)
    except rosu.ParseError:
        raise _Refusal("unreadable") from None
    if beatmap.n_objects == 0:  # the library reads a file that is not a map as an empty map
        raise _Refusal("unreadable")
    if beatmap.is_suspicious():  # checked before any computation: such a map can take minutes and gigabytes
        raise _Refusal("suspicious")
    if beatmap.mode != _MODES[mode]:
        try:
            beatmap.convert(_MODES[mode], mods)
        except rosu.ConvertError:
            raise _Refusal("cannot convert") from None
    return beatmap


def _parameters(play: CalculatorPlay) -> dict[str, int | float]:
    parameters = {
        "n300": play.n300,
        "n100": play.n100,
        "n50": play.n50,
        "n_geki": play.ngeki,
        "n_katu": play.nkatu,
        "misses": play.nmiss,
        "combo": play.combo,
        "accuracy": play.accuracy,
    }
    if play.legacy_score is not None:  # the library uses it in osu! only; in taiko and catch it can exceed 32 bits
        parameters["legacy_total_score"] = min(play.legacy_score, _U32_MAX)
    return {name: value for name, value in parameters.items() if value is not None}


def _result(found: rosu.PerformanceAttributes, rating: _Rating) -> CalculatorResult:
    pp, state = found.pp, found.state
    assert state is not None
    flagged = rating.flagged or not 0.0 <= pp <= PP_MAX  # `not`, so that NaN is flagged
    return CalculatorResult(
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
    """Answer requests until the server closes the pipe."""
    calculator = Calculator()
    decode = msgspec.msgpack.Decoder(CalculatorRequest).decode

    serve(lambda head, _: msgspec.msgpack.encode(calculator.answer(decode(head))))


if __name__ == "__main__":
    main()

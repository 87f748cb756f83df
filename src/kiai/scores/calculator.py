"""The process that computes pp: `python -m kiai.scores.calculator`, spoken to over stdin and stdout.

rosu-pp-py holds the interpreter lock while it computes, and one hostile slider can cost it minutes, so it runs in
processes of its own that can be killed. Its difficulty attributes can neither be pickled nor constructed; they stay
here, in a cache by map, mode and mods, where the pp of a play costs microseconds.

A frame is four bytes of length and a msgpack Struct. A request names a map by md5; the answer `need_file` asks for the
same request again with the .osu file in it. Errors of a map are answers; only a broken pipe ends the process.
"""

import math
import os
import resource
import struct
import sys
from collections import OrderedDict
from typing import Any, BinaryIO, Final

import msgspec
import rosu_pp_py as rosu

MAPS_MAX: Final = 256
ATTRIBUTES_MAX: Final = 4_096
MEMORY_MAX: Final = 2 * 1024**3
FRAME_MAX: Final = 64 * 1024 * 1024
PP_MAX: Final = 9_999.999
_LENGTH: Final = struct.Struct("<I")


class Play(msgspec.Struct, frozen=True):
    """What was hit: counts, or an accuracy in percent from which likely counts are made. `combo` None: the maximum."""

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


class Result(msgspec.Struct, frozen=True):
    """What a play is worth; None where the mode has no such part. `accuracy` in percent, of the counts used.

    `peak` is what rosu-pp calls mechanical difficulty; `flagged` marks a pp that was not finite or above 9,999.999 and
    counts as 0.
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


class Request(msgspec.Struct, frozen=True):
    """Plays of one map in one vanilla mode."""

    md5: str
    mode: int
    plays: list[Play]
    osu: bytes | None = None


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The results in the order of the plays, or why there are none."""

    results: list[Result] | None = None
    need_file: bool = False
    error: str | None = None


class Unusable(Exception):
    """A map that cannot be computed; the message says why."""


class Calculator:
    """Parsed maps and their difficulty attributes, the most recently used of each."""

    def __init__(self) -> None:
        self._maps: OrderedDict[tuple[str, int, int], Any] = OrderedDict()
        self._attributes: OrderedDict[tuple[str, int, int], Any] = OrderedDict()

    def answer(self, request: Request) -> Answer:
        """Computes what is asked."""
        try:
            return Answer(results=[self._result(request, play) for play in request.plays])
        except KeyError:
            return Answer(need_file=True)
        except Unusable as error:
            return Answer(error=str(error))
        except (rosu.ArgsError, rosu.ConvertError, rosu.ParseError, ValueError, OverflowError, MemoryError) as error:
            return Answer(error=str(error) or type(error).__name__)

    def _result(self, request: Request, play: Play) -> Result:
        key = (request.md5, request.mode, play.mods)
        attributes = self._attributes.get(key)
        if attributes is None:
            beatmap = self._map(request, play.mods)
            attributes = rosu.Difficulty(mods=play.mods, lazer=False).calculate(beatmap)
            self._attributes[key] = attributes
            if len(self._attributes) > ATTRIBUTES_MAX:
                self._attributes.popitem(last=False)
        else:
            self._attributes.move_to_end(key)
        return _result(rosu.Performance(mods=play.mods, lazer=False, **_arguments(play)).calculate(attributes))

    def _map(self, request: Request, mods: int) -> Any:
        key = (request.md5, request.mode, mods)
        found = self._maps.get(key)
        if found is not None:
            return found
        if request.osu is None:
            raise KeyError(request.md5)
        beatmap = rosu.Beatmap(bytes=request.osu)
        if beatmap.is_suspicious():
            raise Unusable("the map is suspicious: it would take too long to compute")
        mode = (rosu.GameMode.Osu, rosu.GameMode.Taiko, rosu.GameMode.Catch, rosu.GameMode.Mania)[request.mode]
        if beatmap.mode != mode:
            beatmap.convert(mode, mods)
        self._maps[key] = beatmap
        if len(self._maps) > MAPS_MAX:
            self._maps.popitem(last=False)
        return beatmap


def _arguments(play: Play) -> dict[str, Any]:
    given = {
        "n300": play.n300,
        "n100": play.n100,
        "n50": play.n50,
        "n_geki": play.ngeki,
        "n_katu": play.nkatu,
        "misses": play.nmiss,
        "combo": play.combo,
        "legacy_total_score": play.legacy_score,
        "accuracy": play.accuracy,
    }
    return {name: value for name, value in given.items() if value is not None}


def _result(found: Any) -> Result:
    difficulty, state = found.difficulty, found.state
    flagged = not math.isfinite(found.pp) or found.pp > PP_MAX
    return Result(
        pp=0.0 if flagged else found.pp,
        pp_acc=found.pp_accuracy,
        pp_aim=found.pp_aim,
        pp_speed=found.pp_speed,
        pp_flashlight=found.pp_flashlight,
        pp_difficulty=found.pp_difficulty,
        effective_miss_count=found.effective_miss_count,
        stars=difficulty.stars,
        max_combo=difficulty.max_combo,
        aim=difficulty.aim,
        speed=difficulty.speed,
        flashlight=difficulty.flashlight,
        slider_factor=difficulty.slider_factor,
        speed_note_count=difficulty.speed_note_count,
        stamina=difficulty.stamina,
        color=difficulty.color,
        rhythm=difficulty.rhythm,
        peak=difficulty.mechanical_difficulty,
        n300=state.n300,
        n100=state.n100,
        n50=state.n50,
        ngeki=state.n_geki,
        nkatu=state.n_katu,
        nmiss=state.misses,
        flagged=flagged,
    )


def read_frame(stream: BinaryIO) -> bytes | None:
    """The next frame, None at the end of the stream or for one that no partner of ours sends."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    [length] = _LENGTH.unpack(head)
    if length > FRAME_MAX:
        return None
    data = stream.read(length)
    return data if len(data) == length else None


def frame(data: bytes) -> bytes:
    """A message with its length in front."""
    return _LENGTH.pack(len(data)) + data


def main() -> None:
    """Answers until the other side closes."""
    os.nice(5)  # players who wait for a page come first
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_MAX, resource.getrlimit(resource.RLIMIT_AS)[1]))
    calculator = Calculator()
    decode, encode = msgspec.msgpack.Decoder(Request).decode, msgspec.msgpack.Encoder().encode
    while (data := read_frame(sys.stdin.buffer)) is not None:
        sys.stdout.buffer.write(frame(encode(calculator.answer(decode(data)))))
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()

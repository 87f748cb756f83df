"""Jobs and results of the decoding processes. They cross a pipe as msgpack; the file to decode is a separate blob."""

import msgspec

from kiai.decoding.archives import UnpackedMaps
from kiai.osu.replay_analysis import ReplayAnalysis
from kiai.osu.replay_evidence import KnownReplay, ReplayFigures
from kiai.osu.replay_file import FrameStats


class AvatarJob(msgspec.Struct, frozen=True, tag="avatar"):
    """Convert a picture to an avatar. `kind` is the format by its name in Pillow."""

    kind: str


class CoverJob(msgspec.Struct, frozen=True, tag="cover"):
    """Convert a picture to the cover of a profile. `kind` is the format by its name in Pillow."""

    kind: str


class ScreenshotJob(msgspec.Struct, frozen=True, tag="screenshot"):
    """Encode a screenshot again. `kind` is `png` or `jpeg`."""

    kind: str


class BackgroundJob(msgspec.Struct, frozen=True, tag="background"):
    """Find the background of a set in its archive and scale it to `width` x `height` pixels."""

    set_id: int
    width: int
    height: int


class PreviewJob(msgspec.Struct, frozen=True, tag="preview"):
    """Find the music of a set in its archive and cut the preview out of it."""

    set_id: int


class UnpackJob(msgspec.Struct, frozen=True, tag="unpack"):
    """Read the .osu files of an archive, of at most `most` bytes together."""

    most: int


class FramesJob(msgspec.Struct, frozen=True, tag="frames"):
    """Check the frames of a replay."""


class AnalysisJob(msgspec.Struct, frozen=True, tag="analysis"):
    """Analyse the frames of a replay. The blob is the .osu file of `osu_bytes` bytes, and then the frames."""

    osu_bytes: int
    mode: int
    """0-3"""
    mods: int
    life_bar: str


class EvidenceJob(msgspec.Struct, frozen=True, tag="evidence"):
    """Measure a replay for signs of cheating. The blob is that of `AnalysisJob`."""

    osu_bytes: int
    mode: int
    """0-3"""
    mods: int
    known: list[KnownReplay]


class CardJob(msgspec.Struct, frozen=True, tag="card"):
    """Draw the picture of a score. The blob is the cover, a JPEG; empty for a set without one.

    Texts are shown as they are. `hue` selects the colours of the background of a set without a cover, 0-359.
    """

    server: str
    title: str
    artist: str
    difficulty: str
    player: str
    grade: str
    stars: str
    pp: str
    accuracy: str
    combo: str
    mods: list[str]
    date: str
    hue: int


Job = (
    AvatarJob
    | CoverJob
    | ScreenshotJob
    | BackgroundJob
    | PreviewJob
    | UnpackJob
    | FramesJob
    | AnalysisJob
    | EvidenceJob
    | CardJob
)


class MediaResult(msgspec.Struct, frozen=True, tag="made"):
    """An encoded picture or MP3; empty when an archive has none."""

    data: bytes


class FramesResult(msgspec.Struct, frozen=True, tag="read"):
    """The figures of frames that can be read."""

    stats: FrameStats


class AnalysisResult(msgspec.Struct, frozen=True, tag="analysed"):
    """The analysis of a replay."""

    analysis: ReplayAnalysis


class EvidenceResult(msgspec.Struct, frozen=True, tag="measured"):
    """The figures of a replay."""

    figures: ReplayFigures


class UnpackedResult(msgspec.Struct, frozen=True, tag="unpacked"):
    """The .osu files of an archive."""

    maps: UnpackedMaps


class RejectedArchive(msgspec.Struct, frozen=True, tag="bad archive"):
    """An archive that cannot be read, with the reason."""

    why: str


class RejectedPicture(msgspec.Struct, frozen=True, tag="unusable"):
    """A rejected picture, with the fields of `errors.Invalid`."""

    field: str
    allowed: str
    got: str


class BadFrames(msgspec.Struct, frozen=True, tag="bad frames"):
    """Frames that cannot be read, with the reason."""

    why: str


Result = (
    MediaResult
    | UnpackedResult
    | FramesResult
    | AnalysisResult
    | EvidenceResult
    | RejectedPicture
    | RejectedArchive
    | BadFrames
)

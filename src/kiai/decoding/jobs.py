"""What the decoding processes are asked and answer, over the pipe as msgpack. What a job reads is its blob."""

import msgspec

from kiai.osu.replay_file import FrameStats


class AvatarJob(msgspec.Struct, frozen=True, tag="avatar"):
    """Make an avatar; `kind` is Pillow's name of the format."""

    kind: str


class ScreenshotJob(msgspec.Struct, frozen=True, tag="screenshot"):
    """Make a screenshot of this kind: `png` or `jpeg`."""

    kind: str


class BackgroundJob(msgspec.Struct, frozen=True, tag="background"):
    """Find a set's background in its archive and make it small."""

    set_id: int
    width: int
    height: int


class PreviewJob(msgspec.Struct, frozen=True, tag="preview"):
    """Find a set's music in its archive and cut a piece out of it."""

    set_id: int


class FramesJob(msgspec.Struct, frozen=True, tag="frames"):
    """Read the frames of a replay through."""


Job = AvatarJob | ScreenshotJob | BackgroundJob | PreviewJob | FramesJob


class Made(msgspec.Struct, frozen=True, tag="made"):
    """A picture or music."""

    data: bytes


class Read(msgspec.Struct, frozen=True, tag="read"):
    """Frames that can be read."""

    stats: FrameStats


class Unusable(msgspec.Struct, frozen=True, tag="unusable"):
    """A picture that is not taken, in the terms of `errors.Invalid`."""

    field: str
    allowed: str
    got: str


class BadFrames(msgspec.Struct, frozen=True, tag="bad frames"):
    """Frames that cannot be read, and why."""

    why: str


Result = Made | Read | Unusable | BadFrames

"""Replays with too few or too many frames are flagged, in submissions and imports alike."""

import pytest

from kiai.scores.flags import Suspicion, suspicious_length


@pytest.mark.parametrize(
    ("frames", "details"),
    [(0, "only 0 frames"), (99, "only 99 frames"), (100, ""), (500_000, ""), (500_001, "500001 frames")],
)
def test_number_of_frames_is_suspicious_outside_of_real_plays(frames: int, details: str) -> None:
    assert suspicious_length(frames) == ([Suspicion("replay", details)] if details else [])

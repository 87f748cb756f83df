"""Evidence against cheating: measures stored plays and raises flags for staff. A flag sanctions nobody.

    play -> row in `unexamined_plays`, in its transaction -> job -> figures, in a process of their own
    -> rules with thresholds -> flags and signature, in one transaction

Owns the tables `unexamined_plays` and `replay_signatures`. See docs/spec/replays.md#evidence-in-a-replay.
"""

from kiai.scores.evidence.examining import Examiner, ScanReport
from kiai.scores.evidence.rules import Thresholds

__all__ = ["Examiner", "ScanReport", "Thresholds"]

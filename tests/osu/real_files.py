"""Real maps and replays to test against, where a machine has them: none is part of the repository."""

import os
from pathlib import Path
from typing import Final

_REPOSITORY: Final = Path(__file__).resolve().parents[2]


def real_files(folder: str, suffix: str) -> list[Path]:
    """The files in that folder of `KIAI_SHARED_DATA`, or of `shared/data` beside the repository."""
    data = Path(os.environ.get("KIAI_SHARED_DATA") or _REPOSITORY.parent / "shared" / "data")
    return sorted((data / folder).glob(f"*{suffix}"))

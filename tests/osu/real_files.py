"""Optional real beatmaps and replays. The repository contains none; tests read them if the machine has them."""

import os
from pathlib import Path
from typing import Final

_REPOSITORY: Final = Path(__file__).resolve().parents[2]


def real_files(folder: str, suffix: str) -> list[Path]:
    """Return the files in a folder of `KIAI_SHARED_DATA`, by default of `../shared/data` next to the repository."""
    data = Path(os.environ.get("KIAI_SHARED_DATA") or _REPOSITORY.parent / "shared" / "data")
    return sorted((data / folder).glob(f"*{suffix}"))

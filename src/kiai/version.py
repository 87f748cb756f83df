"""The version, which comes from the tags of the repository.

hatch-vcs writes it into `version.txt` when a package is built. A checkout asks git, in the same way. Without both, e.g.
in an archive of the source, it is the newest release.
"""

import re
import subprocess
from pathlib import Path
from typing import Final

NEWEST_RELEASE: Final = "0.1.0"
"""The newest release in CHANGELOG.md. pyproject.toml has it as `fallback-version`."""
_WRITTEN: Final = Path(__file__).with_name("version.txt")
_ROOT: Final = Path(__file__).parents[2]
_TAGGED: Final = re.compile(r"v(\d+\.\d+\.)(\d+)-(\d+)-(g[0-9a-f]+)")
_LENGTH_OF_COMMIT: Final = "--abbrev=9"  # as hatch-vcs has it without tags
_GIT_S: Final = 5.0


def find_version(root: Path, written: Path) -> str:
    """Return the version of the checkout in `root`, or else the one in the file `written`, or the newest release.

    The version of a commit after a tag is a development version of the next release, such as `0.1.1.dev12+g1a2b3c4`.
    """
    # First: a file that an earlier build has left in a checkout is out of date.
    if (root / ".git").exists() and (version := _of_checkout(root)):
        return version
    try:
        return written.read_text("ascii").strip() or NEWEST_RELEASE
    except (OSError, UnicodeError):
        return NEWEST_RELEASE


def _of_checkout(root: Path) -> str:
    """Return the version of the commit, or "" if git cannot tell it."""
    described = _git(root, "describe", "--tags", "--long", _LENGTH_OF_COMMIT, "--match", "v[0-9]*")
    if not described:  # a clone without tags
        count, commit = _git(root, "rev-list", "--count", "HEAD"), _git(root, "rev-parse", "--short=9", "HEAD")
        described = f"v{NEWEST_RELEASE}-{count}-g{commit}"
    found = _TAGGED.fullmatch(described)
    if found is None:
        return ""
    start, last, commits, commit = found.groups()
    return f"{start}{last}" if commits == "0" else f"{start}{int(last) + 1}.dev{commits}+{commit}"


def _git(root: Path, *arguments: str) -> str:
    """Return what git prints, "" if it fails."""
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=_GIT_S)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return "" if done.returncode else done.stdout.strip()


VERSION: Final = find_version(_ROOT, _WRITTEN)

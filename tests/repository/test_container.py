"""The container file copies everything that a server needs from the checkout, and nothing that does not exist."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.wire.kit import environment

ROOT = Path(__file__).parents[2]
LINES = (ROOT / "Containerfile").read_text("utf-8").replace("\\\n", " ").splitlines()


def copied() -> list[str]:
    return [found[1] for line in LINES if (found := re.match(r"COPY --chown=kiai (\S+) ", line))]


def test_the_image_holds_what_is_ignored_by_nothing_else() -> None:
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]

    assert sorted(copied()) == sorted(allowed)


def test_what_is_copied_is_a_server(tmp_path: Path) -> None:
    for name in copied():
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)

    made = subprocess.run(
        [sys.executable, "-P", "-m", "kiai", "migrate", "--data", str(tmp_path / "data")],
        cwd=tmp_path,
        env=environment({}) | {"PYTHONPATH": str(tmp_path / "src")},
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr
    install = subprocess.run(
        ["bash", "-c", ". scripts/lib/environment.sh && declare -F environment && find_python"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert install.returncode == 0, install.stderr


def test_settings_that_the_image_sets_exist() -> None:
    from kiai.settings_declaration import SettingsDeclaration

    [line] = [line for line in LINES if line.startswith("ENV ")]
    names = [pair.partition("=")[0] for pair in line.removeprefix("ENV ").split()]

    assert [name for name in names if name.removeprefix("KIAI_").lower() not in SettingsDeclaration.model_fields] == []

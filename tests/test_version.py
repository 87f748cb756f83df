"""The version from the tags of the repository."""

import subprocess
from pathlib import Path

import pytest
from tests.patience import patiently

from kiai.version import NEWEST_RELEASE, find_version


def git(root: Path, *arguments: str) -> str:
    options = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(
        ["git", "-C", root, *options, *arguments], check=True, capture_output=True, text=True, timeout=patiently(120)
    )
    return done.stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with one commit and no tags."""
    git(tmp_path, "init", "--quiet")
    commit(tmp_path)
    return tmp_path


def commit(root: Path) -> str:
    git(root, "commit", "--quiet", "--allow-empty", "--message", "a change")
    return git(root, "rev-parse", "--short=9", "HEAD")


def found(root: Path) -> str:
    return find_version(root, root / "version.txt")


def test_commit_with_a_tag_is_a_release(checkout: Path) -> None:
    git(checkout, "tag", "v1.9.3")

    assert found(checkout) == "1.9.3"


def test_commit_after_a_tag_is_a_development_version_of_the_next_release(checkout: Path) -> None:
    git(checkout, "tag", "v1.9.9")
    git(checkout, "tag", "nightly")
    commit(checkout)
    name = commit(checkout)

    assert found(checkout) == f"1.9.10.dev2+g{name}"


def test_clone_without_tags_counts_from_the_newest_release_of_the_changelog(checkout: Path) -> None:
    name = commit(checkout)

    start, _, last = NEWEST_RELEASE.rpartition(".")
    assert found(checkout) == f"{start}.{int(last) + 1}.dev2+g{name}"


def test_checkout_does_not_use_the_version_that_an_earlier_build_wrote(checkout: Path) -> None:
    git(checkout, "tag", "v2.0.0")
    (checkout / "version.txt").write_text("1.0.0", "ascii")

    assert found(checkout) == "2.0.0"


def test_package_has_the_version_that_the_build_wrote(tmp_path: Path) -> None:
    (tmp_path / "version.txt").write_text("1.4.2\n", "ascii")

    assert found(tmp_path) == "1.4.2"


def test_checkout_that_git_cannot_read_has_the_written_version(tmp_path: Path) -> None:
    (tmp_path / ".git").write_text("gitdir: /nowhere", "ascii")
    (tmp_path / "version.txt").write_text("1.4.2", "ascii")

    assert found(tmp_path) == "1.4.2"


@pytest.mark.parametrize("content", [b"", b"\xff"])
def test_source_without_git_has_the_newest_release(tmp_path: Path, content: bytes) -> None:
    assert found(tmp_path) == NEWEST_RELEASE
    (tmp_path / "version.txt").write_bytes(content)

    assert found(tmp_path) == NEWEST_RELEASE

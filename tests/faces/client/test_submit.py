"""The endpoint of submissions compares the device of each play."""

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest
from tests.builders import PASSWORD, Run, World
from tests.faces.client.kit import Site, a_gateway, sqlite_world
from tests.wire.submitting import CLIENT_HASH, SUBMIT, Played, multipart

from kiai.accounts import User
from kiai.faces.client.submit import SubmissionEndpoints
from kiai.scores.submission import NotNow, Rejected, Submission, Submissions
from kiai.staff.hardware import HardwareWatch


@pytest.fixture
def world(run: Run, tmp_path: Path) -> Iterator[World]:
    with sqlite_world(run, tmp_path) as found:
        yield found


class Refusing:
    """In place of the service: raises the error for each play."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def submit(self, user: User, sent: Submission) -> None:
        raise self.error


class Watch:
    """In place of the comparison of devices: stores its arguments."""

    def __init__(self) -> None:
        self.checked: list[tuple[int, str]] = []

    async def check_submission(self, user_id: int, client_hashes: str) -> None:
        self.checked.append((user_id, client_hashes))


@pytest.mark.parametrize(
    ("error", "status", "checks"), [(Rejected("no"), 200, 1), (NotNow("submission", "too many at once"), 503, 0)]
)
def test_device_of_a_play_without_a_chart_is_compared(world: World, error: Exception, status: int, checks: int) -> None:
    watch, gateway = Watch(), a_gateway(world, limited=False)
    endpoints = SubmissionEndpoints(
        gateway,
        cast("Submissions", Refusing(error)),
        cast("HardwareWatch", watch),
        world.clock,
        "example.org",
        limited=False,
    )
    site = Site(world, [endpoints], gateway=gateway)
    alice = site.join("alice")
    played = Played("a" * 32, passed=False, grade="F", password=PASSWORD)
    body, kind = multipart(played.parts())

    answer = site.ask("POST", SUBMIT, content=body, headers={"content-type": kind})

    assert answer.status_code == status
    assert watch.checked == [(alice, CLIENT_HASH)] * checks

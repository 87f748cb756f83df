"""An authority of tests, and the port that it asks, for each file."""

from collections.abc import Iterator

import pytest
from tests.tls.challenge_port import ChallengePort
from tests.tls.pebble import Pebble, running_pebble


@pytest.fixture(scope="module")
def port() -> Iterator[ChallengePort]:
    opened = ChallengePort()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def pebble(port: ChallengePort, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    with running_pebble(tmp_path_factory.mktemp("pebble"), port.number) as running:
        yield running

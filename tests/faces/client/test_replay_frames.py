"""Downloads of replay frames by the game."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from tests.builders import Run, World, a_map, a_play
from tests.faces.client.kit import PASSWORD_MD5, Site, sqlite_world

from kiai.beatmaps import MapStatus
from kiai.faces.client.replays import ReplayEndpoints


@pytest.fixture
def world(run: Run, tmp_path: Path) -> Iterator[World]:
    with sqlite_world(run, tmp_path) as opened:
        yield opened


@pytest.fixture
def site(world: World) -> Site:
    opened = Site(world, [ReplayEndpoints(world.replays)])
    opened.join("bob")
    return opened


@pytest.mark.parametrize("before", [0, 2**31, 10**18, 3_070_000_000_000_000_000, 2**63 - 2])
def test_frames_of_a_score_with_any_id_are_served(world: World, site: Site, before: int) -> None:
    alice = site.join("alice")
    song = world.add_map(a_map(), status=MapStatus.LOVED)
    world.change(text("INSERT INTO sqlite_sequence (name, seq) VALUES ('scores', :before)"), before=before)
    recorded = world.record(a_play(by=alice, on=song, replay=world.put_replay(b"frames")))

    reply = site.get("/web/osu-getreplay.php", u="bob", h=PASSWORD_MD5, m=0, c=recorded.score_id)

    assert (reply.status_code, reply.content, recorded.score_id) == (200, b"frames", before + 1)


@pytest.mark.parametrize("text", ["", "0", "1", "-1", "x", "1.5", "\u0661", str(2**63 - 1), str(2**63), "9" * 40])
def test_unknown_score_is_404(site: Site, text: str) -> None:
    reply = site.get("/web/osu-getreplay.php", u="bob", h=PASSWORD_MD5, m=0, c=text)

    assert (reply.status_code, reply.content) == (404, b"")

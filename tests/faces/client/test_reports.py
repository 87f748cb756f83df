"""Malicious reports of clients: they cannot fill the table of flags or the log."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select
from tests.builders import PASSWORD, Run, World, a_player
from tests.faces.client.kit import PASSWORD_MD5, Site, sqlite_world

from kiai.faces.client.client_signals import CRASH_MAX, FLAGS, ReportEndpoints
from kiai.scores.flags import Flags
from kiai.storage.tables import integrity_flags


@pytest.fixture
def world(run: Run, tmp_path: Path) -> Iterator[World]:
    with sqlite_world(run, tmp_path) as world:
        world.add_player(a_player(password=PASSWORD))
        yield world


def a_site(world: World, *, limited: bool = False) -> Site:
    return Site(world, [ReportEndpoints(Flags(world.database, world.clock), world.realtime)], limited=limited)


def test_flags_that_differ_each_time_are_limited(world: World) -> None:
    site = a_site(world, limited=True)
    site.online(3)

    replies = [
        site.get("/web/lastfm.php", us="alice", ha=PASSWORD_MD5, b=f"a{8 + 16 * number}")
        for number in range(FLAGS.count + 10)
    ]

    assert {(reply.status_code, reply.content) for reply in replies} == {(200, b"-3")}
    assert len(world.look(select(integrity_flags.c.id))) == FLAGS.count


def test_flags_of_an_offline_player_are_refused(world: World) -> None:
    reply = a_site(world).get("/web/lastfm.php", us="alice", ha=PASSWORD_MD5, b="a8")

    assert (reply.status_code, reply.content) == (401, b"")
    assert not world.look(select(integrity_flags.c.id))


def test_at_most_one_crash_per_second_is_logged(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    site = a_site(world)

    for number in range(20):
        site.address = f"192.0.2.{number}"
        assert site.post("/web/osu-error.php", {"exception": "canary-exception"}).status_code == 200

    assert "".join(capsys.readouterr()).count("canary-exception") == 1


def test_screenshot_does_not_count_toward_the_size_of_a_crash(world: World) -> None:
    site = a_site(world)
    screenshot = ("ss", b"x" * 2 * CRASH_MAX)

    assert site.post("/web/osu-error.php", {"exception": "x"}, files={"ss": screenshot}).status_code == 200
    large = {"exception": "x" * (CRASH_MAX + 1)}
    assert site.post("/web/osu-error.php", large, files={"ss": screenshot}).status_code == 413
    assert site.post("/web/osu-error.php", large).status_code == 413

"""Pictures of scores are drawn once, and again when something that they show changes."""

import io

import pytest
from PIL import Image
from tests.builders import World, a_map, a_play, a_player
from tests.decoders import DECODER, PAGES

from kiai.beatmaps.pictures import MapPictures
from kiai.decoding.jobs import CardJob
from kiai.scores.cards import ScoreCards
from kiai.scores.details import ScoreReader
from kiai.storage.tables import users


def test_picture_is_drawn_once_until_the_player_is_renamed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[CardJob] = []
    original = PAGES.card

    async def counted(job: CardJob, cover: bytes, *, caller: str) -> bytes:
        drawn.append(job)
        return await original(job, cover, caller=caller)

    monkeypatch.setattr(PAGES, "card", counted)
    pictures = MapPictures(world.database, world.files, DECODER)
    cards = ScoreCards(world.files, PAGES, pictures, world.clock, server="Kiai Club")
    reader = ScoreReader(world.database, world.boards)
    song = world.add_map(a_map())
    score_id = world.record(a_play(by=world.add_player(a_player()), on=song, acc=99.996, pp=1234.567)).score_id

    def picture() -> bytes:
        return bytes(world.run(cards.picture(world.run(reader.find(score_id)), stars=1.5, caller="test")))

    first, second = picture(), picture()
    assert first == second
    assert Image.open(io.BytesIO(first)).size == (1200, 630)
    [job] = drawn
    assert (job.player, job.accuracy, job.pp, job.stars) == ("alice", "99.99%", "1,234.57 pp", "1.50 stars")

    world.change(users.update().where(users.c.name == "alice").values(name="zoe"))

    assert picture() != first
    assert [job.player for job in drawn] == ["alice", "zoe"]

import pytest
from tests.chat.talking import Talk

from kiai.chat.journal import DAY_MS, WAITING_MAX
from kiai.errors import Unavailable
from kiai.realtime.port import BOT_ID
from kiai.storage.tables import chat_lines


def test_lines_are_stored_in_order(engine_talk: Talk) -> None:
    talk = engine_talk
    alice = talk.account("alice")
    for number in range(5):
        talk.journal.add("#osu", alice, f"line {number}")
    talk.journal.add("#multi_7", BOT_ID, "from the bot")
    assert talk.journal.waiting == 6

    written = talk.lines()

    of_alice = [("#osu", alice, f"line {number}") for number in range(5)]
    assert written == [*of_alice, ("#multi_7", BOT_ID, "from the bot")]
    assert talk.journal.waiting == 0
    assert talk.run(talk.journal.flush()) == 0


def test_lines_wait_while_the_database_is_unavailable(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    alice = talk.account("alice")
    talk.journal.add("#osu", alice, "one")

    async def down(*_: object, **__: object) -> None:
        talk.journal.add("#osu", alice, "two")
        raise Unavailable("database")

    with monkeypatch.context() as patch:
        patch.setattr(talk.world.database, "transaction", down)
        with pytest.raises(Unavailable):
            talk.run(talk.journal.flush())

    assert [text for _, _, text in talk.lines()] == ["one", "two"]


def test_oldest_waiting_lines_are_dropped_and_counted_beyond_the_bound(talk: Talk) -> None:
    for number in range(WAITING_MAX):
        talk.journal.add("#osu", BOT_ID, str(number))
    assert talk.journal.dropped == 0

    talk.journal.add("#osu", BOT_ID, "the last")

    assert talk.journal.dropped + talk.journal.waiting == WAITING_MAX + 1
    assert talk.journal.waiting <= WAITING_MAX
    stored = [text for _, _, text in talk.lines()]
    assert stored[0] == str(talk.journal.dropped)
    assert stored[-1] == "the last"


def test_lines_are_deleted_after_30_days(engine_talk: Talk) -> None:
    talk = engine_talk
    row = {"channel": "#osu", "user_id": BOT_ID, "text": "old", "at_ms": talk.clock.now_ms()}
    talk.world.change(chat_lines.insert().values([row] * 1_500))
    talk.clock.advance(1)
    talk.journal.add("#osu", BOT_ID, "young")
    talk.lines()

    talk.clock.advance(30 * DAY_MS / 1000)

    assert talk.run(talk.journal.delete_older()) == 1_500
    assert [text for _, _, text in talk.lines()] == ["young"]

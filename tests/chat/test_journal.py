import pytest
from tests.chat.talking import Talk

from kiai.chat.journal import DAY_MS, WAITING_MAX
from kiai.errors import Unavailable
from kiai.realtime.port import BOT_ID
from kiai.storage.tables import chat_lines


def test_lines_are_written_in_the_order_in_which_they_were_said(kept_talk: Talk) -> None:
    talk = kept_talk
    alice = talk.account("alice")
    for number in range(5):
        talk.journal.note("#osu", alice, f"line {number}")
    talk.journal.note("#multi_7", BOT_ID, "from the bot")
    assert talk.journal.waiting == 6

    written = talk.lines()

    mine = [("#osu", alice, f"line {number}") for number in range(5)]
    assert written == [*mine, ("#multi_7", BOT_ID, "from the bot")]
    assert talk.journal.waiting == 0
    assert talk.run(talk.journal.flush()) == 0


def test_lines_wait_while_the_database_does_not_answer(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    alice = talk.account("alice")
    talk.journal.note("#osu", alice, "one")

    async def down(*_: object, **__: object) -> None:
        talk.journal.note("#osu", alice, "two")
        raise Unavailable("database")

    with monkeypatch.context() as patch:
        patch.setattr(talk.world.database, "transaction", down)
        with pytest.raises(Unavailable):
            talk.run(talk.journal.flush())

    assert [text for _, _, text in talk.lines()] == ["one", "two"]


def test_of_too_many_that_wait_the_oldest_are_lost_and_counted(talk: Talk) -> None:
    for number in range(WAITING_MAX):
        talk.journal.note("#osu", BOT_ID, str(number))
    assert talk.journal.dropped == 0

    talk.journal.note("#osu", BOT_ID, "the last")

    assert talk.journal.dropped + talk.journal.waiting == WAITING_MAX + 1
    assert talk.journal.waiting <= WAITING_MAX
    kept = [text for _, _, text in talk.lines()]
    assert kept[0] == str(talk.journal.dropped)
    assert kept[-1] == "the last"


def test_lines_are_forgotten_after_30_days(kept_talk: Talk) -> None:
    talk = kept_talk
    row = {"channel": "#osu", "user_id": BOT_ID, "text": "old", "at_ms": talk.clock.now_ms()}
    talk.world.change(chat_lines.insert().values([row] * 1_500))
    talk.clock.advance(1)
    talk.journal.note("#osu", BOT_ID, "young")
    talk.lines()

    talk.clock.advance(30 * DAY_MS / 1000)

    assert talk.run(talk.journal.forget_older()) == 1_500
    assert [text for _, _, text in talk.lines()] == ["young"]

"""The stored private messages of a player, as the website lists and continues them."""

import pytest
from sqlalchemy import update
from tests.builders import NORMAL
from tests.chat.talking import Talk, line

from kiai.chat.conversations import SHOWN_MAX, Conversations
from kiai.chat.service import FLOOD_LINES
from kiai.errors import Invalid, NotAllowed, NotATarget, Refused
from kiai.osu.privileges import Privilege
from kiai.realtime.port import BOT_ID
from kiai.storage.tables import users

RESTRICTED = int(Privilege.VERIFIED)
UNVERIFIED = int(Privilege.UNRESTRICTED)


class Site:
    """The conversations of a chat, and players who use them."""

    def __init__(self, talk: Talk, *, verifies_email: bool = False) -> None:
        self.talk = talk
        self.conversations = Conversations(talk.world.database, talk.chat, talk.clock, verifies_email=verifies_email)

    def write(self, from_id: int, to_id: int, text: str) -> bool:
        user = self.talk.world.user
        return self.talk.run(self.conversations.write(user(from_id), user(to_id), text))

    def listed(self, user_id: int) -> list[tuple[str, str, int]]:
        found = self.talk.run(self.conversations.all(user_id))
        return [(one.player.name, one.newest.text, one.unread) for one in found]

    def texts(self, user_id: int, other_id: int) -> list[str]:
        return [letter.text for letter in self.talk.run(self.conversations.read(user_id, other_id)).letters]


def test_message_to_a_player_in_the_game_arrives_there_at_once(engine_talk: Talk) -> None:
    site, alice, bob = Site(engine_talk), engine_talk.account("alice"), engine_talk.online("bob")

    assert site.write(alice, bob.user_id, " hello\n there ") is True

    assert engine_talk.reads(bob) == [line("alice", "hello there", "bob", alice)]
    assert engine_talk.letters() == [(alice, bob.user_id, "hello there", True)]


def test_read_message_does_not_wait_for_the_next_login(engine_talk: Talk) -> None:
    site, alice, bob = Site(engine_talk), engine_talk.account("alice"), engine_talk.account("bob")
    assert site.write(alice, bob, "one") is False
    assert site.write(bob, alice, "two") is False
    assert site.listed(bob) == [("alice", "two", 1)]

    assert site.texts(bob, alice) == ["two", "one"]

    assert site.listed(bob) == [("alice", "two", 0)]
    assert engine_talk.run(engine_talk.mail.unread(bob)) == []
    assert [letter.text for letter in engine_talk.run(engine_talk.mail.unread(alice))] == ["two"]


def test_conversations_are_listed_newest_first_without_hidden_players(engine_talk: Talk) -> None:
    talk, site = engine_talk, Site(engine_talk)
    alice, bob, carla, ghost = map(talk.account, ("alice", "bob", "carla", "ghost"))
    for sender, text in ((bob, "a"), (ghost, "b"), (carla, "c"), (bob, "d")):
        site.write(sender, alice, text)
    talk.run(talk.mail.store(BOT_ID, alice, "from the bot", delivered=False))
    talk.world.change(update(users).where(users.c.id == ghost).values(priv=RESTRICTED))

    assert site.listed(alice)[1:] == [("bob", "d", 2), ("carla", "c", 1)]
    assert site.listed(alice)[0][1:] == ("from the bot", 1)


def test_long_conversation_has_pages_and_older_messages_stay_unread(engine_talk: Talk) -> None:
    talk, site = engine_talk, Site(engine_talk)
    alice, bob = talk.account("alice"), talk.account("bob")
    for number in range(SHOWN_MAX - 1):
        talk.run(talk.mail.store(bob, alice, f"b{number}", delivered=False))
    for number in range(3):
        talk.run(talk.mail.store(alice, bob, f"a{number}", delivered=False))

    first = talk.run(site.conversations.read(alice, bob))
    assert first.older is not None
    waiting = [letter.text for letter in talk.run(talk.mail.unread(alice))]
    second = talk.run(site.conversations.read(alice, bob, before=first.older))

    assert len(first.letters) == SHOWN_MAX
    assert [letter.text for letter in second.letters] == ["b1", "b0"]
    assert waiting == ["b0", "b1"]
    assert second.older is None
    assert talk.run(talk.mail.unread(alice)) == []


@pytest.mark.parametrize(
    ("writer", "reason"),
    [("silenced", "you are silenced"), ("blocked", "this player does not accept your messages")],
)
def test_message_that_chat_refuses_is_not_stored(engine_talk: Talk, writer: str, reason: str) -> None:
    talk, site = engine_talk, Site(engine_talk)
    sender, bob = talk.account(writer), talk.account("bob")
    assert site.write(sender, bob, "allowed") is False
    if writer == "silenced":
        talk.run(talk.silences.silence_by_server(sender, 60, "flood"))
    else:
        talk.run(talk.world.relationships.block(bob, sender))

    with pytest.raises(Refused, match=reason):
        site.write(sender, bob, "hello")

    assert [text for _, _, text, _ in talk.letters()] == ["allowed"]


@pytest.mark.parametrize("priv", [RESTRICTED, UNVERIFIED])
def test_hidden_player_writes_nothing(talk: Talk, priv: int) -> None:
    site, ghost, bob = Site(talk), talk.account("ghost", priv=priv), talk.account("bob")

    with pytest.raises(NotAllowed):
        site.write(ghost, bob, "hello")

    talk.world.change(update(users).where(users.c.id == ghost).values(priv=NORMAL))
    assert site.write(ghost, bob, "hello") is False


def test_nobody_writes_to_the_bot_or_to_themselves(talk: Talk) -> None:
    site, alice = Site(talk), talk.account("alice")

    for target in (alice, BOT_ID):
        with pytest.raises(NotATarget):
            site.write(alice, target, "hello")


@pytest.mark.parametrize("text", ["", " \n ", "x" * 2_001])
def test_text_outside_the_bounds_is_invalid(talk: Talk, text: str) -> None:
    site, alice, bob = Site(talk), talk.account("alice"), talk.account("bob")

    with pytest.raises(Invalid):
        site.write(alice, bob, text)

    assert site.write(alice, bob, "x" * 2_000) is False


def test_report_is_not_sent_to_a_player(talk: Talk) -> None:
    site, alice, bob = Site(talk), talk.account("alice"), talk.online("bob")

    with pytest.raises(Refused):
        site.write(alice, bob.user_id, "!report bob spam")

    assert (talk.reads(bob), talk.letters()) == ([], [])


def test_flood_on_the_website_is_a_flood(talk: Talk) -> None:
    site, alice, bob = Site(talk), talk.account("alice"), talk.account("bob")
    for number in range(FLOOD_LINES):
        site.write(alice, bob, f"{number}")

    with pytest.raises(Refused):
        site.write(alice, bob, "one too many")

    assert talk.world.user(alice).silenced_until_ms > 0


def test_address_is_confirmed_first_where_the_operator_asks_for_it(talk: Talk) -> None:
    site, alice, bob = Site(talk, verifies_email=True), talk.account("alice"), talk.account("bob")

    with pytest.raises(Refused, match="confirm your e-mail address first"):
        site.write(alice, bob, "hello")

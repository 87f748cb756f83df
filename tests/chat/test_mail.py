from tests.builders import NORMAL
from tests.chat.talking import Talk

from kiai.chat.mail import DAY_MS, FROM_ONE_MAX
from kiai.chat.queries import WAITING_MAX
from kiai.osu.privileges import Privilege
from kiai.storage.tables import mail, users


def unread(talk: Talk, user_id: int) -> list[tuple[str, str]]:
    return [(letter.from_name, letter.text) for letter in talk.run(talk.mail.unread(user_id))]


def keep(talk: Talk, from_id: int, to_id: int, text: str = "hello", *, delivered: bool = False) -> bool:
    talk.clock.advance(1)
    return talk.run(talk.mail.keep(from_id, to_id, text, delivered=delivered))


def fill(talk: Talk, from_id: int, to_id: int, count: int) -> None:
    row = {"from_id": from_id, "to_id": to_id, "text": "x", "sent_at_ms": talk.clock.now_ms()}
    talk.world.change(mail.insert().values([row] * count))


def test_unread_letters_come_by_sender_and_oldest_first(kept_talk: Talk) -> None:
    talk = kept_talk
    alice, bob, carla = (talk.account(name) for name in ("alice", "bob", "carla"))
    keep(talk, bob, alice, "b1")
    keep(talk, carla, alice, "c1")
    keep(talk, bob, alice, "b2")
    keep(talk, alice, bob, "to another")
    keep(talk, bob, alice, "read at once", delivered=True)

    letters = talk.run(talk.mail.unread(alice))

    assert [(letter.from_name, letter.text) for letter in letters] == [("bob", "b1"), ("bob", "b2"), ("carla", "c1")]
    assert letters[0].from_id == bob
    assert letters[0].sent_at_ms == talk.clock.now_ms() - 4_000


def test_a_letter_is_delivered_once_and_only_by_its_receiver(kept_talk: Talk) -> None:
    talk = kept_talk
    alice, bob = talk.account("alice"), talk.account("bob")
    keep(talk, bob, alice, "one")
    keep(talk, bob, alice, "two")
    first, second = talk.run(talk.mail.unread(alice))

    talk.run(talk.mail.mark_delivered(bob, [first.id, second.id]))
    talk.run(talk.mail.mark_delivered(alice, [first.id]))
    talk.run(talk.mail.mark_delivered(alice, []))

    assert unread(talk, alice) == [("bob", "two")]
    assert [letter[3] for letter in talk.letters()] == [True, False]


def test_a_login_brings_200_letters_and_the_next_one_the_rest(kept_talk: Talk) -> None:
    talk = kept_talk
    alice, bob = talk.account("alice"), talk.account("bob")
    fill(talk, bob, alice, 230)

    letters = talk.run(talk.mail.unread(alice))
    talk.run(talk.mail.mark_delivered(alice, [letter.id for letter in letters]))

    assert len(letters) == 200
    assert len(unread(talk, alice)) == 30


def test_letters_of_a_restricted_sender_wait_until_that_is_lifted(kept_talk: Talk) -> None:
    talk = kept_talk
    alice, bob = talk.account("alice"), talk.account("bob")
    keep(talk, bob, alice, "hello")
    talk.world.change(users.update().where(users.c.id == bob).values(priv=int(Privilege.VERIFIED)))

    assert unread(talk, alice) == []

    talk.world.change(users.update().where(users.c.id == bob).values(priv=NORMAL))
    assert unread(talk, alice) == [("bob", "hello")]


def test_one_sender_leaves_50_letters_and_no_more(kept_talk: Talk) -> None:
    talk = kept_talk
    alice, bob, carla = talk.account("alice"), talk.account("bob"), talk.account("carla")
    fill(talk, bob, alice, FROM_ONE_MAX - 1)

    assert keep(talk, bob, alice)
    assert not keep(talk, bob, alice)
    assert keep(talk, carla, alice)
    assert keep(talk, bob, alice, delivered=True)
    assert keep(talk, bob, carla)


def test_a_receiver_is_left_500_letters_and_no_more(kept_talk: Talk) -> None:
    talk = kept_talk
    alice, bob, carla = talk.account("alice"), talk.account("bob"), talk.account("carla")
    fill(talk, bob, alice, WAITING_MAX)

    assert not keep(talk, carla, alice)


def test_who_writes_too_much_to_an_offline_player_is_told(talk: Talk) -> None:
    alice, bob = talk.online("alice"), talk.account("bob")
    fill(talk, alice.user_id, bob, FROM_ONE_MAX)

    assert talk.whispers(alice, "bob", "hello") == [
        (24, "bob is offline and has too many unread messages: yours was not kept.")
    ]


def test_opening_a_conversation_reads_what_was_delivered_of_it(kept_talk: Talk) -> None:
    talk = kept_talk
    alice, bob, carla = talk.account("alice"), talk.account("bob"), talk.account("carla")
    keep(talk, bob, alice, "seen", delivered=True)
    keep(talk, bob, alice, "waits")
    keep(talk, carla, alice, "of another", delivered=True)
    keep(talk, alice, bob, "to another", delivered=True)

    assert talk.run(talk.mail.mark_read(alice, bob)) == 1
    assert talk.run(talk.mail.mark_read(alice, bob)) == 0

    rows = talk.world.look(mail.select().with_only_columns(mail.c.text, mail.c.read_at_ms).order_by(mail.c.id))
    assert [text for text, read_at in rows if read_at is not None] == ["seen"]


def test_letters_are_forgotten_after_90_days(kept_talk: Talk) -> None:
    talk = kept_talk
    alice, bob = talk.account("alice"), talk.account("bob")
    fill(talk, bob, alice, 1_500)
    talk.clock.advance(45 * DAY_MS / 1000)
    keep(talk, bob, alice, "young", delivered=True)
    assert talk.run(talk.mail.forget_older()) == 0

    talk.clock.advance(45 * DAY_MS / 1000)

    assert talk.run(talk.mail.forget_older()) == 1_500
    assert [letter[2] for letter in talk.letters()] == ["young"]

from tests.builders import NORMAL
from tests.chat.talking import Talk

from kiai.accounts import BOT_ID
from kiai.chat.mail import DAY_MS, FROM_ONE_SENDER_MAX
from kiai.chat.queries import WAITING_MAX
from kiai.osu.privileges import Privilege
from kiai.storage.tables import mail, users


def unread(talk: Talk, user_id: int) -> list[tuple[str, str]]:
    return [(letter.from_name, letter.text) for letter in talk.run(talk.mail.unread(user_id))]


def store(talk: Talk, from_id: int, to_id: int, text: str = "hello", *, delivered: bool = False) -> bool:
    talk.clock.advance(1)
    return talk.run(talk.mail.store(from_id, to_id, text, delivered=delivered))


def fill(talk: Talk, from_id: int, to_id: int, count: int) -> None:
    row = {"from_id": from_id, "to_id": to_id, "text": "x", "sent_at_ms": talk.clock.now_ms()}
    talk.world.change(mail.insert().values([row] * count))


def test_unread_letters_are_grouped_by_sender_oldest_first(engine_talk: Talk) -> None:
    talk = engine_talk
    alice, bob, carla = (talk.account(name) for name in ("alice", "bob", "carla"))
    store(talk, bob, alice, "b1")
    store(talk, carla, alice, "c1")
    store(talk, bob, alice, "b2")
    store(talk, alice, bob, "to another")
    store(talk, bob, alice, "read at once", delivered=True)

    letters = talk.run(talk.mail.unread(alice))

    assert [(letter.from_name, letter.text) for letter in letters] == [("bob", "b1"), ("bob", "b2"), ("carla", "c1")]
    assert letters[0].from_id == bob
    assert letters[0].sent_at_ms == talk.clock.now_ms() - 4_000


def test_letter_is_delivered_once_and_only_to_its_recipient(engine_talk: Talk) -> None:
    talk = engine_talk
    alice, bob = talk.account("alice"), talk.account("bob")
    store(talk, bob, alice, "one")
    store(talk, bob, alice, "two")
    first, second = talk.run(talk.mail.unread(alice))

    talk.run(talk.mail.mark_delivered(bob, [first.id, second.id]))
    talk.run(talk.mail.mark_delivered(alice, [first.id]))
    talk.run(talk.mail.mark_delivered(alice, []))

    assert unread(talk, alice) == [("bob", "two")]
    assert [letter[3] for letter in talk.letters()] == [True, False]


def test_letters_of_the_bot_are_delivered_although_it_is_no_visible_player(engine_talk: Talk) -> None:
    talk = engine_talk
    alice = talk.account("alice")
    store(talk, BOT_ID, alice, "one")

    assert [text for _, text in unread(talk, alice)] == ["one"]


def test_login_delivers_200_letters_and_the_next_one_the_rest(engine_talk: Talk) -> None:
    talk = engine_talk
    alice, bob = talk.account("alice"), talk.account("bob")
    fill(talk, bob, alice, 230)

    letters = talk.run(talk.mail.unread(alice))
    talk.run(talk.mail.mark_delivered(alice, [letter.id for letter in letters]))

    assert len(letters) == 200
    assert len(unread(talk, alice)) == 30


def test_letters_of_a_restricted_sender_wait_for_the_end_of_the_restriction(engine_talk: Talk) -> None:
    talk = engine_talk
    alice, bob = talk.account("alice"), talk.account("bob")
    store(talk, bob, alice, "hello")
    talk.world.change(users.update().where(users.c.id == bob).values(priv=int(Privilege.VERIFIED)))

    assert unread(talk, alice) == []

    talk.world.change(users.update().where(users.c.id == bob).values(priv=NORMAL))
    assert unread(talk, alice) == [("bob", "hello")]


def test_one_sender_can_leave_50_undelivered_letters(engine_talk: Talk) -> None:
    talk = engine_talk
    alice, bob, carla = talk.account("alice"), talk.account("bob"), talk.account("carla")
    fill(talk, bob, alice, FROM_ONE_SENDER_MAX - 1)

    assert store(talk, bob, alice)
    assert not store(talk, bob, alice)
    assert store(talk, carla, alice)
    assert store(talk, bob, alice, delivered=True)
    assert store(talk, bob, carla)


def test_recipient_can_have_500_undelivered_letters(engine_talk: Talk) -> None:
    talk = engine_talk
    alice, bob, carla = talk.account("alice"), talk.account("bob"), talk.account("carla")
    fill(talk, bob, alice, WAITING_MAX)

    assert not store(talk, carla, alice)


def test_sender_is_notified_when_the_mail_is_full(talk: Talk) -> None:
    alice, bob = talk.online("alice"), talk.account("bob")
    fill(talk, alice.user_id, bob, FROM_ONE_SENDER_MAX)

    assert talk.whispers(alice, "bob", "hello") == [
        (24, "bob is offline and has too many unread messages. Your message was not stored.")
    ]


def test_mark_read_marks_only_delivered_letters_of_the_sender(engine_talk: Talk) -> None:
    talk = engine_talk
    alice, bob, carla = talk.account("alice"), talk.account("bob"), talk.account("carla")
    store(talk, bob, alice, "seen", delivered=True)
    store(talk, bob, alice, "waits")
    store(talk, carla, alice, "of another", delivered=True)
    store(talk, alice, bob, "to another", delivered=True)

    assert talk.run(talk.mail.mark_read(alice, bob)) == 1
    assert talk.run(talk.mail.mark_read(alice, bob)) == 0

    rows = talk.world.look(mail.select().with_only_columns(mail.c.text, mail.c.read_at_ms).order_by(mail.c.id))
    assert [text for text, read_at in rows if read_at is not None] == ["seen"]


def test_letters_are_deleted_after_90_days(engine_talk: Talk) -> None:
    talk = engine_talk
    alice, bob = talk.account("alice"), talk.account("bob")
    fill(talk, bob, alice, 1_500)
    talk.clock.advance(45 * DAY_MS / 1000)
    store(talk, bob, alice, "young", delivered=True)
    assert talk.run(talk.mail.delete_older()) == 0

    talk.clock.advance(45 * DAY_MS / 1000)

    assert talk.run(talk.mail.delete_older()) == 1_500
    assert [letter[2] for letter in talk.letters()] == ["young"]

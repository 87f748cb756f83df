"""The queue of mails and the connection to the mail server."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select
from tests.builders import NOW_MS, Run
from tests.mail_server import MailServer

from kiai.clock import ManualClock
from kiai.errors import Unavailable
from kiai.mailing import Mailing, Message
from kiai.mailing import service as mailing_service
from kiai.mailing.smtp import SmtpAddress
from kiai.secret_box import SecretBox
from kiai.storage.port import Database, Query, Transaction
from kiai.storage.tables import outgoing_mails

HELLO = Message("alice@example.org", "Kiai Club: Hello", "Hello alice,\n\nhttps://kiai.example/reset/abc\n\nBye ä.\n")


class Post:
    """A queue of mails on one database."""

    def __init__(self, database: Database, run: Run, folder: Path, smtp: str | None) -> None:
        self.database, self.run = database, run
        self.clock = ManualClock(NOW_MS)
        self.mailing = Mailing(database, self.clock, SecretBox(folder, self.clock), smtp, "noreply@kiai.example")

    def enqueue(self, *messages: Message) -> bool:
        async def body(tx: Transaction) -> bool:
            return all([await self.mailing.enqueue(tx, message) for message in messages])

        return self.run(self.database.transaction(body))

    def deliver(self) -> int:
        return self.run(self.mailing.deliver())

    def rows(self) -> list[bytes]:
        return self.run(self.database.all(Query(select(outgoing_mails.c.message), bytes)))


@pytest.fixture
def server() -> Iterator[MailServer]:
    with MailServer().running() as server:
        yield server


@pytest.fixture
def post(database: Database, run: Run, tmp_path: Path, server: MailServer) -> Post:
    return Post(database, run, tmp_path, server.url)


def test_mail_arrives_once_with_its_headers(post: Post, server: MailServer) -> None:
    assert post.enqueue(HELLO)

    assert (post.deliver(), post.deliver()) == (1, 0)
    (mail,) = server.mails
    assert (mail["From"], mail["To"], mail["Subject"]) == ("noreply@kiai.example", HELLO.to, HELLO.subject)
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail.get_content_type() == "text/plain"
    assert mail.get_content().splitlines() == HELLO.text.splitlines()
    assert post.mailing.outcomes == {"sent": 1}


def test_waiting_mail_is_not_readable_in_the_database(post: Post) -> None:
    post.enqueue(HELLO)

    (row,) = post.rows()
    assert b"alice" not in row
    assert b"reset" not in row


def test_mail_waits_while_the_server_is_away(database: Database, run: Run, tmp_path: Path) -> None:
    post = Post(database, run, tmp_path, "smtp://127.0.0.1:1")
    post.enqueue(HELLO)

    with pytest.raises(Unavailable):
        post.deliver()
    assert len(post.rows()) == 1


def test_temporary_refusal_is_tried_again_later(post: Post, server: MailServer) -> None:
    post.enqueue(HELLO)
    server.refusals = ["451 try later", "451 try later"]

    assert post.deliver() == 0
    post.clock.advance(59)
    assert post.deliver() == 0
    assert len(server.refusals) == 1
    post.clock.advance(1)
    assert post.deliver() == 0  # the second refusal: 2 minutes
    post.clock.advance(119)
    assert post.deliver() == 0
    post.clock.advance(1)
    assert post.deliver() == 1


def test_permanent_refusal_deletes_the_mail_and_others_are_sent(post: Post, server: MailServer) -> None:
    post.enqueue(HELLO, Message("bob@example.org", "Kiai Club: Hello", "Hi.\n"))
    server.refusals = ["550 no such mailbox"]

    assert post.deliver() == 1
    assert [mail["To"] for mail in server.mails] == ["bob@example.org"]
    assert post.rows() == []
    assert post.mailing.outcomes == {"refused": 1, "sent": 1}


def test_mail_is_given_up_after_a_day(post: Post, server: MailServer) -> None:
    post.enqueue(HELLO)
    post.clock.advance(24 * 3600)

    assert post.deliver() == 0
    assert (post.rows(), server.mails) == ([], [])
    assert post.mailing.outcomes == {"expired": 1}


def test_full_queue_drops_new_mails(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailing_service, "WAITING_MAX", 2)

    assert post.enqueue(HELLO, HELLO)
    assert not post.enqueue(HELLO)
    assert len(post.rows()) == 2
    assert post.mailing.outcomes == {"dropped": 1}


def test_without_a_mail_server_nothing_is_queued(database: Database, run: Run, tmp_path: Path) -> None:
    post = Post(database, run, tmp_path, None)

    assert not post.enqueue(HELLO)
    assert (post.mailing.is_on, post.rows(), post.deliver()) == (False, [], 0)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("smtp://mail.example", SmtpAddress("mail.example", 587, False, None, None)),
        ("smtp://me:p%40ss@mail.example:25", SmtpAddress("mail.example", 25, False, "me", "p@ss")),
        ("smtps://mail.example", SmtpAddress("mail.example", 465, True, None, None)),
    ],
)
def test_address_of_the_mail_server_is_parsed(url: str, expected: SmtpAddress) -> None:
    assert SmtpAddress.of(url) == expected

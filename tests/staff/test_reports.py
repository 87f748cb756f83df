"""Reports of players about players, and the queue of the staff."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from tests.builders import NORMAL, Run, World, a_player

from kiai.chat.bot import Bot
from kiai.chat.journal import Journal
from kiai.chat.model import Answer
from kiai.errors import Conflict, Invalid, NotFound, Refused
from kiai.faces.bot.reports import ReportCommands
from kiai.ids import SequenceIds
from kiai.osu.privileges import Privilege
from kiai.realtime.port import Session
from kiai.staff import Actor
from kiai.staff.reports import Reports
from kiai.storage.port import Database
from kiai.storage.tables import reports

MODERATOR = NORMAL | int(Privilege.MODERATOR)


class Desk:
    """A server's reports, and the bot that takes them."""

    def __init__(self, world: World, *, limited: bool = False) -> None:
        self.world = world
        self.journal = Journal(world.database, world.clock)
        self.reports = Reports(world.database, self.journal, world.realtime, world.clock, limited=limited)
        self.bot = Bot(world.accounts, world.realtime, world.clock, SequenceIds(), limited=False)
        self.posted: list[tuple[str, str]] = []

        async def post(channel: str, line: str) -> None:
            if channel != "#staff":
                raise NotFound("channel")
            self.posted.append((channel, line))

        self.bot.learn(ReportCommands(self.bot, self.reports, post).commands())
        self.ids = {name: world.add_player(a_player(name)) for name in ("anna", "Plum Harbor", "carla")}
        self.mod = world.add_player(a_player("mod", priv=MODERATOR))

    def hear(self, text: str, by: str = "anna", where: str = "#osu", priv: int = NORMAL) -> Answer | None:
        user_id = self.mod if by == "mod" else self.ids[by]
        session = Session(token=by, user_id=user_id, name=by, priv=priv, login_time_ms=0)
        answer: Answer | None = self.world.run(self.bot.hear(session, where, text))
        return answer

    def say(self, text: str, by: str = "anna", where: str = "#osu", priv: int = NORMAL) -> Sequence[str]:
        answer = self.hear(text, by, where, priv)
        return () if answer is None else answer.lines

    def moderate(self, text: str) -> Sequence[str]:
        return self.say(text, by="mod", where="", priv=MODERATOR)

    def kept(self) -> list[tuple[int, int, str, str]]:
        rows = self.world.look(reports.select().order_by(reports.c.id))
        return [(row[2], row[3], row[4], row[5]) for row in rows]


@pytest.fixture
def desk(world: World) -> Desk:
    return Desk(world)


@pytest.mark.parametrize("where", ["#osu", "#multi_3", ""])
@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("!report Plum Harbor (Spamming) being loud", "Spamming", "being loud"),
        ("!report plum_harbor (Spamming) being loud (very)", "Spamming", "being loud (very)"),
        ("!REPORT Plum Harbor (Cheating)", "Cheating", ""),
        ('!report "Plum Harbor" being loud', "Other", "being loud"),
        ('!report "Plum Harbor" is (very) loud', "Other", "is (very) loud"),
        ("!report plum_harbor is very loud", "Other", "is very loud"),
    ],
)
def test_a_report_is_between_its_author_and_the_staff(desk: Desk, text: str, kind: str, said: str, where: str) -> None:
    answer = desk.hear(text, where=where)

    assert answer is not None
    assert answer.hidden
    assert answer.lines == (f"Your report has been sent: Plum Harbor ({kind}). The staff will look into it.",)
    assert desk.kept() == [(desk.ids["anna"], desk.ids["Plum Harbor"], kind, said)]
    assert desk.posted == [("#staff", f"Report 1: anna reports Plum Harbor ({kind}): {said or 'no text'}")]
    [row] = desk.world.audit(desk.ids["Plum Harbor"])
    assert (row.action, row.actor_id, row.reason) == ("report", desk.ids["anna"], said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("!report", "Usage: !report <player and what happened>"),
        ("!report carla", "Usage: !report <player and what happened>"),
        ("!report nobody at all (Spamming) being loud", "User not found"),
        ("!report ghost (Spamming) being loud", "User not found"),
        ("!report carla (Other)", "text must be what happened"),
        ("!report anna (Spamming) me", "Nobody reports themselves."),
        ("!report #1 (Spamming) it talks", "not found"),
        (f"!report carla (Spamming) {'x' * 501}", "text must be what happened"),
        ("!report carla Harbor (Spamming) loud", "User not found"),
    ],
)
def test_what_is_no_report_is_nobody_elses_business_either(desk: Desk, text: str, said: str) -> None:
    desk.world.add_player(a_player("ghost", priv=2))

    answer = desk.hear(text)

    assert answer is not None
    assert answer.hidden
    assert said in " ".join(answer.lines) or "cannot be reported" in " ".join(answer.lines)
    assert (desk.kept(), desk.posted) == ([], [])


def test_one_report_about_a_player_is_open_at_a_time(desk: Desk) -> None:
    desk.say("!report carla (Spamming) loud")

    assert desk.say("!report carla (Cheating) again") == (
        "You have reported carla already; the staff will look into it.",
    )
    assert len(desk.say("!report carla (Cheating) me too", by="Plum Harbor")) == 1
    assert len(desk.kept()) == 2

    desk.moderate("!reports close 1 warned")
    assert desk.say("!report carla (Cheating) again")[0].startswith("Your report has been sent")


def test_a_player_sends_a_few_an_hour(world: World) -> None:
    desk = Desk(world, limited=True)
    for number in range(6):
        world.add_player(a_player(f"p{number}"))

    said = [desk.say(f"!report p{number} (Spamming) loud")[0] for number in range(6)]

    assert [line.startswith("Your report has been sent") for line in said] == [True] * 5 + [False]
    assert said[5] == "You may send 5 reports an hour."
    world.clock.advance(3_600 / 5)
    assert desk.say("!report p5 (Spamming) loud")[0].startswith("Your report has been sent")


def test_what_the_player_said_last_in_public_is_kept_with_the_report(desk: Desk) -> None:
    target = desk.ids["carla"]
    for number in range(25):
        desk.journal.note("#osu", target, f"line {number}")
    desk.journal.note("#multi_7", target, "in a match")
    desk.journal.note("#spec_3", target, "to spectators")
    desk.journal.note("#osu", desk.ids["anna"], "somebody else's")

    desk.say("!report carla (Spamming) loud")

    [row] = desk.world.look(reports.select())
    lines = msgspec.json.decode(row[6])
    assert [one["text"] for one in lines] == [f"line {number}" for number in range(5, 25)]
    assert {one["channel"] for one in lines} == {"#osu"}


def test_the_queue_is_for_the_staff(desk: Desk) -> None:
    for by in ("anna", "Plum Harbor"):
        desk.say("!report carla (Spamming) being loud", by=by)

    assert desk.moderate("!reports") == (
        "1: 2023-11-14 22:13 anna reports carla (Spamming): being loud",
        "2: 2023-11-14 22:13 Plum Harbor reports carla (Spamming): being loud",
        "Page 1 of 1; 2 open",
    )
    assert desk.moderate("!reports close 1 warned") == ("Report 1 is closed: warned",)
    assert desk.moderate("!reports")[-1] == "Page 1 of 1; 1 open"
    assert "report_close" in [row.action for row in desk.world.audit(desk.ids["carla"])]
    assert desk.moderate("!reports 2") == ("There is no such page.",)
    for text in ("1", "99", "²", "9" * 19, "9" * 30, "x"):
        assert desk.moderate(f"!reports close {text} again") == ("Report not found.",)
    assert "Usage" in desk.moderate("!reports close 2")[0]
    assert "Usage" in desk.moderate("!reports ²")[0]
    assert "do not know" in desk.say("!reports", where="")[0]


def test_reports_are_forgotten_after_a_year(desk: Desk) -> None:
    desk.say("!report carla (Spamming) loud")
    assert desk.world.run(desk.reports.forget_older()) == 0

    desk.world.clock.advance(366 * 86_400)

    assert desk.world.run(desk.reports.forget_older()) == 1
    assert desk.kept() == []


def test_two_reports_at_once_are_one(database: Database, run: Run, tmp_path: Path) -> None:
    desk = Desk(World(database, run, tmp_path))
    target = desk.world.user(desk.ids["carla"])

    async def twice() -> list[object]:
        import asyncio

        sent = [desk.reports.send(desk.ids["anna"], target, "Spamming", "loud") for _ in range(2)]
        return await asyncio.gather(*sent, return_exceptions=True)

    outcomes = run(twice())

    assert sorted(type(one).__name__ for one in outcomes) == ["Conflict", "int"]
    assert len(desk.kept()) == 1


def test_the_verbs_refuse_what_no_face_may_ask(desk: Desk) -> None:
    carla, bot = desk.world.user(desk.ids["carla"]), desk.world.user(1)
    send, close = desk.reports.send, desk.reports.close
    for target, kind, text, error in (
        (bot, "Spamming", "loud", Refused),
        (carla, "", "loud", Invalid),
        (carla, "x" * 33, "loud", Invalid),
        (carla, "other", " ", Invalid),
    ):
        with pytest.raises(error):
            desk.world.run(send(desk.ids["anna"], target, kind, text))
    with pytest.raises(Invalid):
        desk.world.run(close(Actor(user_id=desk.mod, source="game"), 1, ""))
    desk.world.run(send(desk.ids["anna"], carla, "Spamming", ""))
    with pytest.raises(Conflict):
        desk.world.run(send(desk.ids["anna"], carla, "Spamming", ""))

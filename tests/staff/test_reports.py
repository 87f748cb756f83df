"""Reports of players about players, and the queue of the staff."""

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from tests.builders import NORMAL, Run, World, a_player

from kiai.chat.bot import Bot
from kiai.chat.journal import Journal
from kiai.chat.model import BotReply
from kiai.errors import Conflict, Invalid, NotFound, Refused, TooOften
from kiai.faces.bot.reports import ReportCommands
from kiai.ids import SequenceIds
from kiai.osu.privileges import Privilege
from kiai.realtime.port import Session
from kiai.staff import Actor
from kiai.staff.authority import Authority
from kiai.staff.reports import Reports
from kiai.storage.port import Database
from kiai.storage.tables import reports

MODERATOR = NORMAL | int(Privilege.MODERATOR)


class ReportDesk:
    """Reports, with the bot's commands for them."""

    def __init__(self, world: World, *, limited: bool = False) -> None:
        self.world = world
        self.journal = Journal(world.database, world.clock)
        authority = Authority(world.database, world.accounts, world.clock)
        self.reports = Reports(world.database, authority, self.journal, world.realtime, world.clock, limited=limited)
        self.bot = Bot(world.accounts, world.realtime, world.clock, SequenceIds(), limited=False)
        self.posted: list[tuple[str, str]] = []

        async def post(channel: str, line: str) -> None:
            if channel != "#staff":
                raise NotFound("channel")
            self.posted.append((channel, line))

        self.bot.register(ReportCommands(self.bot, self.reports, post).commands())
        self.ids = {name: world.add_player(a_player(name)) for name in ("anna", "Plum Harbor", "carla")}
        self.mod = world.add_player(a_player("mod", priv=MODERATOR))

    def send(self, text: str, by: str = "anna", where: str = "#osu", priv: int = NORMAL) -> BotReply | None:
        user_id = self.mod if by == "mod" else self.ids[by]
        session = Session(token=by, user_id=user_id, name=by, priv=priv, login_time_ms=0)
        reply: BotReply | None = self.world.run(self.bot.on_message(session, where, text))
        return reply

    def say(self, text: str, by: str = "anna", where: str = "#osu", priv: int = NORMAL) -> Sequence[str]:
        reply = self.send(text, by, where, priv)
        return () if reply is None else reply.lines

    def moderate(self, text: str) -> Sequence[str]:
        return self.say(text, by="mod", where="", priv=MODERATOR)

    def stored(self) -> list[tuple[int, int, str, str]]:
        rows = self.world.look(reports.select().order_by(reports.c.id))
        return [(row[2], row[3], row[4], row[5]) for row in rows]


@pytest.fixture
def desk(world: World) -> ReportDesk:
    return ReportDesk(world)


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
def test_report_is_hidden_from_the_channel_and_posted_to_staff(
    desk: ReportDesk, text: str, kind: str, said: str, where: str
) -> None:
    reply = desk.send(text, where=where)

    assert reply is not None
    assert reply.hidden
    assert reply.lines == (f"Your report has been sent: Plum Harbor ({kind}). The staff will look into it.",)
    assert desk.stored() == [(desk.ids["anna"], desk.ids["Plum Harbor"], kind, said)]
    assert desk.posted == [("#staff", f"Report 1: anna reports Plum Harbor ({kind}): {said or 'no text'}")]
    [row] = desk.world.audit(desk.ids["Plum Harbor"])
    assert (row.action, row.actor_id, row.reason) == ("report", desk.ids["anna"], said)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("!report", "Usage: !report <user> <text>"),
        ("!report carla", "Usage: !report <user> <text>"),
        ("!report nobody at all (Spamming) being loud", "User not found"),
        ("!report ghost (Spamming) being loud", "User not found"),
        ("!report carla (Other)", "Usage: !report <user> <text>"),
        ("!report anna (Spamming) me", "You can't do that to yourself."),
        ("!report #1 (Spamming) it talks", "You can't do that to the bot."),
        (f"!report carla (Spamming) {'x' * 501}", "text must be what happened"),
        ("!report carla Harbor (Spamming) loud", "User not found"),
    ],
)
def test_invalid_report_is_answered_in_private(desk: ReportDesk, text: str, said: str) -> None:
    desk.world.add_player(a_player("ghost", priv=2))

    reply = desk.send(text)

    assert reply is not None
    assert reply.hidden
    assert said in " ".join(reply.lines)
    assert (desk.stored(), desk.posted) == ([], [])


def test_player_has_one_open_report_about_another_player(desk: ReportDesk) -> None:
    desk.say("!report carla (Spamming) loud")

    assert desk.say("!report carla (Cheating) again") == (
        "You have already reported carla. The staff will look into it.",
    )
    assert len(desk.say("!report carla (Cheating) me too", by="Plum Harbor")) == 1
    assert len(desk.stored()) == 2

    desk.moderate("!reports close 1 warned")
    assert desk.say("!report carla (Cheating) again")[0].startswith("Your report has been sent")


def test_player_can_send_5_reports_per_hour(world: World) -> None:
    desk = ReportDesk(world, limited=True)
    for number in range(6):
        world.add_player(a_player(f"p{number}"))

    said = [desk.say(f"!report p{number} (Spamming) loud")[0] for number in range(6)]

    assert [line.startswith("Your report has been sent") for line in said] == [True] * 5 + [False]
    assert said[5] == "You can send 5 reports per hour."
    with pytest.raises(TooOften) as caught:
        world.run(desk.reports.send(desk.ids["anna"], world.run(world.accounts.user(name="p5")), "Spamming", "loud"))
    assert caught.value.after_s == 720
    world.clock.advance(3_600 / 5)
    assert desk.say("!report p5 (Spamming) loud")[0].startswith("Your report has been sent")


def test_report_contains_the_latest_20_public_lines_of_its_target(desk: ReportDesk) -> None:
    target = desk.ids["carla"]
    for number in range(25):
        desk.journal.add("#osu", target, f"line {number}")
    desk.journal.add("#multi_7", target, "in a match")
    desk.journal.add("#spec_3", target, "to spectators")
    desk.journal.add("#osu", desk.ids["anna"], "of another player")

    desk.say("!report carla (Spamming) loud")

    [row] = desk.world.look(reports.select())
    lines = msgspec.json.decode(row[6])
    assert [one["text"] for one in lines] == [f"line {number}" for number in range(5, 25)]
    assert {one["channel"] for one in lines} == {"#osu"}


def test_only_staff_can_list_and_close_reports(desk: ReportDesk) -> None:
    for by in ("anna", "Plum Harbor"):
        desk.say("!report carla (Spamming) being loud", by=by)

    assert desk.moderate("!reports") == (
        "1: 2023-11-14 22:13 anna reports carla (Spamming): being loud",
        "2: 2023-11-14 22:13 Plum Harbor reports carla (Spamming): being loud",
        "Page 1 of 1, 2 open.",
    )
    assert desk.moderate("!reports close 1 warned") == ("Report 1 about carla is closed: warned",)
    assert desk.moderate("!reports")[-1] == "Page 1 of 1, 1 open."
    assert "report_close" in [row.action for row in desk.world.audit(desk.ids["carla"])]
    assert desk.moderate("!reports 2") == ("This page does not exist.",)
    assert desk.moderate("!reports close 1 again") == ("The report is already closed.",)
    assert desk.moderate("!reports close 99 again") == ("Report not found.",)
    for text in ("²", "9" * 30, "x"):
        assert "Usage" in desk.moderate(f"!reports close {text} again")[0]
    assert "Usage" in desk.moderate("!reports close 2")[0]
    assert "Usage" in desk.moderate("!reports ²")[0]
    assert "Unknown command" in desk.say("!reports", where="")[0]


def test_reports_are_deleted_after_a_year(desk: ReportDesk) -> None:
    desk.say("!report carla (Spamming) loud")
    assert desk.world.run(desk.reports.delete_older()) == 0

    desk.world.clock.advance(366 * 86_400)

    assert desk.world.run(desk.reports.delete_older()) == 1
    assert desk.stored() == []


def test_concurrent_reports_about_one_player_store_one(database: Database, run: Run, tmp_path: Path) -> None:
    desk = ReportDesk(World(database, run, tmp_path))
    target = desk.world.user(desk.ids["carla"])

    async def twice() -> list[object]:
        import asyncio

        sent = [desk.reports.send(desk.ids["anna"], target, "Spamming", "loud") for _ in range(2)]
        return await asyncio.gather(*sent, return_exceptions=True)

    outcomes = run(twice())

    assert sorted(type(one).__name__ for one in outcomes) == ["Conflict", "int"]
    assert len(desk.stored()) == 1


def test_service_rejects_invalid_reports_and_verdicts(desk: ReportDesk) -> None:
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

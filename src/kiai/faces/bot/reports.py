"""`!report`, which the game's report window writes, and `!reports`, the queue for the staff.

See docs/spec/bot.md#reports.
"""

import contextlib
import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from kiai.accounts import User
from kiai.chat.bot import Argument, Asker, BadArgument, Bot, Command, Kind
from kiai.errors import Conflict, NotFound
from kiai.osu.numbers import whole_number
from kiai.osu.texts import chat_name, chat_text
from kiai.staff import Actor
from kiai.staff.reports import OTHER, PAGE, Reports, report_id_of

STAFF_CHANNEL: Final = "#staff"
SHOWN_MAX: Final = 300
PAGES_MAX: Final = 1_000

# The window does not quote names: up to the first " (" it is the name, whose alphabet has no parentheses.
_OF_WINDOW: Final = re.compile(r'(?P<name>[^("]{1,64}) \((?P<kind>[^()]{1,32})\)(?: (?P<text>.*))?')
_TYPED: Final = re.compile(r'(?:"(?P<quoted>[^"]+)"|(?P<name>\S+)) (?P<text>.+)')


class ReportCommands:
    """What players report, and what the staff does with it. `post` says a line in a channel, in the bot's name."""

    def __init__(self, bot: Bot, reports: Reports, post: Callable[[str, str], Awaitable[None]]) -> None:
        self._bot = bot
        self._reports = reports
        self._post = post

    async def report(self, asker: Asker, what: str) -> Sequence[str]:
        """`!report`."""
        user, kind, text = await self._read(asker, what)
        try:
            report_id = await self._reports.send(asker.session.user_id, user, kind, text)
        except Conflict:
            return (f"You have reported {chat_name(user.name)} already; the staff will look into it.",)
        line = f"Report {report_id}: {_told(asker.session.name, user.name, kind, text)}"
        with contextlib.suppress(NotFound):  # a server may have no such channel; the queue has the report
            await self._post(STAFF_CHANNEL, line[:SHOWN_MAX])
        return (f"Your report has been sent: {chat_name(user.name)} ({chat_text(kind)}). The staff will look into it.",)

    async def _read(self, asker: Asker, what: str) -> tuple[User, str, str]:
        """Who is reported, for which kind of thing, and in which words."""
        # Never the first word of a name that nobody has: that would report somebody else.
        if window := _OF_WINDOW.fullmatch(what):
            return await self._bot.player(asker, window["name"].strip()), window["kind"], window["text"] or ""
        typed = _TYPED.fullmatch(what)
        if typed is None:
            raise BadArgument("Say whom you report, and what happened.")
        return await self._bot.player(asker, typed["quoted"] or typed["name"]), OTHER, typed["text"]

    async def queue(self, asker: Asker, page: str | None, report: str | None, verdict: str | None) -> Sequence[str]:
        """`!reports`."""
        if (page or "").lower() == "close":
            if not report or not verdict:
                raise BadArgument("A report is closed with a verdict.")
            actor = Actor(user_id=asker.session.user_id, source="game")
            await self._reports.close(actor, report_id_of(report), verdict)
            return (f"Report {report_id_of(report)} is closed: {chat_text(verdict)}",)
        number = 1 if page is None else whole_number(page, PAGES_MAX, 1)
        if number is None or report:
            raise BadArgument(f"page is a whole number from 1 to {PAGES_MAX}.")
        found, total = await self._reports.open(number)
        if not found:
            return ("There are no open reports.",) if not total else ("There is no such page.",)
        lines = [
            f"{one.id}: {datetime.fromtimestamp(one.at_ms // 1000, UTC):%Y-%m-%d %H:%M} "
            f"{_told(one.by, one.target, one.kind, one.text)}"
            for one in found
        ]
        return [*(line[:SHOWN_MAX] for line in lines), f"Page {number} of {-(-total // PAGE)}; {total} open"]

    def commands(self) -> list[Command]:
        """What this page declares."""
        what = Argument("player and what happened", Kind.TEXT)
        return [
            Command(
                name="report",
                handler=lambda asker, **given: self.report(asker, given[what.name]),
                help="Tells the staff about a player; nobody else reads it.",
                arguments=(what,),
                hidden=True,
            ),
            Command(
                name="reports",
                handler=self.queue,
                help="The open reports, oldest first; or: close, with a report's number and a verdict.",
                arguments=(
                    Argument("page", optional=True),
                    Argument("report", optional=True),
                    Argument("verdict", Kind.TEXT, optional=True),
                ),
                permission="reports.handle",
                audit="report_close",
                hidden=True,
            ),
        ]


def _told(by: str, target: str, kind: str, text: str) -> str:
    return f"{chat_name(by)} reports {chat_name(target)} ({chat_text(kind)}): {chat_text(text) or 'no text'}"

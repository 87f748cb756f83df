"""`!report`, which the game's report window sends, and `!reports`, the queue of reports for staff.

See docs/spec/bot.md#reports.
"""

import contextlib
import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Final

from kiai.accounts import User
from kiai.chat.bot import Argument, ArgumentKind, BadArgument, Bot, BotCommand, CommandContext
from kiai.errors import Conflict, Invalid, NotFound
from kiai.faces.bot.acting import actor_of
from kiai.osu.numbers import whole_number
from kiai.osu.texts import chat_name, chat_text
from kiai.staff.reports import OTHER, PAGE, PERMISSION, Report, Reports, report_id_of

STAFF_CHANNEL: Final = "#staff"
# Characters of a line in the chat. The text of a report may be longer.
SHOWN_MAX: Final = 300
PAGES_MAX: Final = 1_000

# The report window does not quote names with spaces. Names cannot contain parentheses, so the name ends before " (".
_OF_WINDOW: Final = re.compile(r'(?P<name>[^("]{1,64}) \((?P<kind>[^()]{1,32})\)(?: (?P<text>.*))?')
_TYPED: Final = re.compile(r'(?:"(?P<quoted>[^"]+)"|(?P<name>\S+)) +(?P<text>.+)')


class ReportCommands:
    """Handlers of `!report` and `!reports`. `post` sends a line of the bot to a channel."""

    def __init__(self, bot: Bot, reports: Reports, post: Callable[[str, str], Awaitable[None]]) -> None:
        self._bot = bot
        self._reports = reports
        self._post = post

    async def report(self, context: CommandContext, what: str) -> Sequence[str]:
        """`!report`."""
        user, kind, text = await self._read(context, what)
        try:
            report_id = await self._reports.send(context.session.user_id, user, kind, text, source=context.source)
        except Conflict:
            return (f"You have already reported {chat_name(user.name)}. The staff will look into it.",)
        except Invalid as error:
            raise BadArgument(f"{error}.") from error
        by = chat_name(context.session.name)
        line = f"Report {report_id}: {_report_line(by, user.name, kind, text)}"
        # An operator may have deleted the channel. The report is in the queue.
        with contextlib.suppress(NotFound):
            await self._post(STAFF_CHANNEL, line[:SHOWN_MAX])
        return (f"Your report has been sent: {chat_name(user.name)} ({chat_text(kind)}). The staff will look into it.",)

    async def _read(self, context: CommandContext, what: str) -> tuple[User, str, str]:
        """Return the reported player, the kind of report and the text. Raises BadArgument, UnknownPlayer."""
        # If the window's name is unknown, do not try its first word as a typed name: that would be another player.
        if window := _OF_WINDOW.fullmatch(what):
            kind, text = window["kind"].strip(), (window["text"] or "").strip()
            if not kind or (not text and kind.lower() == OTHER.lower()):
                raise BadArgument("Describe what happened.")
            return await self._bot.player(context, window["name"].strip()), kind, text
        typed = _TYPED.fullmatch(what)
        if typed is None:
            raise BadArgument("Name the player and describe what happened.")
        return await self._bot.player(context, typed["quoted"] or typed["name"]), OTHER, typed["text"]

    async def queue(
        self, context: CommandContext, page: str | None, report: str | None, text: str | None
    ) -> Sequence[str]:
        """`!reports`."""
        actor = actor_of(context)
        if (page or "").lower() == "close":
            report_id = report_id_of(report or "")
            if not report_id or not text:
                raise BadArgument("To close a report, give its id and a text.")
            try:
                closed = await self._reports.close(actor, report_id, text)
            except Invalid as error:
                raise BadArgument(f"{error}.") from error
            return (f"Report {closed.id} about {chat_name(closed.target.name)} is closed: {chat_text(text)}",)
        number = 1 if page is None else whole_number(page, PAGES_MAX, 1)
        if number is None or report:
            raise BadArgument(f"page must be a whole number from 1 to {PAGES_MAX}.")
        found, total = await self._reports.listed(actor, page=number)
        if not found:
            return ("There are no open reports.",) if not total else ("This page does not exist.",)
        lines = [_queue_line(report) for report in found]
        return [*(line[:SHOWN_MAX] for line in lines), f"Page {number} of {-(-total // PAGE)}, {total} open."]

    def commands(self) -> list[BotCommand]:
        """Return the declarations of `!report` and `!reports`."""
        # One argument for the whole line: the window's format has no quotes, so words cannot be split. Its name is
        # written as two arguments, because the usage line shows it.
        what = Argument("user> <text", ArgumentKind.TEXT)
        return [
            BotCommand(
                name="report",
                handler=lambda context, **given: self.report(context, given[what.key]),
                help="Reports a player to the staff. Nobody else sees the report.",
                arguments=(what,),
                audit="report",
                hidden=True,
            ),
            BotCommand(
                name="reports",
                handler=lambda context, **given: self.queue(context, given["page"], given["id"], given["text"]),
                help="Lists open reports, oldest first. `close`, a report's id and a text close a report.",
                arguments=(
                    Argument("page", optional=True),
                    Argument("id", optional=True),
                    Argument("text", ArgumentKind.TEXT, optional=True),
                ),
                permission=PERMISSION,
                audit="report_close",
                hidden=True,
            ),
        ]


def _queue_line(report: Report) -> str:
    at = datetime.fromtimestamp(report.at, UTC)
    return f"{report.id}: {at:%Y-%m-%d %H:%M} " + _report_line(
        report.reporter.name, report.target.name, report.kind, report.text
    )


def _report_line(by: str, target: str, kind: str, text: str) -> str:
    return f"{chat_name(by)} reports {chat_name(target)} ({chat_text(kind)}): {chat_text(text) or 'no text'}"

"""Commands of staff on players: sanctions, donor time and notes.

The services check the stored permissions and ranks, and write the audit rows.
"""

from collections.abc import Sequence
from typing import Final

from kiai.accounts import User
from kiai.chat.bot import PERMANENT, Argument, ArgumentKind, BotCommand, CommandContext
from kiai.clock import Clock
from kiai.faces.bot.acting import actor_of
from kiai.osu.durations import duration_text
from kiai.osu.texts import chat_name, chat_text
from kiai.own_account.deletion_by_staff import DeletionByStaff
from kiai.staff.audit import utc_text
from kiai.staff.audit_reading import AuditReading
from kiai.staff.donors import TIERS, Donors
from kiai.staff.kicks import Kicks
from kiai.staff.naming import Naming, check_country, check_name
from kiai.staff.notes import Notes
from kiai.staff.restrictions import FREEZE_S, Restrictions
from kiai.staff.silences import Silences
from kiai.staff.wipes import Wipes

DAY_MS: Final = 86_400_000
NOTES_PAGE: Final = 9  # an answer has at most 10 lines
READ_MAX: Final = 100
REASON: Final = Argument("reason", ArgumentKind.REASON)
USER: Final = Argument("user", ArgumentKind.USER)


class SanctionCommands:
    """Handlers of the commands."""

    def __init__(
        self,
        restrictions: Restrictions,
        silences: Silences,
        kicks: Kicks,
        wipes: Wipes,
        donors: Donors,
        notes: Notes,
        naming: Naming,
        deletion: DeletionByStaff,
        audit: AuditReading,
        clock: Clock,
    ) -> None:
        self._restrictions = restrictions
        self._silences = silences
        self._kicks = kicks
        self._wipes = wipes
        self._donors = donors
        self._notes = notes
        self._naming = naming
        self._deletion = deletion
        self._audit = audit
        self._clock = clock

    async def silence(self, context: CommandContext, user: User, duration: int, reason: str) -> Sequence[str]:
        """`!silence`."""
        done = await self._silences.silence(actor_of(context), user.id, duration, reason)
        line = f"{chat_name(user.name)} is silenced for {duration_text(duration)}: {chat_text(done.reason)}"
        if done.lasts_s > duration:
            # A silence is never shortened, so the answer must not suggest the given duration.
            return (f"{line} An earlier silence lasts longer, until {utc_text(done.until_ms)}.",)
        return (line,)

    async def unsilence(self, context: CommandContext, user: User, reason: str) -> Sequence[str]:
        """`!unsilence`."""
        await self._silences.unsilence(actor_of(context), user.id, reason)
        return (f"{chat_name(user.name)} is unsilenced.",)

    async def kick(self, context: CommandContext, user: User, reason: str) -> Sequence[str]:
        """`!kick`."""
        await self._kicks.kick(actor_of(context), user.id, reason)
        return (f"{chat_name(user.name)} is kicked.",)

    async def restrict(self, context: CommandContext, user: User, duration: int | None, reason: str) -> Sequence[str]:
        """`!restrict`."""
        seconds = None if duration in (None, PERMANENT) else duration
        done = await self._restrictions.restrict(actor_of(context), user.id, reason, seconds=seconds)
        length = "" if seconds is None else f" for {duration_text(seconds)}"
        return (f"{chat_name(user.name)} is restricted{length}: {chat_text(done.reason)}",)

    async def unrestrict(self, context: CommandContext, user: User, scores: str | None, reason: str) -> Sequence[str]:
        """`!unrestrict`."""
        if scores == "wipe":
            done = await self._wipes.unrestrict(actor_of(context), user.id, reason)
            return (f"{chat_name(user.name)} is unrestricted and wiped: {scores_text(done.scores)} hidden.",)
        await self._restrictions.unrestrict(actor_of(context), user.id, reason)
        return (f"{chat_name(user.name)} is unrestricted.",)

    async def ban(self, context: CommandContext, user: User, reason: str) -> Sequence[str]:
        """`!ban`."""
        done = await self._restrictions.ban(actor_of(context), user.id, reason)
        return (f"{chat_name(user.name)} is banned: {chat_text(done.reason)}",)

    async def unban(self, context: CommandContext, user: User, reason: str) -> Sequence[str]:
        """`!unban`."""
        await self._restrictions.unban(actor_of(context), user.id, reason)
        return (f"{chat_name(user.name)} is unbanned, and still restricted.",)

    async def freeze(self, context: CommandContext, user: User, duration: int | None, reason: str) -> Sequence[str]:
        """`!freeze`."""
        seconds = duration or FREEZE_S
        done = await self._restrictions.freeze(actor_of(context), user.id, reason, seconds=seconds)
        return (f"{chat_name(user.name)} is frozen for {duration_text(seconds)}: {chat_text(done.reason)}",)

    async def unfreeze(self, context: CommandContext, user: User, reason: str) -> Sequence[str]:
        """`!unfreeze`."""
        await self._restrictions.unfreeze(actor_of(context), user.id, reason)
        return (f"{chat_name(user.name)} is unfrozen.",)

    async def give_donator(self, context: CommandContext, user: User, duration: int, tier: str | None) -> Sequence[str]:
        """`!givedonator`."""
        tier = tier or "supporter"
        done = await self._donors.give(actor_of(context), user.id, duration, tier)
        until = utc_text(done.until_ms or 0)
        return (f"{chat_name(user.name)} is {tier} for {duration_text(duration)} more, until {until}.",)

    async def remove_donator(self, context: CommandContext, user: User, reason: str) -> Sequence[str]:
        """`!removedonator`."""
        await self._donors.take(actor_of(context), user.id, reason)
        return (f"{chat_name(user.name)} is no donor any more.",)

    async def notes(self, context: CommandContext, user: User, days: int | None, page: int | None) -> Sequence[str]:
        """`!notes`: notes and audit rows about a player, newest first."""
        since_ms = self._clock.now_ms() - (days or 30) * DAY_MS
        notes = await self._notes.read(actor_of(context), user.id, since_ms=since_ms)
        rows = await self._audit.about(actor_of(context), user.id, since_ms=since_ms, limit=READ_MAX)
        lines = [(one.at_ms, f"note by {_name(one.author)}: {chat_text(one.text)}") for one in notes]
        for row in rows:
            if row.action not in ("note", "notes_read"):
                because = f": {chat_text(row.reason)}" if row.reason else ""
                lines.append((row.at_ms, f"{row.action} by {_name(row.actor)}{because}"))
        if not lines:
            return (f"There is nothing about {chat_name(user.name)} in the last {days or 30} days.",)
        lines.sort(key=lambda line: -line[0])
        pages = -(-len(lines) // NOTES_PAGE)
        page = min(page or 1, pages)
        shown = lines[(page - 1) * NOTES_PAGE : page * NOTES_PAGE]
        head = f"About {chat_name(user.name)} in the last {days or 30} days, page {page} of {pages}:"
        return (head, *(f"{utc_text(at_ms)} {line}" for at_ms, line in shown))

    async def add_note(self, context: CommandContext, user: User, text: str) -> Sequence[str]:
        """`!addnote`."""
        note_id = await self._notes.add(actor_of(context), user.id, text)
        return (f"Added note {note_id} about {chat_name(user.name)}.",)

    async def rename(self, context: CommandContext, user: User, name: str) -> Sequence[str]:
        """`!rename`."""
        # Staff decides about a reserved name, too.
        after = await self._naming.rename(actor_of(context), user.id, name, force=True)
        return (f"{chat_name(user.name)} is renamed to {chat_name(after.name)}.",)

    async def set_country(self, context: CommandContext, user: User, cc: str) -> Sequence[str]:
        """`!setcountry`."""
        after = await self._naming.set_country(actor_of(context), user.id, cc)
        return (f"{chat_name(user.name)} is moved to the country {after.own_country}.",)

    async def delete(self, context: CommandContext, user: User) -> Sequence[str]:
        """`!deleteuser`, confirmed."""
        await self._deletion.delete(actor_of(context), user.id)
        return (f"{chat_name(user.name)} is deleted.",)

    async def before_delete(self, context: CommandContext, user: User) -> str:
        """Check `!deleteuser` and return what it will do."""
        target = await self._deletion.check(actor_of(context), user.id)
        return f"This deletes the account {chat_name(target.name)} permanently."

    def commands(self) -> list[BotCommand]:
        """Return the declarations of the commands."""
        duration = Argument("duration", ArgumentKind.DURATION)
        length = Argument("duration", ArgumentKind.LENGTH, optional=True)
        length_or_perma = Argument("duration", ArgumentKind.LENGTH, optional=True, choices=("perma",))
        days = Argument("days", ArgumentKind.NUMBER, optional=True, least=1, most=365)
        page = Argument("page", ArgumentKind.NUMBER, optional=True, least=1, most=1_000)
        tier = Argument("tier", ArgumentKind.CHOICE, optional=True, choices=tuple(TIERS))
        scores = Argument("scores", ArgumentKind.CHOICE, optional=True, choices=("keep", "wipe"))
        text = Argument("text", ArgumentKind.REASON)
        new_name = Argument("name", ArgumentKind.TEXT, check=check_name)
        country = Argument("cc", check=check_country)
        rows = (
            ("notes", (), self.notes, "users.notes", (USER, days, page), "notes_read",
             "Shows the notes and acts about a player, of the last 30 days or of the given number."),
            ("addnote", (), self.add_note, "users.notes", (USER, text), "note", "Adds a note about a player."),
            ("silence", ("mute",), self.silence, "users.silence", (USER, duration, REASON), "silence",
             "Silences a player for a time."),
            ("unsilence", ("unmute",), self.unsilence, "users.silence", (USER, REASON), "unsilence",
             "Ends a player's silence."),
            ("kick", ("disconnect", "kill"), self.kick, "users.kick", (USER, REASON), "kick", "Logs a player off."),
            ("restrict", (), self.restrict, "users.restrict", (USER, length_or_perma, REASON), "restrict",
             "Hides a player, for a time or without an end."),
            ("unrestrict", (), self.unrestrict, "users.restrict", (USER, scores, REASON), "unrestrict",
             "Lifts a player's restriction. With wipe, the player's former scores stay hidden."),
            ("ban", (), self.ban, "users.ban", (USER, REASON), "ban", "Hides a player and locks the account."),
            ("unban", (), self.unban, "users.ban", (USER, REASON), "unban",
             "Lifts a player's ban. The player stays restricted."),
            ("freeze", (), self.freeze, "users.freeze", (USER, length, REASON), "freeze",
             "Restricts a player after a time, 7 days if not given, unless the player proves something."),
            ("unfreeze", (), self.unfreeze, "users.freeze", (USER, REASON), "unfreeze", "Ends a player's freeze."),
            ("rename", ("change_username", "cu"), self.rename, "users.rename_other", (USER, new_name), "rename",
             "Gives a player another name, also one that is reserved for another player."),
            ("setcountry", (), self.set_country, "users.country", (USER, country), "country",
             "Moves a player to another country."),
            ("givedonator", (), self.give_donator, "donors.manage", (USER, duration, tier), "donor_give",
             "Adds donor time to what a player has left."),
            ("removedonator", (), self.remove_donator, "donors.manage", (USER, REASON), "donor_take",
             "Ends a player's donor time."),
        )  # fmt: skip
        delete = BotCommand(
            name="deleteuser",
            aliases=("delete_user",),
            handler=self.delete,
            permission="users.delete",
            arguments=(USER,),
            audit="user_delete",
            help="Deletes an account permanently.",
            hidden=True,
            confirm=self.before_delete,
        )
        return [
            delete,
            *(
                BotCommand(
                    name=name,
                    aliases=aliases,
                    handler=handler,
                    permission=permission,
                    arguments=arguments,
                    audit=action,
                    help=about,
                    hidden=True,
                )
                for name, aliases, handler, permission, arguments, action, about in rows
            ),
        ]


def scores_text(count: int) -> str:
    """Return a number of scores, e.g. `1 score`."""
    return f"{count} score" if count == 1 else f"{count} scores"


def _name(name: str | None) -> str:
    return "the server" if name is None else chat_name(name)

"""The page `docs/operate/bot.md`, made from the declarations of the commands."""

from collections.abc import Sequence
from typing import Final

from kiai.chat.bot import Command, Where
from kiai.osu.privileges import PERMISSIONS, ROLES

TITLES: Final = {"": "Everybody and staff", "mp": "Leading a match", "pool": "Mappools"}


def reference(commands: Sequence[Command]) -> str:
    """The page, of every command that was declared."""
    parts = [_HEAD]
    for group, title in TITLES.items():
        rows = [one for one in commands if one.group == group]
        parts.append(f"## {title}\n\n| command | also | who | where | what |\n|---|---|---|---|---|")
        parts += [
            f"| `{one.usage.replace('|', chr(92) + '|')}` | {', '.join(one.aliases)} | {_who(one)} "
            f"| {_where(one)} | {one.help} |"
            for one in rows
        ]
        parts.append("")
    return "\n".join(parts) + _FOOT


def _who(command: Command) -> str:
    if not command.permission:
        return ""
    bits = PERMISSIONS[command.permission]
    names = [name for name, bit in ROLES.items() if bit & bits and bit & (bit - 1) == 0]
    return " or ".join(dict.fromkeys(name for name in names if name in _SHOWN))


def _where(command: Command) -> str:
    places = {Where.ANYWHERE: "", Where.DM: "to the bot", Where.MATCH: "in a match"}
    return "; ".join(word for word in (places[command.where], "hidden" if command.hidden else "") if word)


_SHOWN: Final = ("supporter", "premium", "tournament", "nominator", "moderator", "administrator", "developer")

_HEAD: Final = """# The bot

The bot (`bot_name`, id 1) is always online. It hears lines that begin with `!` in channels, and every line of a message
to it, where the `!` may be left out. Words in `<>` must be given, those in `[]` may be; a name with spaces stands in
quotes, and `#3` is the player with id 3. *Hidden* commands and their answers are seen by nobody else. A command that
one may not use does not exist. Players may ask once a second, five times at once; what needs pp or many rows twenty
times a minute.

What somebody plays, edits, watches or listens to (`/np`) is remembered for five minutes; in a message to the bot it is
answered with pp. What staff does is written to the audit log.
"""

_FOOT: Final = """In matches, the creator and referees may use every `!mp` command; the host those that lead a play;
others get no answer, but for `help`, `settings`, `link`, `listrefs` and `picks`. Rooms made by command have no host
until one is set, stay when they are empty for half an hour, and are entered by their link. Points of a scrim go by the
last frames of a play. `ban` is for players, `banpick` for maps of the pool.

Not built: `report`, `faq`, `request`, `search`, `verify`, `ranking`, `speedrun`, `overwrite`, `whoranked`; bans,
freezes, notes, donor time and wipes; `!mp force`; `!clan`.

This page is made from `src/kiai/faces/bot/`.
"""

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
    return "\n".join(parts) + _FOOT.replace("{lines}", _lines())


def _lines() -> str:
    rows = ["| what | lines |", "|---|---|"]
    for what, lines in _LINES:
        shown = ", ".join(f"`{line}`" for line in lines).replace("|", "\\|")
        rows.append(f"| {what} | {shown} |")
    return "\n".join(rows)


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

_LINES: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("`make`, `makeprivate`", ("Created the tournament match <link> <name>",)),
    ("`close`", ("Closed the match",)),
    ("`name`", ('Room name updated to "<name>"',)),
    (
        "`password`",
        (
            "Changed the match password",
            "Removed the match password",
        ),
    ),
    ("`size`", ("Changed match to size <n>",)),
    (
        "`set`",
        (
            "Changed match settings to [<n> slots, ]<HeadToHead|TagCoop|TeamVs|TagTeamVs>"
            "[, <Score|Accuracy|Combo|ScoreV2>]",
        ),
    ),
    (
        "`map`",
        (
            "Changed beatmap to <link> <artist> - <title>",
            "Changed match mode to <Osu|Taiko|CatchTheBeat|OsuMania>",
        ),
    ),
    (
        "`mods`, `freemods`",
        (
            "Enabled <Mod, Mod>, <enabled|disabled> FreeMod",
            "Disabled all mods, <enabled|disabled> FreeMod",
        ),
    ),
    (
        "`lock`, `unlock`",
        (
            "Locked the match",
            "Unlocked the match",
        ),
    ),
    (
        "`host`, `clearhost`",
        (
            "Changed match host to <name>",
            "Cleared match host",
        ),
    ),
    ("`move`", ("Moved <name> into slot <n>",)),
    ("`team`", ("Moved <name> to team <Blue|Red>",)),
    ("`invite`", ("Invited <name> to the room",)),
    (
        "`kick`, `ban`",
        (
            "Kicked <name> from the match",
            "Banned <name> from the match",
        ),
    ),
    (
        "`addref`, `removeref`",
        (
            "Added <name> to the match referees",
            "Removed <name> from the match referees",
        ),
    ),
    ("`listrefs`", ("Match referees:",)),
    (
        "`start`",
        (
            "Started the match",
            "Queued the match to start in <time>",
        ),
    ),
    ("`abort`", ("Aborted the match",)),
    ("`timer`", ("Countdown ends in <time>",)),
    (
        "`aborttimer`",
        (
            "Countdown aborted",
            "Aborted the match start timer",
        ),
    ),
    (
        "somebody comes, moves, goes",
        (
            "<name> joined in slot <n>[ for team <red|blue>].",
            "<name> moved to slot <n>",
            "<name> left the game.",
        ),
    ),
    (
        "host, team",
        (
            "<name> became the host.",
            "<name> changed to <Blue|Red>",
        ),
    ),
    (
        "the host picks a map",
        (
            "Host is changing map...",
            "Beatmap changed to: <artist> - <title> [<version>] (<link>)",
        ),
    ),
    (
        "a play",
        (
            "All players are ready",
            "The match has started!",
            "<name> finished playing (Score: <n>, <PASSED|FAILED>).",
            "The match has finished!",
        ),
    ),
    (
        "timers",
        (
            "Match starts in <time>",
            "Good luck, have fun!",
            "Countdown ends in <time>",
            "Countdown finished",
        ),
    ),
)

_FOOT: Final = """
## Who leads a match, and from where

The creator and the referees may use every `!mp` command; the host those that lead a play. Others get an answer to
`help`, `settings`, `link`, `listrefs` and `picks` alone. A command acts on the room in whose channel it is said.

Players know the channel of their room as `#multiplayer`. A referee needs no seat: `/join #multi_<number>` opens the
channel, `!mp addref` tells new referees the number, and lines there act on that room wherever the referee sits.

Who makes a room by command sits down in it, unless it sits in another room: then it stays there and hears the new
room's channel. Such rooms have no host until one is set, stay when they are empty for half an hour, and are entered by
their link, or without a password by their referees. A silenced player leaves its room, the creator too.

Mods are settled before they are set: of `EZHR` the room has Easy, of `DTHT` DoubleTime, and mods that the map's mode
does not have are dropped. Points of a scrim go by the last frames of a play. `ban` is for players, `banpick` for maps
of the pool.

## Lines that tools of referees read

The bot says these lines as the official server's does, to the letter. They are told after the act and say what became
of it. Words that a command has no use for are ignored; names may be written with `_` for a space.

{lines}
`settings` answers with `Room name: <name>, History: <link>`, `Beatmap: <link> <artist> - <title> [<version>]`,
`Team mode: <mode>, Win condition: <condition>`, `Active mods: <Mod, Mod[, Freemod]>`, `Players: <n>`, and for each
player a line whose columns have fixed widths:

```
Slot 1  Not Ready https://osu.example/u/3 anna            [Host / Team Red  / Hidden]
```

Not built: `faq`, `request`, `search`, `verify`, `ranking`, `speedrun`, `overwrite`, `whoranked`; bans,
freezes, notes, donor time and wipes; `!mp force`; `!clan`.

This page is made from `src/kiai/faces/bot/`.
"""

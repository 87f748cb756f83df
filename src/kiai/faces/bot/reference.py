"""Generates the page `docs/operate/bot.md` from the declarations of the commands. A test compares it with the file."""

from collections.abc import Sequence
from typing import Final

from kiai.chat.bot import BotCommand, CommandScope
from kiai.osu.privileges import PERMISSIONS, ROLES

TITLES: Final = {"": "Players and staff", "mp": "Leading a match", "pool": "Mappools", "clan": "Clans"}


def reference(commands: Sequence[BotCommand]) -> str:
    """Return the page as Markdown, with every declared command."""
    parts = [_HEAD]
    for group, title in TITLES.items():
        rows = [command for command in commands if command.group == group]
        parts.append(f"## {title}\n\n| command | aliases | privilege | where | what it does |\n|---|---|---|---|---|")
        # Markdown splits a row at each bar, also within code, unless a backslash precedes it.
        parts += [
            f"| `{command.usage.replace('|', chr(92) + '|')}` | {', '.join(command.aliases)} | {role_of(command)} "
            f"| {_where(command)} | {command.help} |"
            for command in rows
        ]
        parts.append("")
    return "\n".join(parts) + _FOOT.replace("{lines}", _lines())


def _lines() -> str:
    rows = ["| after | lines |", "|---|---|"]
    for occasion, lines in _LINES:
        code = ", ".join(f"`{line}`" for line in lines).replace("|", "\\|")
        rows.append(f"| {occasion} | {code} |")
    return "\n".join(rows)


def role_of(command: BotCommand) -> str:
    """Return the roles that may use a command, or "" for a command of everybody."""
    if not command.permission:
        return ""
    bits = PERMISSIONS[command.permission]
    # Roles of one bit only: those of several bits contain them.
    names = [name for name, bit in ROLES.items() if bit & bits and bit & (bit - 1) == 0]
    return " or ".join(dict.fromkeys(name for name in names if name in _ROLES_LISTED))


def _where(command: BotCommand) -> str:
    places = {CommandScope.ANYWHERE: "", CommandScope.DM: "message to the bot", CommandScope.MATCH: "match channel"}
    return "; ".join(word for word in (places[command.scope], "hidden" if command.hidden else "") if word)


# ROLES has several names for some bits. These are the ones that the documentation uses.
_ROLES_LISTED: Final = ("supporter", "premium", "tournament", "nominator", "moderator", "administrator", "developer")

_HEAD: Final = """# The bot

This page lists every command of the bot, who may use it and where. The bot is always online. It has id 1 and the name
in the setting `bot_name`.

**How to use commands.** In a channel, start the line with `!`. In a message to the bot, you can leave out the `!`. In
the tables, `<>` marks a required argument and `[]` an optional one. Put a name with spaces in quotes. `#3` means the
player with id 3.

**Who sees them.** Only you see a *hidden* command and its answer. The bot ignores commands that you may not use.

**Limits.** A player may use one command per second, in bursts of five. Commands that calculate pp or read many rows
are limited to 20 per minute.

**Now playing.** The bot remembers the map of your last `/np` for five minutes. If you send `/np` to the bot, it
answers with the map's pp.

Every action of staff is written to the audit log.
"""

# The fixed lines of `mp_lines` and `kiai.multiplayer.lines`, with the placeholders of a reader.
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
        "a player joins, moves or leaves",
        (
            "<name> joined in slot <n>[ for team <red|blue>].",
            "<name> moved to slot <n>",
            "<name> left the game.",
        ),
    ),
    (
        "a change of host or team",
        (
            "<name> became the host.",
            "<name> changed to <Blue|Red>",
        ),
    ),
    (
        "the host selects a map",
        (
            "Host is changing map...",
            "Beatmap changed to: <artist> - <title> [<version>] (<link>)",
        ),
    ),
    (
        "a match is played",
        (
            "All players are ready",
            "The match has started!",
            "<name> finished playing (Score: <n>, <PASSED|FAILED>).",
            "The match has finished!",
        ),
    ),
    (
        "`!roll` and `!mp roll`",
        ("<name> rolls <n> point(s)",),
    ),
    (
        "`!where` to the bot",
        (
            "<name> is in <country>",
            "The user is currently not online.",
            "The user's location could not be determined.",
        ),
    ),
    (
        "`!stats` to the bot",
        (
            "Stats for (<name>)[<link>][ is <status>]:",
            "Score:    <n> (#<rank>)",
            "Plays:    <n> (lv<level>)",
            "Accuracy: <n>%",
        ),
    ),
    (
        "countdowns",
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

The creator and the referees may use every `!mp` command. The host may use those that set up and start the match.
Everybody else may use only `help`, `settings`, `link`, `listrefs`, `picks` and `roll`. A command acts on the match in
whose channel you write it.

Players see their match's channel as `#multiplayer`. A referee does not need a slot: `/join #multi_<number>` opens the
channel of a match, and commands written there act on that match. `!mp addref` sends new referees the number.

A player who creates a match with a command gets a slot in it, unless the player is already in another match. In that
case the player stays there and only joins the new match's channel. Such matches have no host until one is set. They
stay open for half an hour while they are empty. Players join them through their link, and referees need no password.
A silenced player leaves the match, even its creator.

Conflicting mods are resolved: `EZHR` becomes Easy, and `DTHT` becomes DoubleTime. Mods that the map's mode does not
have are dropped. The last frames of a play decide who wins the scrim point, and the submitted scores if pp decide.
`ban` and `unban` apply to a pick if the loaded mappool has one of that name, otherwise to a player; `banpick` and
`unbanpick` always apply to picks. Each player can `roll` once an hour, and again after a scrim has begun.

The audit log has each match made by a command, each `force`, and each `close`, `kick` and `ban` of staff in a match
that another player created.

## Lines that tools of referees read

The bot uses exactly the wording of the official server for these lines. It sends them after the action, with the
result. Surplus words of a command are ignored, and `_` may replace a space in a name.

{lines}

`settings` answers with `Room name: <name>, History: <link>`, `Beatmap: <link> <artist> - <title> [<version>]`,
`Team mode: <mode>, Win condition: <condition>`, `Active mods: <Mod, Mod[, Freemod]>`, `Players: <n>`, and one line
with fixed columns for each player:

```
Slot 1  Not Ready https://osu.example/u/3 anna            [Host / Team Red  / Hidden]
```

These commands of other servers are not available: `verify` and `link`, because the website and the game share one
account; `speedrun`, `stealth`, `switchserv`, and commands that run code or store scores from chat.

This page is generated from `src/kiai/faces/bot/`.
"""

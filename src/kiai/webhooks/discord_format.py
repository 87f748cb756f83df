"""The format of Discord: one embed for each event.

Names, titles, reasons and reports come from players. `neutral` takes the meaning of Discord's markdown, links and
mentions from them.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from kiai.osu.modes import mode_text
from kiai.osu.texts import one_line

TEXT_MAX: Final = 500  # characters of one text from outside
TITLE_MAX: Final = 150
DESCRIPTION_MAX: Final = 4_000  # Discord allows 4,096
LINES_MAX: Final = 5  # of the chat, in a report
LINE_MAX: Final = 120
CHANNEL_MAX: Final = 32
PURPLE: Final = 0x7C5CFF

# Discord shows any ASCII punctuation after a backslash as it is. `:` begins emoji and times, `//` is part of links.
_MARKS: Final = re.compile(r"[\\*_~`|<>#\[\]():]|(?<=/)/")
# A backslash does not stop every kind of mention. Spaces without width do.
_AT: Final = "\u200b@\u200b"

STATUSES: Final[Mapping[int, str]] = {
    -1: "not submitted",
    0: "pending",
    1: "outdated",
    2: "ranked",
    3: "approved",
    4: "qualified",
    5: "loved",
}
ACTS: Final[Mapping[str, str]] = {
    "silence": "silenced",
    "unsilence": "lifted the silence of",
    "kick": "kicked",
    "restrict": "restricted",
    "unrestrict": "lifted the restriction of",
    "ban": "banned",
    "unban": "lifted the ban of",
    "freeze": "froze",
    "unfreeze": "unfroze",
    "donor_give": "gave donor time to",
    "donor_take": "took donor time from",
    "donor_end": "ended the donor time of",
    "privileges": "changed the privileges of",
}


def body_of(event: str, data: Mapping[str, Any], *, at_ms: int, server: str, link: Callable[[str], str]) -> bytes:
    """Return the body. `link` turns a path of the website into a URL."""
    title, lines = _WRITERS[event](data, link)
    embed = {
        "title": title,
        "description": "\n".join(lines)[:DESCRIPTION_MAX],
        "color": PURPLE,
        "timestamp": datetime.fromtimestamp(at_ms // 1000, UTC).isoformat(),
        "footer": {"text": one_line(server)[:TITLE_MAX]},
    }
    return msgspec.json.encode({"embeds": [embed], "allowed_mentions": {"parse": []}})


def neutral(text: str, longest: int = TEXT_MAX) -> str:
    """Return a text from outside as one line that Discord shows as plain text."""
    line = one_line(text)
    line = line if len(line) <= longest else f"{line[: longest - 1]}\u2026"
    return _MARKS.sub(r"\\\g<0>", line).replace("@", _AT)


def _player(player: Mapping[str, Any] | None, link: Callable[[str], str]) -> str:
    if player is None:
        return "nobody"
    if not player["id"]:
        return "The server"
    url = link(f"u/{player['id']}")
    return f"[{neutral(player['name'] or str(player['id']))}]({url})"


def _map(data: Mapping[str, Any], link: Callable[[str], str]) -> str:
    title = neutral(data.get("map_title") or f"map {data['map_id']}", TITLE_MAX)
    url = link(f"b/{data['map_id']}")
    return f"[{title}]({url})"


def _mode(data: Mapping[str, Any]) -> str:
    return f" ({mode_text(data['mode'])})" if data["mode"] else ""


def _reason(data: Mapping[str, Any]) -> list[str]:
    return [f"Reason: {neutral(data['reason'])}"] if data["reason"] else []


def _first_place(data: Mapping[str, Any], link: Callable[[str], str]) -> tuple[str, list[str]]:
    taken = f", taken from {_player(data['previous'], link)}" if data["previous"] else ""
    return "First place", [f"{_player(data['player'], link)} is first on {_map(data, link)}{_mode(data)}{taken}"]


def _top_play(data: Mapping[str, Any], link: Callable[[str], str]) -> tuple[str, list[str]]:
    line = f"{_player(data['player'], link)} has set {data['pp']:,.2f}pp on {_map(data, link)}{_mode(data)}"
    return "Best play of the server", [line]


def _map_status(data: Mapping[str, Any], link: Callable[[str], str]) -> tuple[str, list[str]]:
    now, before = (STATUSES.get(data[key], str(data[key])) for key in ("status", "previous"))
    return "Map status", [f"{_map(data, link)} is now {now}. It was {before}.", *_reason(data)]


def _player_new(data: Mapping[str, Any], link: Callable[[str], str]) -> tuple[str, list[str]]:
    return "New player", [f"{_player(data['player'], link)} has registered"]


def _sanction(data: Mapping[str, Any], link: Callable[[str], str]) -> tuple[str, list[str]]:
    act = ACTS.get(data["action"], data["action"])
    until = f" until <t:{data['until']}:f>" if data["until"] else ""
    return "Act of the staff", [
        f"{_player(data['actor'], link)} {act} {_player(data['target'], link)}{until}",
        *_reason(data),
    ]


def _report(data: Mapping[str, Any], link: Callable[[str], str]) -> tuple[str, list[str]]:
    chat = [
        f"{neutral(line['channel'], CHANNEL_MAX)}\\: {neutral(line['text'], LINE_MAX)}"
        for line in data["lines"][-LINES_MAX:]
    ]
    about = f"{_player(data['reporter'], link)} reports {_player(data['target'], link)} ({neutral(data['kind'])})"
    return f"Report {data['id']}", [about, neutral(data["text"]), *chat]


def _flag(data: Mapping[str, Any], link: Callable[[str], str]) -> tuple[str, list[str]]:
    lines = [f"{_player(data['player'], link)}: {neutral(data['kind'])}", neutral(data["details"])]
    figures = ", ".join(f"{key} {value}" for key, value in data["figures"].items())
    return "Flag", [*lines, neutral(figures)]


def _server_start(data: Mapping[str, Any], link: Callable[[str], str]) -> tuple[str, list[str]]:
    return "Server start", [f"The server runs. Version {neutral(data['version'])}"]


def _server_stop(data: Mapping[str, Any], link: Callable[[str], str]) -> tuple[str, list[str]]:
    return "Server stop", ["The server stops."]


def _backup(data: Mapping[str, Any], link: Callable[[str], str]) -> tuple[str, list[str]]:
    titles = {"failed": "Backup failed", "ok": "Backups work again", "old": "No recent backup"}
    return titles.get(data["state"], "Backup"), [neutral(data["reason"])]


def _test(data: Mapping[str, Any], link: Callable[[str], str]) -> tuple[str, list[str]]:
    return "Test", ["This webhook works."]


_WRITERS: Final[Mapping[str, Callable[[Mapping[str, Any], Callable[[str], str]], tuple[str, list[str]]]]] = {
    "first_place": _first_place,
    "top_play": _top_play,
    "map_status": _map_status,
    "player_new": _player_new,
    "sanction": _sanction,
    "report": _report,
    "flag": _flag,
    "server_start": _server_start,
    "server_stop": _server_stop,
    "backup": _backup,
    "test": _test,
}

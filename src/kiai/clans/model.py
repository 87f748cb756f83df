"""The values of acts in clans: roles, forms of joining, kinds of history, refusals."""

from enum import IntEnum
from typing import Final, Literal

import msgspec

from kiai.errors import LacksRole, WrongState

CLANS_CHANGED: Final = "clan"
"""The kind of the outbox rows for acts in clans. The payload is a `Notice` as JSON."""
PRIVATE: Final = ("invite", "deny", "request")
"""The kinds of notices that only the players concerned get. They change nothing that others see."""
DAY_MS: Final = 86_400_000
HOUR_MS: Final = 3_600_000
RESERVED_DAYS: Final = 30
"""Days for which a former name or tag stays free for nobody but its own clan."""
RESERVED_OF_ONE_MAX: Final = 10
"""Reserved names and tags of one clan. Its owner cannot change a name or tag beyond it; staff can."""
DESCRIPTION_MAX: Final = 500
INHERIT_AFTER_DAYS: Final = 30
INVITATIONS_MAX: Final = 100
"""Open invitations of a clan."""
REQUESTS_MAX: Final = 100
"""Open requests to join a clan."""
REQUESTS_OF_ONE_MAX: Final = 10
"""Open requests of one player."""
HISTORY_MAX: Final = 1_000
"""Acts that a clan's history keeps."""
ENDED_HISTORY_DAYS: Final = 90
"""Days for which the history of a disbanded clan is stored."""
CODE_LENGTH: Final = 12
CODE_CHARACTERS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
WRONG_CODES_PER_HOUR: Final = 20
ACTS_PER_MINUTE: Final = 10
"""Acts of one player in clans that others learn of."""
ACTS_BURST: Final = 30
"""The number of these acts at once, e.g. answers to all open requests after a week."""


class Role(IntEnum):
    """The role of a member: the values of `users.clan_priv`."""

    MEMBER = 1
    OFFICER = 2
    OWNER = 3


class JoinForm(IntEnum):
    """How players join a clan: the values of `clans.joining`."""

    CLOSED = 0
    OPEN = 1
    INVITE = 2
    REQUEST = 3


FORMS: Final = {form.name.lower(): form for form in JoinForm}

HistoryKind = Literal[
    "found",
    "join",
    "leave",
    "kick",
    "promote",
    "demote",
    "transfer",
    "inherit",
    "rename",
    "tag",
    "form",
    "icon",
    "disband",
]
"""The kinds of acts in a clan's history."""

NoticeKind = Literal["invite", "deny", "request"]
"""Acts that only the players concerned learn of."""


def icon_path(clan_id: int, key: str | None) -> str:
    """Return the path of an icon on the website, which changes with the icon; empty without one."""
    return f"/pictures/clans/{clan_id}?{key[-16:-4]}" if key else ""


class ClanPlayer(msgspec.Struct, frozen=True):
    """The columns of an account that acts in clans read and lock."""

    id: int
    name: str
    priv: int
    silenced_until_ms: int
    clan_id: int
    clan_priv: int
    clan_left_at_ms: int | None
    email_verified_at_ms: int | None


class ChangingClan(msgspec.Struct, frozen=True):
    """The columns of a clan that acts read and lock."""

    id: int
    name: str
    tag: str
    owner_id: int
    joining: int
    code: str | None
    description: str
    icon: str | None
    renamed_at_ms: int | None
    owner_away_since_ms: int | None


class Notice(msgspec.Struct, frozen=True):
    """An act, as the outbox delivers it. `id` tells deliveries of one act apart from those of another.

    `player_id` and `actor_id` are 0 without a player. `by_staff`: the actor does not act as a member of the clan.
    """

    id: str
    kind: str
    at_ms: int
    clan_id: int
    name: str
    tag: str
    player_id: int = 0
    actor_id: int = 0
    by_staff: bool = False
    members: tuple[int, ...] = ()
    """The members of a clan that was disbanded."""
    icon: str = ""
    """The key of its icon, which no row refers to any longer."""


notice_of: Final = msgspec.json.Decoder(Notice).decode
"""Reads the payload of a row of the outbox of the kind `CLANS_CHANGED`."""


class ClanJoined(msgspec.Struct, frozen=True):
    """The result of `join`: the player is a member, or the officers have a request."""

    clan_id: int
    tag: str
    name: str
    state: Literal["joined", "requested"]


WaitFor = Literal["entering", "renaming", "reserving"]
"""The act that has to wait: founding or joining a clan, another name, another reserved name or tag."""


class MustWait(WrongState):
    """A waiting time has not ended. It ends at `until_ms` (unix ms).

    `player` is the name of the player who waits, or empty if that is the caller or the clan.
    """

    def __init__(self, reason: str, wait_for: WaitFor, until_ms: int, player: str = "") -> None:
        super().__init__(reason)
        self.wait_for = wait_for
        self.until_ms = until_ms
        self.player = player


class WrongClanCode(LacksRole):
    """The clan does not have this code."""


def only_owner() -> LacksRole:
    """Return the refusal for a member who is not the owner."""
    return LacksRole("only the owner can do that")


def only_officers() -> LacksRole:
    """Return the refusal for a member who is not an officer."""
    return LacksRole("only officers can do that")


def not_in_clan() -> WrongState:
    """Return the refusal for a player without a clan."""
    return WrongState("you are not in a clan")


def is_closed() -> WrongState:
    """Return the refusal of a clan that nobody can join."""
    return WrongState("the clan is closed")

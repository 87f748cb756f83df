"""The values of accounts: users, players, friends and API keys."""

import enum
from typing import Final

import msgspec

BOT_ID: Final = 1
FIRST_PLAYER_ID: Final = 3  # 1 is the bot, 2 is never given out
ID_MAX: Final = 2_147_483_647  # clients and the column have 32 bits with a sign
KEY_LABEL_MAX: Final = 64
USERPAGE_MAX: Final = 10_000
PLAY_STYLE_MAX: Final = 15  # bits: 1 mouse, 2 tablet, 4 keyboard, 8 touch


class Privacy(enum.IntFlag):
    """The facts that a player keeps private. These bits are stored."""

    FRIENDS_ONLY = 1
    """Only friends may send private messages."""
    HIDE_LAST_SEEN = 2
    HIDE_ONLINE = 4
    """The website and the API show the player as offline. Other players in the game see the status."""


class User(msgspec.Struct, frozen=True):
    """All fields of an account except its credentials. Times are unix milliseconds."""

    id: int
    name: str
    safe_name: str
    priv: int
    country: str
    created_at_ms: int
    active_at_ms: int
    silenced_until_ms: int
    donor_until_ms: int
    preferred_mode: int
    play_style: int
    clan_id: int
    clan_priv: int
    custom_badge_name: str | None
    custom_badge_icon: str | None
    userpage_content: str | None
    avatar: str | None
    renamed_at_ms: int | None
    banned_at_ms: int | None
    friends_only_dms: int
    email_verified_at_ms: int | None
    cover: str | None
    privacy: int
    home_country: str | None
    country_changed_at_ms: int | None
    deletes_at_ms: int | None
    deleted_at_ms: int | None
    restricted_until_ms: int = 0
    """The end of the restriction; 0 without one."""
    freeze_until_ms: int = 0

    @property
    def own_country(self) -> str:
        """The country that the player has set, also while the player hides it."""
        return self.country if self.home_country is None else self.home_country


class Player(msgspec.Struct, frozen=True):
    """The fields of an account that boards and lists show. The fields of the clan are None without a clan."""

    id: int
    name: str
    priv: int
    country: str
    clan_id: int | None
    clan_name: str | None
    clan_tag: str | None


class Account(msgspec.Struct, frozen=True):
    """The fields of an account that the operator sees."""

    id: int
    name: str
    safe_name: str
    email: str
    priv: int
    country: str
    created_at_ms: int
    banned_at_ms: int | None
    email_verified_at_ms: int | None
    silenced_until_ms: int = 0
    restricted_until_ms: int = 0
    freeze_until_ms: int = 0
    donor_until_ms: int = 0
    clan_id: int = 0
    language: str = ""


class GameLogin(msgspec.Struct, frozen=True):
    """A login with the game, as its player sees it. `build` is yyyymmdd."""

    at_ms: int
    address: str
    build: int
    stream: str


class RecordedLogin(msgspec.Struct, frozen=True):
    """A login with the game, as staff sees it. `build` is yyyymmdd."""

    id: int
    at_ms: int
    address: str
    build: int
    stream: str


class Friend(msgspec.Struct, frozen=True):
    """One entry of a player's friend list."""

    id: int
    name: str
    country: str
    mutual: bool


class Relation(msgspec.Struct, frozen=True):
    """A friend or a blocked player in the lists of the player's own page. `mutual` is False for a blocked player."""

    id: int
    name: str
    priv: int
    country: str
    privacy: int
    active_at_ms: int
    added_at_ms: int
    clan_id: int | None
    clan_name: str | None
    clan_tag: str | None
    mutual: bool


class OldName(msgspec.Struct, frozen=True):
    """A name that a player had until `released_at_ms` (unix ms)."""

    name: str
    released_at_ms: int


class IrcPassword(msgspec.Struct, frozen=True):
    """The times of a player's IRC password. The password itself is not stored."""

    created_at_ms: int
    used_at_ms: int | None


class ApiKey(msgspec.Struct, frozen=True):
    """An API key in the list of its owner. The key itself is not stored."""

    id: int
    user_id: int
    label: str
    created_at_ms: int
    used_at_ms: int | None
    revoked_at_ms: int | None

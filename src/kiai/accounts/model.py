"""An account and what surrounds it, as values."""

from typing import Final

import msgspec

BOT_ID: Final = 1
FIRST_PLAYER_ID: Final = 3  # 1 is the bot, 2 is never given out
ID_MAX: Final = 2_147_483_647
KEY_LABEL_MAX: Final = 64
USERPAGE_MAX: Final = 10_000
PLAY_STYLE_MAX: Final = 15  # 1 mouse, 2 tablet, 4 keyboard, 8 touch


class User(msgspec.Struct, frozen=True):
    """Everything about an account but its credentials; times in unix ms."""

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


class Player(msgspec.Struct, frozen=True):
    """Who somebody is, as boards and lists show it. The clan's fields are None without a clan."""

    id: int
    name: str
    priv: int
    country: str
    clan_id: int | None
    clan_name: str | None
    clan_tag: str | None


class Account(msgspec.Struct, frozen=True):
    """An account as its operator sees it."""

    id: int
    name: str
    safe_name: str
    email: str
    priv: int
    country: str
    created_at_ms: int
    banned_at_ms: int | None


class Friend(msgspec.Struct, frozen=True):
    """One line of a player's friend list."""

    id: int
    name: str
    country: str
    mutual: bool


class ApiKey(msgspec.Struct, frozen=True):
    """A key as its holder may list it: never the key itself."""

    id: int
    user_id: int
    label: str
    created_at_ms: int
    used_at_ms: int | None
    revoked_at_ms: int | None

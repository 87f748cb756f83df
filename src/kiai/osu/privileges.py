"""Privileges: stored bits, the permissions they give, ranks of staff, and what the client is told.

Code asks for a permission, never for a bit: `may(priv, "users.silence")`. A restricted account has none, whatever
other bits it keeps for the day the restriction is lifted.

See docs/spec/game-rules.md#privileges.
"""

import enum
from collections.abc import Mapping
from typing import Final


class Privilege(enum.IntFlag):
    """The stored bits; 3, 6, 8, 9 and those above 14 are unused and kept as they are."""

    UNRESTRICTED = 1
    VERIFIED = 2
    WHITELISTED = 4
    SUPPORTER = 16
    PREMIUM = 32
    ALUMNI = 128
    TOURNEY_MANAGER = 1024
    NOMINATOR = 2048
    MODERATOR = 4096
    ADMINISTRATOR = 8192
    DEVELOPER = 16384


UNRESTRICTED: Final = int(Privilege.UNRESTRICTED)
VERIFIED: Final = int(Privilege.VERIFIED)
TOURNEY_MANAGER: Final = int(Privilege.TOURNEY_MANAGER)
NOMINATOR: Final = int(Privilege.NOMINATOR)
MODERATOR: Final = int(Privilege.MODERATOR)
ADMINISTRATOR: Final = int(Privilege.ADMINISTRATOR)
DEVELOPER: Final = int(Privilege.DEVELOPER)

DONATOR: Final[int] = int(Privilege.SUPPORTER | Privilege.PREMIUM)
STAFF: Final[int] = MODERATOR | ADMINISTRATOR | DEVELOPER
OWNER: Final[int] = sum(map(int, Privilege))
"""Every bit there is: what the owner of a server holds."""

PERMISSIONS: Final[Mapping[str, int]] = {
    "chat.write": VERIFIED,
    "chat.bypass_silence_of_channel": MODERATOR,
    "chat.moderate": MODERATOR,
    "users.notes": MODERATOR,
    "users.silence": MODERATOR,
    "users.kick": MODERATOR,
    "reports.handle": MODERATOR,
    "matches.enter_locked": MODERATOR,
    "matches.referee_any": TOURNEY_MANAGER,
    "matches.unlimited": TOURNEY_MANAGER,
    "pools.manage": TOURNEY_MANAGER,
    "beatmaps.set_status": NOMINATOR,
    "beatmaps.requests": NOMINATOR,
    "users.restrict": ADMINISTRATOR,
    "users.ban": ADMINISTRATOR,
    "users.rename_other": ADMINISTRATOR,
    "users.inspect": ADMINISTRATOR,
    "alerts.send": ADMINISTRATOR,
    "announce.post": ADMINISTRATOR,
    "clans.manage_any": ADMINISTRATOR,
    "avatars.delete": ADMINISTRATOR,
    "scores.hide": ADMINISTRATOR,
    "audit.read": ADMINISTRATOR,
    "audit.read_own": STAFF,
    "users.privileges": DEVELOPER,
    "donors.manage": DEVELOPER,
    "scores.wipe": DEVELOPER,
    "beatmaps.wipe_scores": DEVELOPER,
    "server.maintenance": DEVELOPER,
    "server.shutdown": DEVELOPER,
    "server.debug": DEVELOPER,
    "recalc.run": DEVELOPER,
    "settings.write": DEVELOPER,
    "tokens.revoke_any": DEVELOPER,
    "users.rename_self": DONATOR,
    "comments.bypass_colour": DONATOR,
    "client.tournament": DONATOR | TOURNEY_MANAGER,
}
"""Permission -> the bits of which any one gives it (docs/spec/game-rules.md#privileges)."""

ROLES: Final[Mapping[str, int]] = {
    "normal": UNRESTRICTED,
    "unrestricted": UNRESTRICTED,
    "verified": VERIFIED,
    "whitelisted": int(Privilege.WHITELISTED),
    "supporter": int(Privilege.SUPPORTER),
    "premium": int(Privilege.PREMIUM),
    "alumni": int(Privilege.ALUMNI),
    "tournament": TOURNEY_MANAGER,
    "tourney_manager": TOURNEY_MANAGER,
    "nominator": NOMINATOR,
    "mod": MODERATOR,
    "moderator": MODERATOR,
    "admin": ADMINISTRATOR,
    "administrator": ADMINISTRATOR,
    "developer": DEVELOPER,
    "owner": OWNER,
}
"""Word that staff type -> bits it stands for (docs/spec/game-rules.md#privileges)."""


def effective(priv: int) -> int:
    """The bits that count now: none for a restricted account, else the stored ones and those they imply."""
    if not priv & UNRESTRICTED:
        return 0
    if priv & DEVELOPER:
        return priv | ADMINISTRATOR | MODERATOR | NOMINATOR | TOURNEY_MANAGER
    if priv & ADMINISTRATOR:
        return priv | MODERATOR
    return priv


def may(priv: int, permission: str) -> bool:
    """Whether an account with these stored bits has the permission, a key of `PERMISSIONS`."""
    return effective(priv) & PERMISSIONS[permission] != 0


def staff_rank(priv: int) -> int:
    """3 developer, 2 administrator, 1 moderator, 0 everybody else, restricted staff among them."""
    active = effective(priv)
    if active & DEVELOPER:
        return 3
    if active & ADMINISTRATOR:
        return 2
    return 1 if active & MODERATOR else 0


def privilege_names(priv: int) -> list[str]:
    """The names of the stored bits in lower case, lowest bit first; each is a key of `ROLES`."""
    return [str(bit.name).lower() for bit in Privilege if priv & bit]


def client_privileges(priv: int) -> int:
    """The bits that packets carry (docs/spec/game-rules.md#client-privileges).

    They come from stored bits only, since the client shows them as the player's badge.

    The caller adds supporter (4) to the player's own packet, and takes tournament (32) from everybody else's.
    """
    if not priv & UNRESTRICTED:
        return 0
    bits = 1
    for mask, client_bit in _CLIENT_BITS:
        if priv & mask:
            bits |= client_bit
    return bits


_CLIENT_BITS: Final[tuple[tuple[int, int], ...]] = (
    (DONATOR, 4),
    (MODERATOR, 2),
    (ADMINISTRATOR, 16),
    (DEVELOPER, 8),
    (TOURNEY_MANAGER, 32),
)

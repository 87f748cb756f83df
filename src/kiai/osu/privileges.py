"""Privileges: the stored bits, the permissions they grant, the ranks of staff, and the bits in packets.

Check permissions, not bits: `may(priv, "users.silence")`. A restricted account has no permissions. It keeps its other
bits, which apply again when the restriction is lifted.

See docs/spec/game-rules.md#privileges.
"""

import enum
from collections.abc import Mapping
from typing import Final


class Privilege(enum.IntFlag):
    """The stored bits. Bits 3, 6, 8, 9 and those above 14 are unused and stay unchanged in stored values."""

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
"""All privileges: those of the owner of a server."""

PERMISSIONS: Final[Mapping[str, int]] = {
    "chat.write": VERIFIED,
    "chat.bypass_silence_of_channel": MODERATOR,
    "chat.moderate": MODERATOR,
    "users.notes": MODERATOR,
    "users.silence": MODERATOR,
    "users.kick": MODERATOR,
    "users.devices": MODERATOR,
    "users.spectators": MODERATOR,
    "users.client": MODERATOR,
    "reports.handle": MODERATOR,
    "flags.handle": MODERATOR,
    "server.samples": MODERATOR,
    "matches.enter_locked": MODERATOR,
    "matches.referee_any": TOURNEY_MANAGER,
    "matches.unlimited": TOURNEY_MANAGER,
    "matches.force": ADMINISTRATOR | TOURNEY_MANAGER,
    "pools.manage": TOURNEY_MANAGER,
    "beatmaps.set_status": NOMINATOR,
    "beatmaps.requests": NOMINATOR,
    "beatmaps.inspect": NOMINATOR | ADMINISTRATOR,
    "users.reconnect": ADMINISTRATOR,
    "users.restrict": ADMINISTRATOR,
    "users.ban": ADMINISTRATOR,
    "users.freeze": ADMINISTRATOR,
    "users.whitelist": ADMINISTRATOR,
    "users.country": ADMINISTRATOR,
    "users.rename_other": ADMINISTRATOR,
    "users.inspect": ADMINISTRATOR,
    "users.recover": ADMINISTRATOR,
    "alerts.send": ADMINISTRATOR,
    "announce.post": ADMINISTRATOR,
    "clans.manage_any": ADMINISTRATOR,
    "avatars.delete": ADMINISTRATOR,
    "medals.award": ADMINISTRATOR,
    "news.write": ADMINISTRATOR,
    "pages.write": ADMINISTRATOR,
    "scores.hide": ADMINISTRATOR,
    "audit.read": ADMINISTRATOR,
    "audit.read_own": STAFF,
    "users.privileges": DEVELOPER,
    "users.delete": DEVELOPER,
    "faq.write": DEVELOPER,
    "filter.write": DEVELOPER,
    "channels.write": DEVELOPER,
    "webhooks.write": DEVELOPER,
    "addresses.block": DEVELOPER,
    "donors.manage": DEVELOPER,
    "scores.wipe": DEVELOPER,
    "beatmaps.wipe_scores": DEVELOPER,
    "server.maintenance": DEVELOPER,
    "server.shutdown": DEVELOPER,
    "server.debug": DEVELOPER,
    "server.health": DEVELOPER,
    "recalc.run": DEVELOPER,
    "jobs.run": DEVELOPER,
    "flags.scan": DEVELOPER,
    "settings.write": DEVELOPER,
    "tokens.revoke_any": DEVELOPER,
    "users.rename_self": DONATOR,
    "comments.bypass_colour": DONATOR,
    "scores.overwrite": DONATOR,
    "client.tournament": DONATOR | TOURNEY_MANAGER,
}
"""Permission -> the bits that grant it, any one of them (docs/spec/game-rules.md#privileges)."""

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
"""Role in commands -> its bits (docs/spec/game-rules.md#privileges)."""


def effective(priv: int) -> int:
    """Return the bits in effect: 0 for a restricted account, otherwise the stored bits and those that they imply."""
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
    """Return 3 for a developer, 2 for an administrator, 1 for a moderator, 0 for others and for restricted staff."""
    active = effective(priv)
    if active & DEVELOPER:
        return 3
    if active & ADMINISTRATOR:
        return 2
    return 1 if active & MODERATOR else 0


_ROLES_WITH_RIGHTS: Final = STAFF | NOMINATOR | TOURNEY_MANAGER


def loses_role(before: int, after: int) -> bool:
    """Whether a change of the stored bits takes a role with rights over others: staff, nominator, tournament staff.

    A restriction takes all of them.
    """
    return effective(before) & ~effective(after) & _ROLES_WITH_RIGHTS != 0


def privilege_names(priv: int) -> list[str]:
    """Return the names of the stored bits in lower case, lowest bit first; each one is a key of `ROLES`."""
    return [str(bit.name).lower() for bit in Privilege if priv & bit]


def client_privileges(priv: int) -> int:
    """Return the bits for packets (docs/spec/game-rules.md#client-privileges).

    The caller adds supporter (4) in the packet to the player, and removes tournament (32) in packets to others.
    """
    # Stored bits, not effective ones: the client shows each bit as a badge, and an implied role has none.
    if not priv & UNRESTRICTED:
        return 0
    bits = 1
    for mask, client_bit in _CLIENT_BITS:
        if priv & mask:
            bits |= client_bit
    return bits


# Stored privileges -> the client's bit.
_CLIENT_BITS: Final[tuple[tuple[int, int], ...]] = (
    (DONATOR, 4),
    (MODERATOR, 2),
    (ADMINISTRATOR, 16),
    (DEVELOPER, 8),
    (TOURNEY_MANAGER, 32),
)

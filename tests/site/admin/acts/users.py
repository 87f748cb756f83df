"""The acts on an account."""

import time

from sqlalchemy import update
from tests.site.admin.kit import ADMINISTRATOR, DEVELOPER, MODERATOR, PLAYER, Case, World
from tests.site.kit import Browser, FormOnPage

from kiai.storage.tables import users

PATH = "/admin/users/{user}"
DELETED = 17
"""A player of the demo world whom only this act needs."""


def on_player(form: str, **fields: str):  # type: ignore[no-untyped-def]
    """Return a function that fills in a form on the page of the player."""

    def filled_in(world: World, browser: Browser) -> FormOnPage:
        return browser.get(f"/admin/users/{PLAYER}").form(form).fill(**fields)

    return filled_in


def state(**values: object):  # type: ignore[no-untyped-def]
    """Return a function that gives the player's account these values, on top of those of a normal one."""
    normal = {
        "priv": 3,
        "silenced_until_ms": 0,
        "restricted_until_ms": 0,
        "freeze_until_ms": 0,
        "donor_until_ms": 0,
        "banned_at_ms": None,
        "avatar": None,
        "cover": None,
        "userpage_content": None,
    }

    def prepare(world: World) -> None:
        world.write(update(users).where(users.c.id == PLAYER).values(**{**normal, **values}))

    return prepare


SOON_MS = int(time.time() * 1000) + 3_600_000
CASES = {
    f"{PATH}/silence": Case("silence", MODERATOR, on_player("Silence", Duration="10m", Reason="spam"), state()),
    f"{PATH}/unsilence": Case("unsilence", MODERATOR, on_player("Lift silence"), state(silenced_until_ms=SOON_MS)),
    f"{PATH}/kick": Case("kick", MODERATOR, on_player("Kick", Reason="stuck"), state(), changes=False),
    f"{PATH}/restrict": Case("restrict", ADMINISTRATOR, on_player("Restrict", Reason="aa"), state()),
    f"{PATH}/unrestrict": Case("unrestrict", ADMINISTRATOR, on_player("Lift restriction"), state(priv=2)),
    f"{PATH}/ban": Case("ban", ADMINISTRATOR, on_player("Ban", Reason="cheats"), state()),
    f"{PATH}/unban": Case("unban", ADMINISTRATOR, on_player("Lift ban"), state(priv=2, banned_at_ms=5)),
    f"{PATH}/freeze": Case("freeze", ADMINISTRATOR, on_player("Freeze", Reason="liveplay"), state()),
    f"{PATH}/unfreeze": Case("unfreeze", ADMINISTRATOR, on_player("Lift freeze"), state(freeze_until_ms=SOON_MS)),
    f"{PATH}/note": Case("note", MODERATOR, on_player("Note", Note="was warned"), state()),
    f"{PATH}/rename": Case("rename", ADMINISTRATOR, on_player("Rename", New_name="renamed player"), state()),
    f"{PATH}/country": Case("country", ADMINISTRATOR, on_player("Change country", Country="IS"), state()),
    f"{PATH}/reset-link": Case(
        "reset_link", ADMINISTRATOR, on_player("Reset link", Reason="lost"), state(), changes=False
    ),
    f"{PATH}/reset-second-factor": Case(
        "second_factor_reset", ADMINISTRATOR, on_player("Reset second factor", Reason="lost the phone"), state()
    ),
    f"{PATH}/avatar": Case(
        "content_remove", ADMINISTRATOR, on_player("Remove avatar", Reason="rude"), state(avatar="a" * 32)
    ),
    f"{PATH}/cover": Case(
        "content_remove", ADMINISTRATOR, on_player("Remove cover", Reason="rude"), state(cover="c" * 32)
    ),
    f"{PATH}/userpage": Case(
        "content_remove", ADMINISTRATOR, on_player("Remove userpage", Reason="rude"), state(userpage_content="text")
    ),
    f"{PATH}/privileges": Case("privileges", DEVELOPER, on_player("Privileges", nominator="1", Reason="team"), state()),
    f"{PATH}/donor": Case(
        "donor_give", DEVELOPER, on_player("Give donor time", Tier="supporter", Duration="30d"), state()
    ),
    f"{PATH}/end-donor": Case(
        "donor_take", DEVELOPER, on_player("End donor time"), state(priv=19, donor_until_ms=SOON_MS)
    ),
    f"{PATH}/wipe": Case("user_wipe", DEVELOPER, on_player("Wipe scores", Reason="cheats"), state()),
    f"{PATH}/restore": Case("user_restore", DEVELOPER, on_player("Restore scores", Reason="appeal"), state()),
    f"{PATH}/delete": Case(
        "user_delete",
        DEVELOPER,
        lambda world, browser: browser.get(f"/admin/users/{DELETED}").form("Delete account"),
        target=lambda world: world.name(DELETED),
        changes=False,
    ),
}

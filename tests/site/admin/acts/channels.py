"""The acts on channels."""

from sqlalchemy import select, update
from tests.site.admin.kit import DEVELOPER, MODERATOR, Case, World
from tests.site.kit import Browser, FormOnPage

from kiai.storage.tables import channels

PATH = "/admin/channels/{channel}"
CHANNEL = "#osu"


def id_of(world: World, name: str = CHANNEL) -> int:
    """Return the id of a channel."""
    return int(world.row(select(channels.c.id).where(channels.c.name == name))[0])


def on_channel(form: str, **fields: str):  # type: ignore[no-untyped-def]
    """Return a function that fills in a form on the page of the channel."""

    def filled_in(world: World, browser: Browser) -> FormOnPage:
        return browser.get(f"/admin/channels/{id_of(world)}").form(form).fill(**fields)

    return filled_in


def state(**values: object):  # type: ignore[no-untyped-def]
    """Return a function that gives the channel these values, next to those of a normal one."""

    def prepare(world: World) -> None:
        changes = {"archived": 0, "moderated": 0, **values}
        world.write(update(channels).where(channels.c.name == CHANNEL).values(**changes))

    return prepare


def name(world: World) -> str:
    """Return the name of the channel."""
    return CHANNEL


CASES = {
    "/admin/channels/add": Case(
        "channel_edit",
        DEVELOPER,
        lambda world, browser: browser.get("/admin/channels").form("Add channel").fill(Name="team", Topic="Us"),
        target=lambda world: "#team",
    ),
    f"{PATH}/topic": Case("channel_edit", DEVELOPER, on_channel("Change topic", Topic="Be kind"), state(), name),
    f"{PATH}/moderate": Case("channel_moderated", MODERATOR, on_channel("Moderate"), state(), name),
    f"{PATH}/open": Case("channel_moderated", MODERATOR, on_channel("Stop moderating"), state(moderated=1), name),
    f"{PATH}/remove": Case("channel_edit", DEVELOPER, on_channel("Remove channel"), state(), name),
}

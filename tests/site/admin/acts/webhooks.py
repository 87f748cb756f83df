"""The acts on webhooks."""

from sqlalchemy import update
from tests.site.admin.kit import DEVELOPER, Case, World
from tests.site.kit import Browser, FormOnPage
from tests.wire.kit import cli

from kiai.storage.tables import webhooks

PATH = "/admin/webhooks"


def parked(world: World) -> int:
    """Add a webhook that is parked, and return its id."""
    url = world.receiver.url
    added = cli(world.server.data, "webhooks", "add", url, "--events", "flag", ALLOW_PRIVATE_WEBHOOKS="on")
    webhook_id = int(added["id"])
    error = "<b>connection refused</b>"
    world.write(update(webhooks).where(webhooks.c.id == webhook_id).values(parked=1, failures=7, last_error=error))
    return webhook_id


def on_newest(form: str):  # type: ignore[no-untyped-def]
    """Return a function that fills in a form of the newest webhook."""

    def filled_in(world: World, browser: Browser) -> FormOnPage:
        newest = browser.get(PATH).css("tr[data-webhook]")[-1].attributes["data-webhook"]
        return browser.get(f"{PATH}/{newest}").form(form).fill(Reason="the receiver works again")

    return filled_in


def prepare(world: World) -> None:
    """Add a parked webhook."""
    parked(world)


def receiver(world: World) -> str:
    """Return the name of the target in questions: the URL without its path."""
    return world.receiver.url.partition("/hook")[0]


CASES = {
    f"{PATH}/{{webhook}}/test": Case("webhook_edit", DEVELOPER, on_newest("Send a test"), prepare, receiver),
    f"{PATH}/{{webhook}}/remove": Case("webhook_edit", DEVELOPER, on_newest("Remove webhook"), prepare, receiver),
}

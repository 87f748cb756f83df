"""The acts on the whole server, and on blocked addresses."""

import time

from sqlalchemy import delete, insert, update
from tests.site.admin.kit import DEVELOPER, Case, World
from tests.site.kit import Browser, FormOnPage

from kiai.storage.outbox import TRIES_MAX
from kiai.storage.tables import address_blocks, outbox, site_texts, switches

PATH = "/admin/settings"
DAY_MS = 86_400_000
NETWORK = "198.51.100.0/24"


def on_server(form: str, **fields: str):  # type: ignore[no-untyped-def]
    """Return a function that fills in a form of the page of the settings."""

    def filled_in(world: World, browser: Browser) -> FormOnPage:
        return browser.get(PATH).form(form).fill(Reason="a test", **fields)

    return filled_in


def switched(name: str, value: int = 0, ends_at_ms: int = 0):  # type: ignore[no-untyped-def]
    """Return a function that sets a switch."""

    def prepare(world: World) -> None:
        world.write(update(switches).where(switches.c.name == name).values(value=value, ends_at_ms=ends_at_ms))

    return prepare


def server(world: World) -> str:
    """Return the name of the target in questions."""
    return "the server"


def in_a_day_ms() -> int:
    """Return the time in a day, in unix ms."""
    return int(time.time() * 1000) + DAY_MS


def without_block(world: World) -> None:
    """Remove the block of the tests."""
    world.write(delete(address_blocks).where(address_blocks.c.network == NETWORK))


def with_block(world: World) -> None:
    """Block the network of the tests."""
    without_block(world)
    world.write(insert(address_blocks).values(network=NETWORK, at_ms=0, ends_at_ms=0, actor_id=0, reason="<b>spam</b>"))


def end_block(world: World, browser: Browser) -> FormOnPage:
    """Fill in the form that ends the block."""
    return browser.get(f"{PATH}/addresses").follow(NETWORK).form("End the block").fill(Reason="sorry")


def with_parked_delivery(world: World) -> None:
    """Let the delivery of a row of the outbox have failed too often."""
    world.write(insert(outbox).values(at_ms=0, kind="nothing", payload="1", tries=TRIES_MAX))


def with_text(text: str | None, name: str = "welcome"):  # type: ignore[no-untyped-def]
    """Return a function that makes this the only text of the game, or removes all."""

    def prepare(world: World) -> None:
        world.write(delete(site_texts).where(site_texts.c.kind == "game"))
        if text is not None:
            now = time.time_ns()
            times = {"published_at_ms": 1, "created_at_ms": 1, "changed_at_ms": 1, "stamp": now}
            world.write(insert(site_texts).values(kind="game", slug=name, title="", text=text, **times))
        world.write(update(switches).where(switches.c.name == "game_texts").values(value=switches.c.value + 1))

    return prepare


CASES = {
    f"{PATH}/retry": Case(
        "outbox_retry", DEVELOPER, on_server("Retry failed deliveries"), with_parked_delivery, server
    ),
    f"{PATH}/maintenance": Case(
        "maintenance", DEVELOPER, on_server("Begin maintenance"), switched("maintenance"), server
    ),
    f"{PATH}/end-maintenance": Case(
        "maintenance", DEVELOPER, on_server("End maintenance"), switched("maintenance", 1), server
    ),
    f"{PATH}/registration": Case(
        "registration",
        DEVELOPER,
        on_server("Change registration", Who_can_register="off"),
        switched("registration"),
        server,
    ),
    f"{PATH}/follow-setting": Case(
        "registration",
        DEVELOPER,
        on_server("Let the setting decide who registers"),
        switched("registration", 2),
        server,
    ),
    f"{PATH}/welcome": Case(
        "game_text", DEVELOPER, on_server("Change the welcome", Text="<b>Hello</b>"), with_text(None), server
    ),
    f"{PATH}/withdraw-welcome": Case(
        "game_text", DEVELOPER, on_server("Withdraw the welcome"), with_text("Hello"), server
    ),
    f"{PATH}/menu-icon": Case(
        "game_text",
        DEVELOPER,
        on_server("Change the picture of the menu", URL="https://example.org/menu.png"),
        with_text(None),
        server,
    ),
    f"{PATH}/withdraw-menu-icon": Case(
        "game_text",
        DEVELOPER,
        on_server("Withdraw the picture of the menu"),
        with_text("https://example.org/a.png", "menu_icon"),
        server,
    ),
    f"{PATH}/menu-link": Case(
        "game_text",
        DEVELOPER,
        on_server("Change the link of the menu", URL="https://example.org/news"),
        with_text(None),
        server,
    ),
    f"{PATH}/withdraw-menu-link": Case(
        "game_text",
        DEVELOPER,
        on_server("Withdraw the link of the menu"),
        with_text("https://example.org/", "menu_link"),
        server,
    ),
    f"{PATH}/reload": Case("reload", DEVELOPER, on_server("Read settings again"), target=server),
    f"{PATH}/debug-on": Case("debug", DEVELOPER, on_server("Log debug lines"), switched("debug"), server),
    f"{PATH}/debug-off": Case(
        "debug", DEVELOPER, on_server("Stop debug lines"), switched("debug", 1, in_a_day_ms()), server
    ),
    f"{PATH}/stop": Case("shutdown", DEVELOPER, on_server("Plan a stop", In="1d"), switched("stop"), server),
    f"{PATH}/cancel-stop": Case(
        "shutdown", DEVELOPER, on_server("Cancel the stop"), switched("stop", in_a_day_ms()), server
    ),
    f"{PATH}/addresses/block": Case(
        "ip_block",
        DEVELOPER,
        lambda world, browser: (
            browser.get(f"{PATH}/addresses")
            .form("Block an address")
            .fill(Address=NETWORK, Duration="7d", Reason="spam")
        ),
        without_block,
        lambda world: NETWORK,
    ),
    f"{PATH}/addresses/{{block}}/end": Case("ip_unblock", DEVELOPER, end_block, with_block, lambda world: NETWORK),
}

"""An act that several people carry out at once: it happens once, and has one row in the audit log."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from tests.builders import World, a_map, a_player
from tests.webhooks.test_delivery import Post

from kiai.accounts.visibility import EVERYBODY
from kiai.beatmaps.set_comments import SetComments
from kiai.chat import Channels, queries
from kiai.errors import Conflict, NotFound, Refused, WrongState
from kiai.staff import OPERATOR, shared_devices
from kiai.staff.channel_desk import ChannelDesk
from kiai.staff.chat_bots import ChatBots
from kiai.staff.faq import Faq
from kiai.staff.shared_devices import SharedDevices
from kiai.storage.tables import audit_log
from kiai.webhooks import service

AT_ONCE: Final = 5


def at_once(world: World, act: Callable[[int], Awaitable[object]]) -> list[object]:
    """Run the act several times at once. Return the results and errors, those without an error first."""

    async def run() -> list[object]:
        results = await asyncio.gather(*map(act, range(AT_ONCE)), return_exceptions=True)
        return sorted(results, key=lambda result: isinstance(result, Exception))

    return world.run(run())


def failures(results: list[object]) -> list[type]:
    return [type(result) for result in results if isinstance(result, Exception)]


def details(world: World, action: str) -> list[dict[str, Any]]:
    """Return the details of the rows of an action, oldest first."""
    rows = world.look(
        audit_log.select()
        .with_only_columns(audit_log.c.details)
        .where(audit_log.c.action == action)
        .order_by(audit_log.c.id)
    )
    return [msgspec.json.decode(row[0]) for row in rows]


@pytest.fixture
def desk(world: World) -> ChannelDesk:
    return ChannelDesk(world.database, world.authority, world.clock, Channels(world.database))


def test_channel_is_added_and_removed_once(world: World, desk: ChannelDesk) -> None:
    added = at_once(world, lambda _: desk.add(OPERATOR, "#team"))
    moderated = at_once(world, lambda _: desk.set_moderated(OPERATOR, "#team", True))
    removed = at_once(world, lambda _: desk.remove(OPERATOR, "#team"))

    assert failures(added) == [Conflict] * (AT_ONCE - 1)
    assert failures(moderated) == [WrongState] * (AT_ONCE - 1)
    assert failures(removed) == [NotFound] * (AT_ONCE - 1)
    assert len(details(world, "channel_edit")) == 2
    [row] = details(world, "channel_moderated")
    assert (row["before"]["moderated"], row["after"]["moderated"]) == (False, True)


def test_channels_added_at_once_stay_within_the_bound(
    world: World, desk: ChannelDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = len(world.run(desk.all(OPERATOR)))
    monkeypatch.setattr(queries, "CHANNELS_MAX", before + 1)

    added = at_once(world, lambda number: desk.add(OPERATOR, f"#team{number}"))

    assert failures(added) == [Refused] * (AT_ONCE - 1)
    assert len(world.run(desk.all(OPERATOR))) == before + 1


def test_topics_changed_at_once_follow_from_each_other(world: World, desk: ChannelDesk) -> None:
    at_once(world, lambda number: desk.set_topic(OPERATOR, "#osu", f"topic {number}"))

    rows = details(world, "channel_edit")
    assert [row["before"]["topic"] for row in rows[1:]] == [row["after"]["topic"] for row in rows[:-1]]
    assert len(rows) == AT_ONCE


def test_toggled_moderation_follows_from_the_stored_state(world: World, desk: ChannelDesk) -> None:
    results = at_once(world, lambda _: desk.set_moderated(OPERATOR, "#osu", None))

    assert failures(results) == []
    rows = details(world, "channel_moderated")
    assert [row["after"]["moderated"] for row in rows] == [True, False, True, False, True]


def test_texts_set_at_once_follow_from_each_other(world: World) -> None:
    faq = Faq(world.database, world.authority, world.clock)

    texts = at_once(world, lambda number: faq.set(OPERATOR, "rules", f"text {number}"))
    removed = at_once(world, lambda _: faq.remove(OPERATOR, "rules"))

    assert failures(texts) == []
    assert failures(removed) == [NotFound] * (AT_ONCE - 1)
    rows = details(world, "faq_edit")
    assert [row["before"] for row in rows] == [None, *(row["after"] for row in rows[:-1])]
    assert len(rows) == AT_ONCE + 1


def test_comment_is_removed_once(world: World) -> None:
    author = world.user(world.add_player(a_player("anna")))
    comments = SetComments(world.database, world.clock)
    world.add_map(a_map(1, set_id=7))
    comment_id = world.run(comments.add(author, 7, "first!"))
    found = world.run(comments.one(comment_id, EVERYBODY))

    removed = at_once(world, lambda _: world.staff.remove_comment(OPERATOR, found))

    assert failures(removed) == [NotFound] * (AT_ONCE - 1)
    assert len(details(world, "comment_delete")) == 1
    with pytest.raises(NotFound):
        world.run(comments.remove_own(author, comment_id))


def test_account_becomes_a_chat_bot_once(world: World) -> None:
    world.add_player(a_player("anna"))
    bots = ChatBots(world.database, world.accounts, world.authority, world.clock)

    marked = at_once(world, lambda _: bots.set(OPERATOR, "anna", on=True))

    assert failures(marked) == [WrongState] * (AT_ONCE - 1)
    assert len(details(world, "privileges")) == 1


def test_webhook_is_removed_once(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    post = Post(world, tmp_path)
    monkeypatch.setattr(service, "WEBHOOKS_MAX", 1)
    url = "http://127.0.0.1:1/hook"

    added = at_once(world, lambda _: post.editor.add(OPERATOR, url, ["report"]))
    [webhook] = world.run(post.webhooks.all())
    removed = at_once(world, lambda _: post.editor.remove(OPERATOR, webhook.id))

    world.run(post.webhooks.close())
    assert failures(added) == [Refused] * (AT_ONCE - 1)
    assert failures(removed) == [NotFound] * (AT_ONCE - 1)
    assert [row["after"] is None for row in details(world, "webhook_edit")] == [False, True]


def test_shared_device_is_added_and_forgotten_once(world: World) -> None:
    devices = SharedDevices(world.database, world.authority, world.clock)

    added = at_once(world, lambda _: devices.allow(OPERATOR, "a" * 32, "school"))
    forgotten = at_once(world, lambda _: devices.forget(OPERATOR, "a" * 32))

    assert failures(added) == [WrongState] * (AT_ONCE - 1)
    assert failures(forgotten) == [NotFound] * (AT_ONCE - 1)
    assert len(details(world, "device_edit")) == 2


def test_shared_devices_added_at_once_stay_within_the_bound(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    devices = SharedDevices(world.database, world.authority, world.clock)
    monkeypatch.setattr(shared_devices, "ENTRIES_MAX", 1)

    added = at_once(world, lambda number: devices.allow(OPERATOR, f"{number}" * 32))

    assert failures(added) == [Refused] * (AT_ONCE - 1)
    assert len(world.run(devices.all(OPERATOR))) == 1

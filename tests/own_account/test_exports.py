"""Exports: what the ZIP contains, progress, expiry, restarts, and one export at a time for each player."""

import io
import json
import zipfile
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from sqlalchemy import Table, insert, select
from sqlalchemy.sql import visitors
from tests.builders import DEVELOPER, NORMAL, a_map, a_play, a_player, frames
from tests.own_account.conftest import OwnAccounts

from kiai.accounts import User
from kiai.entry import Origin
from kiai.errors import NotAllowed, NotFound, Refused, Unavailable, WrongState
from kiai.osu.privileges import Privilege
from kiai.own_account import export_parts
from kiai.own_account.exports import ExportState
from kiai.own_account.exports_by_staff import ExportsByStaff
from kiai.scores.model import replay_key
from kiai.staff import OPERATOR, Actor
from kiai.storage.tables import chat_lines, comments, exports, logins, mail, metadata, users

NOT_EXPORTED = {
    "users": "account.json has it",
    "account_tokens": "secrets that are valid for minutes",
    "authenticators": "a secret",
    "recovery_codes": "hashes",
    "web_sessions": "the sessions page shows them",
    "irc_passwords": "a hash",
    "exports": "this file",
    "submissions": "answers to the game, kept for a day",
    "stale_totals": "work in progress",
    "recomputed": "work in progress",
    "play_counts": "counted from the scores",
    "first_places": "derived from the scores",
    "month_plays": "counted from the scores",
    "pinned_scores": "a choice among the scores",
    "ratings": "stored by map, without an index by player",
    "game_scores": "the scores of matches are among the scores",
    "integrity_flags": "notes of staff",
    "replay_signatures": "derived from the replays",
    "reports": "notes of staff",
    "clan_invitations": "open invitations, deleted when they are answered",
    "clan_requests": "open requests, deleted when they are answered",
    "notes": "notes of staff",
    "user_wipes": "acts of staff on the scores, which are exported",
    "chat_erasures": "times of acts of staff, kept as long as the lines",
}
"""Tables with rows about players that an export leaves out, with the reason."""


def read(own: OwnAccounts, user_id: int) -> zipfile.ZipFile:
    async def collect() -> bytes:
        file = await own.exports.open(user_id)
        data = b"".join([chunk async for chunk in file.chunks])
        assert len(data) == file.size
        return data

    return zipfile.ZipFile(io.BytesIO(own.run(collect())))


def export(own: OwnAccounts, user_id: int, *, with_replays: bool = False) -> zipfile.ZipFile:
    own.run(own.exports.request(user_id, with_replays=with_replays))
    assert own.run(own.exports.work()) is True
    return read(own, user_id)


def content(archive: zipfile.ZipFile, name: str) -> Any:
    return json.loads(archive.read(name))


def test_export_contains_everything_about_the_player_and_nothing_about_others(own: OwnAccounts) -> None:
    beatmap = own.world.add_map(a_map(title="Mine"))
    own.world.record(a_play(by=own.alice, on=beatmap, score=7))
    own.world.record(a_play(by=own.bob, on=beatmap, score=8))
    own.run(own.friendships.befriend(own.alice, own.bob))
    own.run(own.names.change(own.alice, "alice two"))
    own.run(own.keys.create_api_key(own.alice, "bot", Origin("web")))
    for author, text in ((own.alice, "said"), (own.bob, "other line")):
        own.world.change(insert(chat_lines).values(channel="#osu", user_id=author, at_ms=1, text=text))
        own.world.change(insert(mail).values(from_id=author, to_id=own.alice, text=f"to alice: {text}", sent_at_ms=1))
        own.world.change(
            insert(comments).values(user_id=author, target="map", target_id=1, time_ms=0, text=text, at_ms=1)
        )
        own.world.change(
            insert(logins).values(user_id=author, at_ms=1, address=f"192.0.2.{author}", build=1, stream="stable")
        )

    archive = export(own, own.alice)

    account = content(archive, "account.json")
    assert (account["name"], account["email"], account["country"]) == ("alice two", "alice@example.org", "nl")
    assert [(row["score"], row["title"]) for row in content(archive, "scores.json")] == [(7, "Mine")]
    assert [row["name"] for row in content(archive, "names.json")] == ["alice"]
    assert [row["name"] for row in content(archive, "friends_and_blocks.json")] == ["bob"]
    assert [row["text"] for row in content(archive, "chat_messages.json")] == ["said"]
    assert [row["text"] for row in content(archive, "messages_sent.json")] == ["to alice: said"]
    assert [row["text"] for row in content(archive, "messages_received.json")] == [
        "to alice: said",
        "to alice: other line",
    ]
    assert [row["text"] for row in content(archive, "comments.json")] == ["said"]
    assert [row["address"] for row in content(archive, "logins.json")] == ["192.0.2.3"]
    assert [row["label"] for row in content(archive, "api_keys.json")] == ["bot"]
    assert len(content(archive, "statistics.json")) == 1
    assert not any("hash" in key for key in [*account, *content(archive, "api_keys.json")[0]])
    assert own.actions(own.alice)[0] == "export"


def test_every_table_about_players_is_in_the_export_or_has_a_reason_not_to_be() -> None:
    about_players = {
        table.name
        for table in metadata.tables.values()
        if any(key.column.table is users for column in table.c for key in column.foreign_keys)
        and not {"created_by", "owner_id"} & {column.name for column in table.c}
    } | {"users"}
    exported = {table.name for part in export_parts.PARTS for table in _tables(part)}

    assert sorted(about_players - exported - set(NOT_EXPORTED)) == []


def test_long_lists_are_read_in_pages(own: OwnAccounts, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = 2 * export_parts.PAGE_ROWS + 3
    for n in range(rows):
        own.world.change(insert(chat_lines).values(channel="#osu", user_id=own.alice, at_ms=n, text=str(n)))

    lines = content(export(own, own.alice), "chat_messages.json")

    assert [line["text"] for line in lines] == [str(n) for n in range(rows)]


def test_export_of_a_player_without_any_rows_has_empty_lists(own: OwnAccounts) -> None:
    archive = export(own, own.bob)

    assert content(archive, "scores.json") == []
    assert set(archive.namelist()) >= {part.file for part in export_parts.PARTS}
    assert archive.testzip() is None


def test_replays_are_part_of_the_export_only_on_request(own: OwnAccounts) -> None:
    beatmap = own.world.add_map(a_map())
    stored = own.world.put_replay(frames(1))
    score_id = own.world.record(a_play(by=own.alice, on=beatmap, replay=stored)).score_id
    lost = own.world.put_replay(frames(2))
    own.world.record(a_play(by=own.alice, on=beatmap, replay=lost))
    own.run(own.world.files.delete(replay_key(lost.md5)))

    without = export(own, own.alice)
    archive = export(own, own.alice, with_replays=True)

    assert not [name for name in without.namelist() if name.startswith("replays/")]
    assert [name for name in archive.namelist() if name.startswith("replays/")] == [f"replays/{score_id}.osr"]
    assert content(archive, "export.json")["replays"] is True


def test_one_export_at_a_time(own: OwnAccounts) -> None:
    own.run(own.exports.request(own.alice, with_replays=False))

    with pytest.raises(Refused, match="already"):
        own.run(own.exports.request(own.alice, with_replays=False))
    own.run(own.exports.request(own.bob, with_replays=False))  # each player has one

    assert own.run(own.exports.work()) is True
    assert own.run(own.exports.work()) is True
    assert own.run(own.exports.work()) is False
    assert read(own, own.bob).testzip() is None


def test_new_export_replaces_the_file_of_the_last_one(own: OwnAccounts) -> None:
    export(own, own.alice)
    export(own, own.alice)

    assert len(_stored(own)) == 1


def test_export_expires_after_a_day_and_is_deleted(own: OwnAccounts) -> None:
    export(own, own.alice)
    own.advance_days(0.99)
    assert read(own, own.alice).testzip() is None
    own.advance_days(0.02)

    with pytest.raises(NotFound):
        own.run(own.exports.open(own.alice))
    assert own.run(own.exports.of(own.alice)) is None
    assert own.run(own.exports.sweep()) == 1
    assert _stored(own) == []
    assert own.world.look(select(exports.c.user_id)) == []


def test_export_of_another_player_cannot_be_opened(own: OwnAccounts) -> None:
    export(own, own.alice)

    with pytest.raises(NotFound):
        own.run(own.exports.open(own.bob))


def test_export_starts_again_after_its_process_died_or_a_store_was_away(
    own: OwnAccounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    own.run(own.exports.request(own.alice, with_replays=False))

    async def away(key: str, path: object) -> None:
        raise Unavailable("files")

    monkeypatch.setattr(own.world.files, "put_file", away)
    with pytest.raises(Unavailable):
        own.run(own.exports.work())
    monkeypatch.undo()

    waiting = own.run(own.exports.of(own.alice))
    assert waiting is not None
    assert waiting.state == ExportState.WAITING
    assert own.run(own.exports.work()) is True
    assert read(own, own.alice).testzip() is None


def test_export_that_fails_for_good_says_so_and_does_not_stop_the_others(
    own: OwnAccounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    own.run(own.exports.request(own.alice, with_replays=False))
    own.run(own.exports.request(own.bob, with_replays=False))

    async def broken(*_: object) -> bytes:
        raise ValueError("a bug")

    monkeypatch.setattr(own.exports, "_account", broken)
    own.run(own.exports.work())
    monkeypatch.undo()
    own.run(own.exports.work())

    failed = own.run(own.exports.of(own.alice))
    assert failed is not None
    assert failed.state == ExportState.FAILED
    assert read(own, own.bob).testzip() is None
    own.run(own.exports.request(own.alice, with_replays=False))  # and it can be asked for again


def test_staff_sees_waiting_exports_and_cancels_one_before_it_begins(own: OwnAccounts) -> None:
    alice, staff = own.world.add_player(a_player("waiter")), by_staff(own)
    root = Actor(own.world.add_player(a_player("chief", priv=DEVELOPER)), "web")
    own.run(own.exports.request(alice, with_replays=False))
    assert [export.user_id for export in own.run(staff.waiting(root))] == [alice]

    own.run(staff.cancel(root, alice, "too large"))

    assert own.run(staff.waiting(root)) == []
    assert own.run(own.exports.work()) is False
    assert own.world.audit(alice)[0].action == "export_cancel"
    with pytest.raises(WrongState):
        own.run(staff.cancel(root, alice))
    with pytest.raises(NotFound):
        own.run(staff.one(root, alice))
    assert export(own, alice).namelist()


def test_writer_of_a_cancelled_export_ends_and_leaves_no_file(
    own: OwnAccounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kiai.own_account.exports.PROGRESS_EVERY", 1)
    alice, staff = own.world.add_player(a_player("waiter")), by_staff(own)
    song = own.world.add_map(a_map())
    own.world.record(a_play(by=alice, on=song))
    own.run(own.exports.request(alice, with_replays=False))
    account = own.exports._account

    async def cancel_meanwhile(user: User) -> bytes:
        await staff.cancel(OPERATOR, alice)
        return await account(user)

    monkeypatch.setattr(own.exports, "_account", cancel_meanwhile)

    assert own.run(own.exports.work()) is True

    assert _stored(own) == []
    assert own.run(own.exports.of(alice)) is None


@pytest.mark.parametrize("priv", [NORMAL, int(NORMAL | Privilege.ADMINISTRATOR)])
def test_exports_of_players_are_for_developers(own: OwnAccounts, priv: int) -> None:
    alice = own.world.add_player(a_player("waiter", priv=priv))
    own.run(own.exports.request(alice, with_replays=False))
    actor, staff = Actor(alice, "web"), by_staff(own)

    for act in (staff.waiting(actor), staff.one(actor, alice), staff.cancel(actor, alice)):
        with pytest.raises(NotAllowed):
            own.run(act)


def by_staff(own: OwnAccounts) -> ExportsByStaff:
    return ExportsByStaff(own.world.authority, own.exports, own.world.clock)


def test_restricted_player_gets_an_export(own: OwnAccounts) -> None:
    own.world.record(a_play(by=own.alice, on=own.world.add_map(a_map()), score=7))
    own.world.change(users.update().where(users.c.id == own.alice).values(priv=2))

    assert [row["score"] for row in content(export(own, own.alice), "scores.json")] == [7]


def _stored(own: OwnAccounts) -> list[str]:
    async def keys() -> list[str]:
        files: AsyncIterator[Any] = own.world.files.keys("exports/")
        return [file.key async for file in files]

    return own.run(keys())


def _tables(part: export_parts.Part) -> list[Table]:
    found: list[Table] = [node for node in visitors.iterate(cast(Any, part.query.statement)) if isinstance(node, Table)]
    return found

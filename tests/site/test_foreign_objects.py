"""Every form of the website, sent by others with the ids of what a player has: nobody, a player, a restricted one.

The forms come from the table of the site, and the rows from the tables of the database, so new ones are part of this
test. Nothing that belongs to the player may change.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import pytest
from sqlalchemy import Engine, Table, select
from tests import stores
from tests.site.kit import Browser, a_browser
from tests.site.test_every_page import OTHER, PLAYER, RESTRICTED, WRITTEN, address_of, name_of, token_of
from tests.wire.kit import Server, cli

from kiai.faces.site.page import Page
from kiai.storage import tables

OWNERS: Final = ("user_id", "owner_id", "author_id", "created_by")
"""Columns with the player to whom a row belongs."""
BY_THE_SERVER: Final = {"activity", "logins", "peak_ranks", "rank_history"}
"""Tables that jobs write."""
FIELDS: Final = (
    *("id", "key", "session", "passkey", "score", "score_id", "player", "user", "comment", "map", "set", "clan"),
    *("name", "username", "email", "password", "current_password", "content", "label", "code", "userpage"),
)


def rows_of_the_player() -> dict[str, str]:
    """Return a statement for each table with rows of players. Compiled once, they cost a tenth."""
    found = {}
    for table in tables.metadata.sorted_tables:
        columns = [name for name in OWNERS if name in table.c] or (["id"] if table.name == "users" else [])
        if columns and table.name not in BY_THE_SERVER:
            found[table.name] = f"SELECT * FROM {table.name} WHERE {columns[0]} = {OTHER}"
    return found


ROWS: Final = rows_of_the_player()


class Owned:
    """The objects of the player `OTHER` in a server."""

    def __init__(self, server: Server) -> None:
        self.engine: Engine = stores.engine(server.data)
        self.ids = {
            "key": self.one(tables.api_keys, "id"),
            "passkey": self.one(tables.passkeys, "id"),
            "comment": self.one(tables.set_comments, "id"),
            "score": self.one(tables.scores, "id"),
            "session": self.one(tables.web_sessions, "hash")[:8].hex(),
        }

    def one(self, table: Table, column: str) -> Any:
        with self.engine.connect() as connection:
            return connection.execute(select(table.c[column]).where(table.c.user_id == OTHER).limit(1)).scalar_one()

    def values(self) -> dict[str, Any]:
        """Return a value for each field: the id of what the player has."""
        by_field = {"id": self.ids["key"], "score_id": self.ids["score"], "player": OTHER, "user": OTHER, **self.ids}
        return {field: by_field.get(field, OTHER) for field in FIELDS}

    def rows(self) -> dict[str, list[str]]:
        """Return all rows of the player, by table."""
        with self.engine.connect() as connection:
            found = {
                name: sorted(map(repr, connection.exec_driver_sql(statement).all())) for name, statement in ROWS.items()
            }
        return {name: rows for name, rows in found.items() if rows}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server in which `OTHER` has a session, an API key, a passkey, a comment and a pinned score."""
    data: Path = tmp_path_factory.mktemp("foreign") / "data"
    cli(data, "demo", "--players", "30", "--maps", "10", "--scores", "1000")
    restricted = next(user["name"] for user in cli(data, "users", "list")["users"] if user["id"] == RESTRICTED)
    cli(data, "users", "restrict", restricted, "--reason", "a test")
    # Without rate limits: each form is sent dozens of times from one address. `test_frame` tests the limits.
    server = Server(data, RATE_LIMITS="off").start()
    a_browser(server, user_id=OTHER)
    give(stores.engine(data))
    yield server
    server.stop()


def give(engine: Engine) -> None:
    with engine.begin() as connection:
        score = connection.execute(
            select(tables.scores.c.id).where(tables.scores.c.user_id == OTHER).limit(1)
        ).scalar_one()
        for table, values in (
            (tables.api_keys, {"hash": b"k" * 32, "label": "mine", "created_at_ms": 1}),
            (tables.passkeys, {"credential_id": b"c", "credential": b"c", "name": "mine", "created_at_ms": 1}),
            (tables.set_comments, {"set_id": 900_001, "text": "mine", "at_ms": 1}),
            (tables.pinned_scores, {"score_id": score, "mode": 0, "position": 1}),
        ):
            connection.execute(table.insert().values(user_id=OTHER, **values))


@pytest.fixture(scope="module")
def owned(world: Server) -> Owned:
    return Owned(world)


def visitors(server: Server) -> dict[str, Browser]:
    return {
        "nobody": a_browser(server),
        "another player": a_browser(server, user_id=PLAYER),
        "a restricted player": a_browser(server, user_id=RESTRICTED),
    }


def bodies(owned: Owned, token: str) -> Iterator[bytes]:
    values = owned.values()
    for action in ("", "remove", "unpin", "up", "down"):
        yield urlencode({**values, "action": action, "csrf_token": token}).encode()
    yield urlencode({"csrf_token": token}).encode()


def paths(page: Page, owned: Owned) -> set[str]:
    by_parameter = {name: str(value) for name, value in owned.ids.items()}
    return {address_of(page), address_of(page, user=str(OTHER), **by_parameter)}


@pytest.mark.parametrize("page", WRITTEN, ids=name_of)
def test_form_of_others_changes_nothing_of_a_player(world: Server, owned: Owned, page: Page) -> None:
    before = owned.rows()
    sent = {"Content-Type": "application/x-www-form-urlencoded"}

    for visitor, browser in visitors(world).items():
        token = token_of(browser)
        for path in paths(page, owned):
            for body in bodies(owned, token):
                reply = browser.request("POST", path, headers=sent, body=body)
                assert reply.status < 500, f"{visitor}: {path}"
        after = owned.rows()
        assert {name: rows for name, rows in after.items() if rows != before.get(name)} == {}, visitor


def test_walk_knows_what_the_player_has(owned: Owned) -> None:
    found = owned.rows()

    assert {"api_keys", "passkeys", "pinned_scores", "scores", "set_comments", "users", "web_sessions"} <= set(found)


def test_owner_can_do_what_the_walk_tries(world: Server, owned: Owned) -> None:
    """The forms of the walk work with the session of the owner, so that their refusal means something."""
    browser = a_browser(world, user_id=OTHER)
    token, values = token_of(browser), owned.values()
    before = owned.rows()
    acts = (
        (f"/beatmapsets/900001/comments/{owned.ids['comment']}/delete", "set_comments"),
        ("/settings/api-keys/revoke", "api_keys"),
        ("/settings/security/passkeys/remove", "passkeys"),
        ("/settings/security/sessions/end", "web_sessions"),
        (f"/scores/{owned.ids['score']}/unpin", "pinned_scores"),
    )

    for path, table in acts:
        assert browser.post(path, {**values, "csrf_token": token}, follow=False).status == 303, path
        assert owned.rows().get(table) != before.get(table), path

"""Every operation of the API that changes something: acts of staff leave one audit row, acts of players none."""

from typing import Any, Final

import msgspec
import pytest
from tests.faces.acts.chat_examples import (
    asks_to_join,
    banned,
    clan,
    flagged,
    frozen,
    hidden,
    invited,
    officer,
    reported,
    restricted,
    scored,
    silenced,
)
from tests.faces.acts.desk import Desk, Prepare, Scene
from tests.faces.acts.rows import check_row

from kiai.faces.api.operation import OWN
from kiai.faces.api.v2.paging import STAFF_ACTS
from kiai.faces.wiring import build_operations


class OperationExample(msgspec.Struct, frozen=True):
    """One request of `by`, with the action of its audit row ("" for none). `{name}` stands for a value of the scene."""

    operation: str
    path: str
    by: str
    row: str
    body: Any = None
    before: tuple[Prepare, ...] = ()


def sanction(kind: str, by: str, *before: Prepare, duration: str = "") -> OperationExample:
    """Return the example of a sanction."""
    body = {"kind": kind, "reason": "because"} | ({"duration": duration} if duration else {})
    path = "/v2/players/{id}/sanctions"
    return OperationExample(f"POST {path}", path, by, kind, body, before)


OWNED: Final = (clan("actor"),)
OTHERS: Final = (clan("target"),)
EXAMPLES: Final = (
    OperationExample("POST /set_player_info", "/set_player_info", "player", "profile", {"userpage_content": "hi"}),
    OperationExample("PUT /set_player_info", "/set_player_info", "player", "profile", {"userpage_content": "hi"}),
    sanction("silence", "moderator", duration="10m"),
    sanction("unsilence", "moderator", silenced),
    sanction("kick", "moderator"),
    sanction("restrict", "administrator"),
    sanction("unrestrict", "administrator", restricted),
    sanction("ban", "administrator"),
    sanction("unban", "administrator", banned),
    sanction("freeze", "administrator"),
    sanction("unfreeze", "administrator", frozen),
    OperationExample("POST /v2/players/{id}/notes", "/v2/players/{id}/notes", "moderator", "note", {"text": "careful"}),
    OperationExample("GET /v2/players/{id}/notes", "/v2/players/{id}/notes", "moderator", "notes_read"),
    OperationExample("GET /v2/players/{id}/devices", "/v2/players/{id}/devices", "moderator", "multi_check"),
    OperationExample("GET /v2/players/{id}/sanctions", "/v2/players/{id}/sanctions", "moderator", ""),
    OperationExample("GET /v2/audit", "/v2/audit", "administrator", ""),
    OperationExample("GET /v2/server/samples", "/v2/server/samples", "moderator", ""),
    OperationExample("GET /v2/server/health", "/v2/server/health", "developer", ""),
    OperationExample("GET /v2/flags", "/v2/flags", "moderator", ""),
    OperationExample("GET /v2/reports", "/v2/reports", "moderator", ""),
    OperationExample(
        "POST /v2/flags/{id}/close",
        "/v2/flags/{flag}/close",
        "moderator",
        "flag_close",
        {"verdict": "clean"},
        (flagged,),
    ),
    OperationExample(
        "POST /v2/reports/{id}/close",
        "/v2/reports/{report}/close",
        "moderator",
        "report_close",
        {"text": "handled"},
        (reported,),
    ),
    OperationExample(
        "POST /v2/reports",
        "/v2/reports",
        "player",
        "report",
        {"player_id": "{id}", "kind": "Spamming", "text": "loud"},
    ),
    OperationExample(
        "POST /v2/scores/{id}/hidden",
        "/v2/scores/{score}/hidden",
        "administrator",
        "score_hide",
        {"hidden": True, "reason": "because"},
        (scored,),
    ),
    OperationExample(
        "POST /v2/scores/{id}/hidden",
        "/v2/scores/{score}/hidden",
        "administrator",
        "score_unhide",
        {"hidden": False, "reason": "because"},
        (scored, hidden),
    ),
    OperationExample("POST /v2/clans", "/v2/clans", "player", "", {"tag": "N{n}", "name": "New {n}"}),
    OperationExample("PATCH /v2/clans/{id}", "/v2/clans/{clan}", "player", "", {"join": "open"}, OWNED),
    OperationExample(
        "PATCH /v2/clans/{id}", "/v2/clans/{clan}", "administrator", "clan_edit", {"join": "open"}, OTHERS
    ),
    OperationExample("DELETE /v2/clans/{id}", "/v2/clans/{clan}", "player", "", {"confirm": "{tag}"}, OWNED),
    OperationExample(
        "DELETE /v2/clans/{id}", "/v2/clans/{clan}", "administrator", "clan_disband", {"confirm": "{tag}"}, OTHERS
    ),
    OperationExample("POST /v2/clans/{id}/join", "/v2/clans/{clan}/join", "player", "", {}, (*OTHERS, invited)),
    OperationExample(
        "POST /v2/clans/{id}/leave", "/v2/clans/{clan}/leave", "player", "", {}, (clan("target", "actor"),)
    ),
    OperationExample(
        "GET /v2/clans/{id}/requests", "/v2/clans/{clan}/requests", "player", "", None, (*OWNED, asks_to_join)
    ),
    OperationExample(
        "POST /v2/clans/{id}/requests/{player_id}",
        "/v2/clans/{clan}/requests/{id}",
        "player",
        "",
        {"accept": True},
        (*OWNED, asks_to_join),
    ),
    OperationExample(
        "POST /v2/clans/{id}/invites", "/v2/clans/{clan}/invites", "player", "", {"player_id": "{id}"}, OWNED
    ),
    OperationExample("POST /v2/clans/{id}/code", "/v2/clans/{clan}/code", "player", "", {}, OWNED),
    OperationExample(
        "PATCH /v2/clans/{id}/members/{player_id}",
        "/v2/clans/{clan}/members/{id}",
        "player",
        "",
        {"role": "officer"},
        (clan("actor", "target"),),
    ),
    OperationExample(
        "DELETE /v2/clans/{id}/members/{player_id}",
        "/v2/clans/{clan}/members/{id}",
        "player",
        "",
        None,
        (clan("actor", "target"), officer),
    ),
)
WITHOUT_EXAMPLE: Final = {
    "GET /calculate_pp": "reads",
    "GET /get_friends": "reads",
    "GET /v2/me": "reads",
    "GET /v2/me/settings": "reads",
    "GET /v2/me/favourites": "reads",
    "POST /v2/maps/{id}/nominations": "needs the nomination mode; tests/wire/test_nominations.py has its row",
    "DELETE /v2/maps/{id}/nominations": "needs the nomination mode; tests/wire/test_nominations.py has its row",
    "POST /set_avatar": "needs a picture; tests/own_account/test_profile.py has its row",
    "POST /v2/clans/{id}/icon": "needs a picture; tests/wire/test_clan_icons.py has its row",
    "DELETE /v2/clans/{id}/icon": "needs a picture; tests/wire/test_clan_icons.py has its row",
    "PUT /set_avatar": "needs a picture; tests/own_account/test_profile.py has its row",
}
"""The other operations that need a key, and why they have no example."""


def test_every_operation_that_needs_a_key_has_an_example_or_a_reason(desk: Desk) -> None:
    operations = {
        f"{operation.method} {operation.path}"
        for operation in build_operations(desk.services)
        if operation.permission is not None or operation.method != "GET"
    }
    shown = {example.operation for example in EXAMPLES}

    assert shown & WITHOUT_EXAMPLE.keys() == set()
    assert shown | WITHOUT_EXAMPLE.keys() == operations


def test_acts_of_staff_are_limited(desk: Desk) -> None:
    """Most of them tell others: by a line of the bot, an event or a webhook."""
    limits = {
        f"{operation.method} {operation.path}": operation.limit
        for operation in build_operations(desk.services)
        if operation.method != "GET" and operation.permission not in (None, "", OWN)
    }

    assert len(limits) >= 7
    assert set(limits.values()) == {STAFF_ACTS}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: f"{one.operation} {one.body} {one.by}")
def test_operation_leaves_the_row_of_its_act(desk: Desk, example: OperationExample) -> None:
    scene = Scene(desk, example.by)
    for prepare in example.before:
        prepare(scene)
    key = desk.key(scene.actor)
    body = None if example.body is None else {name: filled(scene, value) for name, value in example.body.items()}
    newest = desk.newest_row()

    reply = desk.request(example.operation.partition(" ")[0], scene.text(example.path), key, body)

    assert reply.status in (200, 201), reply
    rows = desk.rows_after(newest)
    if not example.row:
        assert [row.action for row in rows] == []
        return
    check_row(rows, example.row, actor_id=scene.actor.id, source="api", about=(scene.target.id, scene.actor.id))


def filled(scene: Scene, value: object) -> object:
    """Return a value of a body with the values of the scene. A single name keeps the type of its value."""
    if not isinstance(value, str):
        return value
    name = value.removeprefix("{").removesuffix("}")
    return scene.values[name] if value == f"{{{name}}}" else scene.text(value)

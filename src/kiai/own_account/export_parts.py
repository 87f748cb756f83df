"""The statements of an export: one list of rows for each file, read a page at a time along an index."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Select, bindparam, select, tuple_

from kiai.storage.port import Query
from kiai.storage.tables import (
    account_events,
    activity,
    api_keys,
    chat_lines,
    client_hashes,
    comments,
    favourites,
    logins,
    mail,
    map_requests,
    maps,
    match_players,
    matches,
    medals,
    nominations,
    old_names,
    passkeys,
    peak_ranks,
    rank_history,
    relationships,
    replays,
    scores,
    screenshots,
    set_comments,
    sets,
    stats,
    users,
)

PAGE_ROWS: Final = 500
BELOW_ALL: Final = -(2**31)
"""A number below all keys: modes start at 0, and sets of players have negative ids."""

Row = Sequence[Any]


class Part(msgspec.Struct, frozen=True):
    """One file of an export: a list of objects with the fields `fields`.

    `query` takes `user_id`, the key of the last row before the page, and `mode` if `by_mode`. `after` has the smallest
    keys by parameter. `key` are the places of the key in a row; they come last and are not exported.
    """

    file: str
    query: Query[Row]
    fields: tuple[str, ...]
    after: Mapping[str, int | str]
    by_mode: bool = False

    def exported(self, row: Row) -> dict[str, object]:
        """Return a row as an object."""
        return {name: _plain(value) for name, value in zip(self.fields, row, strict=False)}

    def key_of(self, row: Row) -> dict[str, Any]:
        """Return the parameters of the page after this row."""
        return dict(zip(self.after, row[-len(self.after) :], strict=True))


def _plain(value: object) -> object:
    return value.hex() if isinstance(value, bytes) else value


def _row(*values: Any) -> Row:
    return values


def _part(
    file: str,
    source: Any,
    columns: Mapping[str, ColumnElement[Any]],
    of: Sequence[ColumnElement[bool]],
    key: Sequence[ColumnElement[Any]],
    *,
    by_mode: bool = False,
) -> Part:
    names = [f"after{place}" for place in range(len(key))]
    params = [bindparam(name, type_=column.type) for name, column in zip(names, key, strict=True)]
    behind = key[0] > params[0] if len(key) == 1 else tuple_(*key) > tuple_(*params)
    statement: Select[Any] = (
        select(*columns.values(), *key).select_from(source).where(*of, behind).order_by(*key).limit(PAGE_ROWS)
    )
    first: dict[str, int | str] = {
        name: "" if column.type.python_type is str else BELOW_ALL for name, column in zip(names, key, strict=True)
    }
    return Part(file, Query(statement, _row), tuple(columns), first, by_mode)


def _all(table: Any, *left_out: str) -> dict[str, ColumnElement[Any]]:
    return {column.name: column for column in table.c if column.name not in ("user_id", *left_out)}


def _by(column: ColumnElement[Any]) -> ColumnElement[bool]:
    return column == bindparam("user_id")


def _in_mode(column: ColumnElement[Any]) -> ColumnElement[bool]:
    return column == bindparam("mode")


_SCORES: Final = [
    "id",
    "mode",
    "mods",
    "score",
    "pp",
    "acc",
    "max_combo",
    "n300",
    "n100",
    "n50",
    "nmiss",
    "ngeki",
    "nkatu",
    "grade",
    "passed",
    "perfect",
    "play_time_ms",
    "time_elapsed",
    "client_version",
]

PARTS: Final[tuple[Part, ...]] = (
    _part("names.json", old_names, _all(old_names, "id", "safe_name"), [_by(old_names.c.user_id)], [old_names.c.id]),
    _part("statistics.json", stats, _all(stats), [_by(stats.c.user_id)], [stats.c.mode]),
    _part(
        "scores.json",
        scores.join(maps, maps.c.key == scores.c.map_key),
        {name: scores.c[name] for name in _SCORES}
        | {"map_id": maps.c.id, "map_md5": maps.c.md5}
        | {name: maps.c[name] for name in ("artist", "title", "version")},
        [_by(scores.c.user_id), _in_mode(scores.c.mode)],
        [scores.c.id],
        by_mode=True,
    ),
    _part("medals.json", medals, _all(medals), [_by(medals.c.user_id)], [medals.c.medal_id]),
    _part(
        "rank_history.json",
        rank_history,
        _all(rank_history),
        [_by(rank_history.c.user_id), _in_mode(rank_history.c.mode)],
        [rank_history.c.day],
        by_mode=True,
    ),
    _part(
        "favourites.json",
        favourites.join(sets, sets.c.id == favourites.c.set_id),
        {"set_id": sets.c.id, "artist": sets.c.artist, "title": sets.c.title, "added_at_ms": favourites.c.added_at_ms},
        [_by(favourites.c.user_id)],
        [favourites.c.set_id],
    ),
    _part(
        "map_requests.json",
        map_requests,
        _all(map_requests, "id"),
        [_by(map_requests.c.user_id)],
        [map_requests.c.set_id],
    ),
    _part("nominations.json", nominations, _all(nominations), [_by(nominations.c.user_id)], [nominations.c.set_id]),
    _part("comments.json", comments, _all(comments), [_by(comments.c.user_id)], [comments.c.id]),
    _part(
        "comments_on_sets.json",
        set_comments,
        _all(set_comments, "id"),
        [_by(set_comments.c.user_id)],
        [set_comments.c.id],
    ),
    _part("activity.json", activity, _all(activity, "id"), [_by(activity.c.user_id)], [activity.c.id]),
    _part("peak_ranks.json", peak_ranks, _all(peak_ranks), [_by(peak_ranks.c.user_id)], [peak_ranks.c.mode]),
    _part("chat_messages.json", chat_lines, _all(chat_lines, "id"), [_by(chat_lines.c.user_id)], [chat_lines.c.id]),
    _part("messages_sent.json", mail, _all(mail, "from_id"), [mail.c.from_id == bindparam("user_id")], [mail.c.id]),
    _part("messages_received.json", mail, _all(mail, "to_id"), [mail.c.to_id == bindparam("user_id")], [mail.c.id]),
    _part(
        "friends_and_blocks.json",
        relationships.join(users, users.c.id == relationships.c.target_id),
        {
            "id": users.c.id,
            "name": users.c.name,
            "kind": relationships.c.kind,
            "added_at_ms": relationships.c.added_at_ms,
        },
        [_by(relationships.c.user_id)],
        [relationships.c.target_id],
    ),
    _part(
        "matches.json",
        match_players.join(matches, matches.c.id == match_players.c.match_id),
        {name: matches.c[name] for name in ("id", "name", "created_at_ms", "ended_at_ms")},
        [_by(match_players.c.user_id)],
        [match_players.c.match_id],
    ),
    _part("screenshots.json", screenshots, _all(screenshots), [_by(screenshots.c.user_id)], [screenshots.c.id]),
    _part("logins.json", logins, _all(logins, "id"), [_by(logins.c.user_id)], [logins.c.id]),
    _part(
        "devices.json",
        client_hashes,
        _all(client_hashes),
        [_by(client_hashes.c.user_id)],
        [client_hashes.c[name] for name in ("adapters", "uninstall", "disk", "wine")],
    ),
    _part(
        "security_history.json",
        account_events,
        _all(account_events, "id"),
        [_by(account_events.c.user_id)],
        [account_events.c.id],
    ),
    _part(
        "passkeys.json",
        passkeys,
        {name: passkeys.c[name] for name in ("name", "created_at_ms", "used_at_ms")},
        [_by(passkeys.c.user_id)],
        [passkeys.c.id],
    ),
    _part("api_keys.json", api_keys, _all(api_keys, "hash"), [_by(api_keys.c.user_id)], [api_keys.c.id]),
)
"""All lists of an export."""

REPLAYS_OF: Final = Query(
    select(scores.c.id)
    .select_from(scores.join(replays, replays.c.score_id == scores.c.id))
    .where(_by(scores.c.user_id), _in_mode(scores.c.mode), scores.c.id > bindparam("after"))
    .order_by(scores.c.id)
    .limit(PAGE_ROWS),
    lambda id_: id_,
)
PLAYS_OF: Final = Query(select(stats.c.plays).where(_by(stats.c.user_id)), lambda plays: plays)
EMAIL_OF: Final = Query(select(users.c.email).where(users.c.id == bindparam("user_id")), lambda email: email)

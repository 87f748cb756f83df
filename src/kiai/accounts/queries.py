"""The statements of accounts."""

from typing import Any

import msgspec
from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    bindparam,
    delete,
    func,
    insert,
    literal,
    literal_column,
    select,
    union_all,
    update,
)

from kiai.accounts.model import (
    Account,
    ApiKey,
    Friend,
    GameLogin,
    IrcPassword,
    OldName,
    Player,
    Privacy,
    RecordedLogin,
    Relation,
    User,
)
from kiai.accounts.visibility import player_columns, visible, with_clan
from kiai.osu.privileges import Privilege
from kiai.storage.patterns import contains_pattern
from kiai.storage.port import Command, Lane, Query, columns_for, scalar
from kiai.storage.tables import (
    api_keys,
    clans,
    client_hashes,
    counters,
    irc_passwords,
    logins,
    old_names,
    relationships,
    shared_devices,
    users,
)

SEARCH_MAX = 50
FRIENDS_MAX = 500
PAGE_MAX = 1_000

_user = select(*columns_for(User, users))
USER_BY_ID = Query(_user.where(users.c.id == bindparam("id")), User)
USER_BY_SAFE_NAME = Query(_user.where(users.c.safe_name == bindparam("safe_name")), User)
CREDENTIALS = Query(
    select(users.c.password_hash, *columns_for(User, users)).where(users.c.safe_name == bindparam("safe_name")),
    lambda stored, *row: (User(*row), stored),
)

_player = select(*player_columns()).select_from(with_clan(users))
PLAYER_BY_ID = Query(_player.where(users.c.id == bindparam("id")), Player)
PLAYER_BY_SAFE_NAME = Query(_player.where(users.c.safe_name == bindparam("safe_name")), Player)

NAMES_SHOWN_MAX = 100
OLD_NAMES_OF = Query(
    select(old_names.c.name, old_names.c.released_at_ms)
    .where(old_names.c.user_id == bindparam("user_id"))
    .order_by(old_names.c.id.desc())
    .limit(NAMES_SHOWN_MAX),
    OldName,
)
# The last account that released this name: several may have had it.
ID_BY_OLD_NAME = Query(
    select(old_names.c.user_id)
    .where(old_names.c.safe_name == bindparam("safe_name"))
    .order_by(old_names.c.id.desc())
    .limit(1),
    scalar,
)
# A released name is reserved for its former owner, who may take it again at once.
NAME_RESERVED = Query(
    select(old_names.c.user_id)
    .where(
        old_names.c.safe_name == bindparam("safe_name"),
        old_names.c.released_at_ms > bindparam("since_ms"),
        old_names.c.user_id != bindparam("user_id"),
    )
    .limit(1),
    scalar,
)

_account = select(*columns_for(Account, users))
EMAIL_TAKEN = Query(select(users.c.id).where(users.c.email == bindparam("email")), scalar)
ACCOUNT_BY_SAFE_NAME = Query(_account.where(users.c.safe_name == bindparam("safe_name")), Account)
ACCOUNT_BY_ID = Query(_account.where(users.c.id == bindparam("id")), Account)
ACCOUNT_BY_EMAIL = Query(_account.where(users.c.email == bindparam("email")), Account)
ACCOUNTS_AFTER = Query(
    _account.where(users.c.id > bindparam("after")).order_by(users.c.id).limit(PAGE_MAX),
    Account,
    scans="it reads all accounts, a page at a time",
)


class PictureStatements(msgspec.Struct, frozen=True):
    """The statements about one of the pictures of a profile: `avatar` or `cover`."""

    of_visible: Query[str | None]
    of_any: Query[str | None]
    lock: Query[str | None]
    set: Command


def _picture(name: str) -> PictureStatements:
    column = users.c[name]
    any_ = select(column).where(users.c.id == bindparam("id"))
    return PictureStatements(
        Query(any_.where(visible()), scalar),
        Query(any_, scalar),
        # FOR NO KEY UPDATE (key_share): inserts of rows that refer to the account do not wait. SQLite ignores it.
        Query(any_.with_for_update(key_share=True), scalar),
        Command(update(users).where(users.c.id == bindparam("user_id")).values({name: bindparam("key")})),
    )


PICTURES = {name: _picture(name) for name in ("avatar", "cover")}

NAMES_MAX = 33  # of a match: its host, 16 players and 16 referees
NAMES_OF = Query(
    select(users.c.id, users.c.name).where(
        users.c.id.in_([bindparam(f"id{n}", type_=users.c.id.type) for n in range(NAMES_MAX)]), visible()
    ),
    lambda id_, name: (id_, name),
)

IDS_OF_NAMES = Query(
    select(users.c.safe_name, users.c.id).where(
        users.c.safe_name.in_([bindparam(f"name{n}", type_=users.c.safe_name.type) for n in range(NAMES_MAX)]),
        visible(),
    ),
    lambda name, id_: (name, id_),
)

AMONG_MAX = 100  # a page of a list
_among = users.c.id.in_([bindparam(f"id{n}", type_=users.c.id.type) for n in range(AMONG_MAX)])
HIDING_ONLINE = Query(
    select(users.c.id).where(_among, users.c.privacy.op("&")(int(Privacy.HIDE_ONLINE)) != 0).limit(AMONG_MAX), scalar
)
PLAYERS_AMONG = Query(_player.where(_among, visible()).limit(AMONG_MAX), Player)

# A part of a name can be anywhere in it, so the search reads a whole index. `ix_users_names` has all its columns and is
# much smaller than the table.
_PARTS = "it searches for a part of a name in a covering index"
_found = select(users.c.id).where(contains_pattern(users.c.safe_name, bindparam("pattern")), visible())
# The subquery finds the ids in the covering index; only the rows of the page are read from the table.
SEARCH = Query(
    select(users.c.id, users.c.name)
    .where(users.c.id.in_(_found.order_by(users.c.id).limit(SEARCH_MAX)))
    .order_by(users.c.id),
    lambda id_, name: (id_, name),
    lane=Lane.SLOW,
    scans=_PARTS,
)
_found_page = _found.order_by(users.c.id).limit(bindparam("limit")).offset(bindparam("offset"))
SEARCH_USERS = Query(_user.where(users.c.id.in_(_found_page)).order_by(users.c.id), User, lane=Lane.SLOW, scans=_PARTS)
_found_rows = _found.limit(bindparam("most")).subquery()
SEARCH_COUNT = Query(select(func.count()).select_from(_found_rows), scalar, lane=Lane.SLOW, scans=_PARTS)

# A counter, because PostgreSQL counts a table by reading all of it.
TOTAL = Query(select(counters.c.value).where(counters.c.name == "users"), scalar)
COUNT_USER = Command(
    update(counters).where(counters.c.name == "users").values(value=counters.c.value + bindparam("by"))
)

INSERT_USER = Query(
    insert(users)
    .values(
        {
            name: bindparam(name)
            for name in (
                "name",
                "safe_name",
                "email",
                "password_hash",
                "priv",
                "country",
                "created_at_ms",
                "active_at_ms",
            )
        }
    )
    .returning(users.c.id),
    scalar,
)
_one = users.c.id == bindparam("user_id")
SET_LANGUAGE = Command(
    update(users).where(_one, users.c.language != bindparam("language")).values(language=bindparam("language"))
)
_POWERS = int(Privilege.DEVELOPER | Privilege.UNRESTRICTED)
_DEVELOPS = users.c.priv.op("&")(int(Privilege.DEVELOPER)) != 0  # the condition of ix_users_developers, literally
# Locked: two owners who demote each other at the same time must not leave the server without one.
DEVELOPERS = Query(
    select(users.c.id).where(_DEVELOPS, users.c.priv.op("&")(_POWERS) == _POWERS).with_for_update(key_share=True),
    scalar,
)
PRIV_TO_CHANGE = Query(
    select(users.c.priv).where(users.c.id == bindparam("user_id")).with_for_update(key_share=True), scalar
)
# Without the accounts that are locked out: a ban revokes credentials, and one issued at the same time must not stay.
UNLOCKED_TO_CHANGE = Query(
    select(users.c.id)
    .where(users.c.id == bindparam("user_id"), users.c.banned_at_ms.is_(None), users.c.deleted_at_ms.is_(None))
    .with_for_update(key_share=True),
    scalar,
)
ANY_DEVELOPER = Query(select(users.c.id).where(users.c.priv.op("&")(int(Privilege.DEVELOPER)) != 0).limit(1), scalar)
SET_PRIV = Command(update(users).where(_one).values(priv=bindparam("priv")))
SILENCE_TO_CHANGE = Query(
    select(users.c.silenced_until_ms).where(users.c.id == bindparam("user_id")).with_for_update(key_share=True), scalar
)
SET_SILENCE = Command(update(users).where(_one).values(silenced_until_ms=bindparam("until_ms")))
# An account whose country is hidden has one already.
SET_FIRST_COUNTRY = Command(
    update(users)
    .where(_one, users.c.country == "xx", users.c.home_country.is_(None))
    .values(country=bindparam("country"))
)
SET_PASSWORD = Command(update(users).where(_one).values(password_hash=bindparam("password_hash")))
SET_EMAIL = Command(
    update(users).where(_one).values(email=bindparam("email"), email_verified_at_ms=bindparam("verified_at_ms"))
)
SET_EMAIL_VERIFIED = Command(
    update(users).where(_one, users.c.email == bindparam("of_email")).values(email_verified_at_ms=bindparam("at_ms"))
)
# Compares the old hash: a password that was changed during the verification must not be overwritten.
RENEW_PASSWORD = Command(
    update(users)
    .where(_one, users.c.password_hash == bindparam("old_hash"))
    .values(password_hash=bindparam("new_hash"))
)
# Never back in time: two processes may write the times of one account in any order.
SET_ACTIVE = Command(
    update(users).where(_one, users.c.active_at_ms < bindparam("at_ms")).values(active_at_ms=bindparam("at_ms"))
)
SET_FRIENDS_ONLY_DMS = Query(
    update(users).where(_one).values(friends_only_dms=bindparam("on")).returning(users.c.privacy), scalar
)
SET_PRIVACY = Command(update(users).where(_one).values(privacy=bindparam("privacy")))
SET_COUNTRY = Command(
    update(users)
    .where(_one)
    .values(
        country=bindparam("country"),
        home_country=bindparam("home_country"),
        country_changed_at_ms=bindparam("changed_at_ms"),
    )
)
USER_TO_CHANGE = Query(_user.where(_one).with_for_update(key_share=True), User)
SET_DELETION = Command(update(users).where(_one).values(deletes_at_ms=bindparam("at_ms")))
DELETIONS_DUE_MAX = 10
DELETIONS_DUE = Query(
    select(users.c.id)
    .where(users.c.deletes_at_ms.is_not(None), users.c.deletes_at_ms <= bindparam("now_ms"))
    .order_by(users.c.deletes_at_ms, users.c.id)
    .limit(DELETIONS_DUE_MAX),
    scalar,
)
SET_NAME = Command(
    update(users)
    .where(_one)
    .values(name=bindparam("name"), safe_name=bindparam("safe_name"), renamed_at_ms=bindparam("renamed_at_ms"))
)
RELEASE_NAME = Query(
    insert(old_names)
    .values({n: bindparam(n) for n in ("user_id", "name", "safe_name", "released_at_ms")})
    .returning(old_names.c.id),
    scalar,
)
OLD_NAMES_TO_FORGET = Query(
    select(old_names.c.id, old_names.c.name)
    .where(old_names.c.user_id == bindparam("user_id"))
    .order_by(old_names.c.id)
    .limit(AMONG_MAX),
    lambda id_, name: (id_, name),
)
FORGET_OLD_NAME = Command(delete(old_names).where(old_names.c.id == bindparam("old_id")))
HAD_NAME = Query(
    select(old_names.c.id)
    .where(old_names.c.safe_name == bindparam("safe_name"), old_names.c.user_id == bindparam("user_id"))
    .limit(1),
    scalar,
)
PROFILE_FIELDS = (
    "preferred_mode",
    "play_style",
    "userpage_content",
    "custom_badge_name",
    "custom_badge_icon",
)
SET_PROFILE = Command(update(users).where(_one).values({name: bindparam(name) for name in PROFILE_FIELDS}))

# --- API keys

KEYS_MAX = 20
_live = api_keys.c.revoked_at_ms.is_(None)
# A banned account cannot use its keys; a restricted one can, with privileges of 0.
KEY_HOLDER = Query(
    select(api_keys.c.id, users.c.id, users.c.priv, api_keys.c.used_at_ms)
    .select_from(api_keys.join(users, users.c.id == api_keys.c.user_id))
    .where(api_keys.c.hash == bindparam("hash"), _live, users.c.banned_at_ms.is_(None)),
    lambda *row: row,
)
KEYS_AMONG_MAX = 100
KEYS_AMONG = Query(
    select(api_keys.c.id)
    .select_from(api_keys.join(users, users.c.id == api_keys.c.user_id))
    .where(
        api_keys.c.id.in_([bindparam(f"id{n}", type_=api_keys.c.id.type) for n in range(KEYS_AMONG_MAX)]),
        _live,
        users.c.banned_at_ms.is_(None),
    )
    .limit(KEYS_AMONG_MAX),
    scalar,
)
KEYS_OF = Query(
    select(*columns_for(ApiKey, api_keys))
    .where(api_keys.c.user_id == bindparam("user_id"), _live)
    .order_by(api_keys.c.id)
    .limit(KEYS_MAX),
    ApiKey,
)
INSERT_KEY = Query(
    insert(api_keys)
    .values({n: bindparam(n) for n in ("user_id", "hash", "label", "created_at_ms")})
    .returning(api_keys.c.id),
    scalar,
)
KEY_USED = Command(update(api_keys).where(api_keys.c.id == bindparam("key_id")).values(used_at_ms=bindparam("at_ms")))
REVOKE_KEY = Command(
    update(api_keys)
    .where(api_keys.c.id == bindparam("key_id"), api_keys.c.user_id == bindparam("holder_id"), _live)
    .values(revoked_at_ms=bindparam("at_ms"))
)
REVOKE_KEYS = Command(
    update(api_keys).where(api_keys.c.user_id == bindparam("holder_id"), _live).values(revoked_at_ms=bindparam("at_ms"))
)

# --- IRC passwords

IRC_PASSWORD_OF = Query(
    select(*columns_for(IrcPassword, irc_passwords)).where(irc_passwords.c.user_id == bindparam("user_id")), IrcPassword
)
IRC_HOLDER = Query(
    select(irc_passwords.c.hash, irc_passwords.c.used_at_ms, *columns_for(User, users))
    .select_from(irc_passwords.join(users, users.c.id == irc_passwords.c.user_id))
    .where(users.c.safe_name == bindparam("safe_name"), users.c.banned_at_ms.is_(None)),
    lambda stored, used_at_ms, *row: (stored, used_at_ms, User(*row)),
)
ADD_IRC_PASSWORD = Command(
    insert(irc_passwords).values({n: bindparam(n) for n in ("user_id", "hash", "created_at_ms")})
)
IRC_PASSWORD_USED = Command(
    update(irc_passwords).where(irc_passwords.c.user_id == bindparam("of_user")).values(used_at_ms=bindparam("at_ms"))
)
REMOVE_IRC_PASSWORD = Command(delete(irc_passwords).where(irc_passwords.c.user_id == bindparam("of_user")))

# --- friends

FRIEND = 1
BLOCK = 2
# Friendship in the other direction, which makes it mutual.
_back = relationships.alias("back")
FOLLOWERS_MAX = 10_000
_followers = (
    select(literal_column("1"))
    .select_from(relationships.join(users, users.c.id == relationships.c.user_id))
    .where(relationships.c.target_id == bindparam("user_id"), relationships.c.kind == literal_column("1"), visible())
    .limit(literal_column(str(FOLLOWERS_MAX)))
    .subquery()
)
FOLLOWERS = Query(select(func.count()).select_from(_followers), scalar)
FRIENDS_OF = Query(
    select(users.c.id, users.c.name, users.c.country, (_back.c.user_id.is_not(None)))
    .select_from(
        relationships.join(users, users.c.id == relationships.c.target_id).outerjoin(
            _back,
            and_(
                _back.c.user_id == relationships.c.target_id,
                _back.c.target_id == relationships.c.user_id,
                _back.c.kind == FRIEND,
            ),
        )
    )
    .where(relationships.c.user_id == bindparam("user_id"), relationships.c.kind == FRIEND, visible())
    .order_by(func.lower(users.c.name), users.c.id)
    .limit(FRIENDS_MAX),
    lambda id_, name, country, mutual: Friend(id_, name, country, bool(mutual)),
)
RELATIONS_LISTED = Query(
    select(
        users.c.id,
        users.c.name,
        users.c.priv,
        users.c.country,
        users.c.privacy,
        users.c.active_at_ms,
        relationships.c.added_at_ms,
        clans.c.id,
        clans.c.name,
        clans.c.tag,
        _back.c.user_id.is_not(None),
    )
    .select_from(
        with_clan(relationships.join(users, users.c.id == relationships.c.target_id)).outerjoin(
            _back,
            and_(
                _back.c.user_id == relationships.c.target_id,
                _back.c.target_id == relationships.c.user_id,
                _back.c.kind == FRIEND,
            ),
        )
    )
    .where(relationships.c.user_id == bindparam("user_id"), relationships.c.kind == bindparam("kind"), visible())
    .order_by(func.lower(users.c.name), users.c.id)
    .limit(FRIENDS_MAX),
    lambda *row: Relation(*[*row[:-1], bool(row[-1])]),
)
RELATIONS_OF = Query(
    select(relationships.c.target_id, relationships.c.kind).where(relationships.c.user_id == bindparam("user_id")),
    lambda target_id, kind: (target_id, kind),
)
RELATION = Query(
    select(relationships.c.kind).where(
        relationships.c.user_id == bindparam("user_id"), relationships.c.target_id == bindparam("target_id")
    ),
    scalar,
)
FRIEND_COUNT = Query(
    select(func.count())
    .select_from(relationships)
    .where(relationships.c.user_id == bindparam("user_id"), relationships.c.kind == bindparam("kind")),
    scalar,
)
DROP_RELATIONSHIP = Command(
    relationships.delete().where(
        relationships.c.user_id == bindparam("user_id"), relationships.c.target_id == bindparam("target_id")
    )
)
ADD_RELATIONSHIP = Command(
    insert(relationships).values({n: bindparam(n) for n in ("user_id", "target_id", "kind", "added_at_ms")})
)

# --- logins and devices

MATCHES_MAX = 100
RECENT_MAX = 20
RECENT_LOGINS = Query(
    select(logins.c.at_ms, logins.c.address, logins.c.build, logins.c.stream)
    .where(logins.c.user_id == bindparam("user_id"))
    .order_by(logins.c.id.desc())
    .limit(RECENT_MAX),
    GameLogin,
)
LOGINS_PAGE_MAX = 50
LOGINS_BEFORE = Query(
    select(*columns_for(RecordedLogin, logins))
    .where(logins.c.user_id == bindparam("user_id"), logins.c.id < bindparam("before"))
    .order_by(logins.c.id.desc())
    .limit(LOGINS_PAGE_MAX + 1),
    RecordedLogin,
)
ADD_LOGIN = Command(
    insert(logins).values({n: bindparam(n) for n in ("user_id", "at_ms", "address", "build", "stream")})
)
_DEVICE = ("user_id", "adapters", "uninstall", "disk", "wine")
_this_device = and_(
    *[client_hashes.c[n] == bindparam(f"this_{n}", type_=client_hashes.c[n].type) for n in _DEVICE],
)
# An upsert in two statements that both engines have: insert the new devices with 0 uses, then count all of them.
NEW_DEVICE = Command(
    insert(client_hashes).from_select(
        [*_DEVICE, "exe", "first_at_ms", "last_at_ms", "uses"],
        select(
            *[bindparam(f"this_{n}", type_=client_hashes.c[n].type) for n in _DEVICE],
            bindparam("with_exe", type_=client_hashes.c.exe.type),
            bindparam("first_ms", type_=client_hashes.c.first_at_ms.type),
            bindparam("last_ms", type_=client_hashes.c.last_at_ms.type),
            literal_column("0"),
        ).where(~select(literal_column("1")).select_from(client_hashes).where(_this_device).exists()),
    )
)
COUNT_DEVICE = Command(
    update(client_hashes)
    .where(_this_device)
    .values(
        exe=bindparam("with_exe"),
        last_at_ms=bindparam("last_ms"),
        uses=client_hashes.c.uses + bindparam("by", type_=client_hashes.c.uses.type),
    )
)


LOGINS_MAX = 1_000
DEVICES_MAX = 200
_nth_login = (
    select(logins.c.id)
    .where(logins.c.user_id == bindparam("of_user", type_=logins.c.user_id.type))
    .order_by(logins.c.id.desc())
    .limit(1)
    .offset(LOGINS_MAX - 1)
    .scalar_subquery()
)
# Deletes what is older than the newest LOGINS_MAX rows. With fewer rows the subquery is NULL, and nothing is deleted.
DELETE_OLD_LOGINS = Command(
    delete(logins).where(
        logins.c.user_id == bindparam("of_user", type_=logins.c.user_id.type), logins.c.id < _nth_login
    )
)
_nth_device = (
    select(client_hashes.c.last_at_ms)
    .where(client_hashes.c.user_id == bindparam("of_user", type_=client_hashes.c.user_id.type))
    .order_by(client_hashes.c.last_at_ms.desc())
    .limit(1)
    .offset(DEVICES_MAX - 1)
    .scalar_subquery()
)
DELETE_OLD_DEVICES = Command(
    delete(client_hashes).where(
        client_hashes.c.user_id == bindparam("of_user", type_=client_hashes.c.user_id.type),
        client_hashes.c.last_at_ms < _nth_device,
    )
)


def _same(kind: str) -> ColumnElement[bool]:
    """Return the condition that a stored hash equals the parameter and is not that of a known shared device."""
    # A parameter of NULL equals nothing, so that kind is not compared.
    hash_: Any = bindparam(kind, type_=client_hashes.c[kind].type)
    shared = select(shared_devices.c.hash).where(shared_devices.c.hash == hash_)
    # Under wine, the adapters and the disk have the same hashes on many devices.
    comparable = [] if kind == "uninstall" else [client_hashes.c.wine == 0]
    return and_(client_hashes.c[kind] == hash_, *comparable, ~shared.exists())


DEVICE_KINDS = ("adapters", "uninstall", "disk")
DEVICE_ROWS_MAX = 500
"""Rows with one hash that a login is compared with. A hash of more accounts is that of a shared device."""


def _rows_with(kind: str) -> Select[Any]:
    found = select(client_hashes).where(_same(kind)).limit(DEVICE_ROWS_MAX).subquery(f"same_{kind}")
    return select(found.c.user_id, *[(literal(1 if other == kind else 0)).label(other) for other in DEVICE_KINDS])


_compared = union_all(*map(_rows_with, DEVICE_KINDS)).subquery("compared")
# Other accounts on a device. Those with a sanction come first, so that the limit cannot hide them.
# PERF: with 5,000 accounts of one hash online, each login read all of them for 12 ms.
DEVICE_SHARED_WITH = Query(
    select(
        users.c.id,
        users.c.name,
        users.c.priv,
        users.c.banned_at_ms,
        *[func.max(_compared.c[kind]) for kind in DEVICE_KINDS],
    )
    .select_from(_compared.join(users, users.c.id == _compared.c.user_id))
    .where(_compared.c.user_id != bindparam("user_id"))
    .group_by(users.c.id, users.c.name, users.c.priv, users.c.banned_at_ms)
    .order_by(users.c.priv.op("&")(int(Privilege.UNRESTRICTED)), users.c.banned_at_ms.is_(None), users.c.id)
    .limit(MATCHES_MAX),
    lambda *row: row,
)

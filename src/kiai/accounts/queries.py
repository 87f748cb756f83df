"""The statements of accounts."""

from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, case, delete, func, insert, literal_column, or_, select, update

from kiai.accounts.model import Account, ApiKey, Friend, Player, User
from kiai.accounts.visibility import player_columns, visible, with_clan
from kiai.osu.privileges import Privilege
from kiai.storage.patterns import holds
from kiai.storage.port import Command, Lane, Query, columns_for, only
from kiai.storage.tables import (
    api_keys,
    client_hashes,
    counters,
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

# The newest bearer of a released name.
ID_BY_OLD_NAME = Query(
    select(old_names.c.user_id)
    .where(old_names.c.safe_name == bindparam("safe_name"))
    .order_by(old_names.c.id.desc())
    .limit(1),
    only,
)
NAME_RESERVED = Query(
    select(old_names.c.user_id)
    .where(
        old_names.c.safe_name == bindparam("safe_name"),
        old_names.c.released_at_ms > bindparam("since_ms"),
        old_names.c.user_id != bindparam("user_id"),
    )
    .limit(1),
    only,
)

_account = select(*columns_for(Account, users))
EMAIL_TAKEN = Query(select(users.c.id).where(users.c.email == bindparam("email")), only)
ACCOUNT_BY_SAFE_NAME = Query(_account.where(users.c.safe_name == bindparam("safe_name")), Account)
ACCOUNTS_AFTER = Query(
    _account.where(users.c.id > bindparam("after")).order_by(users.c.id).limit(PAGE_MAX),
    Account,
    scans="every account is wanted, a page at a time",
)
AVATAR_OF = Query(select(users.c.avatar).where(users.c.id == bindparam("id"), visible()), only)
ANY_AVATAR_OF = Query(select(users.c.avatar).where(users.c.id == bindparam("id")), only)
LOCK_AVATAR = Query(select(users.c.avatar).where(users.c.id == bindparam("id")).with_for_update(key_share=True), only)

NAMES_MAX = 33  # a match: its host, sixteen seats, and as many referees
NAMES_OF = Query(
    select(users.c.id, users.c.name).where(
        users.c.id.in_([bindparam(f"id{n}", type_=users.c.id.type) for n in range(NAMES_MAX)]), visible()
    ),
    lambda id_, name: (id_, name),
)

AMONG_MAX = 100  # a page of a list
_among = users.c.id.in_([bindparam(f"id{n}", type_=users.c.id.type) for n in range(AMONG_MAX)])
PLAYERS_AMONG = Query(_player.where(_among, visible()).limit(AMONG_MAX), Player)

# A part of a name can be anywhere in it, which no index of ours finds. `ix_users_names` holds all that is looked at.
_PARTS = "it looks for a part of a name, in an index that holds nothing else"
_found = select(users.c.id).where(holds(users.c.safe_name, bindparam("pattern")), visible())
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
SEARCH_COUNT = Query(select(func.count()).select_from(_found_rows), only, lane=Lane.SLOW, scans=_PARTS)

TOTAL = Query(select(counters.c.value).where(counters.c.name == "users"), only)
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
    only,
)
_one = users.c.id == bindparam("user_id")
_POWERS = int(Privilege.DEVELOPER | Privilege.UNRESTRICTED)
_DEVELOPS = users.c.priv.op("&")(int(Privilege.DEVELOPER)) != 0  # the words of ix_users_developers
DEVELOPERS = Query(
    select(users.c.id).where(_DEVELOPS, users.c.priv.op("&")(_POWERS) == _POWERS).with_for_update(key_share=True), only
)
PRIV_TO_CHANGE = Query(
    select(users.c.priv).where(users.c.id == bindparam("user_id")).with_for_update(key_share=True), only
)
ANY_DEVELOPER = Query(select(users.c.id).where(users.c.priv.op("&")(int(Privilege.DEVELOPER)) != 0).limit(1), only)
SET_PRIV = Command(update(users).where(_one).values(priv=bindparam("priv")))
SILENCE_TO_CHANGE = Query(
    select(users.c.silenced_until_ms).where(users.c.id == bindparam("user_id")).with_for_update(key_share=True), only
)
SET_SILENCE = Command(update(users).where(_one).values(silenced_until_ms=bindparam("until_ms")))
SETTLE_COUNTRY = Command(update(users).where(_one, users.c.country == "xx").values(country=bindparam("country")))
SET_PASSWORD = Command(update(users).where(_one).values(password_hash=bindparam("password_hash")))
RENEW_PASSWORD = Command(
    update(users)
    .where(_one, users.c.password_hash == bindparam("old_hash"))
    .values(password_hash=bindparam("new_hash"))
)
SET_ACTIVE = Command(
    update(users).where(_one, users.c.active_at_ms < bindparam("at_ms")).values(active_at_ms=bindparam("at_ms"))
)
SET_FRIENDS_ONLY_DMS = Command(update(users).where(_one).values(friends_only_dms=bindparam("on")))
SET_AVATAR = Command(update(users).where(_one).values(avatar=bindparam("avatar")))
SET_NAME = Command(
    update(users)
    .where(_one)
    .values(name=bindparam("name"), safe_name=bindparam("safe_name"), renamed_at_ms=bindparam("renamed_at_ms"))
)
RELEASE_NAME = Command(
    insert(old_names).values({n: bindparam(n) for n in ("user_id", "name", "safe_name", "released_at_ms")})
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
KEY_HOLDER = Query(
    select(api_keys.c.id, users.c.id, users.c.priv, api_keys.c.used_at_ms)
    .select_from(api_keys.join(users, users.c.id == api_keys.c.user_id))
    .where(api_keys.c.hash == bindparam("hash"), _live, users.c.banned_at_ms.is_(None)),
    lambda *row: row,
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
    only,
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

# --- friends

FRIEND = 1
BLOCK = 2
_back = relationships.alias("back")
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
RELATIONS_OF = Query(
    select(relationships.c.target_id, relationships.c.kind).where(relationships.c.user_id == bindparam("user_id")),
    lambda target_id, kind: (target_id, kind),
)
RELATION = Query(
    select(relationships.c.kind).where(
        relationships.c.user_id == bindparam("user_id"), relationships.c.target_id == bindparam("target_id")
    ),
    only,
)
FRIEND_COUNT = Query(
    select(func.count())
    .select_from(relationships)
    .where(relationships.c.user_id == bindparam("user_id"), relationships.c.kind == bindparam("kind")),
    only,
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
NOTE_LOGIN = Command(
    insert(logins).values({n: bindparam(n) for n in ("user_id", "at_ms", "address", "build", "stream")})
)
_DEVICE = ("user_id", "adapters", "uninstall", "disk", "wine")
_this_device = and_(
    *[client_hashes.c[n] == bindparam(f"this_{n}", type_=client_hashes.c[n].type) for n in _DEVICE],
)
# An upsert in words that both engines know: a device that is new gets its row, then every device is counted.
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
FORGET_LOGINS = Command(
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
FORGET_DEVICES = Command(
    delete(client_hashes).where(
        client_hashes.c.user_id == bindparam("of_user", type_=client_hashes.c.user_id.type),
        client_hashes.c.last_at_ms < _nth_device,
    )
)


def _same(kind: str) -> ColumnElement[bool]:
    """Whether a stored hash is the one asked about (null: not asked about); shared devices are like nobody's."""
    asked: Any = bindparam(kind, type_=client_hashes.c[kind].type)
    shared = select(shared_devices.c.hash).where(shared_devices.c.hash == asked)
    return and_(client_hashes.c[kind] == asked, ~shared.exists())


DEVICE_KINDS = ("adapters", "uninstall", "disk")
# Who else uses a device; those with a sanction first, so that the limit never hides one.
DEVICE_SHARED_WITH = Query(
    select(
        users.c.id,
        users.c.name,
        users.c.priv,
        users.c.banned_at_ms,
        *[func.max(case((_same(kind), 1), else_=0)) for kind in DEVICE_KINDS],
    )
    .select_from(client_hashes.join(users, users.c.id == client_hashes.c.user_id))
    .where(or_(*[_same(kind) for kind in DEVICE_KINDS]), client_hashes.c.user_id != bindparam("user_id"))
    .group_by(users.c.id, users.c.name, users.c.priv, users.c.banned_at_ms)
    .order_by(users.c.priv.op("&")(int(Privilege.UNRESTRICTED)), users.c.banned_at_ms.is_(None), users.c.id)
    .limit(MATCHES_MAX),
    lambda *row: row,
)

"""The statements of acts in clans. Reads that end in `TO_CHANGE` lock their row until the transaction ends."""

from typing import Any, Final

import msgspec
from sqlalchemy import BigInteger, bindparam, delete, func, insert, literal_column, select, update

from kiai.accounts.visibility import visible
from kiai.clans.model import (
    HISTORY_MAX,
    INVITATIONS_MAX,
    REQUESTS_MAX,
    REQUESTS_OF_ONE_MAX,
    RESERVED_OF_ONE_MAX,
    ChangingClan,
    ClanPlayer,
)
from kiai.osu.privileges import Privilege
from kiai.storage.port import Command, Lane, Query, columns_for, scalar
from kiai.storage.tables import (
    clan_history,
    clan_invitations,
    clan_requests,
    clan_reservations,
    clan_totals,
    clans,
    users,
)

MEMBERS_MAX: Final = 1_000
"""More than a clan can have: the largest value of `clan_members_max`."""
BATCH: Final = 500

_in_clan = (users.c.clan_id == bindparam("clan_id"), users.c.clan_id > literal_column("0"))

# --- clans

CLAN_TO_CHANGE = Query(
    select(*columns_for(ChangingClan, clans)).where(clans.c.id == bindparam("id")).with_for_update(key_share=True),
    ChangingClan,
)
ID_OF_CODE = Query(select(clans.c.id).where(clans.c.code == bindparam("code")), scalar)
INSERT = Query(
    insert(clans)
    .values({name: bindparam(name) for name in ("name", "safe_name", "tag", "owner_id", "created_at_ms", "joining")})
    .returning(clans.c.id),
    scalar,
)
_of_clan = clans.c.id == bindparam("of_clan")
SET_NAME = Command(
    update(clans)
    .where(_of_clan)
    .values(name=bindparam("new_name"), safe_name=bindparam("new_safe"), renamed_at_ms=bindparam("new_renamed"))
)
SET_TAG = Command(update(clans).where(_of_clan).values(tag=bindparam("new_tag")))
SET_FORM = Command(update(clans).where(_of_clan).values(joining=bindparam("new_form")))
SET_DESCRIPTION = Command(update(clans).where(_of_clan).values(description=bindparam("new_text")))
SET_ICON = Command(update(clans).where(_of_clan).values(icon=bindparam("new_icon")))
SET_CODE = Command(update(clans).where(_of_clan).values(code=bindparam("new_code")))
SET_OWNER = Command(
    update(clans).where(_of_clan).values(owner_id=bindparam("new_owner"), owner_away_since_ms=bindparam("no_time"))
)
REMOVE = Command(delete(clans).where(_of_clan))
REMOVE_TOTALS = Command(
    delete(clan_totals).where(clan_totals.c.mode == bindparam("in_mode"), clan_totals.c.clan_id == bindparam("of_clan"))
)

# --- members

PERSON = Query(select(*columns_for(ClanPlayer, users)).where(users.c.id == bindparam("id")), ClanPlayer)
PERSON_TO_CHANGE = Query(
    select(*columns_for(ClanPlayer, users)).where(users.c.id == bindparam("id")).with_for_update(key_share=True),
    ClanPlayer,
)
MEMBER_IDS_TO_CHANGE = Query(
    select(users.c.id).where(*_in_clan).order_by(users.c.id).limit(MEMBERS_MAX).with_for_update(key_share=True),
    scalar,
)
# All seats: a restricted member keeps the seat.
SEATS = Query(
    select(func.count()).select_from(select(users.c.id).where(*_in_clan).limit(MEMBERS_MAX).subquery()), scalar
)
_seen = int(Privilege.UNRESTRICTED | Privilege.VERIFIED)
# A restricted member inherits only where nobody else can.
HEIR_TO_CHANGE = Query(
    select(*columns_for(ClanPlayer, users))
    .where(*_in_clan, users.c.id != bindparam("but"), users.c.deleted_at_ms.is_(None))
    .order_by(
        (users.c.priv.op("&")(_seen) == _seen).desc(), users.c.clan_priv.desc(), users.c.clan_joined_at_ms, users.c.id
    )
    .limit(1)
    .with_for_update(key_share=True),
    ClanPlayer,
)
_of_user = users.c.id == bindparam("of_user")
ENTER = Command(
    update(users)
    .where(_of_user)
    .values(clan_id=bindparam("new_clan"), clan_priv=bindparam("new_role"), clan_joined_at_ms=bindparam("joined_at"))
)
LEAVE = Command(
    update(users)
    .where(_of_user)
    .values(
        clan_id=literal_column("0"),
        clan_priv=literal_column("0"),
        clan_joined_at_ms=bindparam("no_time"),
        clan_left_at_ms=bindparam("left_at"),
    )
)
SET_ROLE = Command(update(users).where(_of_user).values(clan_priv=bindparam("new_role")))


class ClanSeat(msgspec.Struct, frozen=True):
    """The clan and role of a player, and the clan's tag and name."""

    clan_id: int
    role: int
    tag: str
    name: str


SEAT = Query(
    select(clans.c.id, users.c.clan_priv, clans.c.tag, clans.c.name)
    .select_from(users.join(clans, clans.c.id == users.c.clan_id))
    .where(users.c.id == bindparam("user_id")),
    ClanSeat,
)

# --- invitations and requests

INVITE = Command(
    insert(clan_invitations).values({n: bindparam(n) for n in ("clan_id", "user_id", "by_id", "expires_at_ms")})
)
INVITED_UNTIL = Query(
    select(clan_invitations.c.expires_at_ms).where(
        clan_invitations.c.clan_id == bindparam("clan_id"), clan_invitations.c.user_id == bindparam("user_id")
    ),
    scalar,
)
_some_invitations = (
    select(clan_invitations.c.user_id)
    .where(clan_invitations.c.clan_id == bindparam("clan_id"))
    .limit(INVITATIONS_MAX)
    .subquery()
)
INVITATIONS = Query(select(func.count()).select_from(_some_invitations), scalar)
UNINVITE = Command(
    delete(clan_invitations).where(
        clan_invitations.c.clan_id == bindparam("of_clan"), clan_invitations.c.user_id == bindparam("of_user")
    )
)
UNINVITE_EXPIRED = Command(
    delete(clan_invitations).where(
        clan_invitations.c.clan_id == bindparam("of_clan"),
        clan_invitations.c.user_id.in_(
            select(clan_invitations.c.user_id)
            .where(
                clan_invitations.c.clan_id == bindparam("of_clan"),
                clan_invitations.c.expires_at_ms <= bindparam("now_ms"),
            )
            .limit(INVITATIONS_MAX)
        ),
    )
)
END_INVITATIONS_OF = Command(delete(clan_invitations).where(clan_invitations.c.user_id == bindparam("of_user")))
END_INVITATIONS_TO = Command(delete(clan_invitations).where(clan_invitations.c.clan_id == bindparam("of_clan")))

REQUEST = Command(insert(clan_requests).values({n: bindparam(n) for n in ("clan_id", "user_id", "at_ms")}))
REQUESTED_AT = Query(
    select(clan_requests.c.at_ms).where(
        clan_requests.c.clan_id == bindparam("clan_id"), clan_requests.c.user_id == bindparam("user_id")
    ),
    scalar,
)
_some_requests = (
    select(clan_requests.c.user_id).where(clan_requests.c.clan_id == bindparam("clan_id")).limit(REQUESTS_MAX)
).subquery()
REQUESTS_TO = Query(select(func.count()).select_from(_some_requests), scalar)
_own_requests = (
    select(clan_requests.c.clan_id).where(clan_requests.c.user_id == bindparam("user_id")).limit(REQUESTS_OF_ONE_MAX)
).subquery()
REQUESTS_OF = Query(select(func.count()).select_from(_own_requests), scalar)
UNREQUEST = Command(
    delete(clan_requests).where(
        clan_requests.c.clan_id == bindparam("of_clan"), clan_requests.c.user_id == bindparam("of_user")
    )
)
END_REQUESTS_OF = Command(delete(clan_requests).where(clan_requests.c.user_id == bindparam("of_user")))
END_REQUESTS_TO = Command(delete(clan_requests).where(clan_requests.c.clan_id == bindparam("of_clan")))


class Asking(msgspec.Struct, frozen=True):
    """A visible player who wants to join."""

    id: int
    name: str
    at_ms: int


ASKING = Query(
    select(users.c.id, users.c.name, clan_requests.c.at_ms)
    .select_from(clan_requests.join(users, users.c.id == clan_requests.c.user_id))
    .where(clan_requests.c.clan_id == bindparam("clan_id"), visible())
    .order_by(clan_requests.c.at_ms, users.c.id)
    .limit(REQUESTS_MAX),
    Asking,
    lane=Lane.BOUNDED,
)

# --- reserved names

RESERVED_FOR = Query(
    select(clan_reservations.c.clan_id).where(
        clan_reservations.c.kind == bindparam("kind"),
        clan_reservations.c.key == bindparam("key"),
        clan_reservations.c.until_ms > bindparam("now_ms"),
    ),
    scalar,
)
RESERVE = Command(
    insert(clan_reservations).values({name: bindparam(name) for name in ("kind", "key", "clan_id", "until_ms")})
)
RELEASE = Command(
    delete(clan_reservations).where(
        clan_reservations.c.kind == bindparam("of_kind"), clan_reservations.c.key == bindparam("of_key")
    )
)
# The ends of the reservations of a clan, the first one first.
RESERVED_UNTIL = Query(
    select(clan_reservations.c.until_ms)
    .where(clan_reservations.c.clan_id == bindparam("clan_id"), clan_reservations.c.until_ms > bindparam("now_ms"))
    .order_by(clan_reservations.c.until_ms)
    .limit(RESERVED_OF_ONE_MAX),
    scalar,
)

# --- history

WRITE_HISTORY = Query(
    insert(clan_history)
    .values({n: bindparam(n) for n in ("at_ms", "clan_id", "kind", "player_id", "actor_id", "before", "after")})
    .returning(clan_history.c.id),
    scalar,
)
OLDEST_KEPT = Query(
    select(clan_history.c.id)
    .where(clan_history.c.clan_id == bindparam("clan_id"))
    .order_by(clan_history.c.id.desc())
    .limit(1)
    .offset(HISTORY_MAX),
    scalar,
)
FORGET = Command(
    delete(clan_history).where(clan_history.c.clan_id == bindparam("of_clan"), clan_history.c.id <= bindparam("to_id"))
)


class HistoryRow(msgspec.Struct, frozen=True):
    """A row of a clan's history. The ids are 0 without a player."""

    id: int
    at_ms: int
    kind: str
    player_id: int
    actor_id: int
    before: str
    after: str


HISTORY = Query(
    select(*columns_for(HistoryRow, clan_history))
    .where(clan_history.c.clan_id == bindparam("clan_id"), clan_history.c.id < bindparam("until", type_=BigInteger()))
    .order_by(clan_history.c.id.desc())
    .limit(bindparam("limit")),
    HistoryRow,
    lane=Lane.BOUNDED,
)

# --- the job

EXPIRED = Query(
    select(clan_invitations.c.clan_id, clan_invitations.c.user_id)
    .where(clan_invitations.c.expires_at_ms <= bindparam("now_ms"))
    .order_by(clan_invitations.c.expires_at_ms)
    .limit(BATCH),
    lambda clan_id, user_id: {"of_clan": clan_id, "of_user": user_id},
    lane=Lane.JOB,
)
UNRESERVED = Query(
    select(clan_reservations.c.kind, clan_reservations.c.key)
    .where(clan_reservations.c.until_ms <= bindparam("now_ms"))
    .order_by(clan_reservations.c.until_ms)
    .limit(BATCH),
    lambda kind, key: {"of_kind": kind, "of_key": key},
    lane=Lane.JOB,
)
ENDED = Query(
    select(clan_history.c.clan_id, clan_history.c.id)
    .where(clan_history.c.kind == literal_column("'disband'"), clan_history.c.at_ms <= bindparam("before_ms"))
    .order_by(clan_history.c.at_ms)
    .limit(BATCH),
    lambda clan_id, id_: {"of_clan": clan_id, "to_id": id_},
    lane=Lane.JOB,
)
_away: Any = users.c.priv.op("&")(int(Privilege.UNRESTRICTED)) == 0
AWAY = Query(
    select(clans.c.id, clans.c.owner_away_since_ms, _away)
    .select_from(clans.join(users, users.c.id == clans.c.owner_id))
    .where(_away != clans.c.owner_away_since_ms.is_not(None))
    .limit(BATCH),
    lambda clan_id, since, away: (clan_id, bool(away)),
    lane=Lane.JOB,
    scans="a job reads the owners of all clans",
)
SET_AWAY = Command(update(clans).where(_of_clan).values(owner_away_since_ms=bindparam("since")))
LONG_AWAY = Query(
    select(clans.c.id).where(clans.c.owner_away_since_ms <= bindparam("before_ms")).limit(BATCH),
    scalar,
    lane=Lane.JOB,
    scans="a job reads all clans",
)

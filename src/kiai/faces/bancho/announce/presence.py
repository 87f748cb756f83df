"""Who a player is and what it does, as packets: 83, 11, 95, 12.

See docs/spec/protocol.md#user-presence, docs/spec/protocol.md#user-stats and docs/spec/sessions.md#filter.
"""

from collections.abc import Sequence

from kiai.faces.bancho import packets
from kiai.faces.bancho.announce import Table
from kiai.osu.countries import COUNTRIES
from kiai.osu.privileges import client_privileges
from kiai.presence.model import (
    Alerted,
    Arrived,
    Left,
    OwnFigures,
    PresenceChanged,
    StatsChanged,
    client_mode,
)
from kiai.presence.reading import NEW_PP_BUILD
from kiai.realtime.port import BOT_ID, ONLINE, STATUS, Entry, Session, match_topic, user_topic

PP_MAX = 65_535
OLD_PP_MAX = 32_767
SUPPORTER = 4
BADGES = 0x1F  # the tournament bit would run into the mode, which shares the byte


def presence(session: Session) -> bytes:
    """Who the session's player is."""
    return packets.user_presence(
        session.user_id,
        name=session.name,
        utc_offset=session.utc_offset,
        country=country_number(session.country),
        privileges=client_privileges(session.priv) & BADGES,
        mode=client_mode(session.status),
        longitude=session.longitude,
        latitude=session.latitude,
        rank=0 if session.hidden else session.stats.rank,
    )


def stats(session: Session, pp_max: int = PP_MAX) -> bytes:
    """What the session's player does, and its figures. pp above `pp_max` stands in place of the ranked score."""
    status, figures = session.status, session.stats
    fits = figures.pp <= pp_max
    return packets.user_stats(
        session.user_id,
        action=status.action,
        info_text=status.info_text,
        map_md5=status.map_md5,
        mods=status.mods,
        mode=client_mode(status),
        map_id=status.map_id,
        ranked_score=figures.rscore if fits else figures.pp,
        accuracy=figures.acc / 100,
        plays=figures.plays,
        total_score=figures.tscore,
        rank=0 if session.hidden else figures.rank,
        pp=figures.pp if fits else 0,
    )


def stats_for(reader: Session, session: Session) -> bytes:
    """`stats` in the layout that the reader's client knows."""
    return stats(session, PP_MAX if reader.build >= NEW_PP_BUILD else OLD_PP_MAX)


def privileges(session: Session) -> bytes:
    """The session's own privileges. Everybody's holds supporter, which unlocks osu!direct.

    See docs/spec/sessions.md#log-in-reply.
    """
    return packets.privileges(client_privileges(session.priv) | SUPPORTER)


def bot(name: str) -> bytes:
    """The bot, as one more player off the map."""
    return packets.user_presence(
        BOT_ID,
        name=name,
        utc_offset=-5,
        country=245,
        privileges=BADGES,
        mode=0,
        longitude=1234.0,
        latitude=4321.0,
        rank=0,
    ) + packets.user_stats(
        BOT_ID,
        action=0,
        info_text="",
        map_md5="",
        mods=0,
        mode=0,
        map_id=0,
        ranked_score=0,
        accuracy=0.0,
        plays=0,
        total_score=0,
        rank=0,
        pp=0,
    )


def country_number(code: str) -> int:
    """The client's number of a country; 0 for one it does not know."""
    return COUNTRIES.get(code, (0, ""))[0]


def _older(session: Session, before: bytes = b"") -> bytes:
    return before + stats(session, OLD_PP_MAX) if session.stats.pp > OLD_PP_MAX else b""


def _arrived(fact: Arrived) -> Sequence[Entry]:
    session = fact.session
    if fact.many:
        return [Entry(ONLINE, packets.user_presence_single(session.user_id), author=session.user_id)]
    who = presence(session)
    return [Entry(ONLINE, who + stats(session), author=session.user_id, older=_older(session, who))]


def _left(fact: Left) -> Sequence[Entry]:
    return [Entry(ONLINE, packets.user_logout(fact.user_id), author=fact.user_id)]


def _stats_changed(fact: StatsChanged) -> Sequence[Entry]:
    session = fact.session
    told = Entry(STATUS, stats(session), author=session.user_id, older=_older(session))
    if fact.many and session.match_id:
        room = Entry(match_topic(session.match_id), told.body, author=told.author, older=told.older)
        return [told, room]
    return [told]


def _own_figures(fact: OwnFigures) -> Sequence[Entry]:
    session = fact.session
    return [Entry(user_topic(session.user_id), stats(session), older=_older(session))]


def _presence_changed(fact: PresenceChanged) -> Sequence[Entry]:
    session = fact.session
    return [
        Entry(ONLINE, presence(session), author=session.user_id),
        Entry(user_topic(session.user_id), privileges(session) + presence(session)),
    ]


def _alerted(fact: Alerted) -> Sequence[Entry]:
    return [Entry(user_topic(fact.user_id) if fact.user_id else ONLINE, packets.notification(fact.text))]


TABLE: Table = {
    Alerted: _alerted,
    Arrived: _arrived,
    Left: _left,
    StatsChanged: _stats_changed,
    OwnFigures: _own_figures,
    PresenceChanged: _presence_changed,
}

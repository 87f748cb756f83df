"""Packets for presences, statuses and stats: 11, 12, 83, 95.

See docs/spec/protocol.md#user-presence, docs/spec/protocol.md#user-stats and docs/spec/sessions.md#filter.
"""

from collections.abc import Sequence

from kiai.faces.bancho import packets
from kiai.faces.bancho.announce import Table
from kiai.osu.countries import COUNTRIES
from kiai.osu.privileges import client_privileges
from kiai.presence.events import (
    AlertSent,
    CameOnline,
    OnlyIrcRemains,
    OwnStatsChanged,
    PresenceChanged,
    StatsChanged,
    WentOffline,
)
from kiai.presence.model import client_mode
from kiai.presence.visible_entries import NEW_PP_BUILD
from kiai.realtime.port import BOT_ID, ONLINE, STATUS, Entry, Session, match_topic, user_topic

PP_MAX = 65_535
OLD_PP_MAX = 32_767
SUPPORTER = 4
BADGES = 0x1F  # without the tournament bit, which would overlap the mode in the same byte


def presence(session: Session) -> bytes:
    """Encode the presence of the session's player. A negative id tells clients that the player is only in IRC."""
    return packets.user_presence(
        -session.user_id if session.irc else session.user_id,
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
    """Encode the status and stats of the session's player. pp above `pp_max` replaces the ranked score.

    An IRC connection has no status: the result is empty.
    """
    if session.irc:
        return b""
    status, totals = session.status, session.stats
    fits = totals.pp <= pp_max
    return packets.user_stats(
        session.user_id,
        action=status.action,
        info_text=status.info_text,
        map_md5=status.map_md5,
        mods=status.mods,
        mode=client_mode(status),
        map_id=status.map_id,
        ranked_score=totals.rscore if fits else totals.pp,
        accuracy=totals.acc / 100,
        plays=totals.plays,
        total_score=totals.tscore,
        rank=0 if session.hidden else totals.rank,
        pp=totals.pp if fits else 0,
    )


def stats_for(reader: Session, session: Session) -> bytes:
    """Encode `stats` for the build of the reader's client."""
    return stats(session, PP_MAX if reader.build >= NEW_PP_BUILD else OLD_PP_MAX)


def privileges(session: Session) -> bytes:
    """Encode the session's own privileges, with supporter for everybody, which enables osu!direct.

    See docs/spec/sessions.md#login-reply.
    """
    return packets.privileges(client_privileges(session.priv) | SUPPORTER)


def bot(name: str) -> bytes:
    """Encode the presence and stats of the bot."""
    # The coordinates are outside the world map, so clients draw no marker.
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
    """Return the client's number of a country, 0 for an unknown one."""
    return COUNTRIES.get(code, (0, ""))[0]


def _older(session: Session, before: bytes = b"") -> bytes:
    # The body for old clients, only where it differs: a topic stores it with each entry.
    return before + stats(session, OLD_PP_MAX) if session.stats.pp > OLD_PP_MAX else b""


def _came_online(event: CameOnline) -> Sequence[Entry]:
    session = event.session
    if event.crowded:  # 11 bytes instead of more than 100, for each of thousands of readers
        return [Entry(ONLINE, packets.user_presence_single(session.user_id), author=session.user_id)]
    own = presence(session)
    return [Entry(ONLINE, own + stats(session), author=session.user_id, older=_older(session, own))]


def _went_offline(event: WentOffline) -> Sequence[Entry]:
    return [Entry(ONLINE, packets.user_logout(event.user_id), author=event.user_id)]


def _only_irc_remains(event: OnlyIrcRemains) -> Sequence[Entry]:
    session = event.session
    gone = packets.user_logout(session.user_id, state=2)
    return [Entry(ONLINE, gone + presence(session), author=session.user_id)]


def _stats_changed(event: StatsChanged) -> Sequence[Entry]:
    session = event.session
    update = Entry(STATUS, stats(session), author=session.user_id, older=_older(session))
    # Statuses are pushed by interest then, and players in a match need each other's.
    if event.crowded and session.match_id:
        to_match = Entry(match_topic(session.match_id), update.body, author=update.author, older=update.older)
        return [update, to_match]
    return [update]


def _own_stats_changed(event: OwnStatsChanged) -> Sequence[Entry]:
    session = event.session
    # Without author: a session skips entries of its own user.
    return [Entry(user_topic(session.user_id), stats(session), older=_older(session))]


def _presence_changed(event: PresenceChanged) -> Sequence[Entry]:
    session = event.session
    return [
        Entry(ONLINE, presence(session), author=session.user_id),
        Entry(user_topic(session.user_id), privileges(session) + presence(session)),
    ]


def _alert_sent(event: AlertSent) -> Sequence[Entry]:
    return [Entry(user_topic(event.user_id) if event.user_id else ONLINE, packets.notification(event.text))]


TABLE: Table = {
    AlertSent: _alert_sent,
    CameOnline: _came_online,
    WentOffline: _went_offline,
    OnlyIrcRemains: _only_irc_remains,
    StatsChanged: _stats_changed,
    OwnStatsChanged: _own_stats_changed,
    PresenceChanged: _presence_changed,
}

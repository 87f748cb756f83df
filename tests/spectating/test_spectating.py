"""Spectating, as the polls of the players show it."""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from kiai.clock import ManualClock
from kiai.errors import NotFound, Refused
from kiai.faces.bancho import packets
from kiai.faces.bancho.announce import announcer, spectate
from kiai.faces.bancho.announce.spectate import channel_info
from kiai.presence import readable
from kiai.realtime.memory import MemoryRealtime
from kiai.realtime.port import BOT_ID, Session, chat_topic, frames_topic, spectate_topic, user_topic
from kiai.spectating import Spectating
from kiai.spectating.service import BUNDLE_MAX

Run = Callable[[Coroutine[Any, Any, Any]], Any]

HOST, ANNA, BORIS = 3, 4, 5
OPENED = packets.channel_join_success("#spectator") + channel_info(2)
KICKED = packets.channel_kick("#spectator")


class Room:
    """A host and two others, all online."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.clock = ManualClock()
        self.realtime = MemoryRealtime(self.clock)
        self.spectating = Spectating(self.realtime, announcer(spectate.TABLE))
        for user_id in (HOST, ANNA, BORIS):
            self.log_in(user_id)

    def log_in(self, user_id: int, **fields: Any) -> None:
        session = Session(
            token=str(user_id),
            user_id=user_id,
            login_time_ms=0,
            follows=frozenset({user_topic(user_id)}),
            build=20250415,
            **fields,
        )
        self.run(self.realtime.open_session(session))

    def session(self, user_id: int) -> Session:
        found: Session = self.run(self.realtime.session(str(user_id)))
        return found

    def start(self, user_id: int, host_id: int = HOST) -> Any:
        return self.run(self.spectating.start(self.session(user_id), host_id))

    def stop(self, user_id: int) -> None:
        self.run(self.spectating.stop(self.session(user_id)))

    def log_out(self, user_id: int) -> None:
        session = self.run(self.realtime.close_session(str(user_id)))
        self.run(self.spectating.on_session_end(session))

    def reads(self, user_id: int) -> list[bytes]:
        session, entries = self.run(self.realtime.poll(str(user_id)))
        return readable(session, entries)


@pytest.fixture
def room(run: Run) -> Room:
    return Room(run)


def test_first_spectator_opens_the_channel_for_the_host(room: Room) -> None:
    watching = room.start(ANNA)

    assert watching.host.user_id == HOST
    assert watching.fellows == []
    assert room.session(ANNA).spectating == HOST
    assert room.reads(HOST) == [packets.spectator_joined(ANNA), OPENED]
    assert room.reads(ANNA) == []


def test_spectators_are_announced_to_each_other(room: Room) -> None:
    room.start(ANNA)
    room.reads(HOST)

    watching = room.start(BORIS)

    assert watching.fellows == [ANNA]
    assert room.reads(ANNA) == [packets.fellow_spectator_joined(BORIS)]
    assert room.reads(HOST) == [packets.spectator_joined(BORIS)]
    assert room.reads(BORIS) == []


def test_frames_reach_every_spectator_unchanged_but_not_the_host(room: Room) -> None:
    room.start(ANNA)
    room.start(BORIS)
    for user_id in (HOST, ANNA, BORIS):
        room.reads(user_id)

    room.run(room.spectating.frames(room.session(HOST), b"\x01\x02frames"))

    assert room.reads(ANNA) == [packets.spectate_frames(b"\x01\x02frames")]
    assert room.reads(BORIS) == [packets.spectate_frames(b"\x01\x02frames")]
    assert room.reads(HOST) == []


def test_bundle_above_the_bound_is_dropped(room: Room) -> None:
    room.start(ANNA)
    room.reads(ANNA)

    room.run(room.spectating.frames(room.session(HOST), bytes(BUNDLE_MAX + 1)))
    room.run(room.spectating.frames(room.session(HOST), bytes(BUNDLE_MAX)))

    assert room.reads(ANNA) == [packets.spectate_frames(bytes(BUNDLE_MAX))]


def test_slow_spectator_skips_frames_and_stays(room: Room) -> None:
    room.start(ANNA)
    room.reads(ANNA)

    for number in range(600):
        room.run(room.spectating.frames(room.session(HOST), b"frame %d" % number))
        room.clock.advance(1 / 30)

    read = room.reads(ANNA)
    assert 256 <= len(read) < 600
    assert read[-1] == packets.spectate_frames(b"frame 599")


def test_last_spectator_closes_the_channel(room: Room) -> None:
    room.start(ANNA)
    room.start(BORIS)
    for user_id in (HOST, ANNA, BORIS):
        room.reads(user_id)

    room.stop(ANNA)

    assert room.reads(HOST) == [packets.spectator_left(ANNA)]
    assert room.reads(BORIS) == [packets.fellow_spectator_left(ANNA)]

    room.stop(BORIS)

    assert room.reads(HOST) == [packets.spectator_left(BORIS), KICKED]
    assert room.session(HOST).follows == {user_topic(HOST)}
    assert room.session(BORIS).follows == {user_topic(BORIS)}


def test_watching_another_host_stops_watching_the_first(room: Room) -> None:
    room.start(ANNA)
    room.reads(HOST)

    room.start(ANNA, BORIS)

    assert room.session(ANNA).spectating == BORIS
    assert room.reads(HOST) == [packets.spectator_left(ANNA), KICKED]
    assert packets.spectator_joined(ANNA) in room.reads(BORIS)


def test_spectator_that_got_the_map_is_announced_again(room: Room) -> None:
    room.start(ANNA)
    room.start(BORIS)
    for user_id in (HOST, ANNA, BORIS):
        room.reads(user_id)

    watching = room.start(ANNA)

    assert watching.host is None
    assert room.reads(HOST) == [packets.spectator_joined(ANNA)]
    assert room.reads(BORIS) == [packets.fellow_spectator_joined(ANNA)]


def test_missing_map_is_announced_to_host_and_spectators(room: Room) -> None:
    room.start(ANNA)
    room.start(BORIS)
    for user_id in (HOST, ANNA, BORIS):
        room.reads(user_id)

    room.run(room.spectating.cannot_watch(room.session(ANNA)))

    assert room.reads(HOST) == [packets.cant_spectate(ANNA)]
    assert room.reads(BORIS) == [packets.cant_spectate(ANNA)]


@pytest.mark.parametrize("host_id", [0, ANNA])
def test_own_and_zero_ids_change_nothing(room: Room, host_id: int) -> None:
    watching = room.start(ANNA, host_id)

    assert watching.host is None
    assert room.session(ANNA).spectating == 0
    assert room.run(room.realtime.following(spectate_topic(host_id))) == []


def test_watching_the_bot_is_refused(room: Room) -> None:
    with pytest.raises(Refused, match="bot"):
        room.start(ANNA, BOT_ID)


def test_watching_an_offline_or_hidden_host_is_refused_and_stops_the_present_one(room: Room) -> None:
    room.log_in(6, hidden=True)
    for host_id in (6, 99):
        room.start(ANNA)
        with pytest.raises(NotFound):
            room.start(ANNA, host_id)
        assert room.session(ANNA).spectating == 0


def test_negative_host_id_stops_watching(room: Room) -> None:
    room.start(ANNA)

    room.start(ANNA, -1)

    assert room.session(ANNA).spectating == 0


def test_spectators_stop_when_the_host_logs_out(room: Room) -> None:
    room.start(ANNA)
    room.start(BORIS)
    room.reads(ANNA)

    room.log_out(HOST)

    assert room.reads(ANNA) == [KICKED]
    assert room.session(ANNA).spectating == room.session(BORIS).spectating == 0
    for topic in (spectate_topic(HOST), frames_topic(HOST), chat_topic(f"#spec_{HOST}")):
        assert room.run(room.realtime.following(topic)) == []


def test_ended_session_stops_watching(room: Room) -> None:
    room.start(ANNA)
    room.start(BORIS)
    for user_id in (HOST, BORIS):
        room.reads(user_id)

    room.log_out(ANNA)
    room.log_out(BORIS)

    assert room.reads(HOST) == [packets.spectator_left(ANNA), packets.spectator_left(BORIS), KICKED]

"""Rooms through their sessions: who is told what, and that nobody waits for a player who vanished."""

import asyncio
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from tests.builders import Run, World, a_map, a_player

from kiai.chat.model import aside_topic
from kiai.errors import KiaiError, NotFound, Refused
from kiai.faces.bancho import packets
from kiai.faces.bancho.announce import announcer, match, presence
from kiai.multiplayer import commands
from kiai.multiplayer.history import MatchHistory, Note
from kiai.multiplayer.match import Match
from kiai.multiplayer.service import ROOMS_BURST, ROOMS_PER_HOUR, Matches
from kiai.presence import Presence, readable
from kiai.realtime.memory import MemoryRealtime
from kiai.realtime.port import HISTORY, LOBBY, Entry, MatchGone, Realtime, Session, ShownStats, chat_topic, match_topic
from kiai.realtime.rate_limiter import RateLimiter
from kiai.spectating import Spectating
from kiai.storage.port import Database

ROOM = {
    "name": "a room",
    "password": "secret",
    "map_id": 75,
    "map_md5": "0" * 32,
    "map_name": "A - B [C]",
    "mode": 0,
    "mods": 0,
    "win_condition": 0,
    "team_type": 0,
    "free_mods": False,
    "seed": 0,
    "locked": (),
}
LOADED, SKIP, DONE = (
    packets.match_all_players_loaded(),
    packets.match_skip(),
    packets.match_complete(),
)


Step = tuple[str, type[commands.Command]]


class Hall:
    """Players online and the rooms they play in, as a server wires them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.run = world.run
        self.realtime = world.realtime
        self.clock = world.clock
        self.said: list[str] = []
        announce = announcer(presence.TABLE, match.TABLE)

        async def stats_of(user_id: int, mode: int) -> ShownStats:
            return ShownStats()

        async def post(channel: str, line: str) -> None:
            self.said.append(line)

        self.presence = Presence(self.realtime, world.accounts, self.clock, announce, stats_of)
        self.history = MatchHistory(world.database, world.realtime)
        spectating = Spectating(self.realtime, announce)
        self.rooms = Matches(
            self.realtime, world.beatmaps, self.clock, announce, self.history, post, spectating.stop, "kiai.example"
        )
        self.presence.when_somebody_left(self.rooms.depart)

    def log_in(self, name: str, **fields: Any) -> int:
        user_id = self.world.add_player(a_player(name))
        session = Session(
            token=name,
            user_id=user_id,
            name=name,
            priv=3,
            build=20250415,
            login_time_ms=self.clock.now_ms(),
            **fields,
        )
        self.run(self.presence.arrive(session))
        return user_id

    def session(self, name: str) -> Session:
        found: Session = self.run(self.realtime.session(name))
        return found

    def create(self, by: str, **changed: Any) -> int:
        seated = self.run(self.rooms.create(self.session(by), **(ROOM | changed)))
        return int(seated.match_id)

    def join(self, name: str, match_id: int, password: str = "secret") -> Any:
        return self.run(self.rooms.join(self.session(name), match_id, password))

    def do(self, name: str, command: type[commands.Command], **fields: Any) -> None:
        self.run(self.rooms.act(self.session(name), command, **fields))

    def match(self, match_id: int) -> Match | None:
        found: Match | None = self.run(self.realtime.match(match_id, Match))
        return found

    def reads(self, name: str) -> bytes:
        session, entries = self.run(self.realtime.poll(name))
        return b"".join(readable(session, entries))

    def vanish(self, name: str) -> None:
        self.run(self.presence.end(name))


@pytest.fixture
def hall(database: Database, run: Run, tmp_path: Path) -> Hall:
    hall = Hall(World(database, run, tmp_path))
    for name in ("anna", "boris", "carla"):
        hall.log_in(name)
    return hall


def play(hall: Hall, steps: Sequence[Step]) -> int:
    """A room with all three, and these steps of a play."""
    match_id = hall.create("anna")
    for name in ("boris", "carla"):
        hall.join(name, match_id)
    for name, step in steps:
        hall.do(name, step)
    for name in ("anna", "boris", "carla"):
        hall.reads(name)
    return match_id


START: list[Step] = [("anna", commands.Start)]
LOAD: list[Step] = [*START, ("anna", commands.LoadComplete), ("boris", commands.LoadComplete)]
ALL_LOADED: list[Step] = [*LOAD, ("carla", commands.LoadComplete)]
SKIPPING: list[Step] = [*ALL_LOADED, ("anna", commands.Skip), ("boris", commands.Skip)]
COMPLETING: list[Step] = [*ALL_LOADED, ("anna", commands.Complete), ("boris", commands.Complete)]


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        pytest.param([], b"", id="seated"),
        pytest.param([("carla", commands.Ready)], b"", id="ready"),
        pytest.param(START, b"", id="loading"),
        pytest.param(LOAD, LOADED, id="the last to load"),
        pytest.param(ALL_LOADED, b"", id="playing"),
        pytest.param(SKIPPING, SKIP, id="the last to skip"),
        pytest.param(COMPLETING, DONE, id="the last to finish"),
    ],
)
def test_whoever_vanishes_the_others_go_on(hall: Hall, steps: Sequence[Step], told: bytes) -> None:
    match_id = play(hall, steps)

    hall.vanish("carla")

    for name in ("anna", "boris"):
        assert told in hall.reads(name)
    left = hall.match(match_id)
    assert left is not None
    assert [slot.player_name for slot in left.slots if slot.occupied] == ["anna", "boris"]
    if left.in_progress:
        for step in (commands.LoadComplete, commands.Skip, commands.Complete):
            for name in ("anna", "boris"):
                try:
                    hall.do(name, step)
                except Refused:
                    continue
        ended = hall.match(match_id)
        assert ended is not None
        assert not ended.in_progress


@pytest.mark.parametrize("steps", [[], START, LOAD, SKIPPING, COMPLETING])
def test_a_host_that_vanishes_passes_the_host_on(hall: Hall, steps: Sequence[Step]) -> None:
    match_id = play(hall, steps)

    hall.vanish("anna")

    left = hall.match(match_id)
    assert left is not None
    assert left.host_name == "boris"
    assert packets.match_transfer_host() in hall.reads("boris")


def test_when_all_vanish_the_room_is_gone_and_leaves_nothing_behind(hall: Hall) -> None:
    match_id = play(hall, ALL_LOADED)

    for name in ("boris", "anna", "carla"):
        hall.vanish(name)

    assert hall.match(match_id) is None
    assert hall.run(hall.realtime.following(match_topic(match_id))) == []
    assert hall.run(hall.realtime.following(chat_topic(f"#multi_{match_id}"))) == []


def test_a_time_out_is_a_departure_too(hall: Hall) -> None:
    match_id = play(hall, LOAD)
    hall.clock.advance(299)
    for name in ("anna", "boris"):
        hall.reads(name)
    hall.clock.advance(2)

    hall.run(hall.presence.expire())

    left = hall.match(match_id)
    assert left is not None
    assert [slot.player_name for slot in left.slots if slot.occupied] == ["anna", "boris"]
    assert LOADED in hall.reads("anna")


def test_the_lobby_sees_rooms_come_change_and_go_and_never_a_password(hall: Hall) -> None:
    hall.log_in("dora")
    _, rooms = hall.run(hall.rooms.enter_lobby(hall.session("dora")))
    assert rooms == []

    match_id = hall.create("anna")
    created = hall.reads("dora")
    hall.join("boris", match_id)
    joined = hall.reads("dora")
    hall.do("anna", commands.ChangePassword, password="another")
    hall.vanish("anna")
    hall.vanish("boris")
    gone = hall.reads("dora")

    assert created.startswith(b"\x1b\x00")  # MATCH_NEW
    assert joined.startswith(b"\x1a\x00")  # MATCH_UPDATE
    assert packets.match_dispose(match_id) in gone
    for seen in (created, joined, gone):
        assert b"secret" not in seen
        assert b"another" not in seen


def test_of_two_for_the_last_seat_one_gets_it(hall: Hall) -> None:
    match_id = hall.create("anna", locked=tuple(range(2, 16)))

    hall.join("boris", match_id)
    with pytest.raises(Refused):
        hall.join("carla", match_id)

    assert hall.session("carla").match_id == 0
    assert match_topic(match_id) not in hall.session("carla").follows
    assert hall.session("boris").match_id == match_id


def test_a_wrong_password_seats_nobody(hall: Hall) -> None:
    match_id = hall.create("anna")

    with pytest.raises(Refused):
        hall.join("boris", match_id, "wrong")

    assert hall.session("boris").match_id == 0


def test_joining_another_room_leaves_the_first(hall: Hall) -> None:
    first = hall.create("anna")
    second = hall.create("boris")
    hall.join("carla", first)

    hall.join("carla", second)

    left = hall.match(first)
    assert left is not None
    assert [slot.player_name for slot in left.slots if slot.occupied] == ["anna"]
    assert hall.session("carla").match_id == second


def test_creating_while_seated_leaves_first(hall: Hall) -> None:
    first = hall.create("anna")

    second = hall.create("anna", name="another")

    found = hall.match(second)
    assert found is not None
    assert found.name == "another"
    assert hall.match(first) is None or first == second


@pytest.mark.parametrize("fields", [{"hidden": True}, {"tournament": True}, {"silenced_until_ms": 2**53}])
def test_who_may_not_play_with_others_gets_no_room(hall: Hall, fields: dict[str, Any]) -> None:
    match_id = hall.create("anna")
    hall.log_in("dora", **fields)

    with pytest.raises(Refused):
        hall.create("dora")
    with pytest.raises(Refused):
        hall.join("dora", match_id)


def test_a_kick_by_the_lock_shows_the_locked_slot_and_frees_the_session(hall: Hall) -> None:
    match_id = hall.create("anna")
    hall.join("boris", match_id)
    hall.reads("boris")

    hall.do("anna", commands.LockSlot, slot=1)

    read = hall.reads("boris")
    assert read.endswith(packets.channel_kick("#multiplayer"))
    assert hall.session("boris").match_id == 0
    found = hall.match(match_id)
    assert found is not None
    assert found.slots[1].status == 2


@pytest.mark.parametrize("by_command", [False, True])
def test_a_silenced_creator_leaves_its_room_like_anybody(hall: Hall, by_command: bool) -> None:
    if by_command:
        _, match_id = hall.run(hall.rooms.make(hall.session("anna"), "a room", "secret", private=False))
    else:
        match_id = hall.create("anna")
    hall.join("boris", match_id)
    hall.reads("anna")

    hall.run(hall.rooms.on_silence(hall.session("anna").user_id))

    match = hall.match(match_id)
    assert match is not None
    assert [slot.player_name for slot in match.slots if slot.occupied] == ["boris"]
    assert match.host_name == ("" if by_command else "boris")
    assert hall.session("anna").match_id == 0
    assert packets.channel_kick("#multiplayer") in hall.reads("anna")


def test_a_silenced_creator_alone_in_the_room_closes_it(hall: Hall) -> None:
    match_id = hall.create("anna")

    hall.run(hall.rooms.on_silence(hall.session("anna").user_id))

    assert hall.match(match_id) is None
    assert hall.session("anna").match_id == 0


def test_who_is_silenced_while_sitting_down_gets_no_seat(hall: Hall) -> None:
    match_id = hall.create("anna")
    boris = hall.session("boris")

    async def both() -> None:
        entering = await hall.rooms._enter(boris, match_id)  # as far as `join` has come when the silence arrives
        await hall.rooms.on_silence(entering.user_id)

    hall.run(both())

    assert hall.session("boris").match_id == 0


def test_a_silenced_player_leaves_its_room(hall: Hall) -> None:
    match_id = hall.create("anna")
    hall.join("boris", match_id)

    hall.run(hall.rooms.on_silence(hall.session("boris").user_id))

    assert hall.session("boris").match_id == 0
    found = hall.match(match_id)
    assert found is not None
    assert [slot.player_name for slot in found.slots if slot.occupied] == ["anna"]


def test_frames_of_those_who_play_are_relayed_with_their_slot(hall: Hall) -> None:
    play(hall, ALL_LOADED)

    hall.run(hall.rooms.score_frame(hall.session("boris"), bytes(29)))

    assert hall.reads("carla") == packets.match_score_update(bytes(29), 1)


def test_frames_of_who_does_not_play_are_dropped(hall: Hall) -> None:
    play(hall, [])

    hall.run(hall.rooms.score_frame(hall.session("boris"), bytes(29)))

    assert hall.reads("carla") == b""


def test_nobody_waits_longer_than_a_minute_for_the_slow(hall: Hall) -> None:
    play(hall, [*START, ("anna", commands.LoadComplete)])

    hall.clock.advance(60)
    hall.run(hall.rooms.ring())

    assert LOADED in hall.reads("anna")


def test_a_play_ends_half_a_minute_after_the_first_finished(hall: Hall) -> None:
    match_id = play(hall, [*ALL_LOADED, ("anna", commands.Complete)])

    hall.clock.advance(30)
    hall.run(hall.rooms.ring())

    assert DONE in hall.reads("carla")
    found = hall.match(match_id)
    assert found is not None
    assert not found.in_progress


def test_a_map_that_is_known_here_is_named_as_here(hall: Hall) -> None:
    song = hall.world.add_map(a_map())
    match_id = hall.create("anna")

    hall.run(
        hall.rooms.change_settings(
            hall.session("anna"),
            **{name: ROOM[name] for name in ROOM if name not in ("password", "locked", "map_md5", "map_name")},
            map_md5=song.md5,
            map_name="a lie",
        )
    )

    found = hall.match(match_id)
    assert found is not None
    assert (found.map_id, found.map_name) == (song.id, f"{song.artist} - {song.title} [{song.version}]")
    assert hall.said == [f"Beatmap changed to: {found.map_name} (https://osu.kiai.example/b/{song.id})"]


def test_an_invitation_reaches_the_player_once_and_nobody_who_blocked_the_inviter(hall: Hall) -> None:
    match_id = hall.create("anna", password="my secret")
    anna, boris = hall.session("anna"), hall.session("boris")
    hall.run(hall.rooms.invite(anna, match_id, boris.user_id))
    assert b"osump://1/my_secret a room" in hall.reads("boris")

    hall.run(hall.presence.change(boris, blocked=frozenset({anna.user_id})))
    for user_id in (boris.user_id, anna.user_id, 1, 99):
        with pytest.raises(Refused):
            hall.run(hall.rooms.invite(anna, match_id, user_id))
    assert hall.reads("boris") == b""


def test_who_takes_messages_of_friends_alone_is_invited_by_friends_alone(hall: Hall) -> None:
    match_id = hall.create("anna")
    anna, boris = hall.session("anna"), hall.session("boris")
    hall.run(hall.presence.change(boris, friends_only_dms=True))

    with pytest.raises(Refused):
        hall.run(hall.rooms.invite(anna, match_id, boris.user_id))
    assert b"osump://" not in hall.reads("boris")

    hall.run(hall.presence.change(boris, friends=frozenset({anna.user_id})))
    hall.run(hall.rooms.invite(anna, match_id, boris.user_id))
    assert b"osump://" in hall.reads("boris")


def test_a_tournament_client_hears_a_room_without_a_seat(hall: Hall) -> None:
    match_id = hall.create("anna")
    hall.log_in("dora", tournament=True)

    session = hall.run(hall.rooms.view(hall.session("dora"), match_id))
    hall.join("boris", match_id)

    assert session.room_id == match_id
    assert hall.reads("dora").count(b"\x1a\x00\x00") >= 1  # MATCH_UPDATE
    assert hall.run(hall.rooms.stop_viewing(hall.session("dora"))).room_id == 0
    with pytest.raises(NotFound):
        hall.run(hall.rooms.view(hall.session("dora"), 99))
    with pytest.raises(Refused):
        hall.run(hall.rooms.view(hall.session("carla"), match_id))


def test_a_referee_leads_and_others_are_not_answered(hall: Hall) -> None:
    match_id = hall.create("anna")
    hall.join("boris", match_id)

    led = hall.run(hall.rooms.lead(hall.session("anna"), match_id, commands.SetName, name="new"))

    assert led is not None
    assert led.match == hall.match(match_id)
    assert led.match.name == "new"
    assert hall.run(hall.rooms.lead(hall.session("boris"), match_id, commands.SetName, name="mine")) is None
    with pytest.raises(MatchGone):
        hall.run(hall.rooms.lead(hall.session("anna"), 99, commands.SetName, name="new"))


def test_everything_is_kept_and_shown_again(hall: Hall) -> None:
    match_id = play(hall, ALL_LOADED)
    frame = b"\x00\x00\x00\x00\x00" + b"\x05\x00" * 6 + b"\x10\x27\x00\x00" + b"\x09\x00\x09\x00" + b"\x01\xc8\x00\x00"
    hall.run(hall.rooms.score_frame(hall.session("boris"), frame))
    for name in ("anna", "boris", "carla"):
        hall.do(name, commands.Complete)
    live = hall.match(match_id)
    assert live is not None
    for name in ("anna", "boris", "carla"):
        hall.vanish(name)

    hall.run(hall.history.flush())

    [past] = hall.run(hall.history.past(limit=10))
    assert (past.id, past.name, past.room) == (live.history_id, "a room", match_id)
    [(game, scores)] = hall.run(hall.history.games(past.id))
    assert (game.map_id, game.aborted, game.ended_at_ms is not None) == (75, 0, True)
    assert [(one.slot, one.score, one.max_combo, one.passed) for one in scores] == [(1, 10_000, 9, 1)]
    kinds = [event.kind for event in hall.run(hall.history.events(past.id))]
    assert kinds[:3] == ["created", "joined", "joined"]
    assert kinds[-1] == "closed"
    assert "secret" not in str(hall.run(hall.history.events(past.id)))


def test_rooms_beyond_the_bound_are_refused(hall: Hall) -> None:
    async def full() -> None:
        for _ in range(1_000):
            await hall.realtime.open_match(Match(name="x", host_id=0, host_name=""))

    hall.run(full())

    with pytest.raises(Refused, match="too many"):
        hall.create("anna")
    assert hall.session("anna").match_id == 0


def test_a_lobby_sitter_who_is_seated_leaves_the_lobby(hall: Hall) -> None:
    match_id = hall.create("anna")
    hall.run(hall.rooms.enter_lobby(hall.session("boris")))

    hall.join("boris", match_id)

    assert LOBBY not in hall.session("boris").follows
    assert hall.session("boris").in_lobby is False


def test_asking_without_a_seat_is_refused(hall: Hall) -> None:
    with pytest.raises(KiaiError):
        hall.do("anna", commands.Ready)


# --- what a worker that died left half done


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kiai.multiplayer.service.SETTLED_S", 0.0)


@pytest.mark.usefixtures("settled")
def test_a_seat_whose_player_is_gone_is_given_up(hall: Hall) -> None:
    match_id = hall.create("anna")
    hall.join("boris", match_id)
    hall.run(hall.realtime.close_session("anna"))  # and nobody said so to the room

    assert hall.run(hall.rooms.clear_up()) == 1

    found = hall.match(match_id)
    assert found is not None
    assert [slot.player_name for slot in found.slots if slot.occupied] == ["boris"]
    assert found.host_name == "boris"
    assert hall.run(hall.rooms.clear_up()) == 0


@pytest.mark.usefixtures("settled")
def test_a_session_without_a_seat_is_let_out(hall: Hall) -> None:
    match_id = hall.create("anna")
    hall.run(hall.rooms._enter(hall.session("boris"), match_id))  # and never sat down

    assert hall.run(hall.rooms.clear_up()) == 1

    session = hall.session("boris")
    assert session.match_id == 0
    assert match_topic(match_id) not in session.follows
    assert hall.session("anna").match_id == match_id


def test_a_new_room_is_heard_by_nobody_of_the_one_that_had_its_number(hall: Hall) -> None:
    match_id = hall.create("anna")
    hall.join("boris", match_id)
    hall.run(hall.realtime.close_match(match_id))  # and nobody was let out

    assert hall.create("carla") == match_id

    for name in ("anna", "boris"):
        session = hall.session(name)
        assert (session.match_id, match_topic(match_id) in session.follows) == (0, False)
    assert hall.session("carla").match_id == match_id


@pytest.mark.usefixtures("settled")
def test_the_history_of_a_room_that_is_gone_ends(hall: Hall) -> None:
    kept, lost = hall.create("anna"), hall.create("boris")
    hall.run(hall.history.flush())
    hall.run(hall.realtime.close_match(lost))
    hall.run(hall.rooms._outside(hall.session("boris"), lost))
    assert hall.run(hall.rooms.clear_up()) == 0, "it might be opening"

    hall.clock.advance(601)

    assert hall.run(hall.rooms.clear_up()) == 1
    assert [one.created_by for one in hall.run(hall.history.past(limit=5))] == [hall.session("boris").user_id]
    assert hall.match(kept) is not None


def test_a_note_that_cannot_be_written_stops_none_that_come_after_it(hall: Hall) -> None:
    match_id = hall.create("anna")
    hall.run(hall.history.flush())
    nobody = Note(10**6, 0, "joined", 3, {})
    hall.run(hall.realtime.append([Entry(HISTORY, msgspec.msgpack.encode(nobody))]))
    hall.run(hall.history.flush())
    assert hall.history.dropped == 1

    hall.join("boris", match_id)

    assert hall.run(hall.history.flush()) == 1


@pytest.mark.parametrize(
    "bad", [msgspec.msgpack.encode(Note(10**6, 0, "joined", 3, {})), b"no note"], ids=["of no match", "unreadable"]
)
def test_a_bad_note_costs_itself_alone(hall: Hall, bad: bytes) -> None:
    match_id = hall.create("anna")
    hall.run(hall.realtime.append([Entry(HISTORY, bad)]))
    hall.join("boris", match_id)

    written = hall.run(hall.history.flush())

    match = hall.match(match_id)
    assert match is not None
    events = [one.kind for one in hall.run(hall.history.events(match.history_id))]
    assert events == ["created", "joined"]
    assert (written, hall.history.dropped) == (2, 1)
    assert hall.run(hall.history.flush()) == 0


def test_what_one_process_noted_another_writes_once(hall: Hall) -> None:
    other = MatchHistory(hall.world.database, hall.realtime)
    match_id = hall.create("anna")
    hall.join("boris", match_id)

    async def both() -> tuple[int, ...]:
        return await asyncio.gather(hall.history.flush(), other.flush(), other.flush())

    assert sum(hall.run(both())) == 2
    match = hall.match(match_id)
    assert match is not None
    assert [event.kind for event in hall.run(other.events(match.history_id))] == ["created", "joined"]


def test_a_journal_that_began_anew_is_written_from_its_start(hall: Hall) -> None:
    for _ in range(3):
        hall.create("anna")
    hall.run(hall.history.flush())

    anew = MatchHistory(hall.world.database, MemoryRealtime(hall.clock))
    match = hall.match(hall.session("anna").match_id)
    assert match is not None
    match_id = hall.run(anew.open(match))
    hall.run(
        anew._realtime.append([Entry(HISTORY, msgspec.msgpack.encode(Note(match_id, 1, "created", 3, {"room": 9})))])
    )

    assert hall.run(anew.flush()) == 1
    assert [event.kind for event in hall.run(anew.events(match_id))] == ["created"]


def test_a_room_by_command_seats_its_creator_who_is_not_the_host(hall: Hall) -> None:
    hall.run(hall.rooms.enter_lobby(hall.session("anna")))

    session, match_id = hall.run(hall.rooms.make(hall.session("anna"), "a room", "secret", private=False))

    match = hall.match(match_id)
    assert match is not None
    assert (match.slots[0].player_name, match.host_id, match.by_command) == ("anna", 0, True)
    assert (session.match_id, session.in_lobby) == (match_id, False)
    told = hall.reads("anna")
    assert packets.channel_join_success("#multiplayer") in told
    assert packets.match_join_success(match_id, match) in told


def test_who_makes_a_room_while_sitting_elsewhere_stays_there_and_leads_the_new_one(hall: Hall) -> None:
    seat = hall.create("anna")
    hall.reads("anna")

    session, match_id = hall.run(hall.rooms.make(hall.session("anna"), "a room", "secret", private=False))

    assert session.match_id == seat
    assert aside_topic(f"#multi_{match_id}") in session.follows
    assert match_topic(match_id) not in session.follows, "frames of the other room would be read as this one's"
    assert hall.reads("anna") == packets.channel_join_success(f"#multi_{match_id}") + packets.channel_info(
        f"#multi_{match_id}", "Those who play in this match.", 0
    )
    assert hall.run(hall.rooms.lead(session, match_id, commands.SetSize, size=4)) is not None


def test_a_creator_who_gets_up_hears_its_room_on_until_it_sits_down_again_or_the_room_is_closed(hall: Hall) -> None:
    _, match_id = hall.run(hall.rooms.make(hall.session("anna"), "a room", "secret", private=False))
    channel = f"#multi_{match_id}"
    hall.reads("anna")

    hall.run(hall.rooms.leave(hall.session("anna")))
    assert aside_topic(channel) in hall.session("anna").follows
    assert hall.session("anna").room_id == 0
    assert packets.channel_join_success(channel) in hall.reads("anna")

    hall.join("anna", match_id, password="")
    assert aside_topic(channel) not in hall.session("anna").follows
    assert packets.channel_kick(channel) in hall.reads("anna")

    hall.run(hall.rooms.leave(hall.session("anna")))
    hall.reads("anna")
    hall.run(hall.rooms.lead(hall.session("anna"), match_id, commands.Close))
    assert hall.match(match_id) is None
    assert hall.said[-1] == "Closed the match"
    assert aside_topic(channel) not in hall.session("anna").follows
    assert packets.channel_kick(channel) in hall.reads("anna")


def test_a_referee_who_is_removed_hears_the_room_no_more(hall: Hall) -> None:
    match_id = hall.create("anna")
    boris = hall.session("boris")
    assert not hall.run(hall.rooms.may_refer(boris, match_id))
    added = {"user_id": boris.user_id, "name": "boris"}
    hall.run(hall.rooms.lead(hall.session("anna"), match_id, commands.AddReferee, **added))
    assert hall.run(hall.rooms.may_refer(boris, match_id))
    topic = aside_topic(f"#multi_{match_id}")
    hall.run(hall.presence.change(boris, follows=boris.follows | {topic}))

    hall.do("anna", commands.RemoveReferee, user_id=boris.user_id)

    assert topic not in hall.session("boris").follows
    assert not hall.run(hall.rooms.may_refer(boris, match_id))
    assert packets.channel_kick(f"#multi_{match_id}") in hall.reads("boris")


def test_an_empty_room_starts_for_a_referee_and_the_play_ends_by_itself(hall: Hall) -> None:
    _, match_id = hall.run(hall.rooms.make(hall.session("anna"), "a room", "secret", private=False))
    hall.run(hall.rooms.leave(hall.session("anna")))
    choice = {"map_id": 75, "map_md5": "0" * 32, "map_name": "A - B [C]", "mode": 0}
    hall.run(hall.rooms.lead(hall.session("anna"), match_id, commands.SetMap, **choice))
    hall.said.clear()

    hall.run(hall.rooms.lead(hall.session("anna"), match_id, commands.Start))
    hall.clock.advance(61)
    hall.run(hall.rooms.ring())

    match = hall.match(match_id)
    assert match is not None
    assert not match.in_progress
    assert hall.said == ["The match has started!", "The match has finished!"]


def test_what_happens_in_a_room_is_said_there_as_tools_of_referees_read_it(hall: Hall) -> None:
    match_id = hall.create("anna", team_type=2)
    hall.join("boris", match_id)
    hall.do("boris", commands.ChangeSlot, slot=4)
    hall.do("boris", commands.ChangeTeam)
    hall.do("anna", commands.TransferHost, slot=4)
    for name in ("anna", "boris"):
        hall.do(name, commands.Ready)
    hall.do("boris", commands.Start)
    hall.do("anna", commands.LoadComplete)
    frame = bytes(17) + (1_234_567).to_bytes(4, "little") + bytes(8)
    hall.run(hall.rooms.score_frame(hall.session("anna"), frame))
    hall.do("anna", commands.Fail)
    hall.do("anna", commands.Complete)
    hall.do("boris", commands.Complete)
    hall.run(hall.rooms.leave(hall.session("boris")))

    assert hall.said == [
        "boris joined in slot 2 for team blue.",
        "boris moved to slot 5",
        "boris changed to Red",
        "boris became the host.",
        "All players are ready",
        "The match has started!",
        "anna finished playing (Score: 1234567, FAILED).",
        "boris finished playing (Score: 0, PASSED).",
        "The match has finished!",
        "boris left the game.",
        "anna became the host.",
    ]


def test_who_was_not_ready_and_leaves_makes_nobody_ready(hall: Hall) -> None:
    match_id = hall.create("anna")
    hall.join("boris", match_id)
    hall.do("anna", commands.Ready)
    hall.said.clear()

    hall.run(hall.rooms.leave(hall.session("boris")))

    assert hall.said == ["boris left the game."]


# --- nobody reads a room before the password is judged


class Watched:
    """A realtime state that lets the others run at each verb, and notes what sessions follow meanwhile."""

    def __init__(self, inner: Realtime, token: str) -> None:
        self._inner = inner
        self._token = token
        self.followed: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self._inner, name)
        if not inspect.iscoroutinefunction(verb):
            return verb

        async def watched_verb(*args: Any, **named: Any) -> Any:
            await self._look()
            try:
                return await verb(*args, **named)
            finally:
                await self._look()

        return watched_verb

    async def _look(self) -> None:
        await asyncio.sleep(0)
        self.followed |= (await self._inner.session(self._token)).follows


@pytest.mark.parametrize("refusal", ["wrong password", "banned", "full"])
def test_who_is_refused_never_follows_the_room(hall: Hall, refusal: str) -> None:
    match_id = hall.create("anna", locked=tuple(range(1, 16)) if refusal == "full" else ())
    if refusal == "banned":
        hall.join("boris", match_id)
        hall.do("anna", commands.BanPlayer, user_id=hall.session("boris").user_id)
    watched = Watched(hall.realtime, "boris")
    hall.rooms._realtime = cast(Realtime, watched)

    with pytest.raises(Refused):
        hall.join("boris", match_id, "wrong" if refusal == "wrong password" else "secret")

    assert match_topic(match_id) not in watched.followed
    assert b"secret" not in hall.reads("boris")


def test_who_is_refused_keeps_the_seat_elsewhere(hall: Hall) -> None:
    closed, own = hall.create("anna"), hall.create("boris")

    with pytest.raises(Refused):
        hall.join("boris", closed, "wrong")

    assert hall.session("boris").match_id == own
    room = hall.match(own)
    assert room is not None
    assert room.slots[0].player_id == hall.session("boris").user_id


def test_a_new_password_reaches_the_seated_and_nobody_else_who_reads_the_room(hall: Hall) -> None:
    hall.log_in("viewer", tournament=True)
    match_id = hall.create("anna")
    hall.join("boris", match_id)
    hall.run(hall.rooms.view(hall.session("viewer"), match_id))
    for name in ("anna", "boris", "viewer"):
        hall.reads(name)

    hall.do("anna", commands.ChangePassword, password="brand new")

    assert packets.match_change_password("brand new") in hall.reads("boris")
    assert packets.match_change_password("brand new") in hall.reads("anna")
    seen = hall.reads("viewer")
    assert seen
    assert b"brand new" not in seen


def test_what_happens_while_somebody_sits_down_is_in_the_room_that_is_shown(hall: Hall) -> None:
    match_id = hall.create("anna")
    act = hall.rooms._enter

    async def enter(session: Session, match_id: int) -> Session:
        await hall.rooms.act(await hall.realtime.session("anna"), commands.ChangePassword, password="changed meanwhile")
        return await act(session, match_id)

    hall.rooms._enter = enter  # type: ignore[method-assign]

    seated = hall.join("boris", match_id)

    assert seated.match.password == "changed meanwhile"


def test_who_is_put_out_while_sitting_down_is_refused(hall: Hall) -> None:
    match_id = hall.create("anna")
    boris = hall.session("boris").user_id
    act = hall.rooms._enter

    async def enter(session: Session, match_id: int) -> Session:
        await hall.rooms.act(await hall.realtime.session("anna"), commands.Kick, user_id=boris)
        return await act(session, match_id)

    hall.rooms._enter = enter  # type: ignore[method-assign]

    with pytest.raises(Refused):
        hall.join("boris", match_id)

    assert hall.session("boris").match_id == 0
    assert match_topic(match_id) not in hall.session("boris").follows


# --- what one player can open and fill


def test_a_player_opens_a_bounded_number_of_rooms_an_hour(hall: Hall) -> None:
    hall.rooms._limiter = RateLimiter(hall.realtime, hall.clock)
    for _ in range(ROOMS_BURST):
        hall.create("anna")

    with pytest.raises(Refused, match="too many rooms"):
        hall.create("anna")
    with pytest.raises(Refused, match="too many rooms"):
        hall.run(hall.rooms.make(hall.session("anna"), "made", "", private=False))

    assert hall.create("boris")
    hall.clock.advance(3_600 / ROOMS_PER_HOUR)
    assert hall.create("anna")


def test_a_refused_room_does_not_cost_the_seat(hall: Hall) -> None:
    hall.rooms._limiter = RateLimiter(hall.realtime, hall.clock)
    rooms = [hall.create("anna") for _ in range(ROOMS_BURST)]

    with pytest.raises(Refused):
        hall.create("anna")

    assert hall.session("anna").match_id == rooms[-1]


def test_the_history_of_a_room_is_bounded_and_knows_its_end(hall: Hall, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kiai.multiplayer.history.EVENTS_MAX", 5)
    match_id = hall.create("anna")
    room = hall.match(match_id)
    assert room is not None
    for number in range(20):
        hall.run(hall.rooms.act(hall.session("anna"), commands.SetName, name=f"name {number}"))
    hall.run(hall.rooms.leave(hall.session("anna")))
    hall.run(hall.history.flush())

    events = [event.kind for event in hall.run(hall.history.events(room.history_id))]
    assert len(events) <= 7
    assert events[-1] == "closed"

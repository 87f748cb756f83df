"""The multiplayer service with sessions: packets, lines of the bot, and players who disconnect at any moment."""

import asyncio
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
from tests.builders import Run, World, a_map, a_player

from kiai.chat.model import referee_topic
from kiai.errors import KiaiError, NotFound, Refused
from kiai.faces.bancho import packets
from kiai.faces.bancho.announce import announcer, match, presence
from kiai.multiplayer import commands
from kiai.multiplayer.history import HistoryEntry, MatchHistory
from kiai.multiplayer.match import Match
from kiai.multiplayer.rooms import MatchChannels
from kiai.multiplayer.service import ROOMS_BURST, ROOMS_PER_HOUR, Matches
from kiai.presence import Presence, readable
from kiai.realtime.memory import MemoryRealtime
from kiai.realtime.port import (
    HISTORY,
    LOBBY,
    Entry,
    MatchGone,
    Realtime,
    Session,
    SessionStats,
    chat_topic,
    match_topic,
)
from kiai.realtime.rate_limiter import RateLimiter
from kiai.scores.performance import Performance
from kiai.scores.round_scores import RoundScores
from kiai.spectating import Spectating
from kiai.storage.port import Database

SETTINGS = {
    "name": "a match",
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


Step = tuple[str, type[commands.MatchCommand]]


class HeardLines:
    """The lines that matches say in the bot's name."""

    def __init__(self, lines: list[str]) -> None:
        self._lines = lines

    async def post(self, channel: str, text: str) -> None:
        self._lines.append(text)

    async def notify(self, user_id: int, name: str, text: str) -> None:
        self._lines.append(text)


class MatchServer:
    """The services of multiplayer, wired as in the server, and players by name."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.run = world.run
        self.realtime = world.realtime
        self.clock = world.clock
        self.bot_lines: list[str] = []
        announce = announcer(presence.TABLE, match.TABLE)

        async def stats_of(user_id: int, mode: int) -> SessionStats:
            return SessionStats()

        self.presence = Presence(self.realtime, world.accounts, self.clock, announce, stats_of)
        self.history = MatchHistory(world.database, world.realtime)
        spectating = Spectating(self.realtime, announce)
        self.matches = Matches(
            self.realtime,
            world.beatmaps,
            self.clock,
            announce,
            self.history,
            HeardLines(self.bot_lines),
            spectating.stop,
            RoundScores(world.profiles, cast(Performance, world.performance)),
            "kiai.example",
        )
        self.presence.subscribe_to_session_end(self.matches.on_session_end)

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
        self.run(self.presence.open_session(session))
        return user_id

    def session(self, name: str) -> Session:
        found: Session = self.run(self.realtime.session(name))
        return found

    def create(self, by: str, **changed: Any) -> int:
        seated = self.run(self.matches.create(self.session(by), **(SETTINGS | changed)))
        return int(seated.match_id)

    def join(self, name: str, match_id: int, password: str = "secret") -> Any:
        return self.run(self.matches.join(self.session(name), match_id, password))

    def do(self, name: str, command: type[commands.MatchCommand], **fields: Any) -> None:
        self.run(self.matches.act(self.session(name), command, **fields))

    def match(self, match_id: int) -> Match | None:
        found: Match | None = self.run(self.realtime.match(match_id, Match))
        return found

    def poll_packets(self, name: str) -> bytes:
        session, entries = self.run(self.realtime.poll(name))
        return b"".join(readable(session, entries))

    def disconnect(self, name: str) -> None:
        self.run(self.presence.end(name))


@pytest.fixture
def server(database: Database, run: Run, tmp_path: Path) -> MatchServer:
    server = MatchServer(World(database, run, tmp_path))
    for name in ("anna", "boris", "carla"):
        server.log_in(name)
    return server


def play(server: MatchServer, steps: Sequence[Step]) -> int:
    """Create a match with all three players, run the steps, and return its id."""
    match_id = server.create("anna")
    for name in ("boris", "carla"):
        server.join(name, match_id)
    for name, step in steps:
        server.do(name, step)
    for name in ("anna", "boris", "carla"):
        server.poll_packets(name)
    return match_id


START: list[Step] = [("anna", commands.Start)]
LOAD: list[Step] = [*START, ("anna", commands.LoadComplete), ("boris", commands.LoadComplete)]
ALL_LOADED: list[Step] = [*LOAD, ("carla", commands.LoadComplete)]
SKIPPING: list[Step] = [*ALL_LOADED, ("anna", commands.Skip), ("boris", commands.Skip)]
COMPLETING: list[Step] = [*ALL_LOADED, ("anna", commands.Complete), ("boris", commands.Complete)]


@pytest.mark.parametrize(
    ("steps", "packet"),
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
def test_play_continues_for_others_when_player_disconnects(
    server: MatchServer, steps: Sequence[Step], packet: bytes
) -> None:
    match_id = play(server, steps)

    server.disconnect("carla")

    for name in ("anna", "boris"):
        assert packet in server.poll_packets(name)
    left = server.match(match_id)
    assert left is not None
    assert [slot.player_name for slot in left.slots if slot.occupied] == ["anna", "boris"]
    if left.in_progress:
        for step in (commands.LoadComplete, commands.Skip, commands.Complete):
            for name in ("anna", "boris"):
                try:
                    server.do(name, step)
                except Refused:
                    continue
        ended = server.match(match_id)
        assert ended is not None
        assert not ended.in_progress


@pytest.mark.parametrize("steps", [[], START, LOAD, SKIPPING, COMPLETING])
def test_next_player_becomes_host_when_host_disconnects(server: MatchServer, steps: Sequence[Step]) -> None:
    match_id = play(server, steps)

    server.disconnect("anna")

    left = server.match(match_id)
    assert left is not None
    assert left.host_name == "boris"
    assert packets.match_transfer_host() in server.poll_packets("boris")


def test_match_and_its_topics_end_when_all_players_disconnect(server: MatchServer) -> None:
    match_id = play(server, ALL_LOADED)

    for name in ("boris", "anna", "carla"):
        server.disconnect(name)

    assert server.match(match_id) is None
    assert server.run(server.realtime.following(match_topic(match_id))) == []
    assert server.run(server.realtime.following(chat_topic(f"#multi_{match_id}"))) == []


def test_timed_out_player_leaves_match(server: MatchServer) -> None:
    match_id = play(server, LOAD)
    server.clock.advance(299)
    for name in ("anna", "boris"):
        server.poll_packets(name)
    server.clock.advance(2)

    server.run(server.presence.expire())

    left = server.match(match_id)
    assert left is not None
    assert [slot.player_name for slot in left.slots if slot.occupied] == ["anna", "boris"]
    assert LOADED in server.poll_packets("anna")


def test_lobby_gets_changes_of_matches_without_passwords(server: MatchServer) -> None:
    server.log_in("dora")
    _, matches = server.run(server.matches.enter_lobby(server.session("dora")))
    assert matches == []

    match_id = server.create("anna")
    created = server.poll_packets("dora")
    server.join("boris", match_id)
    joined = server.poll_packets("dora")
    server.do("anna", commands.ChangePassword, password="another")
    server.disconnect("anna")
    server.disconnect("boris")
    gone = server.poll_packets("dora")

    assert created.startswith(b"\x1b\x00")  # MATCH_NEW
    assert joined.startswith(b"\x1a\x00")  # MATCH_UPDATE
    assert packets.match_dispose(match_id) in gone
    for seen in (created, joined, gone):
        assert b"secret" not in seen
        assert b"another" not in seen


def test_last_open_slot_goes_to_one_of_two_players(server: MatchServer) -> None:
    match_id = server.create("anna", locked=tuple(range(2, 16)))

    server.join("boris", match_id)
    with pytest.raises(Refused):
        server.join("carla", match_id)

    assert server.session("carla").match_id == 0
    assert match_topic(match_id) not in server.session("carla").follows
    assert server.session("boris").match_id == match_id


def test_player_with_wrong_password_gets_no_seat(server: MatchServer) -> None:
    match_id = server.create("anna")

    with pytest.raises(Refused):
        server.join("boris", match_id, "wrong")

    assert server.session("boris").match_id == 0


def test_joining_another_match_leaves_the_first(server: MatchServer) -> None:
    first = server.create("anna")
    second = server.create("boris")
    server.join("carla", first)

    server.join("carla", second)

    left = server.match(first)
    assert left is not None
    assert [slot.player_name for slot in left.slots if slot.occupied] == ["anna"]
    assert server.session("carla").match_id == second


def test_creating_a_match_leaves_the_former_one(server: MatchServer) -> None:
    first = server.create("anna")

    second = server.create("anna", name="another")

    found = server.match(second)
    assert found is not None
    assert found.name == "another"
    assert server.match(first) is None or first == second


@pytest.mark.parametrize("fields", [{"hidden": True}, {"tournament": True}, {"silenced_until_ms": 2**53}])
def test_hidden_silenced_and_tournament_sessions_cannot_create_or_join(
    server: MatchServer, fields: dict[str, Any]
) -> None:
    match_id = server.create("anna")
    server.log_in("dora", **fields)

    with pytest.raises(Refused):
        server.create("dora")
    with pytest.raises(Refused):
        server.join("dora", match_id)


def test_kick_by_lock_detaches_session_and_locks_slot(server: MatchServer) -> None:
    match_id = server.create("anna")
    server.join("boris", match_id)
    server.poll_packets("boris")

    server.do("anna", commands.LockSlot, slot=1)

    read = server.poll_packets("boris")
    assert read.endswith(packets.channel_kick("#multiplayer"))
    assert server.session("boris").match_id == 0
    found = server.match(match_id)
    assert found is not None
    assert found.slots[1].status == 2


@pytest.mark.parametrize("by_command", [False, True])
def test_silenced_creator_leaves_match(server: MatchServer, by_command: bool) -> None:
    if by_command:
        _, match_id = server.run(
            server.matches.create_by_command(server.session("anna"), "a match", "secret", private=False)
        )
    else:
        match_id = server.create("anna")
    server.join("boris", match_id)
    server.poll_packets("anna")

    server.run(server.matches.on_silence(server.session("anna").user_id))

    match = server.match(match_id)
    assert match is not None
    assert [slot.player_name for slot in match.slots if slot.occupied] == ["boris"]
    assert match.host_name == ("" if by_command else "boris")
    assert server.session("anna").match_id == 0
    assert packets.channel_kick("#multiplayer") in server.poll_packets("anna")


def test_match_closes_when_its_only_player_is_silenced(server: MatchServer) -> None:
    match_id = server.create("anna")

    server.run(server.matches.on_silence(server.session("anna").user_id))

    assert server.match(match_id) is None
    assert server.session("anna").match_id == 0


def test_player_silenced_while_joining_gets_no_seat(server: MatchServer) -> None:
    match_id = server.create("anna")
    boris = server.session("boris")

    async def both() -> None:
        entering = await server.matches._follow_match(boris, match_id)  # as `join` does before the silence
        await server.matches.on_silence(entering.user_id)

    server.run(both())

    assert server.session("boris").match_id == 0


def test_silenced_player_leaves_match(server: MatchServer) -> None:
    match_id = server.create("anna")
    server.join("boris", match_id)

    server.run(server.matches.on_silence(server.session("boris").user_id))

    assert server.session("boris").match_id == 0
    found = server.match(match_id)
    assert found is not None
    assert [slot.player_name for slot in found.slots if slot.occupied] == ["anna"]


def test_score_frame_of_playing_player_is_relayed_with_slot(server: MatchServer) -> None:
    play(server, ALL_LOADED)

    server.run(server.matches.score_frame(server.session("boris"), bytes(29)))

    assert server.poll_packets("carla") == packets.match_score_update(bytes(29), 1)


def test_score_frame_outside_play_is_dropped(server: MatchServer) -> None:
    play(server, [])

    server.run(server.matches.score_frame(server.session("boris"), bytes(29)))

    assert server.poll_packets("carla") == b""


def test_play_begins_after_a_minute_of_loading(server: MatchServer) -> None:
    play(server, [*START, ("anna", commands.LoadComplete)])

    server.clock.advance(60)
    server.run(server.matches.fire_timers())

    assert LOADED in server.poll_packets("anna")


def test_play_ends_half_a_minute_after_first_completion(server: MatchServer) -> None:
    match_id = play(server, [*ALL_LOADED, ("anna", commands.Complete)])

    server.clock.advance(30)
    server.run(server.matches.fire_timers())

    assert DONE in server.poll_packets("carla")
    found = server.match(match_id)
    assert found is not None
    assert not found.in_progress


def test_known_map_gets_id_and_name_of_the_server(server: MatchServer) -> None:
    song = server.world.add_map(a_map())
    match_id = server.create("anna")

    server.run(
        server.matches.change_settings(
            server.session("anna"),
            **{name: SETTINGS[name] for name in SETTINGS if name not in ("password", "locked", "map_md5", "map_name")},
            map_md5=song.md5,
            map_name="a lie",
        )
    )

    found = server.match(match_id)
    assert found is not None
    assert (found.map_id, found.map_name) == (song.id, f"{song.artist} - {song.title} [{song.version}]")
    assert server.bot_lines == [f"Beatmap changed to: {found.map_name} (https://osu.kiai.example/b/{song.id})"]


def test_invitation_reaches_player_unless_inviter_is_blocked(server: MatchServer) -> None:
    match_id = server.create("anna", password="my secret")
    anna, boris = server.session("anna"), server.session("boris")
    server.run(server.matches.invite(anna, match_id, boris.user_id))
    assert b"osump://1/my_secret a match" in server.poll_packets("boris")

    server.run(server.presence.change(boris, blocked=frozenset({anna.user_id})))
    for user_id in (boris.user_id, anna.user_id, 1, 99):
        with pytest.raises(Refused):
            server.run(server.matches.invite(anna, match_id, user_id))
    assert server.poll_packets("boris") == b""


def test_player_with_friends_only_messages_is_invited_by_friends_only(server: MatchServer) -> None:
    match_id = server.create("anna")
    anna, boris = server.session("anna"), server.session("boris")
    server.run(server.presence.change(boris, friends_only_dms=True))

    with pytest.raises(Refused):
        server.run(server.matches.invite(anna, match_id, boris.user_id))
    assert b"osump://" not in server.poll_packets("boris")

    server.run(server.presence.change(boris, friends=frozenset({anna.user_id})))
    server.run(server.matches.invite(anna, match_id, boris.user_id))
    assert b"osump://" in server.poll_packets("boris")


def test_tournament_client_follows_match_without_seat(server: MatchServer) -> None:
    match_id = server.create("anna")
    server.log_in("dora", tournament=True)

    session = server.run(server.matches.view(server.session("dora"), match_id))
    server.join("boris", match_id)

    assert session.room_id == match_id
    assert server.poll_packets("dora").count(b"\x1a\x00\x00") >= 1  # MATCH_UPDATE
    assert server.run(server.matches.stop_viewing(server.session("dora"))).room_id == 0
    with pytest.raises(NotFound):
        server.run(server.matches.view(server.session("dora"), 99))
    with pytest.raises(Refused):
        server.run(server.matches.view(server.session("carla"), match_id))


def test_command_of_player_without_right_returns_none(server: MatchServer) -> None:
    match_id = server.create("anna")
    server.join("boris", match_id)

    outcome = server.run(server.matches.act_as_leader(server.session("anna"), match_id, commands.SetName, name="new"))

    assert outcome is not None
    assert outcome.match == server.match(match_id)
    assert outcome.match.name == "new"
    assert (
        server.run(server.matches.act_as_leader(server.session("boris"), match_id, commands.SetName, name="mine"))
        is None
    )
    with pytest.raises(MatchGone):
        server.run(server.matches.act_as_leader(server.session("anna"), 99, commands.SetName, name="new"))


def test_history_contains_events_games_and_scores(server: MatchServer) -> None:
    match_id = play(server, ALL_LOADED)
    frame = b"\x00\x00\x00\x00\x00" + b"\x05\x00" * 6 + b"\x10\x27\x00\x00" + b"\x09\x00\x09\x00" + b"\x01\xc8\x00\x00"
    server.run(server.matches.score_frame(server.session("boris"), frame))
    for name in ("anna", "boris", "carla"):
        server.do(name, commands.Complete)
    live = server.match(match_id)
    assert live is not None
    for name in ("anna", "boris", "carla"):
        server.disconnect(name)

    server.run(server.history.flush())

    [past] = server.run(server.history.ended_matches(limit=10))
    assert (past.id, past.name, past.room) == (live.history_id, "a match", match_id)
    [(game, scores)] = server.run(server.history.games_of(past.id))
    assert (game.map_id, game.aborted, game.ended_at_ms is not None) == (75, 0, True)
    assert [(one.slot, one.score, one.max_combo, one.passed) for one in scores] == [(1, 10_000, 9, 1)]
    kinds = [event.kind for event in server.run(server.history.events_of(past.id))]
    assert kinds[:3] == ["created", "joined", "joined"]
    assert kinds[-1] == "closed"
    assert "secret" not in str(server.run(server.history.events_of(past.id)))


def test_match_above_the_limit_is_refused(server: MatchServer) -> None:
    async def fill() -> None:
        for _ in range(1_000):
            await server.realtime.open_match(Match(name="x", host_id=0, host_name=""))

    server.run(fill())

    with pytest.raises(Refused, match="too many"):
        server.create("anna")
    assert server.session("anna").match_id == 0


def test_seated_player_leaves_lobby(server: MatchServer) -> None:
    match_id = server.create("anna")
    server.run(server.matches.enter_lobby(server.session("boris")))

    server.join("boris", match_id)

    assert LOBBY not in server.session("boris").follows
    assert server.session("boris").in_lobby is False


def test_command_without_seat_is_refused(server: MatchServer) -> None:
    with pytest.raises(KiaiError):
        server.do("anna", commands.Ready)


# --- inconsistencies after the death of a worker


@pytest.fixture
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kiai.multiplayer.service.CLEAN_UP_GRACE_S", 0.0)


@pytest.mark.usefixtures("no_grace")
def test_clean_up_frees_seat_without_session(server: MatchServer) -> None:
    match_id = server.create("anna")
    server.join("boris", match_id)
    server.run(server.realtime.close_session("anna"))  # without a departure from the match

    assert server.run(server.matches.clean_up()) == 1

    found = server.match(match_id)
    assert found is not None
    assert [slot.player_name for slot in found.slots if slot.occupied] == ["boris"]
    assert found.host_name == "boris"
    assert server.run(server.matches.clean_up()) == 0


@pytest.mark.usefixtures("no_grace")
def test_clean_up_detaches_session_without_seat(server: MatchServer) -> None:
    match_id = server.create("anna")
    server.run(server.matches._follow_match(server.session("boris"), match_id))  # without a seat

    assert server.run(server.matches.clean_up()) == 1

    session = server.session("boris")
    assert session.match_id == 0
    assert match_topic(match_id) not in session.follows
    assert server.session("anna").match_id == match_id


def test_new_match_detaches_sessions_of_former_match_with_same_id(server: MatchServer) -> None:
    match_id = server.create("anna")
    server.join("boris", match_id)
    server.run(server.realtime.close_match(match_id))  # without detaching the sessions

    assert server.create("carla") == match_id

    for name in ("anna", "boris"):
        session = server.session(name)
        assert (session.match_id, match_topic(match_id) in session.follows) == (0, False)
    assert server.session("carla").match_id == match_id


@pytest.mark.usefixtures("no_grace")
def test_clean_up_ends_history_of_lost_match(server: MatchServer) -> None:
    remaining, lost = server.create("anna"), server.create("boris")
    server.run(server.history.flush())
    server.run(server.realtime.close_match(lost))
    server.run(server.matches._unfollow_match(server.session("boris"), lost))
    assert server.run(server.matches.clean_up()) == 0, "a match that has just opened looks the same"

    server.clock.advance(601)

    assert server.run(server.matches.clean_up()) == 1
    assert [one.created_by for one in server.run(server.history.ended_matches(limit=5))] == [
        server.session("boris").user_id
    ]
    assert server.match(remaining) is not None


def test_entry_that_cannot_be_written_does_not_block_later_entries(server: MatchServer) -> None:
    match_id = server.create("anna")
    server.run(server.history.flush())
    entry = HistoryEntry(10**6, 0, "joined", 3, {})
    server.run(server.realtime.append([Entry(HISTORY, msgspec.msgpack.encode(entry))]))
    server.run(server.history.flush())
    assert server.history.dropped == 1

    server.join("boris", match_id)

    assert server.run(server.history.flush()) == 1


@pytest.mark.parametrize(
    "bad",
    [msgspec.msgpack.encode(HistoryEntry(10**6, 0, "joined", 3, {})), b"not an entry"],
    ids=["of no match", "unreadable"],
)
def test_bad_entry_in_batch_loses_only_itself(server: MatchServer, bad: bytes) -> None:
    match_id = server.create("anna")
    server.run(server.realtime.append([Entry(HISTORY, bad)]))
    server.join("boris", match_id)

    written = server.run(server.history.flush())

    match = server.match(match_id)
    assert match is not None
    events = [one.kind for one in server.run(server.history.events_of(match.history_id))]
    assert events == ["created", "joined"]
    assert (written, server.history.dropped) == (2, 1)
    assert server.run(server.history.flush()) == 0


def test_concurrent_flushes_write_each_entry_once(server: MatchServer) -> None:
    other = MatchHistory(server.world.database, server.realtime)
    match_id = server.create("anna")
    server.join("boris", match_id)

    async def both() -> tuple[int, ...]:
        return await asyncio.gather(server.history.flush(), other.flush(), other.flush())

    assert sum(server.run(both())) == 2
    match = server.match(match_id)
    assert match is not None
    assert [event.kind for event in server.run(other.events_of(match.history_id))] == ["created", "joined"]


def test_new_journal_is_written_from_its_start(server: MatchServer) -> None:
    for _ in range(3):
        server.create("anna")
    server.run(server.history.flush())

    restarted = MatchHistory(server.world.database, MemoryRealtime(server.clock))
    match = server.match(server.session("anna").match_id)
    assert match is not None
    match_id = server.run(restarted.open(match))
    server.run(
        restarted._realtime.append(
            [Entry(HISTORY, msgspec.msgpack.encode(HistoryEntry(match_id, 1, "created", 3, {"room": 9})))]
        )
    )

    assert server.run(restarted.flush()) == 1
    assert [event.kind for event in server.run(restarted.events_of(match_id))] == ["created"]


def test_creator_of_match_made_by_command_is_seated_and_not_host(server: MatchServer) -> None:
    server.run(server.matches.enter_lobby(server.session("anna")))

    session, match_id = server.run(
        server.matches.create_by_command(server.session("anna"), "a match", "secret", private=False)
    )

    match = server.match(match_id)
    assert match is not None
    assert (match.slots[0].player_name, match.host_id, match.by_command) == ("anna", 0, True)
    assert (session.match_id, session.in_lobby) == (match_id, False)
    packet = server.poll_packets("anna")
    assert packets.channel_join_success("#multiplayer") in packet
    assert packets.match_join_success(match_id, match) in packet


def test_seated_player_who_makes_match_by_command_keeps_seat_and_is_referee(server: MatchServer) -> None:
    seat = server.create("anna")
    server.poll_packets("anna")

    session, match_id = server.run(
        server.matches.create_by_command(server.session("anna"), "a match", "secret", private=False)
    )

    assert session.match_id == seat
    assert referee_topic(f"#multi_{match_id}") in session.follows
    assert match_topic(match_id) not in session.follows, "the client would take frames of that match for its own"
    assert server.poll_packets("anna") == packets.channel_join_success(f"#multi_{match_id}") + packets.channel_info(
        f"#multi_{match_id}", "Players in this match.", 0
    )
    assert server.run(server.matches.act_as_leader(session, match_id, commands.SetSize, size=4)) is not None


def test_creator_without_seat_follows_channel_until_joining_or_close(server: MatchServer) -> None:
    _, match_id = server.run(
        server.matches.create_by_command(server.session("anna"), "a match", "secret", private=False)
    )
    channel = f"#multi_{match_id}"
    server.poll_packets("anna")

    server.run(server.matches.leave(server.session("anna")))
    assert referee_topic(channel) in server.session("anna").follows
    assert server.session("anna").room_id == 0
    assert packets.channel_join_success(channel) in server.poll_packets("anna")

    server.join("anna", match_id, password="")
    assert referee_topic(channel) not in server.session("anna").follows
    assert packets.channel_kick(channel) in server.poll_packets("anna")

    server.run(server.matches.leave(server.session("anna")))
    server.poll_packets("anna")
    server.run(server.matches.act_as_leader(server.session("anna"), match_id, commands.Close))
    assert server.match(match_id) is None
    assert server.bot_lines[-1] == "Closed the match"
    assert referee_topic(channel) not in server.session("anna").follows
    assert packets.channel_kick(channel) in server.poll_packets("anna")


def test_removed_referee_stops_following_channel(server: MatchServer) -> None:
    match_id = server.create("anna")
    boris = server.session("boris")
    assert not server.run(server.matches.may_refer(boris, match_id))
    added = {"user_id": boris.user_id, "name": "boris"}
    server.run(server.matches.act_as_leader(server.session("anna"), match_id, commands.AddReferee, **added))
    assert server.run(server.matches.may_refer(boris, match_id))
    topic = referee_topic(f"#multi_{match_id}")
    server.run(server.presence.change(boris, follows=boris.follows | {topic}))

    server.do("anna", commands.RemoveReferee, user_id=boris.user_id)

    assert topic not in server.session("boris").follows
    assert not server.run(server.matches.may_refer(boris, match_id))
    assert packets.channel_kick(f"#multi_{match_id}") in server.poll_packets("boris")


def test_channel_of_open_match_is_found_by_history_id(server: MatchServer) -> None:
    channels = MatchChannels(server.realtime, server.history)
    match_id = server.create("anna", password="secret//private")
    match = server.match(match_id)
    assert match is not None
    history_id = match.history_id

    for flushed in (False, True):
        if flushed:
            server.run(server.history.flush())
        assert server.run(channels.channel_of(history_id)) == f"#multi_{match_id}", f"journal written: {flushed}"
        assert server.run(channels.number_of(history_id)) == match_id
        assert server.run(channels.history_id_of(f"#multi_{match_id}")) == history_id
    for channel in ("#multi_0", "#multi_60", "#multi_x", "#osu"):
        assert server.run(channels.history_id_of(channel)) is None, channel

    server.run(server.matches.act_as_leader(server.session("anna"), match_id, commands.Close))
    assert server.create("boris") == match_id, "the number is used again"
    assert server.run(channels.channel_of(history_id)) is None
    server.run(server.history.flush())
    assert server.run(channels.channel_of(history_id)) is None
    assert server.run(channels.channel_of(history_id + 99)) is None


def test_play_started_in_empty_match_ends_after_loading_time(server: MatchServer) -> None:
    _, match_id = server.run(
        server.matches.create_by_command(server.session("anna"), "a match", "secret", private=False)
    )
    server.run(server.matches.leave(server.session("anna")))
    choice = {"map_id": 75, "map_md5": "0" * 32, "map_name": "A - B [C]", "mode": 0}
    server.run(server.matches.act_as_leader(server.session("anna"), match_id, commands.SetMap, **choice))
    server.bot_lines.clear()

    server.run(server.matches.act_as_leader(server.session("anna"), match_id, commands.Start))
    server.clock.advance(61)
    server.run(server.matches.fire_timers())

    match = server.match(match_id)
    assert match is not None
    assert not match.in_progress
    assert server.bot_lines == ["The match has started!", "The match has finished!"]


def test_events_are_posted_as_lines_of_referee_tools(server: MatchServer) -> None:
    match_id = server.create("anna", team_type=2)
    server.join("boris", match_id)
    server.do("boris", commands.ChangeSlot, slot=4)
    server.do("boris", commands.ChangeTeam)
    server.do("anna", commands.TransferHost, slot=4)
    for name in ("anna", "boris"):
        server.do(name, commands.Ready)
    server.do("boris", commands.Start)
    server.do("anna", commands.LoadComplete)
    frame = bytes(17) + (1_234_567).to_bytes(4, "little") + bytes(8)
    server.run(server.matches.score_frame(server.session("anna"), frame))
    server.do("anna", commands.Fail)
    server.do("anna", commands.Complete)
    server.do("boris", commands.Complete)
    server.run(server.matches.leave(server.session("boris")))

    assert server.bot_lines == [
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


def test_departure_of_unready_player_posts_no_ready_line(server: MatchServer) -> None:
    match_id = server.create("anna")
    server.join("boris", match_id)
    server.do("anna", commands.Ready)
    server.bot_lines.clear()

    server.run(server.matches.leave(server.session("boris")))

    assert server.bot_lines == ["boris left the game."]


# --- no access to a match before the password is checked


class WatchedRealtime:
    """Shared state that yields to other tasks at each call, and records the topics that a session follows."""

    def __init__(self, inner: Realtime, token: str) -> None:
        self._inner = inner
        self._token = token
        self.followed: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)
        if not inspect.iscoroutinefunction(method):
            return method

        async def watched_call(*args: Any, **named: Any) -> Any:
            await self._record()
            try:
                return await method(*args, **named)
            finally:
                await self._record()

        return watched_call

    async def _record(self) -> None:
        await asyncio.sleep(0)
        self.followed |= (await self._inner.session(self._token)).follows


@pytest.mark.parametrize("refusal", ["wrong password", "banned", "full"])
def test_refused_player_never_follows_match(server: MatchServer, refusal: str) -> None:
    match_id = server.create("anna", locked=tuple(range(1, 16)) if refusal == "full" else ())
    if refusal == "banned":
        server.join("boris", match_id)
        server.do("anna", commands.BanPlayer, user_id=server.session("boris").user_id)
    watched = WatchedRealtime(server.realtime, "boris")
    server.matches._realtime = cast(Realtime, watched)

    with pytest.raises(Refused):
        server.join("boris", match_id, "wrong" if refusal == "wrong password" else "secret")

    assert match_topic(match_id) not in watched.followed
    assert b"secret" not in server.poll_packets("boris")


def test_player_who_knows_the_former_password_never_follows_match(server: MatchServer) -> None:
    match_id = server.create("anna")
    watched = WatchedRealtime(server.realtime, "boris")
    server.matches._realtime = cast(Realtime, watched)
    leave_other_matches = server.matches._leave_other_matches

    async def change_the_password_first(session: Session) -> Session:
        # `join` has compared the password with the former one by now.
        await server.matches.act(await server.realtime.session("anna"), commands.ChangePassword, password="brand new")
        return await leave_other_matches(session)

    server.matches._leave_other_matches = change_the_password_first  # type: ignore[method-assign]
    with pytest.raises(Refused):
        server.join("boris", match_id, "secret")

    assert match_topic(match_id) not in watched.followed
    assert b"brand new" not in server.poll_packets("boris")


def test_refused_player_keeps_seat_in_other_match(server: MatchServer) -> None:
    closed, own = server.create("anna"), server.create("boris")

    with pytest.raises(Refused):
        server.join("boris", closed, "wrong")

    assert server.session("boris").match_id == own
    match = server.match(own)
    assert match is not None
    assert match.slots[0].player_id == server.session("boris").user_id


def test_new_password_reaches_seated_players_only(server: MatchServer) -> None:
    server.log_in("viewer", tournament=True)
    match_id = server.create("anna")
    server.join("boris", match_id)
    server.run(server.matches.view(server.session("viewer"), match_id))
    for name in ("anna", "boris", "viewer"):
        server.poll_packets(name)

    server.do("anna", commands.ChangePassword, password="brand new")

    assert packets.match_change_password("brand new") in server.poll_packets("boris")
    assert packets.match_change_password("brand new") in server.poll_packets("anna")
    seen = server.poll_packets("viewer")
    assert seen
    assert b"brand new" not in seen


def test_joined_match_includes_changes_during_join(server: MatchServer) -> None:
    match_id = server.create("anna")
    follow = server.matches._follow_match

    async def enter(session: Session, match_id: int) -> Session:
        await server.matches.act(
            await server.realtime.session("anna"), commands.ChangePassword, password="changed meanwhile"
        )
        return await follow(session, match_id)

    server.matches._follow_match = enter  # type: ignore[method-assign]

    seated = server.join("boris", match_id)

    assert seated.match.password == "changed meanwhile"


def test_player_kicked_while_joining_is_refused(server: MatchServer) -> None:
    match_id = server.create("anna")
    boris = server.session("boris").user_id
    follow = server.matches._follow_match

    async def enter(session: Session, match_id: int) -> Session:
        await server.matches.act(await server.realtime.session("anna"), commands.Kick, user_id=boris)
        return await follow(session, match_id)

    server.matches._follow_match = enter  # type: ignore[method-assign]

    with pytest.raises(Refused):
        server.join("boris", match_id)

    assert server.session("boris").match_id == 0
    assert match_topic(match_id) not in server.session("boris").follows


# --- limits of one player


def test_player_creates_limited_number_of_matches_per_hour(server: MatchServer) -> None:
    server.matches._limiter = RateLimiter(server.realtime, server.clock)
    for _ in range(ROOMS_BURST):
        server.create("anna")

    with pytest.raises(Refused, match="too many matches"):
        server.create("anna")
    with pytest.raises(Refused, match="too many matches"):
        server.run(server.matches.create_by_command(server.session("anna"), "made", "", private=False))

    assert server.create("boris")
    server.clock.advance(3_600 / ROOMS_PER_HOUR)
    assert server.create("anna")


def test_refused_creation_keeps_seat(server: MatchServer) -> None:
    server.matches._limiter = RateLimiter(server.realtime, server.clock)
    matches = [server.create("anna") for _ in range(ROOMS_BURST)]

    with pytest.raises(Refused):
        server.create("anna")

    assert server.session("anna").match_id == matches[-1]


def test_history_of_match_is_bounded_and_includes_its_end(server: MatchServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kiai.multiplayer.history.EVENTS_MAX", 5)
    match_id = server.create("anna")
    match = server.match(match_id)
    assert match is not None
    for number in range(20):
        server.run(server.matches.act(server.session("anna"), commands.SetName, name=f"name {number}"))
    server.run(server.matches.leave(server.session("anna")))
    server.run(server.history.flush())

    events = [event.kind for event in server.run(server.history.events_of(match.history_id))]
    assert len(events) <= 7
    assert events[-1] == "closed"

"""Copies of answers: never stale, bounded, and counted."""

import contextlib
import socket
import sqlite3
import sys
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, Final

import hypothesis.strategies as st
import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from tests.builders import a_play
from tests.demo_server import FLAGGED_SCORE, MAP, PENDING_MAP, SUPPORTER, DemoServer, demo_server, log_in
from tests.patience import patiently

from kiai.accounts.model import Privacy
from kiai.beatmaps import MapStatus
from kiai.errors import KiaiError
from kiai.faces.api.answering import Answering
from kiai.faces.api.copies import COPY_MAX, TEXT_MAX, Copies, Copy
from kiai.faces.api.v1.common import MapQuery
from kiai.faces.api.v1.players import ScoresQueryV1
from kiai.faces.compression import Compression
from kiai.realtime.port import RankEntry
from kiai.staff import OPERATOR
from kiai.storage.dumping import SQLITE_FILE

UNCACHED: Final = "127.0.0.6"
CACHED: Final = "127.0.0.7"
PLAYERS: Final = (8, 9, 10)
READS: Final = (
    f"/get_map_info?id={MAP}",
    f"/get_map_scores?id={MAP}&scope=best",
    f"/get_map_scores?id={MAP}&scope=best&limit=2&offset=1",
    f"/get_map_scores?id={MAP}&scope=best&mods=HD",
    f"/get_map_scores?id={MAP}&scope=recent",
    "/get_leaderboard?mode=0&limit=5",
    "/get_leaderboard?mode=0&country=US",
    "/get_leaderboard?mode=0&sort=plays&limit=5",
    f"/get_score_info?id={FLAGGED_SCORE}",
    "/get_player_count",
    *(
        target.format(user)
        for user in PLAYERS
        for target in (
            "/get_player_info?id={}&scope=all",
            "/get_player_status?id={}",
            "/get_player_scores?id={}&scope=best&limit=5",
            "/get_player_scores?id={}&scope=recent&limit=5",
            "/get_player_scores?id={}&scope=best&include_loved=true",
            "/get_player_most_played?id={}",
        )
    ),
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoServer]:
    fill, from_copy = Answering.fill, Answering.from_copy

    async def without_copies(self: Answering, answer: Any, served: Any, request: Any, path: Any) -> None:
        if request.scope["client"][0] == UNCACHED:
            self = Answering(self.gateway, Compression(), Copies(lambda: None, 0))
        await fill(self, answer, served, request, path)

    def no_copy(self: Answering, served: Any, request: Any, body_max: int) -> Any:
        return None if request.scope["client"][0] == UNCACHED else from_copy(self, served, request, body_max)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Answering, "fill", without_copies)
        patch.setattr(Answering, "from_copy", no_copy)
        patch.setenv("KIAI_RATE_LIMITS", "off")
        with demo_server(tmp_path_factory.mktemp("demo") / "data") as running:
            yield running


class Reader:
    """Sends requests of one address on one connection."""

    def __init__(self, server: DemoServer, address: str) -> None:
        port = int(server.url.rpartition(":")[2])
        self._socket = socket.create_connection(("127.0.0.1", port), patiently(20), source_address=(address, 0))
        self._file = self._socket.makefile("rb")

    def read(self, target: str) -> tuple[bytes, dict[bytes, bytes], bytes]:
        """Return the status line, the headers without the date and the id, and the body."""
        self._socket.sendall(f"GET {target} HTTP/1.1\r\nHost: api.localhost:8080\r\n\r\n".encode())
        status, headers = self._file.readline(), {}
        while (line := self._file.readline()) != b"\r\n":
            name, _, value = line.partition(b": ")
            headers[name] = value.strip()
        body = self._file.read(int(headers[b"content-length"]))
        for varies in (b"date", b"x-request-id"):
            headers.pop(varies, None)
        return status, headers, body

    def close(self) -> None:
        self._file.close()
        self._socket.close()


class WritesAndReads(RuleBasedStateMachine):
    """Changes everything that answers show, and compares every answer with one without copies."""

    server: DemoServer
    _serial = 0

    @initialize()
    def connect(self) -> None:
        self.cached, self.uncached = Reader(self.server, CACHED), Reader(self.server, UNCACHED)

    def _run(self, work: Any) -> None:
        with contextlib.suppress(KiaiError):  # refused, e.g. a restriction of a player who is restricted already
            self.server.run(work)

    @property
    def _services(self) -> Any:
        return self.server.services

    @classmethod
    def _next(cls) -> int:
        cls._serial += 1
        return cls._serial

    @rule(user=st.sampled_from(PLAYERS))
    def rename(self, user: int) -> None:
        self._run(self._services.community.naming.rename(OPERATOR, user, f"renamed{self._next()}", force=True))

    @rule(user=st.sampled_from(PLAYERS), country=st.sampled_from(("us", "nl", "jp")))
    def move(self, user: int, country: str) -> None:
        self._run(self._services.community.naming.set_country(OPERATOR, user, country))

    @rule(user=st.sampled_from(PLAYERS))
    def restrict(self, user: int) -> None:
        self._run(self._services.community.restrictions.restrict(OPERATOR, user, "a test"))

    @rule(user=st.sampled_from(PLAYERS))
    def unrestrict(self, user: int) -> None:
        self._run(self._services.community.restrictions.unrestrict(OPERATOR, user, "a test"))

    @rule()
    def rename_clan(self) -> None:
        tag = f"T{self._next()}"
        self._run(self._services.community.clan_staff.edit(OPERATOR, 1, tag=tag, name=f"Clan {tag}", reason="a test"))

    @rule(status=st.sampled_from((MapStatus.RANKED, MapStatus.LOVED, MapStatus.PENDING)))
    def change_status(self, status: MapStatus) -> None:
        async def change() -> None:
            found = await self._services.beatmaps.find(id=MAP)
            await self._services.staff.set_map_status(OPERATOR, [found], status)

        self._run(change())

    @rule(
        user=st.sampled_from(PLAYERS),
        score=st.integers(1, 2_000_000),
        mods=st.sampled_from((0, 8, 72)),
        passed=st.booleans(),
    )
    def play(self, user: int, score: int, mods: int, passed: bool) -> None:
        async def record() -> None:
            song = await self._services.beatmaps.find(id=MAP)
            play = a_play(
                by=user, on=song, score=score, pp=score / 5_000, mods=mods, passed=passed,
                at_ms=self._services.clock.now_ms(), checksum=b"%016d" % self._next(),
            )  # fmt: skip
            await self._services.recorder.record(play)

        self._run(record())

    @rule(score=st.sampled_from((FLAGGED_SCORE, 1, 2)), hidden=st.booleans())
    def hide(self, score: int, hidden: bool) -> None:
        wipes = self._services.community.wipes
        self._run((wipes.hide_score if hidden else wipes.unhide_score)(OPERATOR, score, "a test"))

    @rule(user=st.sampled_from(PLAYERS), wiped=st.booleans())
    def wipe(self, user: int, wiped: bool) -> None:
        wipes = self._services.community.wipes
        self._run((wipes.wipe_user if wiped else wipes.restore_user)(OPERATOR, user, "a test"))

    @rule(user=st.sampled_from(PLAYERS), privacy=st.sampled_from((Privacy(0), Privacy.HIDE_LAST_SEEN, ~Privacy(0))))
    def keep_private(self, user: int, privacy: Privacy) -> None:
        hides_country = Privacy.HIDE_ONLINE in privacy
        settings = self._services.site.profile_settings
        self._run(settings.save_privacy(user, privacy, hide_country=hides_country))

    @rule(user=st.sampled_from(PLAYERS))
    def log_in(self, user: int) -> None:
        self._run(log_in(self._services, user))

    @rule(user=st.sampled_from(PLAYERS))
    def log_out(self, user: int) -> None:
        self._run(self._services.presence.end_sessions_of(user))

    @rule()
    def settle(self) -> None:
        self._run(self._services.reconciler.run())

    @rule()
    def deliver(self) -> None:
        self._run(self._services.outbox.deliver())

    @rule(user=st.sampled_from(PLAYERS))
    def write_in_another_process(self, user: int) -> None:
        with contextlib.closing(sqlite3.connect(self._services.settings.data / SQLITE_FILE)) as other, other:
            other.execute("UPDATE stats SET plays = plays + 1 WHERE user_id = ?", (user,))

    @rule(user=st.sampled_from(PLAYERS))
    def rebuild(self, user: int) -> None:
        self._run(self._services.rebuilder.users(user, user))

    @invariant()
    def no_answer_is_stale(self) -> None:
        for target in READS:
            kept, fresh = self.cached.read(target), self.uncached.read(target)
            assert kept == fresh, target
            assert self.cached.read(target) == fresh, target  # now certainly from a copy

    def teardown(self) -> None:
        self.cached.close()
        self.uncached.close()


def test_no_answer_is_stale_after_any_writes(server: DemoServer) -> None:
    WritesAndReads.server = server
    run_state_machine_as_test(
        WritesAndReads,
        settings=settings(
            max_examples=8, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )


def a_copy(size: int = 1_000, version: bytes = b"1") -> Copy:
    return Copy(version, bytes(size), None)


def test_a_copy_of_another_version_is_not_used() -> None:
    copies, key = Copies(lambda: 1), ("/get_map_info", MapQuery(id=1))
    copies.store(key, a_copy(version=b"1"))

    assert copies.same(key, b"1") is not None
    assert copies.same(key, b"2") is None


def test_a_copy_is_used_without_its_version_until_something_is_committed() -> None:
    copies, key = Copies(lambda: 1), ("/get_map_info", MapQuery(id=1))
    copy = a_copy()
    copies.store(key, copy)

    assert copies.unchanged(key, (1, None)) is None
    copy.stamp = 1, None
    assert copies.unchanged(key, (1, None)) is copy
    assert copies.unchanged(key, (2, None)) is None


def test_copies_have_a_bound_and_the_least_used_is_dropped_first() -> None:
    copies = Copies(lambda: 1, bytes_max=10_000)
    keys: list[tuple[str, msgspec.Struct]] = [("/get_map_info", MapQuery(id=number)) for number in range(1, 9)]

    for key in keys:
        copies.store(key, a_copy())
        assert copies.same(keys[0], b"1") is not None  # stays in use
        assert copies.bytes <= 10_000

    assert copies.same(keys[1], b"1") is None
    assert copies.outcomes["dropped"] > 0


def test_the_compressed_form_counts_too() -> None:
    copies, key, copy = Copies(lambda: 1), ("/get_map_info", MapQuery(id=1)), a_copy()
    copies.store(key, copy)
    before = copies.bytes

    copies.zip(key, copy, bytes(100))
    copies.zip(key, copy, bytes(100))

    assert copies.bytes == before + 100
    copies.store(key, a_copy())
    assert copies.bytes == before


def test_the_size_of_a_copy_covers_its_objects_its_key_and_its_stamp() -> None:
    copy = Copy(bytes(10_000), bytes(20_000), {"limit": 100_000, "offset": 100_000}, "x" * TEXT_MAX)
    copy.stamp = 2**40, 2**40
    copy.subjects, copy.mark = (2**40, *[f"{number:032}" for number in range(100)]), 2**40
    copy.zipped = bytes(5_000)
    key = ("/get_player_scores", ScoresQueryV1(scope="best", id=2**40, name="a" * 32, mods="HDHR", offset=2**40))

    own = [
        copy,
        key,
        key[1],
        2**40,
        2**40,
        key[1].name,
        key[1].mods,
        copy.etag,
        copy.following,
        copy.stamp,
        *copy.stamp,
        copy.subjects,
        *copy.subjects,
        copy.mark,
    ]
    text = (key[0], copy.text)
    entry = [OrderedDict({"key": copy}), {text: key}, text, copy.text, copy.version, copy.body, copy.zipped]

    assert sum(map(sys.getsizeof, [*own, *entry])) <= copy.size


def test_a_copy_is_found_by_the_text_of_its_query_for_as_long_as_it_is_kept() -> None:
    copies = Copies(lambda: 1, bytes_max=10_000)
    keys: list[tuple[str, msgspec.Struct]] = [("/get_map_info", MapQuery(id=number)) for number in range(1, 9)]

    copies.store(keys[0], Copy(b"1", bytes(1_000), None, "id=1"))
    assert copies.key_of("/get_map_info", "id=1") is keys[0]
    assert copies.key_of("/get_map_info", "id=2") is None
    assert copies.key_of("/get_map_scores", "id=1") is None

    copies.store(keys[0], Copy(b"2", bytes(1_000), None, "id=01"))  # another spelling of the same query
    assert copies.key_of("/get_map_info", "id=1") is None
    assert copies.key_of("/get_map_info", "id=01") is keys[0]

    for number, key in enumerate(keys):
        copies.store(key, Copy(b"1", bytes(1_000), None, f"id={number + 1}"))
    assert copies.key_of("/get_map_info", "id=1") is None  # dropped for space
    assert copies.key_of("/get_map_info", "id=8") is keys[7]


def test_a_long_query_does_not_find_its_copy() -> None:
    copies, key = Copies(lambda: 1), ("/get_map_info", MapQuery(id=1))

    copies.store(key, Copy(b"1", b"{}", None, "x" * (TEXT_MAX + 1)))

    assert copies.key_of("/get_map_info", "x" * (TEXT_MAX + 1)) is None
    assert copies.key_of("/get_map_info", "") is None


def test_a_very_large_answer_is_not_kept() -> None:
    copies, key = Copies(lambda: 1), ("/get_map_info", MapQuery(id=1))

    copies.store(key, a_copy(COPY_MAX))

    assert copies.bytes == 0


def test_the_subjects_of_an_answer_that_is_not_kept_do_not_count() -> None:
    copies, key, stamp = Copies(lambda: 1, mark=lambda: 1), ("/get_map_info", MapQuery(id=1)), (1, None)
    large, kept = a_copy(COPY_MAX), a_copy()
    copies.store(key, large)

    copies.confirm(key, large, stamp, lambda: (1, 2, 3))
    assert copies.bytes == 0

    copies.store(key, kept)
    copies.confirm(key, kept, stamp, lambda: (1, 2, 3))
    assert copies.bytes == kept.size


def test_a_score_of_a_player_is_in_the_answer_at_once(server: DemoServer) -> None:
    async def play() -> None:
        song = await server.services.beatmaps.find(id=MAP)
        best = a_play(by=SUPPORTER, on=song, score=99_000_000, pp=900.0, at_ms=server.services.clock.now_ms())
        await server.services.recorder.record(best)

    target = f"/get_player_scores?id={SUPPORTER}&scope=recent&limit=1"
    reader = Reader(server, CACHED)
    before = reader.read(target)

    server.run(play())

    after = reader.read(target)
    reader.close()
    assert before[2] != after[2]
    assert b"99000000" in after[2]


def test_a_play_leaves_the_copies_of_other_players_and_maps_in_use(server: DemoServer) -> None:
    outcomes, reader = server.copies.outcomes, Reader(server, CACHED)
    target = f"/get_player_scores?id={SUPPORTER}&scope=best&limit=5"

    async def play(user: int, map_id: int, checksum: bytes) -> None:
        song = await server.services.beatmaps.find(id=map_id)
        at_ms = server.services.clock.now_ms()
        await server.services.recorder.record(a_play(by=user, on=song, at_ms=at_ms, checksum=checksum))

    def outcome() -> str:
        before = dict(outcomes)
        reader.read(target)
        [changed] = [name for name in outcomes if outcomes[name] != before[name]]
        return changed

    reader.read(target)
    reader.read(target)  # gets the mark
    server.run(play(PLAYERS[0], PENDING_MAP, b"of another map.."))
    assert outcome() == "untouched"
    assert outcome() == "unchanged"
    server.run(play(SUPPORTER, MAP, b"of the player..."))
    assert outcome() in {"same", "made"}  # it was read again
    reader.close()


def test_a_rank_that_changes_without_a_commit_is_in_the_answer(server: DemoServer) -> None:
    target = f"/get_player_info?id={PLAYERS[0]}&scope=stats"
    reader = Reader(server, CACHED)
    with contextlib.suppress(KiaiError):  # restricted by a test before
        server.run(server.services.community.restrictions.unrestrict(OPERATOR, PLAYERS[0], "a test"))
    before = reader.read(target)
    assert reader.read(target) == before
    first = RankEntry(user_id=PLAYERS[0], mode=0, country="us", pp=10**9)
    assert b"Player not found" not in before[2]

    server.run(server.services.realtime.set_ranks([first]))

    after = reader.read(target)
    reader.close()
    server.run(server.services.ranks.refresh(PLAYERS[0]))
    assert before[2] != after[2]
    assert b'"rank":1,"country_rank":1,' in after[2]

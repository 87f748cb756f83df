"""The history of matches: their players, events, games and scores.

The row of a match is written when the match opens. All later changes go to a journal in shared state, atomically with
the change itself. A job writes the journal to the database several times a second, in order. So no packet of a play
waits for the disk, and entries survive the death of a worker. The row `match_history` of the table `versions` holds the
position up to which the journal was written. It changes in the same transaction as the other rows, so no entry is
written twice. Scores come from the last score frames, because players saw these values.
"""

import struct
from collections.abc import Awaitable, Callable, Container, Mapping, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import BigInteger, bindparam, func, insert, literal_column, select, update

from kiai.accounts.visibility import Viewer
from kiai.errors import NotFound, Unavailable
from kiai.logs import get_logger
from kiai.multiplayer import events
from kiai.multiplayer.commands import MatchCommand
from kiai.multiplayer.model import Match
from kiai.osu.accuracy import HitCounts
from kiai.realtime.port import HISTORY, Entry, Realtime
from kiai.storage.patterns import unindexed
from kiai.storage.port import Command, Database, Query, Transaction, scalar
from kiai.storage.tables import game_scores, games, match_events, match_players, matches, versions

# Longer than any map takes. Set again with each frame.
FRAMES_STASHED_S: Final = 1_800.0
# Entries of one transaction. SQLite has one writer, so a transaction must stay short.
FLUSHED_AT_ONCE: Final = 1_000
EVENTS_SHOWN_MAX: Final = 1_000
EVENTS_MAX: Final = 10_000  # of one match; a night of tournament play has about 2,000
GAMES_SHOWN_MAX: Final = 200
# The hp byte of a frame counts to 200. Clients write 254 after a fail (docs/spec/protocol.md#score-frame).
FAILED_HP: Final = 254
# A match that another worker has just created may not be visible yet in the list of live matches.
ABANDONED_MS: Final = 10 * 60 * 1000
ENDED_AT_ONCE: Final = 2_000
# Win conditions.
ACCURACY: Final = 1
COMBO: Final = 2
NOT_RECORDED: Final = (
    events.StatusChanged,
    events.Unreadied,
    events.PlayerLoaded,
    events.AllLoaded,
    events.PlayerSkipped,
    events.AllSkipped,
    events.PlayerCompleted,
    events.TimerSet,
    events.TimerCleared,
    events.HistoryIdsSet,
    events.RoundPlayed,
)
"""Events that are not recorded: most of all events, and of no use after the play."""

# time, slot, 300s, 100s, 50s, geki, katu, miss, total score, max combo, current combo, perfect, hp
# (docs/spec/protocol.md#score-frame)
_SCORE_FRAME: Final = struct.Struct("<iBHHHHHHiHHBB")


WithinTransaction = Callable[[Transaction, int], Awaitable[None]]
"""Writes that belong to the transaction of a new match, such as an audit row. Gets the history id."""


class HistoryEntry(msgspec.Struct, frozen=True):
    """An entry of the journal: an event and the rows that follow from it.

    `game` holds the columns of a play that starts. `ends` and `aborted` describe the end of a play. `play` is the key
    of its last frames, from which the scores of `seats` are read.
    """

    history_id: int
    at_ms: int
    kind: str
    user_id: int
    details: dict[str, Any]
    game: dict[str, Any] | None = None
    ends: bool = False
    aborted: bool = False
    play: str = ""
    seats: tuple[events.Seat, ...] = ()


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(HistoryEntry).decode


class LastFrame(msgspec.Struct, frozen=True):
    """The content of a player's last score frame."""

    counts: HitCounts
    score: int
    max_combo: int


class PastMatch(msgspec.Struct, frozen=True):
    """A row of a match. `ended_at_ms` is None while the match is open. `room` was its id in shared state."""

    id: int
    room: int
    name: str
    private: int
    by_command: int
    created_by: int
    created_at_ms: int
    ended_at_ms: int | None


class PlayedMatch(msgspec.Struct, frozen=True):
    """A past match in the list of one of its players, with the number of maps played and of players."""

    match: PastMatch
    games: int
    players: int


class MatchEvent(msgspec.Struct, frozen=True):
    """An event of a match. `kind` is the name of the event in snake case, `details` its other fields as JSON."""

    id: int
    at_ms: int
    kind: str
    user_id: int
    details: str


class Game(msgspec.Struct, frozen=True):
    """One play of one map."""

    id: int
    map_id: int
    map_md5: str
    map_name: str
    mode: int
    mods: int
    win_condition: int
    team_type: int
    free_mods: int
    started_at_ms: int
    ended_at_ms: int | None
    aborted: int


class GameScore(msgspec.Struct, frozen=True):
    """The result of a player in a game. `mods` include those of the match."""

    game_id: int
    user_id: int
    slot: int
    team: int
    mods: int
    score: int
    max_combo: int
    n300: int
    n100: int
    n50: int
    ngeki: int
    nkatu: int
    nmiss: int
    passed: int
    perfect: int


def _columns(kind: type[msgspec.Struct], table: Any) -> list[Any]:
    return [table.c[name] for name in kind.__struct_fields__]


def _insert(table: Any, *names: str) -> Any:
    return insert(table).values({name: bindparam(name) for name in names})


_seats = match_players.alias("seats")
_MATCH = select(*_columns(PastMatch, matches))
INSERT_MATCH = Query(
    _insert(matches, "room", "name", "private", "by_command", "created_by", "created_at_ms").returning(matches.c.id),
    scalar,
)
END_MATCH = Command(update(matches).where(matches.c.id == bindparam("match_id")).values(ended_at_ms=bindparam("at_ms")))
RENAME = Command(update(matches).where(matches.c.id == bindparam("match_id")).values(name=bindparam("called")))
SET_ROOM = Command(update(matches).where(matches.c.id == bindparam("match_id")).values(room=bindparam("live_id")))
# The primary key (match_id, user_id) answers it from the index.
IS_IN = Query(
    select(match_players.c.user_id).where(
        match_players.c.match_id == bindparam("match_id"), match_players.c.user_id == bindparam("user_id")
    ),
    scalar,
)
ADD_PLAYER = Command(_insert(match_players, "match_id", "user_id"))
ADD_EVENT = Command(_insert(match_events, "match_id", "at_ms", "kind", "user_id", "details"))
_GAME = ("match_id", "map_id", "map_md5", "map_name", "mode", "mods", "win_condition", "team_type", "free_mods")
ADD_GAME = Query(_insert(games, *_GAME, "started_at_ms").returning(games.c.id), scalar)
# The last row of ix_games_in, unless a play has just ended.
PRESENT_GAME = Query(
    select(games.c.id)
    .where(games.c.match_id == bindparam("match_id"), games.c.ended_at_ms.is_(None))
    .order_by(games.c.id.desc())
    .limit(1),
    scalar,
)
END_GAME = Command(
    update(games)
    .where(games.c.id == bindparam("game_id"))
    .values(ended_at_ms=bindparam("at_ms"), aborted=bindparam("off"))
)
ADD_SCORE = Command(_insert(game_scores, *GameScore.__struct_fields__))
BY_ID = Query(_MATCH.where(matches.c.id == bindparam("id")), PastMatch)
# The conditions are those of the partial index ix_matches_past, so the query reads no private or open matches.
PAST = Query(
    _MATCH.where(matches.c.id < bindparam("before"), matches.c.ended_at_ms.is_not(None), matches.c.private == 0)
    .order_by(matches.c.id.desc())
    .limit(bindparam("limit"))
    .offset(bindparam("offset")),
    PastMatch,
    scans="it walks the index of past matches to the end of the page",
)
# By `ix_match_players_of`; the count by `ix_games_in`, for the rows of the page. `unindexed` keeps the engines from
# walking the index of all past matches instead.
MATCHES_OF = Query(
    select(
        *_columns(PastMatch, matches),
        select(func.count()).select_from(games).where(games.c.match_id == matches.c.id).scalar_subquery(),
        select(func.count()).select_from(_seats).where(_seats.c.match_id == matches.c.id).scalar_subquery(),
    )
    .select_from(match_players.join(matches, matches.c.id == match_players.c.match_id))
    .where(
        match_players.c.user_id == bindparam("user_id"),
        match_players.c.match_id < bindparam("before", type_=BigInteger()),
        matches.c.ended_at_ms.is_not(None),
        unindexed(matches.c.private) == literal_column("0"),
    )
    .order_by(match_players.c.match_id.desc())
    .limit(bindparam("limit")),
    lambda *row: PlayedMatch(PastMatch(*row[:-2]), row[-2], row[-1]),
)
# Compare and set: of two workers that write the same entries, only one finds the value that it has read.
CURSOR = Query(select(versions.c.value).where(versions.c.name == "match_history"), scalar)
MOVE_CURSOR = Command(
    update(versions)
    .where(versions.c.name == "match_history", versions.c.value == bindparam("was"))
    .values(value=bindparam("becomes"))
)
# ix_matches_ended finds the rows without an end, which are few.
NOT_ENDED = Query(
    select(matches.c.id)
    .where(matches.c.ended_at_ms.is_(None), matches.c.created_at_ms < bindparam("before_ms"))
    .order_by(matches.c.id)
    .limit(ENDED_AT_ONCE),
    scalar,
)
EVENTS = Query(
    select(*_columns(MatchEvent, match_events))
    .where(match_events.c.match_id == bindparam("match_id"), match_events.c.id > bindparam("after"))
    .order_by(match_events.c.id)
    .limit(bindparam("limit")),
    MatchEvent,
)
GAMES = Query(
    select(*_columns(Game, games))
    .where(games.c.match_id == bindparam("match_id"))
    .order_by(games.c.id)
    .limit(GAMES_SHOWN_MAX),
    Game,
)
SCORES = Query(
    select(*_columns(GameScore, game_scores))
    .select_from(game_scores.join(games, games.c.id == game_scores.c.game_id))
    .where(games.c.match_id == bindparam("match_id"))
    .order_by(game_scores.c.game_id, game_scores.c.slot)
    .limit(GAMES_SHOWN_MAX * 16),
    GameScore,
)


class MatchHistory:
    """Records the history of matches, and reads it."""

    def __init__(self, database: Database, realtime: Realtime) -> None:
        self._database = database
        self._realtime = realtime
        self._read = -1  # end of the written part of the journal, as known to this process
        self.dropped = 0  # entries lost since the start of the process

    # --- recording

    async def open(self, match: Match, also: WithinTransaction | None = None) -> int:
        """Write the row of a new match and return its id. `also` runs in the same transaction."""

        async def body(tx: Transaction) -> int:
            match_id = await tx.one(
                INSERT_MATCH,
                room=0,
                name=match.name,
                private=int(match.private),
                by_command=int(match.by_command),
                created_by=match.created_by,
                created_at_ms=match.created_at_ms,
            )
            assert match_id is not None
            if also is not None:
                await also(tx, int(match_id))
            return int(match_id)

        return await self._database.transaction(body)

    async def record_opened(self, match: Match, match_id: int) -> None:
        """Record the id of a new match in shared state, and its creator as a player."""
        # Not in `open`: the id exists only after the match was opened, and that needs the row's id.
        entry = HistoryEntry(match.history_id, match.created_at_ms, "created", match.created_by, {"room": match_id})
        await self._realtime.append([_encoded(entry)])

    async def stash_frame(self, match: Match, user_id: int, payload: bytes) -> None:
        """Store the last score frame of a player."""
        await self._realtime.stash(_frames_key(match), str(user_id), payload, FRAMES_STASHED_S)

    async def last_frames(self, match: Match, started_at_ms: int) -> dict[int, LastFrame]:
        """Return the last score frames of the players of a play, by user id. `started_at_ms` identifies the play."""
        stashed = await self._realtime.stashed(_play_key(match.history_id, started_at_ms))
        found: dict[int, LastFrame] = {}
        for user_id, payload in stashed.items():
            if len(payload) >= _SCORE_FRAME.size:
                _, _, n300, n100, n50, ngeki, nkatu, nmiss, score, max_combo, *_ = _SCORE_FRAME.unpack_from(payload)
                counts = HitCounts(n300=n300, n100=n100, n50=n50, ngeki=ngeki, nkatu=nkatu, nmiss=nmiss)
                # The field is signed, and the score of a client is not trusted.
                found[int(user_id)] = LastFrame(counts, max(0, score), max_combo)
        return found

    async def score_of(self, match: Match, user_id: int) -> int:
        """Return a player's total score in the current or last play, from the last frame; 0 without a frame."""
        payload = (await self._realtime.stashed(_frames_key(match))).get(str(user_id), b"")
        # The field is signed, and the score of a client is not trusted.
        return max(0, _SCORE_FRAME.unpack_from(payload)[8]) if len(payload) >= _SCORE_FRAME.size else 0

    def record_events(
        self, match: Match, command: MatchCommand, emitted: Sequence[events.Event]
    ) -> tuple[Match, list[Entry]]:
        """Return the match with its events counted, and journal entries to append atomically with the change.

        `match` is the match after the events. After `EVENTS_MAX` events, only the end of the match is recorded.
        """
        recorded = [event for event in emitted if not isinstance(event, NOT_RECORDED)]
        if match.events + len(recorded) > EVENTS_MAX:
            # `Closed` sets the end of the row. Without it the match would count as abandoned.
            recorded = [event for event in recorded if isinstance(event, events.Closed)]
        elif recorded:
            match = msgspec.structs.replace(match, events=match.events + len(recorded))
        return match, [_encoded(_history_entry(match, command, event)) for event in recorded]

    async def end_abandoned(self, live: Container[int], now_ms: int) -> int:
        """End rows that are older than `ABANDONED_MS` and whose history id is not in `live`. Return their number."""
        old = await self._database.all(NOT_ENDED, before_ms=now_ms - ABANDONED_MS)
        abandoned = [{"match_id": match_id, "at_ms": now_ms} for match_id in old if match_id not in live]

        async def body(tx: Transaction) -> None:
            await tx.run_many(END_MATCH, abandoned)

        if abandoned:
            await self._database.transaction(body)
        return len(abandoned)

    async def flush(self) -> int:
        """Write the waiting entries in order and return their number.

        Several processes may call this at once: each entry is written by one of them.
        """
        written = 0
        # PERF: an idle server asks shared state for the end of the journal, and runs no statement.
        while await self._realtime.feed_end(HISTORY) != self._read:
            cursor = await self._database.one(CURSOR)
            assert cursor is not None
            known = min(cursor, await self._realtime.feed_end(HISTORY))
            # A journal that ends before the stored position is a new one, because shared state was lost: read it from
            # its start.
            first, blobs = await self._realtime.feed_after(HISTORY, known if known == cursor else 0, FLUSHED_AT_ONCE)
            upto = first + len(blobs)
            try:
                if not await self._write([_decode(blob) for blob in blobs], cursor, upto):
                    return written  # another process has written these entries
                written += len(blobs)
            except Unavailable:
                raise  # the entries stay in the journal
            except Exception:
                # One entry cannot be decoded or written. It must not block the others, so each gets a transaction.
                if not await self._write([], cursor, first):
                    return written
                written += await self._write_each(blobs, first)
            if known == cursor and first > cursor:
                # The journal is bounded, and dropped its oldest entries while the database was not available.
                get_logger("history").error("match history lost", entries=first - cursor)
                self.dropped += first - cursor
            self._read = upto
        return written

    async def _write_each(self, blobs: Sequence[bytes], first: int) -> int:
        """Write entries in one transaction each, `first` being the position of the first. Return the number written.

        An entry that cannot be written is skipped and counted in `dropped`.
        """
        written = lost = 0
        cause: Exception | None = None
        try:
            for at, blob in enumerate(blobs, start=first):
                try:
                    if not await self._write([_decode(blob)], at, at + 1):
                        return written
                    written += 1
                except Unavailable:
                    raise
                except Exception as error:
                    cause = error
                    # Move the position past the entry, so that it is not tried again.
                    if not await self._write([], at, at + 1):
                        return written
                    lost += 1
        finally:
            self.dropped += lost
            if cause is not None:  # one log line for all of them
                get_logger("history").error("match history lost", entries=lost, exc_info=cause)
        return written

    async def _write(self, entries: Sequence[HistoryEntry], cursor: int, upto: int) -> bool:
        # Before the transaction, which must not wait for shared state.
        frames = {entry.play: await self._realtime.stashed(entry.play) for entry in entries if entry.seats}

        async def body(tx: Transaction) -> bool:
            # First: it locks the row, so that another process waits here and then writes nothing.
            if not await tx.run(MOVE_CURSOR, was=cursor, becomes=upto):
                return False
            for entry in entries:
                await _write(tx, entry, frames.get(entry.play, {}))
            return True

        return await self._database.transaction(body)

    # --- reading

    async def ended_matches(self, *, limit: int, offset: int = 0, before: int = 2**62) -> list[PastMatch]:
        """Return matches that have ended and are not private, newest first. `before` is an id, exclusive."""
        return await self._database.all(PAST, limit=limit, offset=offset, before=before)

    async def of_player(self, user_id: int, *, limit: int, before: int = 2**63 - 1) -> list[PlayedMatch]:
        """Return past public matches in which a player had a seat, newest first, with ids below `before`."""
        return await self._database.all(MATCHES_OF, user_id=user_id, limit=limit, before=before)

    async def row_of(self, match_id: int) -> PastMatch | None:
        """Return the row of a match for the server itself, also of a private one. None if there is no such row."""
        return await self._database.one(BY_ID, id=match_id)

    async def match(self, match_id: int, viewer: Viewer) -> PastMatch:
        """Return a match. Only its players, its creator and staff see a private one. Raises NotFound("match")."""
        found = await self.row_of(match_id)
        if found is None:
            raise NotFound("match")
        allowed = viewer.is_staff or viewer.user_id == found.created_by
        if found.private and not allowed and not await self._was_in(match_id, viewer.user_id):
            raise NotFound("match")
        return found

    async def _was_in(self, match_id: int, user_id: int) -> bool:
        return await self._database.one(IS_IN, match_id=match_id, user_id=user_id) is not None

    async def events_of(self, match_id: int, *, after: int = 0, limit: int = EVENTS_SHOWN_MAX) -> list[MatchEvent]:
        """Return the events of a match whose id is above `after`, oldest first."""
        return await self._database.all(EVENTS, match_id=match_id, after=after, limit=limit)

    async def games_of(self, match_id: int) -> list[tuple[Game, list[GameScore]]]:
        """Return the games of a match, oldest first, with their scores by slot. At most `GAMES_SHOWN_MAX` games."""
        # Two queries rather than a join, which would repeat the columns of a game for each of its scores.
        rows = await self._database.all(SCORES, match_id=match_id)
        found = await self._database.all(GAMES, match_id=match_id)
        return [(game, [row for row in rows if row.game_id == game.id]) for game in found]


def _frames_key(match: Match) -> str:
    """Return the key of the stashed frames of the current or last play. Each play has its own key."""
    return _play_key(match.history_id, match.started_at_ms)


def _play_key(history_id: int, started_at_ms: int) -> str:
    return f"play:{history_id}:{started_at_ms}"


def _encoded(entry: HistoryEntry) -> Entry:
    return Entry(HISTORY, _encode(entry))


def _history_entry(match: Match, command: MatchCommand, event: events.Event) -> HistoryEntry:
    details = msgspec.to_builtins(event)
    details.pop("type", None)  # the tag, which `kind` repeats
    details.pop("password", None)  # the history may be public
    user_id = details.pop("user_id", None) or command.by.user_id
    game: dict[str, Any] | None = None
    # A test of a referee tool in an empty match without a map is no game.
    if isinstance(event, events.Started) and match.map_id > 0:
        # Copied now: the settings of the match may have changed when the entry is written.
        game = {name: getattr(match, name, None) for name in _GAME if name != "match_id"}
        game |= {"free_mods": int(match.free_mods), "started_at_ms": event.at_ms}
    return HistoryEntry(
        match.history_id,
        command.at_ms,
        _snake_case(type(event).__name__),
        user_id,
        details,
        game=game,
        ends=isinstance(event, events.Finished | events.Aborted),
        aborted=isinstance(event, events.Aborted),
        play=_frames_key(match),
        seats=event.players if isinstance(event, events.Finished) else (),
    )


def _score_row(seat: events.Seat, payload: bytes) -> dict[str, Any] | None:
    if len(payload) < _SCORE_FRAME.size:
        return None
    _, _, n300, n100, n50, ngeki, nkatu, nmiss, score, max_combo, _, perfect, hp = _SCORE_FRAME.unpack_from(payload)
    return {
        "user_id": seat.user_id,
        "slot": seat.slot,
        "team": seat.team,
        "mods": seat.mods,
        "score": max(0, score),
        "max_combo": max_combo,
        "n300": n300,
        "n100": n100,
        "n50": n50,
        "ngeki": ngeki,
        "nkatu": nkatu,
        "nmiss": nmiss,
        # Either source may be missing: the packet FAILED, or a last frame after the fail.
        "passed": int(not seat.failed and hp != FAILED_HP),
        "perfect": int(perfect != 0),
    }


async def _write(tx: Transaction, entry: HistoryEntry, frames: Mapping[str, bytes]) -> None:
    match_id = entry.history_id
    await tx.run(
        ADD_EVENT,
        match_id=match_id,
        at_ms=entry.at_ms,
        kind=entry.kind,
        user_id=entry.user_id,
        details=msgspec.json.encode(entry.details).decode(),
    )
    if entry.kind == "created":
        await tx.run(SET_ROOM, match_id=match_id, live_id=entry.details["room"])
    # A player may join several times, and the table has one row for each player.
    if entry.kind in ("created", "joined") and await tx.one(IS_IN, match_id=match_id, user_id=entry.user_id) is None:
        await tx.run(ADD_PLAYER, match_id=match_id, user_id=entry.user_id)
    elif entry.kind == "name_changed":
        await tx.run(RENAME, match_id=match_id, called=entry.details["name"])
    elif entry.kind == "closed":
        await tx.run(END_MATCH, match_id=match_id, at_ms=entry.at_ms)
    if entry.game is not None:
        await tx.one(ADD_GAME, match_id=match_id, **entry.game)
    # The entry does not contain the id of the game: the row may not have been written when the play ended.
    elif entry.ends and (ended := await tx.one(PRESENT_GAME, match_id=match_id)) is not None:
        await tx.run(END_GAME, game_id=ended, at_ms=entry.at_ms, off=int(entry.aborted))
        scores = [_score_row(seat, frames.get(str(seat.user_id), b"")) for seat in entry.seats]
        await tx.run_many(ADD_SCORE, [{"game_id": ended, **score} for score in scores if score is not None])


def _snake_case(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")

"""What happened in rooms, kept: every match, who was in it, its events, its games and their scores.

A room's row is written when it opens. Everything after that goes into a journal of the realtime state, in the same act
as the change itself, and from there into the rows a few times a second, in order: no packet of a play waits for the
disk, and whichever worker dies, the others have it. How far the journal was written stands in the rows (`match_history`
of `versions`) and moves with them, so nothing is written twice. Scores are those of the last frames: what players saw.
"""

import struct
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import bindparam, insert, select, update

from kiai.accounts.visibility import Viewer
from kiai.errors import NotFound, Unavailable
from kiai.logs import get_logger
from kiai.multiplayer import facts
from kiai.multiplayer.commands import Command as Asked
from kiai.multiplayer.model import Match
from kiai.osu.accuracy import Counts, accuracy
from kiai.realtime.port import HISTORY, Entry, Realtime
from kiai.storage.port import Command, Database, Query, Transaction, only
from kiai.storage.tables import game_scores, games, match_events, match_players, matches, versions

FRAMES_KEPT_S: Final = 1_800.0
FLUSHED_AT_ONCE: Final = 1_000
EVENTS_SHOWN_MAX: Final = 1_000
EVENTS_MAX: Final = 10_000  # of one room; a night of tournament play has about 2,000
GAMES_SHOWN_MAX: Final = 200
FAILED_HP: Final = 254
ABANDONED_MS: Final = 10 * 60 * 1000
ENDED_AT_ONCE: Final = 2_000
ACCURACY: Final = 1
COMBO: Final = 2
PASSING: Final = (
    facts.StatusChanged,
    facts.Unreadied,
    facts.PlayerLoaded,
    facts.AllLoaded,
    facts.PlayerSkipped,
    facts.AllSkipped,
    facts.PlayerCompleted,
    facts.TimerSet,
    facts.TimerCleared,
    facts.HistoryKnown,
)
"""What is of no interest once it is over."""

# time, slot, 300s, 100s, 50s, geki, katu, miss, total score, max combo, current combo, perfect, hp
# (docs/spec/protocol.md#score-frame)
_FRAME: Final = struct.Struct("<iBHHHHHHiHHBB")


class Note(msgspec.Struct, frozen=True):
    """Something to be written: an event, and what else follows from it.

    `play` is the key of the last frames, from which the scores of those who played to the end (`seats`) are taken.
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
    seats: tuple[facts.Seat, ...] = ()


_encode: Final = msgspec.msgpack.Encoder().encode
_note: Final = msgspec.msgpack.Decoder(Note).decode


class PastMatch(msgspec.Struct, frozen=True):
    """A match as lists show it; `ended_at_ms` None while it lives."""

    id: int
    room: int
    name: str
    private: int
    by_command: int
    created_by: int
    created_at_ms: int
    ended_at_ms: int | None


class MatchEvent(msgspec.Struct, frozen=True):
    """An event; `details` is JSON."""

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
    """What a player reached in a game."""

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


_MATCH = select(*_columns(PastMatch, matches))
INSERT_MATCH = Query(
    _insert(matches, "room", "name", "private", "by_command", "created_by", "created_at_ms").returning(matches.c.id),
    only,
)
END_MATCH = Command(update(matches).where(matches.c.id == bindparam("match_id")).values(ended_at_ms=bindparam("at_ms")))
RENAME = Command(update(matches).where(matches.c.id == bindparam("match_id")).values(name=bindparam("called")))
SET_ROOM = Command(update(matches).where(matches.c.id == bindparam("match_id")).values(room=bindparam("live_id")))
IS_IN = Query(
    select(match_players.c.user_id).where(
        match_players.c.match_id == bindparam("match_id"), match_players.c.user_id == bindparam("user_id")
    ),
    only,
)
ADD_PLAYER = Command(_insert(match_players, "match_id", "user_id"))
ADD_EVENT = Command(_insert(match_events, "match_id", "at_ms", "kind", "user_id", "details"))
_GAME = ("match_id", "map_id", "map_md5", "map_name", "mode", "mods", "win_condition", "team_type", "free_mods")
ADD_GAME = Query(_insert(games, *_GAME, "started_at_ms").returning(games.c.id), only)
PRESENT_GAME = Query(
    select(games.c.id)
    .where(games.c.match_id == bindparam("match_id"), games.c.ended_at_ms.is_(None))
    .order_by(games.c.id.desc())
    .limit(1),
    only,
)
END_GAME = Command(
    update(games)
    .where(games.c.id == bindparam("game_id"))
    .values(ended_at_ms=bindparam("at_ms"), aborted=bindparam("off"))
)
ADD_SCORE = Command(_insert(game_scores, *GameScore.__struct_fields__))
BY_ID = Query(_MATCH.where(matches.c.id == bindparam("id")), PastMatch)
PAST = Query(
    _MATCH.where(matches.c.id < bindparam("before"), matches.c.ended_at_ms.is_not(None), matches.c.private == 0)
    .order_by(matches.c.id.desc())
    .limit(bindparam("limit"))
    .offset(bindparam("offset")),
    PastMatch,
    scans="it walks the index of past matches to the end of the page",
)
CURSOR = Query(select(versions.c.value).where(versions.c.name == "match_history"), only)
MOVE_CURSOR = Command(
    update(versions)
    .where(versions.c.name == "match_history", versions.c.value == bindparam("was"))
    .values(value=bindparam("becomes"))
)
UNENDED = Query(
    select(matches.c.id)
    .where(matches.c.ended_at_ms.is_(None), matches.c.created_at_ms < bindparam("before_ms"))
    .order_by(matches.c.id)
    .limit(ENDED_AT_ONCE),
    only,
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
    """Keeps what happens in rooms, and shows it."""

    def __init__(self, database: Database, realtime: Realtime) -> None:
        self._database = database
        self._realtime = realtime
        self._read = -1  # up to where the journal was written, as far as this process knows
        self.dropped = 0

    # --- keeping

    async def open(self, match: Match) -> int:
        """Writes the row of a new match; its id."""

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
            return int(match_id)

        return await self._database.transaction(body)

    async def opened(self, match: Match, match_id: int) -> None:
        """The match lives under this id now, and its creator is in it."""
        note = Note(match.history_id, match.created_at_ms, "created", match.created_by, {"room": match_id})
        await self._realtime.append([_entry(note)])

    async def frame(self, match: Match, user_id: int, payload: bytes) -> None:
        """The last score frame of somebody who plays."""
        await self._realtime.keep(_play(match), str(user_id), payload, FRAMES_KEPT_S)

    async def values(self, match: Match, user_ids: Iterable[int]) -> dict[int, float]:
        """What players reached in the play that just ended, by the room's win condition; 0 without a frame."""
        frames = await self._realtime.kept(_play(match))
        return {user_id: _value(match, frames.get(str(user_id), b"")) for user_id in user_ids}

    async def score_of(self, match: Match, user_id: int) -> int:
        """A player's total score in the present or last play, by the last frame; 0 without one."""
        payload = (await self._realtime.kept(_play(match))).get(str(user_id), b"")
        return max(0, _FRAME.unpack_from(payload)[8]) if len(payload) >= _FRAME.size else 0

    def noted(self, match: Match, asked: Asked, told: Sequence[facts.Fact]) -> tuple[Match, list[Entry]]:
        """What happened in a match, for the same act, and the match with its events counted.

        `match` is as it is afterwards. Past `EVENTS_MAX` events only the end of a room is noted.
        """
        lasting = [fact for fact in told if not isinstance(fact, PASSING)]
        if match.events + len(lasting) > EVENTS_MAX:
            lasting = [fact for fact in lasting if isinstance(fact, facts.Closed)]
        elif lasting:
            match = msgspec.structs.replace(match, events=match.events + len(lasting))
        return match, [_entry(_noted(match, asked, fact)) for fact in lasting]

    async def end_abandoned(self, live: Container[int], now_ms: int) -> int:
        """Ends matches that are older than `ABANDONED_MS` and not among the live ones; how many."""
        old = await self._database.all(UNENDED, before_ms=now_ms - ABANDONED_MS)
        gone = [{"match_id": match_id, "at_ms": now_ms} for match_id in old if match_id not in live]

        async def body(tx: Transaction) -> None:
            await tx.many(END_MATCH, gone)

        if gone:
            await self._database.transaction(body)
        return len(gone)

    async def flush(self) -> int:
        """Writes what waits, in order; how much. Several processes may do so at once: each note is written by one."""
        written = 0
        while await self._realtime.feed_end(HISTORY) != self._read:
            cursor = await self._database.one(CURSOR)
            assert cursor is not None
            known = min(cursor, await self._realtime.feed_end(HISTORY))
            # A journal that is shorter than what was written of it is a new one: its Redis or process began anew.
            first, blobs = await self._realtime.feed_after(HISTORY, known if known == cursor else 0, FLUSHED_AT_ONCE)
            upto = first + len(blobs)
            try:
                if not await self._write([_note(blob) for blob in blobs], cursor, upto):
                    return written  # another was faster
                written += len(blobs)
            except Unavailable:
                raise
            except Exception:  # one of them cannot be read or written: the others are written one by one
                if not await self._write([], cursor, first):
                    return written
                written += await self._write_each(blobs, first)
            if known == cursor and first > cursor:
                get_logger("history").error("match history lost", notes=first - cursor)
                self.dropped += first - cursor
            self._read = upto
        return written

    async def _write_each(self, blobs: Sequence[bytes], first: int) -> int:
        """Writes notes one by one, the first of which is number `first`; how many. One that cannot be is lost alone."""
        written = lost = 0
        why: Exception | None = None
        try:
            for at, blob in enumerate(blobs, start=first):
                try:
                    if not await self._write([_note(blob)], at, at + 1):
                        return written
                    written += 1
                except Unavailable:
                    raise
                except Exception as error:
                    why = error
                    if not await self._write([], at, at + 1):
                        return written
                    lost += 1
        finally:
            self.dropped += lost
            if why is not None:  # one line, however many
                get_logger("history").error("match history lost", notes=lost, exc_info=why)
        return written

    async def _write(self, notes: Sequence[Note], cursor: int, upto: int) -> bool:
        frames = {note.play: await self._realtime.kept(note.play) for note in notes if note.seats}

        async def body(tx: Transaction) -> bool:
            if not await tx.run(MOVE_CURSOR, was=cursor, becomes=upto):
                return False
            for note in notes:
                await _write(tx, note, frames.get(note.play, {}))
            return True

        return await self._database.transaction(body)

    # --- showing

    async def past(self, *, limit: int, offset: int = 0, before: int = 2**62) -> list[PastMatch]:
        """Matches that have ended, newest first, without private ones."""
        return await self._database.all(PAST, limit=limit, offset=offset, before=before)

    async def match(self, match_id: int, viewer: Viewer) -> PastMatch:
        """A match; a private one for who was in it and for staff. Raises NotFound("match")."""
        found = await self._database.one(BY_ID, id=match_id)
        if found is None:
            raise NotFound("match")
        allowed = viewer.is_staff or viewer.user_id == found.created_by
        if found.private and not allowed and not await self._was_in(match_id, viewer.user_id):
            raise NotFound("match")
        return found

    async def _was_in(self, match_id: int, user_id: int) -> bool:
        return await self._database.one(IS_IN, match_id=match_id, user_id=user_id) is not None

    async def events(self, match_id: int, *, after: int = 0, limit: int = EVENTS_SHOWN_MAX) -> list[MatchEvent]:
        """What happened in a match, oldest first."""
        return await self._database.all(EVENTS, match_id=match_id, after=after, limit=limit)

    async def games(self, match_id: int) -> list[tuple[Game, list[GameScore]]]:
        """The games of a match with their scores, oldest first, by slot."""
        rows = await self._database.all(SCORES, match_id=match_id)
        found = await self._database.all(GAMES, match_id=match_id)
        return [(game, [row for row in rows if row.game_id == game.id]) for game in found]


def _play(match: Match) -> str:
    """Under which key the frames of a match's present or last play are kept."""
    return f"play:{match.history_id}:{match.started_at_ms}"


def _entry(note: Note) -> Entry:
    return Entry(HISTORY, _encode(note))


def _value(match: Match, payload: bytes) -> float:
    if len(payload) < _FRAME.size:
        return 0.0
    _, _, n300, n100, n50, ngeki, nkatu, nmiss, score, max_combo, *_ = _FRAME.unpack_from(payload)
    if match.win_condition == ACCURACY:
        counts = Counts(n300=n300, n100=n100, n50=n50, ngeki=ngeki, nkatu=nkatu, nmiss=nmiss)
        return accuracy(counts, match.mode, match.mods)
    return float(max_combo if match.win_condition == COMBO else max(0, score))


def _noted(match: Match, asked: Asked, fact: facts.Fact) -> Note:
    details = msgspec.to_builtins(fact)
    details.pop("type", None)
    details.pop("password", None)
    user_id = details.pop("user_id", None) or asked.by.user_id
    game: dict[str, Any] | None = None
    if isinstance(fact, facts.Started):
        game = {name: getattr(match, name, None) for name in _GAME if name != "match_id"}
        game |= {"free_mods": int(match.free_mods), "started_at_ms": fact.at_ms}
    return Note(
        match.history_id,
        asked.at_ms,
        _snake(type(fact).__name__),
        user_id,
        details,
        game=game,
        ends=isinstance(fact, facts.Finished | facts.Aborted),
        aborted=isinstance(fact, facts.Aborted),
        play=_play(match),
        seats=fact.players if isinstance(fact, facts.Finished) else (),
    )


def _score(seat: facts.Seat, payload: bytes) -> dict[str, Any] | None:
    if len(payload) < _FRAME.size:
        return None
    _, _, n300, n100, n50, ngeki, nkatu, nmiss, score, max_combo, _, perfect, hp = _FRAME.unpack_from(payload)
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
        "passed": int(not seat.failed and hp != FAILED_HP),
        "perfect": int(perfect != 0),
    }


async def _write(tx: Transaction, note: Note, frames: Mapping[str, bytes]) -> None:
    match_id = note.history_id
    await tx.run(
        ADD_EVENT,
        match_id=match_id,
        at_ms=note.at_ms,
        kind=note.kind,
        user_id=note.user_id,
        details=msgspec.json.encode(note.details).decode(),
    )
    if note.kind == "created":
        await tx.run(SET_ROOM, match_id=match_id, live_id=note.details["room"])
    if note.kind in ("created", "joined") and await tx.one(IS_IN, match_id=match_id, user_id=note.user_id) is None:
        await tx.run(ADD_PLAYER, match_id=match_id, user_id=note.user_id)
    elif note.kind == "name_changed":
        await tx.run(RENAME, match_id=match_id, called=note.details["name"])
    elif note.kind == "closed":
        await tx.run(END_MATCH, match_id=match_id, at_ms=note.at_ms)
    if note.game is not None:
        await tx.one(ADD_GAME, match_id=match_id, **note.game)
    elif note.ends and (ended := await tx.one(PRESENT_GAME, match_id=match_id)) is not None:
        await tx.run(END_GAME, game_id=ended, at_ms=note.at_ms, off=int(note.aborted))
        scores = [_score(seat, frames.get(str(seat.user_id), b"")) for seat in note.seats]
        await tx.many(ADD_SCORE, [{"game_id": ended, **score} for score in scores if score is not None])


def _snake(name: str) -> str:
    return "".join(f"_{one.lower()}" if one.isupper() else one for one in name).lstrip("_")

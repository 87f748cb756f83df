"""The floor `bare+sql`: the same responses with only uvicorn, sqlite3 and msgspec.

Each endpoint is one function. It runs kiai's SQL on a raw connection, reads the rows into the reply Structs and encodes
them once, without framework, validation, limits, logs and metrics. Run it with `python -m benchmarks.floor DATABASE
PORT`.
"""

import itertools
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import uvicorn
from sqlalchemy.dialects import sqlite as dialects

from kiai.accounts import queries as accounts
from kiai.accounts.model import Player, User
from kiai.accounts.visibility import EVERYBODY
from kiai.beatmaps import queries as beatmaps
from kiai.beatmaps.model import Beatmap, MapSummary
from kiai.faces.api import replies
from kiai.faces.api.v1 import maps as map_replies
from kiai.faces.api.v1 import players as player_replies
from kiai.faces.api.v1 import scores as score_replies
from kiai.osu.modes import MODES
from kiai.realtime.port import Rank
from kiai.scores import boards, lookup, profiles, rankings
from kiai.scores.listing_parts import LISTED_MAX
from kiai.scores.model import BoardScore, MappedScore, PlayedMap, Ranked, Score, Stats
from kiai.storage.compiling import Compiler
from kiai.storage.port import Query

_SCORE = len(Score.__struct_fields__)


class Floor:
    """An ASGI application over one database file."""

    def __init__(self, path: str) -> None:
        self._connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
        self._connection.execute("PRAGMA cache_size = -32768")
        self._sql = Compiler(dialects.dialect(paramstyle="named"))
        self._encode = msgspec.json.Encoder().encode
        self._ranks = self._all_ranks()
        self._counts: dict[tuple[int, int], int] = {}
        self._ranked = Counter(mode for ranks in self._ranks.values() for mode in ranks)
        self._answers: dict[str, Callable[[dict[str, str]], Any]] = {
            "/get_player_count": self.player_count,
            "/get_map_info": self.map_info,
            "/get_player_status": self.player_status,
            "/get_score_info": self.score_info,
            "/get_player_info": self.player_info,
            "/get_player_scores": self.player_scores,
            "/get_player_most_played": self.most_played,
            "/get_map_scores": self.map_scores,
            "/get_leaderboard": self.leaderboard,
        }

    def _all_ranks(self) -> dict[int, dict[int, Rank]]:
        """Return the ranks as a dict."""
        # A dict in memory is the floor of any structure for ranks.
        rows = self._connection.execute(
            "SELECT s.user_id, s.mode, s.country, s.pp FROM stats s JOIN users u ON u.id = s.user_id "
            "WHERE s.pp > 0 AND u.priv & 3 = 3 ORDER BY s.pp DESC, s.user_id"
        )
        found: dict[int, dict[int, Rank]] = {}
        seen: dict[tuple[int, str], int] = {}
        for user_id, mode, country, _ in rows:
            places = []
            for board in ((mode, ""), (mode, country)):
                seen[board] = seen.get(board, 0) + 1
                places.append(seen[board])
            found.setdefault(user_id, {})[mode] = Rank(rank=places[0], country_rank=places[1])
        return found

    def _one(self, query: Query[Any], **params: object) -> Any:
        return self._connection.execute(self._sql[query].text, params).fetchone()

    def _all(self, query: Query[Any], **params: object) -> sqlite3.Cursor:
        return self._connection.execute(self._sql[query].text, params)

    def player_count(self, query: dict[str, str]) -> Any:
        """get_player_count."""
        [total] = self._one(accounts.TOTAL)
        return player_replies.PlayerCountReply("success", player_replies.Counts(0, total))

    def map_info(self, query: dict[str, str]) -> Any:
        """get_map_info."""
        found = Beatmap(*self._one(beatmaps.BY_ID, id=int(query["id"])))
        return map_replies.MapInfoReply("success", replies.map_reply(found))

    def player_status(self, query: dict[str, str]) -> Any:
        """get_player_status of a player who is offline."""
        user = User(*self._one(accounts.USER_BY_ID, id=int(query["id"])))
        status = player_replies.PlayerStatus(online=False, last_seen=user.active_at_ms // 1000)
        return player_replies.PlayerStatusReply("success", status)

    def score_info(self, query: dict[str, str]) -> Any:
        """get_score_info."""
        row = self._one(lookup.SCORE, id=int(query["id"]))
        return score_replies.ScoreInfo("success", replies.score_info_reply(Score(*row[:_SCORE]), row[_SCORE]))

    def player_info(self, query: dict[str, str]) -> Any:
        """get_player_info?scope=all."""
        user = User(*self._one(accounts.USER_BY_ID, id=int(query["id"])))
        ranks = self._ranks.get(user.id, {})
        nothing = Rank(rank=0, country_rank=0)
        played = {row[1]: Stats(*row) for row in self._all(profiles.STATS_OF, user_id=user.id)}
        stats = {
            str(mode): player_replies.stats_reply(played[mode], ranks.get(mode, nothing))
            if mode in played
            else player_replies.blank(user.id, mode)
            for mode in MODES
        }
        return player_replies.PlayerInfoReply(
            "success", player_replies.InfoOfPlayer(player_replies.info_reply(user, EVERYBODY), stats)
        )

    def player_scores(self, query: dict[str, str]) -> Any:
        """get_player_scores?scope=best."""
        player = Player(*self._one(accounts.PLAYER_BY_ID, id=int(query["id"])))
        rows = self._all(
            profiles.BEST_OF, user_id=player.id, mode=int(query["mode"]), all_mods=0, any_mods=0, limit=25, offset=0
        )
        found = [replies.score_reply(MappedScore(Score(*row[:_SCORE]), MapSummary(*row[_SCORE:]))) for row in rows]
        stats = self._one(profiles.STATS_IN, user_id=player.id, mode=int(query["mode"]))
        whose = player_replies.PlayerOfScores(player.id, player.name, player_replies.clan_of(player))
        return player_replies.PlayerScoresReply("success", found, whose, stats[6] if stats else 0)

    def most_played(self, query: dict[str, str]) -> Any:
        """get_player_most_played."""
        player = Player(*self._one(accounts.PLAYER_BY_ID, id=int(query["id"])))
        rows = self._all(profiles.MOST_PLAYED, user_id=player.id, mode=int(query["mode"]), limit=25, offset=0)
        found: Any = list(itertools.starmap(PlayedMap, rows))
        total = len(found)
        if total == 25:
            [total] = self._one(profiles.MOST_PLAYED_COUNT, user_id=player.id, mode=int(query["mode"]), most=LISTED_MAX)
        return player_replies.MostPlayedReply("success", found, total)

    def map_scores(self, query: dict[str, str]) -> Any:
        """get_map_scores?scope=best."""
        beatmap = Beatmap(*self._one(beatmaps.BY_ID, id=int(query["id"])))
        rows = self._all(boards.BOARD, map_key=beatmap.key, mode=int(query["mode"]), limit=50, offset=0)
        found = [replies.board_reply(BoardScore(Score(*row[:_SCORE]), *row[_SCORE:]), beatmap.md5) for row in rows]
        total = len(found)
        if total == 50:
            # kiai remembers this number until the board changes.
            place = (beatmap.key, int(query["mode"]))
            if place not in self._counts:
                [self._counts[place]] = self._one(
                    boards.BOARD_COUNT, map_key=place[0], mode=place[1], all_mods=0, any_mods=0, most=LISTED_MAX
                )
            total = self._counts[place]
        return map_replies.MapScoresReply("success", found, total)

    def leaderboard(self, query: dict[str, str]) -> Any:
        """get_leaderboard."""
        rows = self._all(rankings.RANKING["pp"], mode=int(query["mode"]), limit=50, offset=0)
        found: Any = list(itertools.starmap(Ranked, rows))
        # kiai keeps this number in shared state.
        total = len(found) if len(found) < 50 else self._ranked[int(query["mode"])]
        return player_replies.LeaderboardReply("success", found, total)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        path = scope["path"]
        if path == "/bare":
            body = b'{"status":"success"}'
        else:
            body = self._encode(self._answers[path](dict(parse_qsl(scope["query_string"].decode()))))
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    uvicorn.run(
        Floor(sys.argv[1]),
        port=int(sys.argv[2]),
        loop="uvloop",
        http="httptools",
        lifespan="off",
        access_log=False,
        log_level="warning",
    )

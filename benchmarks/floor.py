"""The floor `bare+sql`: what nothing but uvicorn, sqlite3 and msgspec would need for the same bytes.

One function an endpoint: its SQL (the very text kiai runs) on a raw connection, rows straight into the reply Structs,
one encode. No framework, no validation, no limits, no logs, no metrics. `python -m benchmarks.floor DATABASE PORT`.
"""

import itertools
import sqlite3
import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import uvicorn
from sqlalchemy.dialects import sqlite as dialects

from kiai.accounts import queries as accounts
from kiai.accounts.model import Player, User
from kiai.beatmaps import queries as beatmaps
from kiai.beatmaps.model import Beatmap, MapSummary
from kiai.faces.api import replies
from kiai.faces.api.v1 import maps as map_replies
from kiai.faces.api.v1 import players as player_replies
from kiai.faces.api.v1 import scores as score_replies
from kiai.osu.modes import MODES
from kiai.realtime.port import Rank
from kiai.scores import queries as scores
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
        """Ranks as a dict in memory: the floor of any rank structure."""
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
        """get_player_status of somebody who is offline."""
        user = User(*self._one(accounts.USER_BY_ID, id=int(query["id"])))
        status = player_replies.PlayerStatus(online=False, last_seen=user.active_at_ms // 1000)
        return player_replies.PlayerStatusReply("success", status)

    def score_info(self, query: dict[str, str]) -> Any:
        """get_score_info."""
        row = self._one(scores.SCORE, id=int(query["id"]))
        return score_replies.ScoreInfo("success", replies.score_info_reply(Score(*row[:_SCORE]), row[_SCORE]))

    def player_info(self, query: dict[str, str]) -> Any:
        """get_player_info?scope=all."""
        user = User(*self._one(accounts.USER_BY_ID, id=int(query["id"])))
        ranks = self._ranks.get(user.id, {})
        nothing = Rank(rank=0, country_rank=0)
        played = {row[1]: Stats(*row) for row in self._all(scores.STATS_OF, user_id=user.id)}
        stats = {
            str(mode): player_replies.stats_reply(played[mode], ranks.get(mode, nothing))
            if mode in played
            else player_replies.blank(user.id, mode)
            for mode in MODES
        }
        return player_replies.PlayerInfoReply(
            "success", player_replies.InfoOfPlayer(player_replies.info_reply(user), stats)
        )

    def player_scores(self, query: dict[str, str]) -> Any:
        """get_player_scores?scope=best."""
        player = Player(*self._one(accounts.PLAYER_BY_ID, id=int(query["id"])))
        rows = self._all(
            scores.BEST_OF, user_id=player.id, mode=int(query["mode"]), all_mods=0, any_mods=0, limit=25, offset=0
        )
        found = [replies.score_reply(MappedScore(Score(*row[:_SCORE]), MapSummary(*row[_SCORE:]))) for row in rows]
        stats = self._one(scores.STATS_IN, user_id=player.id, mode=int(query["mode"]))
        whose = player_replies.PlayerOfScores(player.id, player.name, player_replies.clan_of(player))
        return player_replies.PlayerScoresReply("success", found, whose, stats[6] if stats else 0)

    def most_played(self, query: dict[str, str]) -> Any:
        """get_player_most_played."""
        player = Player(*self._one(accounts.PLAYER_BY_ID, id=int(query["id"])))
        rows = self._all(scores.MOST_PLAYED, user_id=player.id, mode=int(query["mode"]), limit=25, offset=0)
        found: Any = list(itertools.starmap(PlayedMap, rows))
        return player_replies.MostPlayedReply("success", found, len(found))

    def map_scores(self, query: dict[str, str]) -> Any:
        """get_map_scores?scope=best."""
        beatmap = Beatmap(*self._one(beatmaps.BY_ID, id=int(query["id"])))
        rows = self._all(scores.BOARD, map_key=beatmap.key, mode=int(query["mode"]), limit=50, offset=0)
        found = [replies.board_reply(BoardScore(Score(*row[:_SCORE]), *row[_SCORE:]), beatmap.md5) for row in rows]
        return map_replies.MapScoresReply("success", found, len(found))

    def leaderboard(self, query: dict[str, str]) -> Any:
        """get_leaderboard."""
        rows = self._all(scores.RANKING["pp"], mode=int(query["mode"]), limit=50, offset=0)
        found: Any = list(itertools.starmap(Ranked, rows))
        return player_replies.LeaderboardReply("success", found, len(found))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serves one request."""
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

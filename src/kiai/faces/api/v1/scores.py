"""Scores by their id, and their replays."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from kiai.faces.api.operation import Caller, Limit, Operation, Raw
from kiai.faces.api.replies import Reply, ScoreInfoReply, score_info_reply
from kiai.faces.api.v1.common import ScoreId
from kiai.osu.texts import attachment
from kiai.scores.leaderboards import Leaderboards
from kiai.scores.replays import Replays

OCTETS: Final = "application/octet-stream"


class ScoreQuery(msgspec.Struct, frozen=True):
    """get_score_info."""

    id: ScoreId


class ScoreInfo(Reply, frozen=True):
    """get_score_info."""

    score: ScoreInfoReply


class ReplayQuery(msgspec.Struct, frozen=True):
    """get_replay."""

    id: ScoreId
    include_headers: Annotated[
        bool, Meta(description="true: a complete .osr file; false: only the frames, as the LZMA stream they came in.")
    ] = True


class Scores:
    """The handlers of this page."""

    def __init__(self, leaderboards: Leaderboards, replays: Replays, replay_limit: Limit) -> None:
        self._leaderboards = leaderboards
        self._replays = replays
        self._replay_limit = replay_limit

    async def get_score_info(self, caller: Caller, query: ScoreQuery) -> ScoreInfo:
        """One score."""
        found = await self._leaderboards.score(query.id, caller.viewer)
        return ScoreInfo("success", score_info_reply(found.score, found.map_md5))

    async def get_replay(self, caller: Caller, query: ReplayQuery) -> Raw:
        """The replay of a score."""
        if not query.include_headers:
            return Raw(await self._replays.frames(query.id, caller.viewer), OCTETS)
        replay = await self._replays.osr(query.id, caller.viewer)
        return Raw(replay.data, OCTETS, (("Content-Disposition", attachment(replay.name)),))

    def operations(self) -> list[Operation]:
        """What this page serves."""
        return [
            Operation(
                path="/get_score_info",
                method="GET",
                summary="One score.",
                query=ScoreQuery,
                reply=ScoreInfo,
                handler=self.get_score_info,
                tag="scores",
                cached=True,
            ),
            Operation(
                path="/get_replay",
                method="GET",
                summary="The replay of a score. Range requests are honoured.",
                query=ReplayQuery,
                reply=Raw,
                handler=self.get_replay,
                tag="scores",
                cached=True,
                limit=self._replay_limit,
            ),
        ]

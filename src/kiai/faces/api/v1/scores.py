"""Endpoints about single scores and their replays."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from kiai.faces.api.copies import Versioned
from kiai.faces.api.operation import BinaryReply, Caller, Operation
from kiai.faces.api.replies import Reply, ScoreInfoReply, score_info_reply
from kiai.faces.api.v1.common import ScoreId
from kiai.faces.rate_limit import RateLimit
from kiai.osu.texts import attachment
from kiai.scores.lookup import ScoreLookup
from kiai.scores.replays import Replays
from kiai.storage.port import version_of

OCTETS: Final = "application/octet-stream"


class ScoreQueryV1(msgspec.Struct, frozen=True):
    """The parameters of get_score_info."""

    id: ScoreId


class ScoreInfo(Reply, frozen=True):
    """The response of get_score_info."""

    score: ScoreInfoReply


class ReplayQuery(msgspec.Struct, frozen=True):
    """The parameters of get_replay."""

    id: ScoreId
    include_headers: Annotated[
        bool, Meta(description="true: a complete .osr file. false: only the frames, as an LZMA stream.")
    ] = True


class ScoresV1:
    """The endpoints about single scores."""

    def __init__(self, lookup: ScoreLookup, replays: Replays, replay_limit: RateLimit) -> None:
        self._lookup = lookup
        self._replays = replays
        self._replay_limit = replay_limit

    async def get_score_info(self, caller: Caller, query: ScoreQueryV1) -> Versioned:
        """Return a score. Raises NotFound also for a score that the caller may not see."""
        rows = await self._lookup.stored(query.id, caller.viewer)

        async def make() -> ScoreInfo:
            [found] = rows.read()
            return ScoreInfo("success", score_info_reply(found.score, found.map_md5))

        return Versioned(version_of(rows), make)

    async def get_replay(self, caller: Caller, query: ReplayQuery) -> BinaryReply:
        """Return the replay of a score: a complete .osr file, or only its frames."""
        # The frames are an LZMA stream for programs, not a file that the game opens, so they get no file name.
        if not query.include_headers:
            return BinaryReply(await self._replays.frames(query.id, caller.viewer), OCTETS)
        replay = await self._replays.osr(query.id, caller.viewer)
        return BinaryReply(replay.data, OCTETS, (("Content-Disposition", attachment(replay.name)),))

    def operations(self) -> list[Operation]:
        """Return the operations of this class."""
        return [
            Operation(
                path="/get_score_info",
                method="GET",
                summary="One score.",
                query=ScoreQueryV1,
                reply=ScoreInfo,
                handler=self.get_score_info,
                tag="scores",
                cached=True,
                from_rows=True,
            ),
            Operation(
                path="/get_replay",
                method="GET",
                summary="The replay of a score. Supports range requests.",
                query=ReplayQuery,
                reply=BinaryReply,
                handler=self.get_replay,
                tag="scores",
                cached=True,
                limit=self._replay_limit,
            ),
        ]

"""The ranks that a submission sets are not older than those that another transaction sets meanwhile."""

from pathlib import Path
from typing import Any

import pytest
from tests.builders import a_play
from tests.demo_server import MAP, demo_server

from kiai.realtime.port import Rank
from kiai.scores import boards
from kiai.staff import OPERATOR
from kiai.storage.port import Lane

PLAYER = 9


def test_player_who_is_restricted_while_the_place_is_read_has_no_ranks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boards, "BIG", -1)  # a thread reads the place on each map

    async def play(services: Any) -> dict[int, Rank]:
        song = await services.beatmaps.find(id=MAP)
        best = a_play(by=PLAYER, on=song, score=99_000_000, pp=900.0, at_ms=services.clock.now_ms())
        recorded = await services.recorder.record(best)
        lane = services.database._lanes[Lane.BOUNDED]
        read = lane.all

        async def restrict_first(*place: Any) -> Any:
            monkeypatch.setattr(lane, "all", read)
            await services.community.restrictions.restrict(OPERATOR, PLAYER, "a test")
            await services.outbox.deliver()
            return await read(*place)

        monkeypatch.setattr(lane, "all", restrict_first)
        chart = await services.submissions._with_ranks(recorded.chart, song)
        await services.outbox.deliver()
        assert chart.map_rank_after == 1
        found: dict[int, Rank] = await services.ranks.of(PLAYER)
        return found

    with demo_server(tmp_path / "data") as server:
        assert server.run(play(server.services)) == {}

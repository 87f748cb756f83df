"""Short runs of the attacks of `scripts/bench attack`: honest players get correct answers, and memory stays bounded.

The benchmark measures the latency, which a test on a busy machine cannot.
"""

import asyncio
from collections.abc import Iterator

import msgspec
import pytest
from benchmarks.attack import MEMORY_MAX_MB, People, attacking, md5s, memory, prepare
from benchmarks.attacks import ATTACKS, Report
from benchmarks.honest import RATES, Figures, Honest
from tests.wire.kit import BEHIND_PROXY, Server, cli

SECONDS = 1.5
SHARE = 0.3  # of the connections of the benchmark
PLAYERS = 6
DECODING_MAX_MB = 2 * 200.0  # a picture of 16 million pixels, in each of the two processes that decode


class Scene(msgspec.Struct):
    """A server with honest players and attackers."""

    server: Server
    people: People
    honest: Honest
    runner: asyncio.Runner

    async def attacked(self, name: str) -> tuple[Report, dict[str, Figures], list[float]]:
        """Run an attack. Return its report, the figures of the honest players, and the server's memory in MB."""
        async with (
            attacking(self.people.plan(name, self.server.port, SECONDS, SHARE)) as attack,
            memory(self.server.process_id) as sizes,
        ):
            report, seen = await asyncio.gather(attack.run(), self.honest.window(SECONDS))
            await self.honest.count_ended_sessions()
            return report, seen, sizes


@pytest.fixture(scope="module")
def scene(real_hashes: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    data = tmp_path_factory.mktemp("attacked") / "data"
    cli(data, "migrate")
    with asyncio.Runner() as runner:
        newcomers = len(ATTACKS) * (round(SECONDS * RATES["logins"]) + 1)
        people = runner.run(prepare(data, list(ATTACKS), newcomers=newcomers, players=PLAYERS))
        server = Server(data, **BEHIND_PROXY).start()
        try:
            honest = Honest(server.port, list(people.players), people.newcomers, md5s())
            runner.run(honest.begin())
            yield Scene(server, people, honest, runner)
            honest.close()
            server.stop()
            assert '"unhandled"' not in server.stderr
            assert '"packet failed"' not in server.stderr
        finally:
            server.kill()


@pytest.mark.parametrize("name", ATTACKS)
def test_honest_players_lose_neither_answers_nor_sessions_under_attack(scene: Scene, name: str) -> None:
    report, seen, sizes = scene.runner.run(scene.attacked(name))

    assert sum(report.answers.values()) > 0
    assert {kind: one.wrong for kind, one in seen.items() if one.wrong} == {}
    assert scene.honest.ended == 0
    assert max(sizes) - sizes[0] < (DECODING_MAX_MB if name == "pictures" else MEMORY_MAX_MB)

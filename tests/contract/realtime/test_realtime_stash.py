"""Promises of the realtime port about the stash, and about the topic of match histories."""

from tests.contract.realtime.conftest import Run

from kiai.clock import ManualClock
from kiai.realtime.port import FIELDS_MAX, HISTORY, Entry, Realtime


def test_stash_stores_values_by_key_and_field(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.stash("a", "x", b"1", 60)
        await realtime.stash("a", "", b"\x00\xff", 60)
        await realtime.stash("a", "x", b"2", 60)
        await realtime.stash("b", "x", b"3", 60)

        assert await realtime.stashed("a") == {"x": b"2", "": b"\x00\xff"}
        assert await realtime.stashed("b") == {"x": b"3"}
        assert await realtime.stashed("c") == {}

    run(scenario)


def test_all_fields_of_a_stash_expire_together_after_the_last_write(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.stash("a", "x", b"1", 60)
        clock.advance(50)
        await realtime.stash("a", "y", b"2", 60)

        clock.advance(59)
        assert set(await realtime.stashed("a")) == {"x", "y"}
        clock.advance(1)
        assert await realtime.stashed("a") == {}

        await realtime.stash("a", "z", b"3", 60)
        assert await realtime.stashed("a") == {"z": b"3"}

    run(scenario)


def test_stash_drops_fields_beyond_the_bound(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        for number in range(FIELDS_MAX + 3):
            await realtime.stash("a", str(number), b"1", 60)
        await realtime.stash("a", "0", b"2", 60)

        found = await realtime.stashed("a")
        assert len(found) == FIELDS_MAX
        assert found["0"] == b"2"

    run(scenario)


def test_history_topic_exists_without_a_reader(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        assert await realtime.feed_end(HISTORY) == 0

        await realtime.append([Entry(HISTORY, b"1"), Entry(HISTORY, b"2")])

        assert await realtime.feed_after(HISTORY, 0) == (0, [b"1", b"2"])
        assert await realtime.feed_after(HISTORY, 1) == (1, [b"2"])

    run(scenario)

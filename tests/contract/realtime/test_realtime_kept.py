"""What the realtime port promises about values that are kept for a while, and about the journal of rooms."""

from tests.contract.realtime.conftest import Run

from kiai.clock import ManualClock
from kiai.realtime.port import FIELDS_MAX, HISTORY, Entry, Realtime


def test_values_are_kept_by_key_and_field(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.keep("a", "x", b"1", 60)
        await realtime.keep("a", "", b"\x00\xff", 60)
        await realtime.keep("a", "x", b"2", 60)
        await realtime.keep("b", "x", b"3", 60)

        assert await realtime.kept("a") == {"x": b"2", "": b"\x00\xff"}
        assert await realtime.kept("b") == {"x": b"3"}
        assert await realtime.kept("c") == {}

    run(scenario)


def test_a_keys_fields_are_forgotten_together_a_while_after_the_last(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        await realtime.keep("a", "x", b"1", 60)
        clock.advance(50)
        await realtime.keep("a", "y", b"2", 60)

        clock.advance(59)
        assert set(await realtime.kept("a")) == {"x", "y"}
        clock.advance(1)
        assert await realtime.kept("a") == {}

        await realtime.keep("a", "z", b"3", 60)
        assert await realtime.kept("a") == {"z": b"3"}

    run(scenario)


def test_a_key_has_no_more_fields_than_it_may(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        for number in range(FIELDS_MAX + 3):
            await realtime.keep("a", str(number), b"1", 60)
        await realtime.keep("a", "0", b"2", 60)

        found = await realtime.kept("a")
        assert len(found) == FIELDS_MAX
        assert found["0"] == b"2"

    run(scenario)


def test_the_journal_of_rooms_is_there_without_a_reader(run: Run) -> None:
    async def scenario(realtime: Realtime, clock: ManualClock) -> None:
        assert await realtime.feed_end(HISTORY) == 0

        await realtime.append([Entry(HISTORY, b"1"), Entry(HISTORY, b"2")])

        assert await realtime.feed_after(HISTORY, 0) == (0, [b"1", b"2"])
        assert await realtime.feed_after(HISTORY, 1) == (1, [b"2"])

    run(scenario)

"""Which backups are removed."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiai.server_settings import retention_counts
from kiai.staff.backup_retention import (
    PARTIAL,
    PARTIAL_KEPT_MS,
    Retention,
    StoredBackup,
    backup_name,
    newest_good,
    removable,
    time_of_name,
)

NOW = datetime(2026, 11, 29, 4, 30, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)
KEEP = Retention(**retention_counts("last=3,daily=7,weekly=4,monthly=12"))
MINUTE_MS = 60_000
THREE_YEARS = 3 * 365 * 24 * 60  # minutes


def stored(at: datetime, *, ok: bool = True, partial: bool = False) -> StoredBackup:
    at_ms = int(at.timestamp() * 1000)
    return StoredBackup(backup_name(at_ms) + (PARTIAL if partial else ""), at_ms, ok and not partial)


counts = st.integers(0, 20)
keeps = st.builds(Retention, last=counts, daily=counts, weekly=counts, monthly=counts)
backups = st.lists(
    st.builds(
        lambda minutes, kind: stored(NOW - timedelta(minutes=minutes), ok=kind != "damaged", partial=kind == "partial"),
        st.integers(-THREE_YEARS, THREE_YEARS),  # a wrong clock may have dated some in the future
        st.sampled_from(["good", "good", "good", "damaged", "partial"]),
    ),
    max_size=60,
    unique_by=lambda one: one.name,
)


@given(backups, keeps)
def test_newest_good_one_always_stays(all_: list[StoredBackup], keep: Retention) -> None:
    gone = set(removable(all_, keep, NOW_MS))
    past = newest_good(all_, NOW_MS)
    newest = max((one for one in all_ if one.ok), key=lambda one: one.at_ms, default=None)
    assert past is None or past.name not in gone
    assert newest is None or newest.name not in gone


@given(backups, keeps)
def test_incomplete_one_stays_for_a_day_and_no_longer(all_: list[StoredBackup], keep: Retention) -> None:
    gone = set(removable(all_, keep, NOW_MS))
    for one in all_:
        if one.is_partial:
            assert (one.name in gone) == (NOW_MS - one.at_ms > PARTIAL_KEPT_MS)


@given(backups, keeps)
def test_damaged_ones_and_the_last_ones_stay(all_: list[StoredBackup], keep: Retention) -> None:
    gone = set(removable(all_, keep, NOW_MS))
    good = sorted((one for one in all_ if one.ok), key=lambda one: one.at_ms, reverse=True)
    assert not gone & {one.name for one in good[: keep.last]}
    assert not gone & {one.name for one in all_ if not one.ok and not one.is_partial}
    assert len(good) - len(gone & {one.name for one in good}) <= max(1, keep.last) + keep.daily + keep.weekly + (
        keep.monthly + 1  # the newest one up to now
    )


@given(backups, keeps)
def test_second_pruning_removes_nothing(all_: list[StoredBackup], keep: Retention) -> None:
    gone = set(removable(all_, keep, NOW_MS))
    assert removable([one for one in all_ if one.name not in gone], keep, NOW_MS) == []


def test_daily_backups_of_two_years_leave_days_weeks_and_months() -> None:
    all_ = [stored(NOW - timedelta(days=day)) for day in range(730)]
    gone = set(removable(all_, KEEP, NOW_MS))
    left = [(NOW - timedelta(days=day)).strftime("%m-%d") for day, one in enumerate(all_) if one.name not in gone]
    assert left == [
        *("11-29", "11-28", "11-27", "11-26", "11-25", "11-24", "11-23"),  # seven days; the 29th is a Sunday
        *("11-22", "11-15", "11-08"),  # with the 29th, the ends of four weeks
        *("10-31", "09-30", "08-31", "07-31", "06-30", "05-31", "04-30", "03-31", "02-28", "01-31", "12-31"),
    ]


def test_rare_backups_are_held_by_their_own_days() -> None:
    yearly = [stored(NOW - timedelta(days=365 * year)) for year in range(5)]
    assert removable(yearly, Retention(daily=3), NOW_MS) == [yearly[4].name, yearly[3].name]


@given(st.integers(0, 4_102_444_800))
def test_name_has_the_time_of_the_backup(at_s: int) -> None:
    name = backup_name(at_s * 1000 + 7)
    assert time_of_name(name) == time_of_name(name + PARTIAL) == at_s * 1000


@pytest.mark.parametrize(
    "name", ["", "kiai", "kiai-20261329T000000Z", "kiai-20261129T000000Z.old", "my-kiai-20261129T000000Z", "../x"]
)
def test_other_names_are_no_backups(name: str) -> None:
    assert time_of_name(name) is None


def test_numbers_are_read_with_spaces_and_in_any_order() -> None:
    assert Retention(**retention_counts(" daily=7, last = 2 ")) == Retention(last=2, daily=7)


@pytest.mark.parametrize(
    "text",
    ["", "7", "last", "last=", "last=-1", "last=0", "last=1,last=2", "hourly=3", "last=1,", "last=100000"],
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        retention_counts(text)

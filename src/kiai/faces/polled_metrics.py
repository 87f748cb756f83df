"""Metrics that a job reads from the stores every few seconds.

A scrape returns the values of the last poll, so it does not load the stores and works while one is unavailable. A
value that the last poll could not read is omitted: an old value would look like a current one.
"""

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from kiai.clock import Clock
from kiai.faces.metrics import Aggregation, Metrics
from kiai.realtime.port import Realtime
from kiai.scores.reconciling import PendingWork, Reconciler
from kiai.staff.backup_model import LastBackUp, last_back_up
from kiai.staff.backup_rehearsals import LastRehearsal, last_rehearsal
from kiai.staff.upgrades import LastUpgradeCheck, last_upgrade_check
from kiai.storage.outbox import Backlog, Outbox


class PolledMetrics:
    """Metrics of players, matches, the outbox, the disks and the last backup.

    `data` is the data folder. `disks` are the folders whose disks may fill up, by name.
    """

    def __init__(
        self,
        metrics: Metrics,
        realtime: Realtime,
        matches: Callable[[], Awaitable[int]],
        outbox: Outbox,
        reconciler: Reconciler,
        clock: Clock,
        data: Path,
        disks: Mapping[str, Path],
        backup_every_s: int | None,
    ) -> None:
        self._realtime = realtime
        self._count_matches = matches
        self._outbox = outbox
        self._reconciler = reconciler
        self._clock = clock
        self._data = data
        self._disks = disks
        self._backup_every_s = backup_every_s
        self._online: int | None = None
        self._matches: int | None = None
        self._backlog: Backlog | None = None
        self._waiting: PendingWork | None = None
        self._free: dict[str, float] = {}
        self._back_up: LastBackUp | None = None
        self._rehearsal: LastRehearsal | None = None
        self._upgrade: LastUpgradeCheck | None = None
        self._declare(metrics)

    def _declare(self, metrics: Metrics) -> None:
        metrics.gauge("players_online", "Online players, without hidden ones.", lambda: self._online, Aggregation.MAX)
        # Each worker reads the same value from shared state, so the maximum is the value, not the sum.
        metrics.gauge("rooms", "Open multiplayer matches.", lambda: self._matches, Aggregation.MAX)
        metrics.gauge(
            "outbox_rows",
            "Outbox rows that wait for delivery.",
            lambda: None if self._backlog is None else self._backlog.rows,
            Aggregation.MAX,
        )
        metrics.gauge("outbox_oldest_seconds", "Age of the oldest outbox row.", self._oldest_s, Aggregation.MAX)
        metrics.gauge(
            "outbox_parked",
            "Outbox rows that failed too many times and are no longer delivered.",
            lambda: None if self._backlog is None else self._backlog.parked,
            Aggregation.MAX,
        )
        metrics.gauge(
            "settling_left",
            "Totals, maps and scores that wait for recalculation.",
            lambda: None if self._waiting is None else self._waiting.left,
            Aggregation.MAX,
        )
        metrics.gauge(
            "settling_oldest_seconds", "Age of the oldest waiting recalculation.", self._oldest_task_s, Aggregation.MAX
        )
        metrics.gauges("disk_free_bytes", "Free space on the disk.", "place", lambda: self._free, Aggregation.MIN)
        metrics.gauge(
            "backup_last_success_timestamp_seconds",
            "Start time of the last successful `kiai backup`.",
            lambda: None if self._back_up is None else self._back_up.at_ms / 1000,
            Aggregation.MAX,
        )
        metrics.gauge(
            "backup_last_bytes",
            "Size of the last backup.",
            lambda: None if self._back_up is None else self._back_up.bytes,
            Aggregation.MAX,
        )
        metrics.gauge(
            "backup_every_seconds", "The setting backup_every.", lambda: self._backup_every_s, Aggregation.MAX
        )
        metrics.gauge(
            "backup_rehearsal_last_success_timestamp_seconds",
            "Time of the last rehearsal of a restore that succeeded.",
            lambda: None if self._rehearsal is None else self._rehearsal.at_ms / 1000,
            Aggregation.MAX,
        )
        metrics.gauge(
            "upgrade_available",
            "1 if the last check found a release that is newer than this version, 0 if it found none.",
            lambda: None if self._upgrade is None else self._upgrade.is_newer,
            Aggregation.MAX,
        )

    def _oldest_s(self) -> float | None:
        if self._backlog is None:
            return None
        oldest_ms = self._backlog.oldest_ms
        return 0.0 if oldest_ms is None else max(0.0, (self._clock.now_ms() - oldest_ms) / 1000)

    def _oldest_task_s(self) -> float | None:
        if self._waiting is None:
            return None
        since_ms = self._waiting.since_ms
        return 0.0 if since_ms is None else max(0.0, (self._clock.now_ms() - since_ms) / 1000)

    async def poll(self) -> None:
        """Read all values. A job calls this.

        Raises the first error, after all other values have been read.
        """
        online, matches, backlog, waiting, local = await asyncio.gather(
            self._realtime.online_count(),
            self._count_matches(),
            self._outbox.backlog(),
            self._reconciler.pending(),
            asyncio.to_thread(self._poll_disks),
            return_exceptions=True,
        )
        self._online = None if isinstance(online, BaseException) else online
        self._matches = None if isinstance(matches, BaseException) else matches
        self._backlog = None if isinstance(backlog, BaseException) else backlog
        self._waiting = None if isinstance(waiting, BaseException) else waiting
        for found in (online, matches, backlog, waiting, local):
            if isinstance(found, BaseException):
                raise found

    def _poll_disks(self) -> None:
        self._back_up = last_back_up(self._data)
        self._rehearsal = last_rehearsal(self._data)
        self._upgrade = last_upgrade_check(self._data)
        free: dict[str, float] = {}
        for name, folder in self._disks.items():
            try:
                free[name] = shutil.disk_usage(folder).free
            except OSError:
                continue  # e.g. unmounted, which `/readyz` reports
        self._free = free


def disks(data: Path, files: Path | None) -> dict[str, Path]:
    """Return the folders to watch: `data`, and `files` if it is on another disk."""
    if files is None:
        return {"data": data}
    try:
        is_other_disk = os.stat(files).st_dev != os.stat(data).st_dev
    except OSError:
        is_other_disk = True  # not mounted yet
    return {"data": data} | ({"files": files} if is_other_disk else {})

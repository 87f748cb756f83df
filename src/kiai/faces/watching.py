"""Figures that somebody has to be asked for: every few seconds beside the requests, so that a scrape asks nobody.

Reading metrics then costs no store anything and works while one is away. What could not be read the last time is not
shown: an old value would look like a fresh one.
"""

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from kiai.clock import Clock
from kiai.faces.metrics import Across, Metrics
from kiai.realtime.port import Realtime
from kiai.scores.settling import Settling, Waiting
from kiai.staff.backups import LastBackUp, last_back_up
from kiai.storage.outbox import Backlog, Outbox


class Watched:
    """Players and rooms, the outbox, the disks and the last back-up.

    `data` is the data folder. `places`: the folders whose disks may run full, by name.
    """

    def __init__(
        self,
        metrics: Metrics,
        realtime: Realtime,
        rooms: Callable[[], Awaitable[int]],
        outbox: Outbox,
        settling: Settling,
        clock: Clock,
        data: Path,
        places: Mapping[str, Path],
    ) -> None:
        self._realtime = realtime
        self._count_rooms = rooms
        self._outbox = outbox
        self._settling = settling
        self._clock = clock
        self._data = data
        self._places = places
        self._online: int | None = None
        self._rooms: int | None = None
        self._backlog: Backlog | None = None
        self._waiting: Waiting | None = None
        self._free: dict[str, float] = {}
        self._back_up: LastBackUp | None = None
        self._declare(metrics)

    def _declare(self, metrics: Metrics) -> None:
        metrics.gauge("players_online", "Players with a session that others see.", lambda: self._online, Across.MAX)
        metrics.gauge("rooms", "Multiplayer rooms.", lambda: self._rooms, Across.MAX)
        metrics.gauge(
            "outbox_rows",
            "Consequences of commits that wait for delivery.",
            lambda: None if self._backlog is None else self._backlog.rows,
            Across.MAX,
        )
        metrics.gauge("outbox_oldest_seconds", "How long the first of them has waited.", self._oldest_s, Across.MAX)
        metrics.gauge(
            "outbox_parked",
            "Consequences of commits that were given up after too many failed deliveries.",
            lambda: None if self._backlog is None else self._backlog.parked,
            Across.MAX,
        )
        metrics.gauge(
            "settling_left",
            "Totals, maps and scores that wait to be computed again.",
            lambda: None if self._waiting is None else self._waiting.left,
            Across.MAX,
        )
        metrics.gauge("settling_oldest_seconds", "How long the first of them has waited.", self._settling_s, Across.MAX)
        metrics.gauges("disk_free_bytes", "Room on the disk.", "place", lambda: self._free, Across.MIN)
        metrics.gauge(
            "backup_last_success_timestamp_seconds",
            "When `kiai backup` last succeeded.",
            lambda: None if self._back_up is None else self._back_up.at_ms / 1000,
            Across.MAX,
        )
        metrics.gauge(
            "backup_last_bytes",
            "How large that back-up is.",
            lambda: None if self._back_up is None else self._back_up.bytes,
            Across.MAX,
        )

    def _oldest_s(self) -> float | None:
        if self._backlog is None:
            return None
        oldest_ms = self._backlog.oldest_ms
        return 0.0 if oldest_ms is None else max(0.0, (self._clock.now_ms() - oldest_ms) / 1000)

    def _settling_s(self) -> float | None:
        if self._waiting is None:
            return None
        since_ms = self._waiting.since_ms
        return 0.0 if since_ms is None else max(0.0, (self._clock.now_ms() - since_ms) / 1000)

    async def look(self) -> None:
        """Asks everybody. A job's work: raises what went wrong, after all others were asked."""
        online, rooms, backlog, waiting, local = await asyncio.gather(
            self._realtime.online_count(),
            self._count_rooms(),
            self._outbox.backlog(),
            self._settling.waiting(),
            asyncio.to_thread(self._look_here),
            return_exceptions=True,
        )
        self._online = None if isinstance(online, BaseException) else online
        self._rooms = None if isinstance(rooms, BaseException) else rooms
        self._backlog = None if isinstance(backlog, BaseException) else backlog
        self._waiting = None if isinstance(waiting, BaseException) else waiting
        for found in (online, rooms, backlog, waiting, local):
            if isinstance(found, BaseException):
                raise found

    def _look_here(self) -> None:
        self._back_up = last_back_up(self._data)
        free: dict[str, float] = {}
        for name, place in self._places.items():
            try:
                free[name] = shutil.disk_usage(place).free
            except OSError:
                continue  # unmounted, say: readiness tells
        self._free = free


def places(data: Path, files: Path | None) -> dict[str, Path]:
    """The folders to watch: `data`, and `files` where it lies on a disk of its own."""
    if files is None:
        return {"data": data}
    try:
        apart = os.stat(files).st_dev != os.stat(data).st_dev
    except OSError:
        apart = True
    return {"data": data} | ({"files": files} if apart else {})

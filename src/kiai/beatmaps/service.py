"""The verbs of beatmaps: finding them, their status, their counters."""

from itertools import chain, combinations, islice
from typing import Final, Protocol

from kiai.beatmaps import queries
from kiai.beatmaps.listing import Listing, MapLists
from kiai.beatmaps.model import MAP_STATUS, OWN_ID_FIRST, Beatmap, MapStatus, osu_key
from kiai.errors import NotFound, Unavailable
from kiai.files.port import Files
from kiai.osu.beatmap_file import underscored_file_name
from kiai.osu.numbers import is_id
from kiai.storage import tasks
from kiai.storage.port import Database, Reader, Transaction

_NAMES: Final = tuple(f"name{n}" for n in range(queries.NAMES_MAX))


class Source(Protocol):
    """Where a map that is not here may come from."""

    async def fetch(self, *, map_id: int | None = None, md5: str | None = None) -> bool:
        """Imports it; False for a map that there definitely is not. Raises Unavailable."""
        ...

    async def osu_file(self, map_id: int, md5: str) -> bytes | None:
        """The .osu file of this revision; None when there is another one. Raises Unavailable."""
        ...


class Beatmaps:
    """Maps and sets by their ids. `source` is None off line, a first-class mode."""

    def __init__(self, database: Database, files: Files, source: Source | None) -> None:
        self._database = database
        self._files = files
        self._source = source
        self._lists = MapLists(database)

    async def find(self, *, id: int | None = None, md5: str | None = None) -> Beatmap:  # noqa: A002
        """The map that is known here under this id (its current revision) or md5. Raises NotFound("map")."""
        found = await self._look_up(id, md5)
        if found is None:
            raise NotFound("map")
        return found

    async def find_or_fetch(self, *, id: int | None = None, md5: str | None = None) -> Beatmap:  # noqa: A002
        """As `find`, asking upstream for a map that is not here. Raises NotFound("map"), also when upstream is away."""
        try:
            return await self.find_or_ask(id=id, md5=md5)
        except Unavailable as error:
            raise NotFound("map") from error

    async def find_or_ask(self, *, id: int | None = None, md5: str | None = None) -> Beatmap:  # noqa: A002
        """As `find_or_fetch`, but NotFound("map") is certain: raises Unavailable when upstream cannot tell."""
        if id is not None and not is_id(id):
            raise NotFound("map")
        found = await self._look_up(id, md5)
        if found is None and self._source is not None and await self._source.fetch(map_id=id, md5=md5):
            found = await self._look_up(id, md5)
        if found is None:
            raise NotFound("map")
        return found

    async def _look_up(self, map_id: int | None, md5: str | None) -> Beatmap | None:
        if map_id is not None:
            if not is_id(map_id):
                return None
            return await self._database.one(queries.BY_ID, id=map_id)
        return await self._database.one(queries.BY_MD5, md5=md5)

    async def revision(self, key: int, reader: Reader | None = None) -> Beatmap:
        """A revision by our own key, read inside a transaction when one is given. Raises NotFound("map")."""
        found = await (reader or self._database).one(queries.BY_KEY, key=key)
        if found is None:
            raise NotFound("map")
        return found

    async def named(self, filename: str) -> Beatmap | None:
        """The current map whose .osu file is called this, if there is one; of several the lowest id.

        A name may hold `_` where the map's own name holds a character that no file's name may
        (docs/spec/beatmaps.md#file-names).
        """
        found = await self._database.one(queries.BY_FILENAME, filename=filename)
        if found is not None or "_" not in filename:
            return found
        names = dict(zip(_NAMES, _without_underscores(filename), strict=True))
        for one in await self._database.all(queries.BY_FILENAMES, **names):
            if underscored_file_name(one.artist, one.title, one.creator, one.version) == filename:
                return one
        return None

    async def of_set(self, set_id: int) -> list[Beatmap]:
        """The current maps of a set, by id."""
        return await self._database.all(queries.OF_SET, set_id=set_id) if is_id(set_id) else []

    async def revisions(self, after: int = 0, limit: int = 500) -> list[Beatmap]:
        """Every revision by key, a page at a time: for checks and recalculation."""
        return await self._database.all(queries.AFTER, after=after, limit=limit)

    async def listed(self, wanted: Listing) -> tuple[list[Beatmap], int]:
        """A page of current maps, and how many there are in all, counted up to 10,000. Raises Invalid."""
        return await self._lists.page(wanted)

    async def osu_file(self, beatmap: Beatmap) -> bytes:
        """The .osu file of a revision. One that the store has lost comes from upstream again, or raises Unavailable."""
        data = await self._files.get(osu_key(beatmap.md5))
        if data is None and self._source is not None and beatmap.id < OWN_ID_FIRST:
            data = await self._source.osu_file(beatmap.id, beatmap.md5)
            if data is not None:
                await self._files.put(osu_key(beatmap.md5), data)
        if data is None:
            raise Unavailable("beatmap file", f"{beatmap.filename} is not stored")
        return data

    async def set_status(self, tx: Transaction, beatmap: Beatmap, status: MapStatus, now_ms: int) -> None:
        """A status set by hand, which upstream no longer changes. First places and totals follow as a task."""
        key = await tx.one(queries.SET_STATUS, map_id=beatmap.id, status=int(status), frozen=1)
        if key is not None:
            await tasks.begin(tx, MAP_STATUS, key, now_ms)

    async def count_plays(self, tx: Transaction, map_key: int, *, plays: int, passes: int) -> int | None:
        """Adds to a revision's counters (plays of players that everybody may see); its status, which stays until the
        transaction has ended.

        Passes that come or go may change its boards, so they get another version.
        """
        return await tx.one(
            queries.COUNT_PLAYS, map_key=map_key, by_plays=plays, by_passes=passes, by_version=int(passes != 0)
        )


def _without_underscores(filename: str) -> list[str]:
    """As many names as one look-up takes: without all `_`, then without one, two, three ... of them."""
    places = [index for index, letter in enumerate(filename) if letter == "_"]
    some = chain.from_iterable(combinations(places, count) for count in range(1, len(places)))
    left_out = chain([places], some)
    names = [
        "".join(letter for index, letter in enumerate(filename) if index not in out)
        for out in islice(left_out, queries.NAMES_MAX)
    ]
    return names + names[:1] * (queries.NAMES_MAX - len(names))

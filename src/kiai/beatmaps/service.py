"""The service of beatmaps: finds maps, and changes their status and counters."""

from collections.abc import Iterable, Sequence
from itertools import chain, combinations, islice
from typing import Final, Protocol

from kiai.at_once import needs_task
from kiai.beatmaps import catalogue, queries, ranking
from kiai.beatmaps.info import is_file_name
from kiai.beatmaps.listing import Listing, MapLists
from kiai.beatmaps.model import MAP_STATUS, OWN_ID_FIRST, Beatmap, MapStatus, osu_key
from kiai.errors import NotFound, Unavailable
from kiai.files.port import Files
from kiai.osu.beatmap_file import underscored_file_name
from kiai.osu.numbers import is_id
from kiai.storage import tasks
from kiai.storage.port import Database, RawRows, Read, RowReader, Transaction, rows_of
from kiai.together import in_pieces

_NAMES: Final = tuple(f"name{n}" for n in range(queries.NAMES_MAX))


class Source(Protocol):
    """An upstream from which missing maps are imported."""

    async def fetch(self, *, map_id: int | None = None, md5: str | None = None) -> bool:
        """Import the set of a map. Return False if the map definitely does not exist. Raises Unavailable."""
        ...

    async def osu_file(self, map_id: int, md5: str) -> bytes | None:
        """Return the .osu file of this revision, or None if upstream has another revision. Raises Unavailable."""
        ...


class Beatmaps:
    """Finds and changes maps and sets. Without a `source`, only stored maps are known."""

    def __init__(self, database: Database, files: Files, source: Source | None) -> None:
        self._database = database
        self._files = files
        self._source = source
        self._lists = MapLists(database)

    async def find(self, *, id: int | None = None, md5: str | None = None) -> Beatmap:  # noqa: A002
        """Return the current revision of the map `id`, or the revision with this md5. Raises NotFound("map")."""
        found = await self._look_up(id, md5)
        if found is None:
            raise NotFound("map")
        return found

    async def with_md5s(self, md5s: Sequence[str]) -> dict[str, Beatmap]:
        """Return the revisions that have these md5s, by md5. PostgreSQL reads eight in one round trip."""
        found: dict[str, Beatmap] = {}
        for some in in_pieces(list(dict.fromkeys(md5s))):
            for rows in await self._database.several(*[(queries.BY_MD5, {"md5": md5}) for md5 in some]):
                found.update((beatmap.md5, beatmap) for beatmap in rows)
        return found

    async def stored(self, *, id: int | None = None, md5: str | None = None) -> RawRows[Beatmap]:  # noqa: A002
        """Return the row that `find` returns, unread; no rows if there is no such map."""
        if md5 is not None:
            return await rows_of(self._database, queries.BY_MD5, md5=md5)
        if id is None or not is_id(id):
            return RawRows([], Beatmap)
        return await rows_of(self._database, queries.BY_ID, id=id)

    async def find_or_fetch(self, *, id: int | None = None, md5: str | None = None) -> Beatmap:  # noqa: A002
        """Like `find`, but import a missing map from upstream. Raises NotFound("map"), also if upstream fails."""
        try:
            return await self.find_or_ask(id=id, md5=md5)
        except Unavailable as error:
            raise NotFound("map") from error

    async def find_or_ask(self, *, id: int | None = None, md5: str | None = None) -> Beatmap:  # noqa: A002
        """Like `find_or_fetch`, but raise Unavailable if upstream fails, so that NotFound("map") is certain."""
        if id is not None and not is_id(id):  # not worth a request to upstream
            raise NotFound("map")
        found = await self._look_up(id, md5)
        if found is None and self._source is not None:
            await needs_task()
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

    async def revision(self, key: int, reader: RowReader | None = None) -> Beatmap:
        """Return a revision by its key, read in `reader`'s transaction if given. Raises NotFound("map")."""
        found = await (reader or self._database).one(queries.BY_KEY, key=key)
        if found is None:
            raise NotFound("map")
        return found

    @staticmethod
    def read_of(key: int) -> Read:
        """Return the read of a revision by its key, for `several`."""
        return queries.BY_KEY, {"key": key}

    @staticmethod
    def read_by_md5(md5: str) -> Read:
        """Return the read of the revision with this md5, for `several`."""
        return queries.BY_MD5, {"md5": md5}

    async def named(self, filename: str) -> Beatmap | None:
        """Return the current map whose .osu file has this name, or None. Of several, return the one with the lowest id.

        The name may have `_` for characters that file names cannot contain (docs/spec/beatmaps.md#file-names).
        """
        if not is_file_name(filename):
            return None
        found = await self._database.one(queries.BY_FILENAME, filename=filename)
        if found is not None or "_" not in filename:
            return found
        # A stored name lacks those characters, but has underscores of the title. Which `_` are which is unknown, so a
        # few combinations are looked up in one statement, and each map found is checked.
        names = dict(zip(_NAMES, _without_underscores(filename), strict=True))
        for beatmap in await self._database.all(queries.BY_FILENAMES, **names):
            if underscored_file_name(beatmap.artist, beatmap.title, beatmap.creator, beatmap.version) == filename:
                return beatmap
        return None

    async def of_set(self, set_id: int) -> list[Beatmap]:
        """Return the current maps of a set, by id."""
        return await self._database.all(queries.OF_SET, set_id=set_id) if is_id(set_id) else []

    async def revisions(self, after: int = 0, limit: int = 500) -> list[Beatmap]:
        """Return a page of all revisions with keys above `after`, by key."""
        return await self._database.all(queries.AFTER, after=after, limit=limit)

    async def listed(self, request: Listing) -> tuple[list[Beatmap], int]:
        """Return a page of current maps and their total number, counted up to 10,000. Raises Invalid."""
        return await self._lists.page(request)

    async def osu_file(self, beatmap: Beatmap) -> bytes:
        """Return the .osu file of a revision. A missing file is fetched from upstream. Raises Unavailable."""
        data = await self._files.get(osu_key(beatmap.md5))
        if data is None and self._source is not None and beatmap.id < OWN_ID_FIRST:
            data = await self._source.osu_file(beatmap.id, beatmap.md5)
            if data is not None:
                await self._files.put(osu_key(beatmap.md5), data)
        if data is None:
            raise Unavailable("beatmap file", f"{beatmap.filename} is not stored")
        return data

    async def set_statuses(self, tx: Transaction, beatmaps: Sequence[Beatmap], status: MapStatus, now_ms: int) -> None:
        """Set the status of maps for staff, and freeze it, so that upstream no longer changes it.

        Requests for their sets are answered, and nominations without a map left to rank end. Tasks in the same
        transaction update first places and totals.
        """
        for beatmap in beatmaps:
            key = await tx.one(queries.SET_STATUS, map_id=beatmap.id, status=int(status), frozen=1)
            if key is not None:
                await tasks.begin(tx, MAP_STATUS, key, now_ms)
        for set_id in sorted({beatmap.set_id for beatmap in beatmaps}):
            await ranking.answer(tx, set_id, status, now_ms)
            await catalogue.refresh(tx, set_id, now_ms)

    async def set_frozen(self, tx: Transaction, beatmap: Beatmap, frozen: bool) -> None:
        """Keep the status of a map from changes by upstream, or allow them again."""
        await tx.run(queries.SET_FROZEN, map_id=beatmap.id, frozen=int(frozen))

    async def count_plays(
        self, tx: Transaction, map_key: int, *, plays: int, passes: int, unless_changed: int | None = None
    ) -> int | None:
        """Add to the counters of a revision, and return its status, or None without such a revision.

        With `unless_changed`, a `board_version`, it changes nothing and returns None if the boards have changed.

        The statement locks the row, so the status does not change until the transaction ends. Only plays of visible
        players are counted. Passes may change the boards, so they also change `board_version`.
        """
        return await tx.one(
            queries.COUNT_PLAYS,
            map_key=map_key,
            by_plays=plays,
            by_passes=passes,
            by_version=int(passes != 0),
            seen_version=-1 if unless_changed is None else unless_changed,
        )

    async def add_up_plays(self, map_keys: Iterable[int]) -> None:
        """Update the numbers of plays in the catalogue for the sets of these maps."""
        rows = [{"map_key": key} for key in map_keys]

        async def body(tx: Transaction) -> None:
            await tx.run_many(catalogue.COUNT_PLAYS_OF_SET, rows)

        if rows:
            await self._database.transaction(body)


def _without_underscores(filename: str) -> list[str]:
    """Return `NAMES_MAX` names: without all underscores, then without one, two, three ... of them.

    If there are fewer combinations, the first name fills the rest.
    """
    places = [index for index, letter in enumerate(filename) if letter == "_"]
    some = chain.from_iterable(combinations(places, count) for count in range(1, len(places)))
    left_out = chain([places], some)
    names = [
        "".join(letter for index, letter in enumerate(filename) if index not in out)
        for out in map(frozenset, islice(left_out, queries.NAMES_MAX))
    ]
    return names + names[:1] * (queries.NAMES_MAX - len(names))

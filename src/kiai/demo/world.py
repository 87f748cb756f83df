"""Fills an empty server with sample data, through the services and statements of other bulk imports.

    players, clans, friends -> maps -> plays, player by player (`loading.py`) -> counters of maps, first places

The rebuilder computes the last from the rows, as after other bulk imports.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from random import Random
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec
from sqlalchemy import bindparam, insert, select, update

from kiai.accounts import queries as accounts
from kiai.accounts.model import BOT_ID
from kiai.accounts.name_index import NameKind, add_names
from kiai.beatmaps.listing import Listing
from kiai.beatmaps.model import MapStatus
from kiai.demo.blocks import Registered
from kiai.demo.composing import SET_ID_FIRST, ComposedMap, maps_of, words
from kiai.demo.loading import Loader
from kiai.demo.plays import EPOCH_MS, SPAN_MS, DemoPlayer, PlayableMap, compose_player
from kiai.errors import Refused, Unavailable
from kiai.osu.names import name_fault, safe_name
from kiai.osu.privileges import Privilege
from kiai.storage.outbox import enqueue
from kiai.storage.port import Command, Query, Transaction, Value, scalar
from kiai.storage.tables import clans, pool_picks, pools, users

if TYPE_CHECKING:
    from kiai.app import Services

USERS_AT_ONCE: Final = 20_000  # per transaction
PLAYERS_A_CLAN: Final = 25
CLAN_MEMBERS_MAX: Final = 16
MAPS_A_POOL: Final = 20
SETS_SPAN_MS: Final = 8 * 365 * 86_400_000
"""The time before the plays in which the sets got their ranks."""
FRIENDS_MAX: Final = 3
_RESTRICTED_EVERY: Final = 200
_RESTRICTED_FIRST: Final = 40  # small enough that a world of 50 players has a restricted one
_SUPPORTER_EVERY: Final = 20
_ATTEMPTS: Final = 100

_PRIV: Final = int(Privilege.UNRESTRICTED | Privilege.VERIFIED)
_RANKED: Final = MapStatus.RANKED
# By set. The smallest world has the first five; with them every mode has a ranked map.
_STATUSES: Final = (
    *(_RANKED, _RANKED, _RANKED, _RANKED, MapStatus.LOVED),
    *(_RANKED, _RANKED, MapStatus.QUALIFIED, _RANKED, _RANKED),
    *(MapStatus.APPROVED, MapStatus.PENDING, _RANKED, _RANKED, _RANKED),
)
_COUNTRIES: Final = words(
    """
us us us de de jp jp kr pl pl fr gb ru br ca au nl id tw cn fi se it es mx ph ua xx
"""
)
_PICKS: Final = ("NM1", "NM2", "NM3", "NM4", "HD1", "HD2", "HR1", "HR2", "DT1", "DT2", "FM1", "TB1")

_SYLLABLES: Final = words(
    """
ka mi ro shi ten lu vex nor ari zen fel qui dra mo pix ru nyx tol ash ber cri dae eli fro gim hex isu jol kyu lin
"""
)
_HEADS: Final = words(
    """
Blue Tiny Lazy Neo Mr Dark Pixel Sir Turbo Cool Sad Happy Super Salt Moon Star Cat Tea
"""
)
_CLAN_HEADS: Final = words(
    """
Midnight Paper Velvet Cosmic Lonely Crimson Static Hollow Gentle Electric Misty Golden
"""
)
_CLAN_TAILS: Final = words(
    """
Foxes Tappers Comets Otters Circles Wizards Lanterns Owls Dancers Pandas Sparks Union
"""
)

_INSERT_USERS = Command(
    insert(users).values(
        {
            name: bindparam(name)
            for name in (
                "name",
                "safe_name",
                "email",
                "priv",
                "country",
                "created_at_ms",
                "active_at_ms",
                "donor_until_ms",
                "preferred_mode",
                "play_style",
            )
        }
    )
)
_IDS_AFTER = Query(
    select(users.c.id).where(users.c.id > bindparam("after")).order_by(users.c.id).limit(USERS_AT_ONCE),
    scalar,
    scans="reads every account, one page at a time",
)
_INSERT_CLAN = Query(
    insert(clans)
    .values({name: bindparam(name) for name in ("name", "safe_name", "tag", "owner_id", "created_at_ms")})
    .returning(clans.c.id),
    scalar,
)
_JOIN_CLAN = Command(
    update(users)
    .where(users.c.id == bindparam("member_id"))
    .values(
        clan_id=bindparam("new_clan_id"), clan_priv=bindparam("new_clan_priv"), clan_joined_at_ms=bindparam("joined_ms")
    )
)
_INSERT_POOL = Query(
    insert(pools)
    .values({name: bindparam(name) for name in ("name", "created_at_ms", "created_by")})
    .returning(pools.c.id),
    scalar,
)
_INSERT_PICKS = Command(
    insert(pool_picks).values({name: bindparam(name) for name in ("pool_id", "mods", "slot", "map_id")})
)

T = TypeVar("T")
Progress = Callable[[int, int], None]  # steps done, steps in total


class DemoWorld(msgspec.Struct, frozen=True):
    """The sizes and the seed of a world. Equal values give equal worlds."""

    players: int
    maps: int
    scores: int
    seed: int


class DemoReport(msgspec.Struct, frozen=True):
    """The numbers of created rows."""

    players: int
    maps: int
    scores: int
    replays: int
    clans: int


async def build(
    services: "Services",
    *,
    players: int,
    maps: int,
    scores: int,
    seed: int,
    progress: Progress = lambda done, total: None,
) -> DemoReport:
    """Create a world on an empty server.

    Raises Refused if there are accounts or maps, Unavailable if a part of the server does not work.
    """
    world = DemoWorld(players, maps, scores, seed)
    await _refuse_unless_empty(services)
    steps = _Steps(players + maps + 3 * scores, progress)  # each score is computed, inserted and counted
    registered = await _register(services, world, steps)
    clan_count = await _found_clans(services, world, [one.user_id for one in registered])
    await _befriend(services, world, [one.user_id for one in registered])
    playable = await _import_maps(services, world, steps)
    await _make_pools(services, playable)
    loader = Loader(services, seed=seed, count=scores, players=registered, maps=playable, at=steps.at)
    await loader.load()
    steps.phase(2 * scores)
    await services.rebuilder.all_maps(lambda done, total: steps.at(scores * done // total))
    await services.rebuilder.highlights()
    await _enqueue_ranks(services)
    steps.phase(scores)
    return DemoReport(players, len(playable), loader.scores, loader.replays, clan_count)


class _Steps:
    """Progress over all phases. A step is a player, a map, or a score computed, inserted or counted."""

    def __init__(self, total: int, progress: Progress) -> None:
        self.total = total
        self._before = 0
        self._progress = progress

    def at(self, done: int) -> None:
        """Report that `done` steps of this phase are complete."""
        self._progress(self._before + done, self.total)

    def phase(self, done: int) -> None:
        """Finish a phase of `done` steps."""
        self._before += done
        self.at(0)


async def _refuse_unless_empty(services: "Services") -> None:
    count = await services.accounts.total()
    if count:
        raise Refused(f"the data folder contains {count} accounts; `kiai demo` needs an empty data folder")
    _, count = await services.beatmaps.listed(Listing(limit=1))
    if count:
        raise Refused(f"the data folder contains {count} maps; `kiai demo` needs an empty data folder")


# --- players


async def _register(services: "Services", world: DemoWorld, steps: _Steps) -> list[Registered]:
    """Create accounts without a password."""
    rng = Random(f"{world.seed} players")
    created: list[DemoPlayer] = []
    taken: list[str] = []
    countries: list[str] = []
    names = _names(rng)
    for first in range(0, world.players, USERS_AT_ONCE):
        batch = range(first, min(first + USERS_AT_ONCE, world.players))
        new = [compose_player(rng) for _ in batch]
        rows = [_user_row(rng, index, next(names), player) for index, player in zip(batch, new, strict=True)]

        async def body(tx: Transaction, rows: Sequence[Mapping[str, Value]] = rows) -> None:
            await tx.run_many(_INSERT_USERS, rows)
            await tx.run(accounts.COUNT_USER, by=len(rows))

        await services.database.transaction(body, long=True)  # long: beyond the time limit of requests
        created += new
        taken += [str(row["name"]) for row in rows]
        countries += [str(row["country"]) for row in rows]
        steps.at(len(created))
    steps.phase(world.players)
    # The database assigns the ids; they follow the order of insertion, which pairs them with the players.
    ids: list[int] = []
    while page := await services.database.all(_IDS_AFTER, after=ids[-1] if ids else BOT_ID):

        async def index(tx: Transaction, page: Sequence[int] = page, first: int = len(ids)) -> None:
            for user_id, name in zip(page, taken[first : first + len(page)], strict=True):
                await add_names(tx, NameKind.NAME, user_id, name)

        await services.database.transaction(index, long=True)
        ids += page
    return [Registered(*one) for one in zip(ids, countries, created, strict=True)]


def _user_row(rng: Random, index: int, name: str, player: DemoPlayer) -> dict[str, Value]:
    restricted = index % _RESTRICTED_EVERY == _RESTRICTED_FIRST
    supporter = index % _SUPPORTER_EVERY == 1
    priv = int(Privilege.VERIFIED) if restricted else _PRIV  # restricted: without UNRESTRICTED
    return {
        "name": name,
        "safe_name": safe_name(name),
        "email": f"{safe_name(name)}@example.org",
        "priv": priv | int(Privilege.SUPPORTER) if supporter else priv,
        "country": rng.choice(_COUNTRIES),
        "created_at_ms": EPOCH_MS - SPAN_MS - rng.randrange(SPAN_MS),
        "active_at_ms": EPOCH_MS - rng.randrange(SPAN_MS // 8),
        "donor_until_ms": EPOCH_MS + SPAN_MS if supporter else 0,
        "preferred_mode": player.mode,
        "play_style": rng.choice((1, 2, 4, 5, 6, 6)),
    }


def _names(rng: Random) -> Iterator[str]:
    """Yield valid and unique names. A number is appended when the syllables give no new name."""
    taken: set[str] = set()
    while True:
        for attempt in range(_ATTEMPTS):
            name = "".join(rng.choice(_SYLLABLES) for _ in range(rng.randrange(2, 5)))
            style = rng.random()
            if style < 0.25:
                name = f"{rng.choice(_HEADS)} {name.capitalize()}"
            elif style < 0.5:
                name = name.capitalize()
            elif style < 0.6:
                name = f"_{name}_"
            elif style < 0.65:
                name = f"[{name}]"
            # After 25 collisions every further attempt has a number, so that large worlds find names quickly.
            if attempt > _ATTEMPTS // 4 or rng.random() < 0.15:
                name = f"{name[:10]}{rng.randrange(100_000)}"
            if safe_name(name) not in taken and name_fault(name) is None:
                break
        else:
            raise AssertionError(f"{_ATTEMPTS} generated names were all taken")
        taken.add(safe_name(name))
        yield name


async def _found_clans(services: "Services", world: DemoWorld, ids: Sequence[int]) -> int:
    """Create clans with an owner, one or more officers, and members."""
    rng = Random(f"{world.seed} clans")
    free = list(ids)
    rng.shuffle(free)
    count = len(ids) // PLAYERS_A_CLAN
    groups = []
    for number in range(count):
        size = rng.randrange(3, CLAN_MEMBERS_MAX + 1)
        groups.append((number, free[:size]))
        del free[:size]

    async def body(tx: Transaction) -> None:
        for number, members in groups:
            name = _clan_name(number)
            clan_id = await tx.one(
                _INSERT_CLAN,
                name=name,
                safe_name=safe_name(name),
                tag=_clan_tag(number),
                owner_id=members[0],
                created_at_ms=EPOCH_MS - SPAN_MS + number,
            )
            rows = [
                {
                    "member_id": member,
                    "new_clan_id": clan_id,
                    # One owner (3), one officer (2) per five members, and members (1).
                    "new_clan_priv": 3 if place == 0 else 2 if place < 1 + len(members) // 5 else 1,
                    "joined_ms": EPOCH_MS - SPAN_MS + number + place * 86_400_000,
                }
                for place, member in enumerate(members)
            ]
            await tx.run_many(_JOIN_CLAN, rows)
            assert clan_id is not None
            await add_names(tx, NameKind.CLAN, clan_id, name, _clan_tag(number))

    await services.database.transaction(body, long=True)
    return count


def _clan_name(number: int) -> str:
    number, tail = divmod(number, len(_CLAN_TAILS))
    number, head = divmod(number, len(_CLAN_HEADS))
    name = f"{_CLAN_HEADS[(head + tail) % len(_CLAN_HEADS)]} {_CLAN_TAILS[tail]}"
    return f"{name} {number + 1}" if number else name


def _clan_tag(number: int) -> str:
    """Return a unique tag of three letters or more."""
    # 7,919 is coprime to 26^4, so the product is a permutation: unique tags that do not look like a sequence.
    number = number * 7_919 % 26**4 if number < 26**4 else number
    letters = ""
    while number or len(letters) < 3:
        number, letter = divmod(number, 26)
        letters += chr(ord("A") + letter)
    return letters


async def _befriend(services: "Services", world: DemoWorld, ids: Sequence[int]) -> None:
    """Give each player up to FRIENDS_MAX friends; half of the friendships are mutual."""
    rng = Random(f"{world.seed} friends")
    pairs: set[tuple[int, int]] = set()
    for user_id in ids:
        for friend in rng.sample(ids, min(rng.randrange(FRIENDS_MAX + 1), len(ids))):
            if friend != user_id:
                pairs.add((user_id, friend))
                if rng.random() < 0.5:
                    pairs.add((friend, user_id))
    rows = [
        {"user_id": user_id, "target_id": friend, "kind": accounts.FRIEND, "added_at_ms": EPOCH_MS - SPAN_MS // 2}
        for user_id, friend in sorted(pairs)
    ]
    for batch in _batches(rows, USERS_AT_ONCE):

        async def body(tx: Transaction, batch: Sequence[Mapping[str, Value]] = batch) -> None:
            await tx.run_many(accounts.ADD_RELATIONSHIP, batch)

        await services.database.transaction(body, long=True)


# --- maps


async def _import_maps(services: "Services", world: DemoWorld, steps: _Steps) -> list[PlayableMap]:
    """Generate and import the maps. The maps of a set have the same status and date."""
    playable = []
    for done, composed in enumerate(maps_of(world.seed, world.maps)):
        report = await services.importer.import_file(
            composed.osu,
            name=composed.name,
            status=_STATUSES[(composed.set_id - SET_ID_FIRST) % len(_STATUSES)],
            modified_s=_set_date_s(world, composed.set_id),
        )
        if report.skipped:
            raise Unavailable("map import", report.skipped[0].why)
        playable.append(await _playable(services, composed))
        steps.at(done + 1)
    steps.phase(world.maps)
    return playable


def _set_date_s(world: DemoWorld, set_id: int) -> int:
    """Return when a set was made and ranked, in unix seconds: before the first play."""
    return (EPOCH_MS - SPAN_MS - Random(f"{world.seed} set {set_id}").randrange(SETS_SPAN_MS)) // 1000


async def _playable(services: "Services", composed: ComposedMap) -> PlayableMap:
    return PlayableMap(await services.beatmaps.find(id=composed.id), composed.judged, composed.tiny_droplets)


async def _make_pools(services: "Services", playable: Sequence[PlayableMap]) -> None:
    """Create a mappool from the osu! maps of every MAPS_A_POOL maps."""
    for number, group in enumerate(_batches(playable, MAPS_A_POOL)):
        if len(group) < MAPS_A_POOL:
            break
        chosen = [candidate.beatmap.id for candidate in group if candidate.beatmap.mode == 0]

        async def body(tx: Transaction, number: int = number, chosen: Sequence[int] = chosen) -> None:
            pool_id = await tx.one(
                _INSERT_POOL, name=f"Demo Cup {number + 1}", created_at_ms=EPOCH_MS - SPAN_MS, created_by=BOT_ID
            )
            await tx.run_many(
                _INSERT_PICKS,
                [
                    {"pool_id": pool_id, "mods": pick[:2], "slot": int(pick[2:]), "map_id": map_id}
                    for pick, map_id in zip(_PICKS, chosen, strict=False)
                ],
            )

        await services.database.transaction(body)


# --- after all rows


async def _enqueue_ranks(services: "Services") -> None:
    now = services.clock.now_ms()

    async def body(tx: Transaction) -> None:
        await enqueue(tx, "ranks_all", 0, now)

    await services.database.transaction(body)


def _batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    source = iter(items)
    while batch := list(itertools.islice(source, size)):
        yield batch

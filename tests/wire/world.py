"""A small world: a server with a few players, maps and scores that tests know by name."""

import lzma
from pathlib import Path
from typing import Any, Final

import msgspec
from tests.wire.kit import Server
from tests.wire.rows import RESTRICTED, Rows

from kiai.storage.tables import first_places, medals, pool_picks, pools, rank_history

PLAYER: Final = 3  # "Player", nl, owner of clan 1
SPACED: Final = 4  # "Spaced Name", de, member of clan 1
BRACKETS: Final = 5  # "[Toy]-x", nl, without a clan
HIDDEN: Final = 6  # "Hidden One", nl, restricted
NOBODY: Final = 77

RANKED: Final = 1001
LOVED: Final = 1002
PENDING: Final = 1003
TAIKO: Final = 1004
CIRCLES: Final = 75  # a map with a file, of 100 objects

BEST: Final = 501
FAILED: Final = 502
RELAXED: Final = 507
HIDDENS: Final = 508
WITH_REPLAY: Final = BEST
LOST_REPLAY: Final = 503
FRAMES: Final = lzma.compress(b"0|256|192|0,16|300|200|1,-12345|0|0|7,", format=lzma.FORMAT_ALONE)
REPLACED_MD5: Final = "0123456789abcdef" * 2
LAST_DAY: Final = 2_932_896  # 9999-12-31: no test waits for it

HD: Final = 8
HR: Final = 16
DT: Final = 64


class World(msgspec.Struct):
    """A server, its rows, and API keys."""

    server: Server
    rows: Rows
    key: str
    staff_key: str
    hidden_key: str


def a_map(id: int, **values: Any) -> dict[str, Any]:  # noqa: A002
    """Return a map as an object of the API."""
    return {
        "md5": f"{id:032x}",
        "id": id,
        "set_id": 100,
        "artist": "Artist",
        "title": f"Title {id}",
        "version": "Normal",
        "creator": "Creator",
        "last_update": "2020-01-02T03:04:05",
        "total_length": 90,
        "max_combo": 200,
        "status": 2,
        "plays": 9,
        "passes": 4,
        "mode": 0,
        "bpm": 180.0,
        "cs": 4.0,
        "od": 8.5,
        "ar": 9.0,
        "hp": 6.0,
        "diff": 5.25,
    } | values


def a_score(**values: Any) -> dict[str, Any]:
    """Return a score as an object of the API."""
    return {
        "score": 500_000,
        "pp": 100.5,
        "acc": 98.765,
        "max_combo": 150,
        "mods": 0,
        "n300": 90,
        "n100": 8,
        "n50": 1,
        "nmiss": 1,
        "ngeki": 20,
        "nkatu": 5,
        "grade": "A",
        "status": 2,
        "mode": 0,
        "play_time": "2022-01-01T00:00:00",
        "time_elapsed": 90_000,
        "perfect": 0,
    } | values


OSU_FILE: Final = """osu file format v14

[General]
AudioFilename: a.mp3
Mode: 0

[Metadata]
Title:Hundred Circles
Artist:Nobody
Creator:Mapper
Version:Easy
BeatmapID:75
BeatmapSetID:7

[Difficulty]
HPDrainRate:5
CircleSize:4
OverallDifficulty:7
ApproachRate:8
SliderMultiplier:1.4
SliderTickRate:1

[TimingPoints]
0,500,4,2,1,60,1,0

[HitObjects]
""" + "".join(f"{64 + 30 * (at % 10)},{100 + 20 * (at % 3)},{1000 + 500 * at},1,0,0:0:0:0:\n" for at in range(100))


def circles(folder: Path, map_id: int = CIRCLES, set_id: int = 7) -> Path:
    """Write a beatmap file of a hundred circles."""
    file = folder / f"{map_id}.osu"
    text = OSU_FILE.replace("BeatmapID:75", f"BeatmapID:{map_id}").replace(
        "BeatmapSetID:7\n", f"BeatmapSetID:{set_id}\n"
    )
    file.write_text(text, "utf-8")
    return file


def small_world(server: Server) -> World:
    """Fill the data folder of a server that has not started."""
    rows = Rows(server.data)
    people(rows)
    played(rows)
    server.cli("beatmaps", "import", str(circles(server.data.parent)), "--status", "ranked")
    keys = [rows.api_key(user_id, f"the key of player {user_id}") for user_id in (PLAYER, 7, HIDDEN)]
    return World(server, rows, *keys)


def people(rows: Rows) -> None:
    """Write six players: one is restricted and one is staff."""
    rows.clan(1, "The Clan", "CLAN", PLAYER)
    rows.clan(2, "Another Clan", "OTHER", 7)
    rows.player(PLAYER, "Player", country="nl", clan_id=1, clan_priv=3, preferred_mode=0, play_style=5)
    rows.player(SPACED, "Spaced Name", country="de", clan_id=1, clan_priv=1, preferred_mode=4)
    rows.player(BRACKETS, "[Toy]-x", country="nl")
    rows.player(HIDDEN, "Hidden One", country="nl", priv=RESTRICTED, clan_id=1, clan_priv=2)
    rows.player(7, "Staff Person", country="us", priv=3 | 4096, clan_id=2, clan_priv=3)
    rows.player(8, "under_score", country="us")
    rows.registered(6)
    for user_id, country, pp, plays in ((3, "nl", 500, 4), (4, "de", 400, 40), (5, "nl", 300, 50), (6, "nl", 900, 60)):
        rows.profile(
            user_id, 0, country, pp=pp, tscore=pp * 1000, rscore=pp * 100, plays=plays, acc=90.5 + user_id,
            playtime=100 * user_id, max_combo=pp, bests=1,
        )  # fmt: skip
    rows.profile(PLAYER, 4, "nl", pp=50, plays=1, tscore=10)
    rows.profile(BRACKETS, 1, "nl", pp=0, plays=3, tscore=44)
    rows.put(
        medals, *({"user_id": PLAYER, "medal_id": n, "unlocked_at_ms": 1_000 * n, "score_id": BEST} for n in (1, 2))
    )
    rows.put(
        rank_history,
        *(
            {
                "user_id": PLAYER,
                "mode": 0,
                "day": LAST_DAY - back,
                "rank": 1 + back,
                "country_rank": 1,
                "pp": 500,
            }
            for back in range(3)
        ),
    )


def played(rows: Rows) -> None:
    """Write their scores and profiles."""
    rows.map(a_map(RANKED))
    rows.map(a_map(LOVED, status=5, bpm=182.5, title="Loved"))
    rows.map(a_map(PENDING, status=0, set_id=101))
    rows.map(a_map(TAIKO, mode=1, set_id=101, artist="Drummer"), frozen=1)
    rows.map(a_map(RANKED, md5=REPLACED_MD5, status=1), key=9_001, current=0)

    rows.score(BEST, PLAYER, RANKED, a_score(score=900_000, pp=200.0), client_version=20220101)
    rows.replay(BEST, FRAMES)
    rows.score(FAILED, PLAYER, RANKED, a_score(status=0, grade="F", pp=0.0, play_time="2022-01-02T00:00:00"))
    rows.score(LOST_REPLAY, SPACED, RANKED, a_score(score=700_000, pp=150.25, mods=HD | DT, grade="S"))
    rows.replay(LOST_REPLAY, b"lost").unlink()
    rows.score(504, BRACKETS, RANKED, a_score(score=800_000, pp=120.0, mods=HR))
    rows.score(505, PLAYER, LOVED, a_score(pp=300.0))
    rows.score(506, PLAYER, PENDING, a_score(pp=10.0, status=1))
    rows.score(RELAXED, PLAYER, RANKED, a_score(mode=4, mods=128, pp=50.0, score=1))
    rows.score(HIDDENS, HIDDEN, RANKED, a_score(score=999_999, pp=250.0))
    rows.replay(HIDDENS, FRAMES + b"hidden")
    rows.put(
        first_places,
        {"map_key": RANKED, "mode": 0, "score_id": BEST, "user_id": PLAYER, "since_ms": 1_000},
    )
    rows.played(PLAYER, 0, RANKED, 28, 1_000)
    rows.played(PLAYER, 0, LOVED, 5, 2_000)
    rows.played(PLAYER, 0, PENDING, 5, 3_000)
    rows.played(HIDDEN, 0, RANKED, 99, 3_000)
    rows.put(pools, {"id": 1, "name": "Cup", "created_at_ms": 1_577_934_245_000, "created_by": PLAYER, "published": 1})
    rows.put(pools, {"id": 2, "name": "Draft", "created_at_ms": 0, "created_by": PLAYER, "published": 0})
    for mods, slot, map_id in (("NM", 1, RANKED), ("HD", 1, TAIKO), ("TB", 1, 999_999)):
        rows.put(pool_picks, {"pool_id": 1, "mods": mods, "slot": slot, "map_id": map_id})

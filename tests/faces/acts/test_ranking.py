"""`!ranking`: the ranks in the presences and stats that one client receives."""

import struct

import pytest
from tests.builders import a_play
from tests.faces.acts.desk import Desk, Person
from tests.faces.bancho.client_bytes import whole

from kiai.beatmaps import MapStatus
from kiai.faces.bancho import packets
from kiai.faces.bancho.packets import ClientPacket, ServerPacket
from kiai.faces.bancho.score_ranks import with_ranks
from kiai.faces.bancho.wire import packets_in


def a_presence(user_id: int, rank: int) -> bytes:
    return packets.user_presence(
        user_id, name="x", utc_offset=1, country=38, privileges=1, mode=0, longitude=0.0, latitude=0.0, rank=rank
    )


def stats(user_id: int, rank: int) -> bytes:
    return packets.user_stats(
        user_id,
        action=0,
        info_text="a map",
        map_md5="a" * 32,
        mods=0,
        mode=0,
        map_id=1,
        ranked_score=1,
        accuracy=1.0,
        plays=1,
        total_score=1,
        rank=rank,
        pp=65_535,
    )


def test_only_the_ranks_of_a_reply_change() -> None:
    line = packets.message("anna", "hello", "#osu", 3)

    reply = with_ranks(a_presence(3, 1) + line + stats(4, 2) + a_presence(-5, 3) + stats(6, 9), {3: 70, 4: 80, 5: 90})

    assert reply == a_presence(3, 70) + line + stats(4, 80) + a_presence(-5, 90) + stats(6, 0)
    assert with_ranks(b"", {3: 70}) == b""


@pytest.fixture
def strong_and_busy(desk: Desk) -> tuple[Person, Person]:
    """A player with many pp and little ranked score, and one with the opposite."""
    beatmap = desk.run(desk.services.beatmaps.find(md5=desk.map(MapStatus.RANKED).md5))
    strong, busy = desk.person(), desk.person()
    desk.run(desk.services.recorder.record(a_play(by=strong.id, on=beatmap, pp=900.0, score=1_000)))
    desk.run(desk.services.recorder.record(a_play(by=busy.id, on=beatmap, pp=800.0, score=990_000)))
    desk.run(desk.services.outbox.deliver())
    return strong, busy


def ranks_of(desk: Desk, asker: Person, *players: Person) -> list[int]:
    """Request the stats of players, and return their ranks."""
    desk.poll(asker)
    request = whole(ClientPacket.USER_STATS_REQUEST, tuple(player.id for player in players))
    ranks: dict[int, int] = {}
    for packet_id, payload in packets_in(desk.poll(asker, request)):
        if packet_id == ServerPacket.USER_STATS:
            ranks[struct.unpack_from("<i", payload)[0]] = struct.unpack_from("<i", payload, len(payload) - 6)[0]
    return [ranks[player.id] for player in players]


def test_ranking_changes_the_ranks_that_one_client_sees(desk: Desk, strong_and_busy: tuple[Person, Person]) -> None:
    anna, boris = desk.person(), desk.person()
    assert ranks_of(desk, anna, *strong_and_busy) == [1, 2]

    assert desk.say(anna, "!ranking score") == ["Your client shows ranks by ranked score now, until you log out."]

    assert ranks_of(desk, anna, *strong_and_busy) == [2, 1]
    assert ranks_of(desk, boris, *strong_and_busy) == [1, 2]
    assert "Usage: !ranking <pp|score>" in desk.say(anna, "!ranking acc")[0]
    desk.say(anna, "!ranking pp")
    assert ranks_of(desk, anna, *strong_and_busy) == [1, 2]


def test_the_own_rank_changes_at_once(desk: Desk, strong_and_busy: tuple[Person, Person]) -> None:
    strong, _ = strong_and_busy
    desk.poll(strong)

    desk.say(strong, "!ranking score")

    [payload] = [
        payload for packet_id, payload in packets_in(desk.poll(strong)) if packet_id == ServerPacket.USER_STATS
    ]
    assert struct.unpack_from("<i", payload, len(payload) - 6)[0] > 1

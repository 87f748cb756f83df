"""Prices of packets and the budget of a player."""

from hypothesis import given
from hypothesis import strategies as st

from kiai.faces.bancho import work
from kiai.faces.bancho.packets import ClientPacket
from kiai.realtime.port import BOUNDS

PACKETS = st.lists(st.tuples(st.sampled_from(list(ClientPacket)), st.binary(max_size=64)), max_size=100)


def test_one_player_cannot_fill_half_of_a_topic_between_two_polls() -> None:
    smallest = min(bound.entries for bound in BOUNDS.values() if not bound.skips and bound.entries > 1_024)

    appended = (work.BURST + 60 * work.UNITS_PER_S) / work.APPENDING

    assert appended < smallest / 2


def test_every_appending_packet_costs_at_least_appending() -> None:
    appending = (
        set(ClientPacket) - work.LEAVING - {ClientPacket.PART_LOBBY, ClientPacket.CHANNEL_PART, ClientPacket.PONG}
    )
    cheap = {packet for packet in appending if work.price_of(packet, b"") < work.APPENDING}

    assert cheap == {
        ClientPacket.REQUEST_STATUS_UPDATE,
        ClientPacket.RECEIVE_UPDATES,
        ClientPacket.USER_STATS_REQUEST,
        ClientPacket.USER_PRESENCE_REQUEST,
        ClientPacket.SET_AWAY_MESSAGE,
        ClientPacket.SPECTATE_FRAMES,
        ClientPacket.MATCH_SCORE_UPDATE,
    }


def test_request_about_many_players_costs_more() -> None:
    assert (
        work.price_of(ClientPacket.USER_PRESENCE_REQUEST, bytes(4 * 256))
        >= work.price_of(ClientPacket.USER_PRESENCE_REQUEST, bytes(4)) + 30
    )


@given(PACKETS, st.integers(0, 600))
def test_affordable_never_exceeds_the_budget_and_keeps_the_order(
    requested: list[tuple[int, bytes]], units: int
) -> None:
    accepted = work.affordable(requested, units)

    paid = [one for one in accepted if one[0] not in work.LEAVING]
    assert sum(work.price_of(*one) for one in paid) <= units
    left = iter(requested)
    assert all(any(one == found for found in left) for one in accepted)


@given(PACKETS)
def test_player_without_budget_can_still_leave(requested: list[tuple[int, bytes]]) -> None:
    accepted = work.affordable([*requested, (ClientPacket.STOP_SPECTATING, b""), (ClientPacket.LOGOUT, b"")], 0)

    kinds = [packet_id for packet_id, _ in accepted]
    assert {ClientPacket.STOP_SPECTATING, ClientPacket.LOGOUT} <= set(kinds) <= work.LEAVING
    assert len(kinds) == len(set(kinds))

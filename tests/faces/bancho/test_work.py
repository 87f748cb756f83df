"""Prices of a client's packets, and what a budget pays for."""

from hypothesis import given
from hypothesis import strategies as st

from kiai.faces.bancho import work
from kiai.faces.bancho.packets import Client
from kiai.realtime.port import BOUNDS

PACKETS = st.lists(st.tuples(st.sampled_from(list(Client)), st.binary(max_size=64)), max_size=100)


def test_one_player_cannot_fill_half_of_a_topic_between_two_polls_of_its_readers() -> None:
    smallest = min(bound.entries for bound in BOUNDS.values() if not bound.skips and bound.entries > 1_024)

    appended = (work.BURST + 60 * work.UNITS_PER_S) / work.APPENDING

    assert appended < smallest / 2


def test_every_packet_that_appends_costs_at_least_an_appending() -> None:
    appending = set(Client) - work.LEAVING - {Client.PART_LOBBY, Client.CHANNEL_PART, Client.PONG}
    cheap = {packet for packet in appending if work.price_of(packet, b"") < work.APPENDING}

    assert cheap == {
        Client.REQUEST_STATUS_UPDATE,
        Client.RECEIVE_UPDATES,
        Client.USER_STATS_REQUEST,
        Client.USER_PRESENCE_REQUEST,
        Client.SET_AWAY_MESSAGE,
        Client.SPECTATE_FRAMES,
        Client.MATCH_SCORE_UPDATE,
    }


def test_a_request_about_many_players_costs_more() -> None:
    assert (
        work.price_of(Client.USER_PRESENCE_REQUEST, bytes(4 * 256))
        >= work.price_of(Client.USER_PRESENCE_REQUEST, bytes(4)) + 30
    )


@given(PACKETS, st.integers(0, 600))
def test_a_budget_is_never_overdrawn_and_keeps_the_order(asked: list[tuple[int, bytes]], units: int) -> None:
    taken = work.affordable(asked, units)

    paid = [one for one in taken if one[0] not in work.LEAVING]
    assert sum(work.price_of(*one) for one in paid) <= units
    left = iter(asked)
    assert all(any(one == found for found in left) for one in taken)


@given(PACKETS)
def test_a_player_without_budget_can_still_leave(asked: list[tuple[int, bytes]]) -> None:
    taken = work.affordable([*asked, (Client.STOP_SPECTATING, b""), (Client.LOGOUT, b"")], 0)

    kinds = [packet_id for packet_id, _ in taken]
    assert {Client.STOP_SPECTATING, Client.LOGOUT} <= set(kinds) <= work.LEAVING
    assert len(kinds) == len(set(kinds))

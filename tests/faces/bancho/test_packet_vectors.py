"""The encoded examples, compared byte for byte, and each of them truncated at every byte."""

from collections.abc import Callable, Mapping
from itertools import accumulate
from typing import Any

import pytest
from tests.faces.bancho import client_bytes, unsent_packets
from tests.faces.bancho.vectors import BODIES, CLIENT_VECTORS, SERVER_VECTORS, Vector

from kiai.faces.bancho import packets, wire
from kiai.faces.bancho.packets import READERS, BeatmapInfoEntry, ClientPacket, MatchForm, ServerPacket, SlotForm, read
from kiai.faces.bancho.wire import MalformedPacket, packets_in
from kiai.multiplayer.match import Match, Slot

Fields = Mapping[str, Any]

CHANNEL_JOIN = wire.packet(63, wire.string("#osu"))
JOINED = (63, wire.string("#osu"))


def a_match(fields: Fields) -> Match:
    return Match(
        name=fields["name"],
        password=fields["password"],
        mode=fields["mode"],
        mods=fields["mods"],
        seed=fields["seed"],
        host_id=fields["host_id"],
        host_name="host",
        in_progress=bool(fields["in_progress"]),
        map_id=fields["map_id"],
        map_md5=fields["map_md5"],
        map_name=fields["map_name"],
        team_type=fields["team_type"],
        win_condition=fields["win_condition"],
        free_mods=bool(fields["freemod"]),
        slots=tuple(Slot(slot["status"], slot["team"], slot["mods"], slot["user_id"] or 0) for slot in fields["slots"]),
    )


def a_form(fields: Fields) -> MatchForm:
    free_mods = bool(fields["freemod"])
    return MatchForm(
        id=fields["id"],
        in_progress=bool(fields["in_progress"]),
        mods=fields["mods"],
        name=fields["name"],
        password=fields["password"],
        map_name=fields["map_name"],
        map_id=fields["map_id"],
        map_md5=fields["map_md5"],
        slots=tuple(
            SlotForm(slot["status"], slot["team"], slot["mods"] if free_mods else 0, slot["user_id"] or 0)
            for slot in fields["slots"]
        ),
        host_id=fields["host_id"],
        mode=fields["mode"],
        win_condition=fields["win_condition"],
        team_type=fields["team_type"],
        free_mods=free_mods,
        seed=fields["seed"],
    )


def number(write: Callable[[int], bytes]) -> Callable[[Fields], bytes]:
    """Return a writer call with the only field."""

    def written(fields: Fields) -> bytes:
        (only,) = fields.values()
        return write(only)

    return written


def named(write: Callable[..., bytes]) -> Callable[[Fields], bytes]:
    """Return a writer call with the fields as keyword arguments."""
    return lambda fields: write(**fields)


def empty(write: Callable[[], bytes]) -> Callable[[Fields], bytes]:
    """Return a writer call without fields."""
    return lambda fields: write()


WRITERS: Mapping[int, Callable[[Fields], bytes]] = {
    ServerPacket.LOGIN_REPLY: number(packets.login_reply),
    ServerPacket.SEND_MESSAGE: named(packets.message),
    ServerPacket.PING: empty(unsent_packets.ping),
    ServerPacket.IRC_CHANGE_USERNAME: named(unsent_packets.irc_change_username),
    ServerPacket.USER_STATS: named(packets.user_stats),
    ServerPacket.USER_LOGOUT: named(packets.user_logout),
    ServerPacket.SPECTATOR_JOINED: number(packets.spectator_joined),
    ServerPacket.SPECTATOR_LEFT: number(packets.spectator_left),
    ServerPacket.SPECTATE_FRAMES: lambda fields: packets.spectate_frames(client_bytes.bundle(fields)),
    ServerPacket.VERSION_UPDATE: empty(packets.version_update),
    ServerPacket.SPECTATOR_CANT_SPECTATE: number(packets.cant_spectate),
    ServerPacket.GET_ATTENTION: empty(unsent_packets.get_attention),
    ServerPacket.NOTIFICATION: named(packets.notification),
    ServerPacket.MATCH_UPDATE: lambda fields: packets.match_update(fields["id"], a_match(fields), hide_password=False),
    ServerPacket.MATCH_NEW: lambda fields: packets.match_new(fields["id"], a_match(fields)),
    ServerPacket.MATCH_DISPOSE: number(packets.match_dispose),
    ServerPacket.MATCH_JOIN_SUCCESS: lambda fields: packets.match_join_success(fields["id"], a_match(fields)),
    ServerPacket.MATCH_JOIN_FAIL: empty(packets.match_join_fail),
    ServerPacket.FELLOW_SPECTATOR_JOINED: number(packets.fellow_spectator_joined),
    ServerPacket.FELLOW_SPECTATOR_LEFT: number(packets.fellow_spectator_left),
    ServerPacket.MATCH_START: lambda fields: packets.match_start(fields["id"], a_match(fields)),
    ServerPacket.MATCH_SCORE_UPDATE: lambda fields: packets.match_score_update(
        client_bytes.score_frame({**fields, "id": 99}), fields["id"]
    ),
    ServerPacket.MATCH_TRANSFER_HOST: empty(packets.match_transfer_host),
    ServerPacket.MATCH_ALL_PLAYERS_LOADED: empty(packets.match_all_players_loaded),
    ServerPacket.MATCH_PLAYER_FAILED: number(packets.match_player_failed),
    ServerPacket.MATCH_COMPLETE: empty(packets.match_complete),
    ServerPacket.MATCH_SKIP: empty(packets.match_skip),
    ServerPacket.CHANNEL_JOIN_SUCCESS: named(packets.channel_join_success),
    ServerPacket.CHANNEL_INFO: named(packets.channel_info),
    ServerPacket.CHANNEL_KICK: named(packets.channel_kick),
    ServerPacket.CHANNEL_AUTO_JOIN: named(packets.channel_auto_join),
    ServerPacket.BEATMAP_INFO_REPLY: lambda fields: packets.beatmap_info_reply(
        [
            BeatmapInfoEntry(**{name: value for name, value in entry.items() if name != "thread_id"})
            for entry in fields["beatmaps"]
        ]
    ),
    ServerPacket.PRIVILEGES: number(packets.privileges),
    ServerPacket.FRIENDS_LIST: named(packets.friends_list),
    ServerPacket.PROTOCOL_VERSION: named(packets.protocol_version),
    ServerPacket.MAIN_MENU_ICON: named(packets.main_menu_icon),
    ServerPacket.MATCH_PLAYER_SKIPPED: number(packets.match_player_skipped),
    ServerPacket.USER_PRESENCE: named(packets.user_presence),
    ServerPacket.RESTART: number(packets.restart),
    ServerPacket.MATCH_INVITE: named(packets.match_invite),
    ServerPacket.CHANNEL_INFO_END: empty(packets.channel_info_end),
    ServerPacket.MATCH_CHANGE_PASSWORD: named(packets.match_change_password),
    ServerPacket.SILENCE_END: named(packets.silence_end),
    ServerPacket.USER_SILENCED: number(packets.user_silenced),
    ServerPacket.USER_PRESENCE_SINGLE: number(packets.user_presence_single),
    ServerPacket.USER_PRESENCE_BUNDLE: named(packets.user_presence_bundle),
    ServerPacket.USER_DM_BLOCKED: lambda fields: packets.user_dm_blocked(fields["recipient"]),
    ServerPacket.TARGET_IS_SILENCED: lambda fields: packets.target_is_silenced(fields["recipient"]),
    ServerPacket.VERSION_UPDATE_FORCED: empty(unsent_packets.version_update_forced),
    ServerPacket.SWITCH_SERVER: number(unsent_packets.switch_server),
    ServerPacket.ACCOUNT_RESTRICTED: empty(packets.account_restricted),
    ServerPacket.MATCH_ABORT: empty(packets.match_abort),
    ServerPacket.SWITCH_TOURNAMENT_SERVER: named(unsent_packets.switch_tournament_server),
}


def meaning(vector: Vector) -> object:
    """Return the value that reading the packet must give."""
    fields = vector.fields
    match vector.id:
        case ClientPacket.CHANGE_ACTION:
            return packets.ChangeAction(**fields)
        case ClientPacket.SEND_PUBLIC_MESSAGE | ClientPacket.SEND_PRIVATE_MESSAGE | ClientPacket.SET_AWAY_MESSAGE:
            return packets.ClientMessage(**fields)
        case ClientPacket.CREATE_MATCH | ClientPacket.MATCH_CHANGE_SETTINGS | ClientPacket.MATCH_CHANGE_PASSWORD:
            return a_form(fields)
        case ClientPacket.JOIN_MATCH:
            return packets.JoinMatch(**fields)
        case ClientPacket.BEATMAP_INFO_REQUEST:
            return packets.BeatmapInfoRequest(tuple(fields["filenames"]), tuple(fields["ids"]))
        case ClientPacket.SPECTATE_FRAMES:
            return client_bytes.bundle(fields)
        case ClientPacket.MATCH_SCORE_UPDATE:
            return client_bytes.score_frame(fields)
        case ClientPacket.USER_STATS_REQUEST | ClientPacket.USER_PRESENCE_REQUEST:
            return tuple(fields["ids"])
        case _ if fields:
            (only,) = fields.values()
            return only
        case _:
            return None


def named_by(vector: Vector) -> str:
    return f"{vector.id}-{vector.name}"


def test_vectors_cover_every_packet() -> None:
    assert {vector.id for vector in CLIENT_VECTORS} == set(READERS)
    assert {vector.id for vector in SERVER_VECTORS} == set(WRITERS)


@pytest.mark.parametrize("vector", SERVER_VECTORS, ids=named_by)
def test_written_packet_equals_the_vector(vector: Vector) -> None:
    if "hidden" in vector.note:
        written = packets.match_update(vector.fields["id"], a_match(vector.fields), hide_password=True)
    else:
        assert vector.id is not None
        written = WRITERS[vector.id](vector.fields)
    assert written.hex() == vector.encoded.hex()


@pytest.mark.parametrize("vector", CLIENT_VECTORS, ids=named_by)
def test_read_packet_equals_the_vector(vector: Vector) -> None:
    # `packets_in` omits PONG.
    found = packets_in(vector.encoded)
    assert found == ([] if vector.id == ClientPacket.PONG else [(vector.id, vector.encoded[wire.HEADER_BYTES :])])
    assert vector.id is not None
    assert read(vector.id, vector.encoded[wire.HEADER_BYTES :]) == meaning(vector)


@pytest.mark.parametrize("vector", CLIENT_VECTORS, ids=named_by)
def test_client_bytes_of_tests_equal_the_vectors(vector: Vector) -> None:
    assert vector.id is not None
    assert client_bytes.whole(vector.id, meaning(vector)).hex() == vector.encoded.hex()


def test_all_vectors_in_one_body_are_read() -> None:
    body = b"".join(vector.encoded for vector in CLIENT_VECTORS)
    expected = [(vector.id, meaning(vector)) for vector in CLIENT_VECTORS if vector.id != ClientPacket.PONG]
    assert [(packet_id, read(packet_id, payload)) for packet_id, payload in packets_in(body)] == expected


def test_body_with_several_packets_is_read() -> None:
    found = packets_in(BODIES["BODY_OF_SEVERAL_PACKETS"].encoded)
    values = [(packet_id, read(packet_id, payload)) for packet_id, payload in found]
    assert values == [(ClientPacket.CHANNEL_JOIN, "#lobby"), (ClientPacket.JOIN_LOBBY, None)]


def test_body_with_an_unknown_packet_is_read() -> None:
    found = packets_in(BODIES["BODY_WITH_UNKNOWN_PACKET"].encoded + CHANNEL_JOIN)
    assert found == [(0x1234, b"\xde\xad"), JOINED]


def test_reply_to_an_unknown_token_equals_the_vector() -> None:
    written = packets.notification("Server has restarted.") + packets.restart(0)
    assert written == BODIES["BODY_UNKNOWN_TOKEN"].encoded


@pytest.mark.parametrize("vector", CLIENT_VECTORS, ids=named_by)
def test_truncated_body_loses_only_the_truncated_packet(vector: Vector) -> None:
    for size in range(len(vector.encoded)):
        assert packets_in(CHANNEL_JOIN + vector.encoded[:size]) == [JOINED]


@pytest.mark.parametrize("vector", CLIENT_VECTORS, ids=named_by)
def test_truncated_payload_loses_only_its_packet(vector: Vector) -> None:
    assert vector.id is not None
    payload = vector.encoded[wire.HEADER_BYTES :]
    for size in range(len(payload)):
        body = CHANNEL_JOIN + wire.packet(vector.id, payload[:size]) + CHANNEL_JOIN
        found = packets_in(body)
        assert found == [JOINED, (vector.id, payload[:size]), JOINED]
        try:
            read(vector.id, payload[:size])
        except MalformedPacket:
            continue


def test_body_truncated_at_any_byte_keeps_earlier_packets() -> None:
    body = b"".join(vector.encoded for vector in CLIENT_VECTORS)
    ends = list(accumulate(len(vector.encoded) for vector in CLIENT_VECTORS))
    returned = [vector.id != ClientPacket.PONG for vector in CLIENT_VECTORS]
    for size in range(len(body) + 1):
        whole = sum(is_returned for end, is_returned in zip(ends, returned, strict=True) if end <= size)
        assert len(packets_in(body[:size])) == whole

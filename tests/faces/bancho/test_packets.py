"""The rules of each packet: ids, malformed payloads, bounds (docs/spec/protocol.md)."""

import inspect
import math
import struct
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from tests.faces.bancho import client_bytes, unsent_packets

from kiai.faces.bancho import packets, wire
from kiai.faces.bancho.packets import (
    READERS,
    BeatmapInfoEntry,
    BeatmapInfoRequest,
    ClientPacket,
    MatchForm,
    ServerPacket,
    read,
)
from kiai.faces.bancho.wire import MalformedPacket, PayloadReader
from kiai.multiplayer.match import LOCKED, NOT_READY, OPEN, PLAYING, QUIT, SLOTS, Match, Slot

SECTION_7 = {
    0: "CHANGE_ACTION",
    1: "SEND_PUBLIC_MESSAGE",
    2: "LOGOUT",
    3: "REQUEST_STATUS_UPDATE",
    4: "PONG",
    16: "START_SPECTATING",
    17: "STOP_SPECTATING",
    18: "SPECTATE_FRAMES",
    20: "ERROR_REPORT",
    21: "CANT_SPECTATE",
    25: "SEND_PRIVATE_MESSAGE",
    29: "PART_LOBBY",
    30: "JOIN_LOBBY",
    31: "CREATE_MATCH",
    32: "JOIN_MATCH",
    33: "PART_MATCH",
    38: "MATCH_CHANGE_SLOT",
    39: "MATCH_READY",
    40: "MATCH_LOCK",
    41: "MATCH_CHANGE_SETTINGS",
    44: "MATCH_START",
    47: "MATCH_SCORE_UPDATE",
    49: "MATCH_COMPLETE",
    51: "MATCH_CHANGE_MODS",
    52: "MATCH_LOAD_COMPLETE",
    54: "MATCH_NO_BEATMAP",
    55: "MATCH_NOT_READY",
    56: "MATCH_FAILED",
    59: "MATCH_HAS_BEATMAP",
    60: "MATCH_SKIP_REQUEST",
    63: "CHANNEL_JOIN",
    68: "BEATMAP_INFO_REQUEST",
    70: "MATCH_TRANSFER_HOST",
    73: "FRIEND_ADD",
    74: "FRIEND_REMOVE",
    77: "MATCH_CHANGE_TEAM",
    78: "CHANNEL_PART",
    79: "RECEIVE_UPDATES",
    82: "SET_AWAY_MESSAGE",
    84: "IRC_ONLY",
    85: "USER_STATS_REQUEST",
    87: "MATCH_INVITE",
    90: "MATCH_CHANGE_PASSWORD",
    93: "TOURNAMENT_MATCH_INFO_REQUEST",
    97: "USER_PRESENCE_REQUEST",
    98: "USER_PRESENCE_REQUEST_ALL",
    99: "TOGGLE_BLOCK_NON_FRIEND_DMS",
    108: "TOURNAMENT_JOIN_MATCH_CHANNEL",
    109: "TOURNAMENT_LEAVE_MATCH_CHANNEL",
}
SECTION_8 = {
    5: "LOGIN_REPLY",
    6: "COMMAND_ERROR",
    7: "SEND_MESSAGE",
    8: "PING",
    9: "IRC_CHANGE_USERNAME",
    10: "IRC_QUIT",
    11: "USER_STATS",
    12: "USER_LOGOUT",
    13: "SPECTATOR_JOINED",
    14: "SPECTATOR_LEFT",
    15: "SPECTATE_FRAMES",
    19: "VERSION_UPDATE",
    22: "SPECTATOR_CANT_SPECTATE",
    23: "GET_ATTENTION",
    24: "NOTIFICATION",
    26: "MATCH_UPDATE",
    27: "MATCH_NEW",
    28: "MATCH_DISPOSE",
    34: "LOBBY_JOIN",
    35: "LOBBY_PART",
    36: "MATCH_JOIN_SUCCESS",
    37: "MATCH_JOIN_FAIL",
    42: "FELLOW_SPECTATOR_JOINED",
    43: "FELLOW_SPECTATOR_LEFT",
    45: "ALL_PLAYERS_LOADED",
    46: "MATCH_START",
    48: "MATCH_SCORE_UPDATE",
    50: "MATCH_TRANSFER_HOST",
    53: "MATCH_ALL_PLAYERS_LOADED",
    57: "MATCH_PLAYER_FAILED",
    58: "MATCH_COMPLETE",
    61: "MATCH_SKIP",
    62: "UNAUTHORIZED",
    64: "CHANNEL_JOIN_SUCCESS",
    65: "CHANNEL_INFO",
    66: "CHANNEL_KICK",
    67: "CHANNEL_AUTO_JOIN",
    69: "BEATMAP_INFO_REPLY",
    71: "PRIVILEGES",
    72: "FRIENDS_LIST",
    75: "PROTOCOL_VERSION",
    76: "MAIN_MENU_ICON",
    80: "MONITOR",
    81: "MATCH_PLAYER_SKIPPED",
    83: "USER_PRESENCE",
    84: "IRC_ONLY",
    86: "RESTART",
    88: "MATCH_INVITE",
    89: "CHANNEL_INFO_END",
    91: "MATCH_CHANGE_PASSWORD",
    92: "SILENCE_END",
    94: "USER_SILENCED",
    95: "USER_PRESENCE_SINGLE",
    96: "USER_PRESENCE_BUNDLE",
    100: "USER_DM_BLOCKED",
    101: "TARGET_IS_SILENCED",
    102: "VERSION_UPDATE_FORCED",
    103: "SWITCH_SERVER",
    104: "ACCOUNT_RESTRICTED",
    105: "RTX",
    106: "MATCH_ABORT",
    107: "SWITCH_TOURNAMENT_SERVER",
}
NEVER_SENT = {
    ServerPacket.COMMAND_ERROR,
    ServerPacket.IRC_QUIT,
    ServerPacket.LOBBY_JOIN,
    ServerPacket.LOBBY_PART,
    ServerPacket.ALL_PLAYERS_LOADED,
    ServerPacket.UNAUTHORIZED,
    ServerPacket.MONITOR,
    ServerPacket.IRC_ONLY,
    ServerPacket.RTX,
}

MATCH = Match(name="a room", host_id=3, host_name="a", slots=(Slot(NOT_READY, player_id=3), *(Slot(),) * 15))
STATS: dict[str, Any] = {
    "action": 0,
    "info_text": "",
    "map_md5": "",
    "mods": 0,
    "mode": 0,
    "map_id": 0,
    "ranked_score": 0,
    "accuracy": 0.0,
    "plays": 0,
    "total_score": 0,
    "rank": 0,
    "pp": 0,
}
PRESENCE: dict[str, Any] = {
    "name": "a",
    "utc_offset": 0,
    "country": 0,
    "privileges": 0,
    "mode": 0,
    "longitude": 0.0,
    "latitude": 0.0,
    "rank": 0,
}

SENT: dict[ServerPacket, Callable[[], bytes]] = {
    ServerPacket.LOGIN_REPLY: lambda: packets.login_reply(-1),
    ServerPacket.SEND_MESSAGE: lambda: packets.message("a", "b", "#osu", 3),
    ServerPacket.PING: unsent_packets.ping,
    ServerPacket.IRC_CHANGE_USERNAME: lambda: unsent_packets.irc_change_username("a", "b"),
    ServerPacket.USER_STATS: lambda: packets.user_stats(3, **STATS),
    ServerPacket.USER_LOGOUT: lambda: packets.user_logout(3),
    ServerPacket.SPECTATOR_JOINED: lambda: packets.spectator_joined(3),
    ServerPacket.SPECTATOR_LEFT: lambda: packets.spectator_left(3),
    ServerPacket.SPECTATE_FRAMES: lambda: packets.spectate_frames(b"abc"),
    ServerPacket.VERSION_UPDATE: packets.version_update,
    ServerPacket.SPECTATOR_CANT_SPECTATE: lambda: packets.cant_spectate(3),
    ServerPacket.GET_ATTENTION: unsent_packets.get_attention,
    ServerPacket.NOTIFICATION: lambda: packets.notification("a"),
    ServerPacket.MATCH_UPDATE: lambda: packets.match_update(7, MATCH, hide_password=True),
    ServerPacket.MATCH_NEW: lambda: packets.match_new(7, MATCH),
    ServerPacket.MATCH_DISPOSE: lambda: packets.match_dispose(7),
    ServerPacket.MATCH_JOIN_SUCCESS: lambda: packets.match_join_success(7, MATCH),
    ServerPacket.MATCH_JOIN_FAIL: packets.match_join_fail,
    ServerPacket.FELLOW_SPECTATOR_JOINED: lambda: packets.fellow_spectator_joined(3),
    ServerPacket.FELLOW_SPECTATOR_LEFT: lambda: packets.fellow_spectator_left(3),
    ServerPacket.MATCH_START: lambda: packets.match_start(7, MATCH),
    ServerPacket.MATCH_SCORE_UPDATE: lambda: packets.match_score_update(bytes(29), 3),
    ServerPacket.MATCH_TRANSFER_HOST: packets.match_transfer_host,
    ServerPacket.MATCH_ALL_PLAYERS_LOADED: packets.match_all_players_loaded,
    ServerPacket.MATCH_PLAYER_FAILED: lambda: packets.match_player_failed(3),
    ServerPacket.MATCH_COMPLETE: packets.match_complete,
    ServerPacket.MATCH_SKIP: packets.match_skip,
    ServerPacket.CHANNEL_JOIN_SUCCESS: lambda: packets.channel_join_success("#osu"),
    ServerPacket.CHANNEL_INFO: lambda: packets.channel_info("#osu", "a", 3),
    ServerPacket.CHANNEL_KICK: lambda: packets.channel_kick("#osu"),
    ServerPacket.CHANNEL_AUTO_JOIN: lambda: packets.channel_auto_join("#osu", "a", 3),
    ServerPacket.BEATMAP_INFO_REPLY: lambda: packets.beatmap_info_reply(()),
    ServerPacket.PRIVILEGES: lambda: packets.privileges(5),
    ServerPacket.FRIENDS_LIST: lambda: packets.friends_list((1, 2)),
    ServerPacket.PROTOCOL_VERSION: lambda: packets.protocol_version(19),
    ServerPacket.MAIN_MENU_ICON: lambda: packets.main_menu_icon("a", "b"),
    ServerPacket.MATCH_PLAYER_SKIPPED: lambda: packets.match_player_skipped(3),
    ServerPacket.USER_PRESENCE: lambda: packets.user_presence(3, **PRESENCE),
    ServerPacket.RESTART: lambda: packets.restart(0),
    ServerPacket.MATCH_INVITE: lambda: packets.match_invite("a", "b", "c", 3),
    ServerPacket.CHANNEL_INFO_END: packets.channel_info_end,
    ServerPacket.MATCH_CHANGE_PASSWORD: lambda: packets.match_change_password("a"),
    ServerPacket.SILENCE_END: lambda: packets.silence_end(3),
    ServerPacket.USER_SILENCED: lambda: packets.user_silenced(3),
    ServerPacket.USER_PRESENCE_SINGLE: lambda: packets.user_presence_single(3),
    ServerPacket.USER_PRESENCE_BUNDLE: lambda: packets.user_presence_bundle((1, 2)),
    ServerPacket.USER_DM_BLOCKED: lambda: packets.user_dm_blocked("a"),
    ServerPacket.TARGET_IS_SILENCED: lambda: packets.target_is_silenced("a"),
    ServerPacket.VERSION_UPDATE_FORCED: unsent_packets.version_update_forced,
    ServerPacket.SWITCH_SERVER: lambda: unsent_packets.switch_server(3),
    ServerPacket.ACCOUNT_RESTRICTED: packets.account_restricted,
    ServerPacket.MATCH_ABORT: packets.match_abort,
    ServerPacket.SWITCH_TOURNAMENT_SERVER: lambda: unsent_packets.switch_tournament_server("a"),
}


def only(body: bytes) -> tuple[int, bytes]:
    """Return the only packet of a body."""
    (found,) = wire.packets_in(body)
    return found


def a_form(**changes: Any) -> MatchForm:
    form = MatchForm(
        id=0,
        in_progress=False,
        mods=0,
        name="a room",
        password="",
        map_name="",
        map_id=-1,
        map_md5="",
        slots=tuple(packets.SlotForm(OPEN, 0, 0, 0) for _ in range(SLOTS)),
        host_id=3,
        mode=0,
        win_condition=0,
        team_type=0,
        free_mods=False,
        seed=0,
    )
    return msgspec.structs.replace(form, **changes)


# --- tables


def test_client_packet_ids_match_the_specification() -> None:
    assert {member.value: member.name for member in ClientPacket} == SECTION_7


def test_server_packet_ids_match_the_specification() -> None:
    assert {member.value: member.name for member in ServerPacket} == SECTION_8


def test_every_client_packet_has_a_reader() -> None:
    assert set(READERS) == set(SECTION_7) - {ClientPacket.IRC_ONLY}


def test_every_server_packet_has_a_writer_or_is_never_sent() -> None:
    assert set(SENT) == set(ServerPacket) - NEVER_SENT


@pytest.mark.parametrize("packet_id", list(SENT), ids=lambda packet_id: packet_id.name)
def test_writer_encodes_one_packet_with_its_id(packet_id: ServerPacket) -> None:
    written = SENT[packet_id]()
    head = struct.unpack_from("<HBI", written)
    assert head == (packet_id, 0, len(written) - wire.HEADER_BYTES)


def test_every_writer_is_in_the_table() -> None:
    public = {
        name
        for module in (packets, unsent_packets)
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not name.startswith("_") and name not in ("read", "number")
    }
    names = {member.name.lower() for member in SENT}
    names = names - {"send_message", "spectator_cant_spectate"} | {"message", "cant_spectate"}
    assert public == names


@pytest.mark.parametrize("packet_id", sorted(READERS))
def test_empty_payload_is_read_or_malformed(packet_id: int) -> None:
    try:
        value = read(packet_id, b"")
    except MalformedPacket:
        return
    assert value in (None, 0, b"")


@pytest.mark.parametrize("packet_id", [5, 84, 88, 110, 65_535, -1])
def test_unknown_packet_id_is_malformed(packet_id: int) -> None:
    with pytest.raises(MalformedPacket):
        read(packet_id, bytes(100))


# --- packets of clients


@pytest.mark.parametrize("packet_id", [ClientPacket.LOGOUT, ClientPacket.USER_PRESENCE_REQUEST_ALL])
def test_logout_and_presence_request_all_can_be_empty_but_not_truncated(packet_id: ClientPacket) -> None:
    assert read(packet_id, b"") == 0
    assert read(packet_id, struct.pack("<i", 1)) == 1
    with pytest.raises(MalformedPacket):
        read(packet_id, bytes(3))


def test_bytes_after_the_payload_are_ignored() -> None:
    assert read(ClientPacket.FRIEND_ADD, struct.pack("<i", 7) + b"more") == 7
    assert read(ClientPacket.MATCH_READY, b"more") is None


def test_mods_are_bits_and_never_negative() -> None:
    assert read(ClientPacket.MATCH_CHANGE_MODS, b"\xff\xff\xff\xff") == 2**32 - 1


@pytest.mark.parametrize(("size", "fits"), [(0, 0), (1, 0), (28, 0), (29, 1), (45, 1), (128, 1), (129, 0), (65_000, 0)])
def test_score_frame_has_29_to_128_bytes(size: int, fits: int) -> None:
    frame = bytes(size)
    if fits:
        assert read(ClientPacket.MATCH_SCORE_UPDATE, frame) == frame
    else:
        with pytest.raises(MalformedPacket):
            read(ClientPacket.MATCH_SCORE_UPDATE, frame)


@pytest.mark.parametrize("size", [0, 1, 71, 65_536])
def test_spectate_frames_are_not_decoded(size: int) -> None:
    assert read(ClientPacket.SPECTATE_FRAMES, bytes(size)) == bytes(size)


@pytest.mark.parametrize(
    ("packet_id", "most"),
    [(ClientPacket.USER_STATS_REQUEST, 32), (ClientPacket.USER_PRESENCE_REQUEST, 256)],
)
@pytest.mark.parametrize("count", [0, 1, 400, 65_535])
def test_requested_ids_are_unique_and_bounded(packet_id: ClientPacket, most: int, count: int) -> None:
    # Given each id twice, some negative
    ids = [number for number in range(-100, 300) for _ in range(2)]
    # When the count is smaller, right or larger
    requested = read(packet_id, struct.pack(f"<H{len(ids)}i", count, *ids))
    # Then
    there = min(count, len(ids))
    assert requested == tuple(dict.fromkeys(ids[:there]))[:most]


@pytest.mark.parametrize("field", ["mode", "win_condition", "team_type"])
def test_match_with_an_unknown_mode_or_type_is_malformed(field: str) -> None:
    assert read(ClientPacket.CREATE_MATCH, client_bytes.payload(31, a_form(**{field: 3}))) == a_form(**{field: 3})
    with pytest.raises(MalformedPacket):
        read(ClientPacket.CREATE_MATCH, client_bytes.payload(31, a_form(**{field: 4})))


def test_nonzero_flag_is_true() -> None:
    form = a_form(in_progress=True, free_mods=True)
    payload = bytearray(client_bytes.payload(31, form))
    payload[2] = 200
    payload[-4 - 4 * SLOTS - 1] = 200
    assert read(ClientPacket.CREATE_MATCH, bytes(payload)) == form


def test_slots_without_a_player_have_no_user_id() -> None:
    statuses = (NOT_READY, LOCKED, QUIT, PLAYING, OPEN)
    slots = tuple(packets.SlotForm(status, 0, 0, 5 if status in (NOT_READY, PLAYING) else 0) for status in statuses)
    form = a_form(slots=slots + a_form().slots[len(slots) :])
    assert read(ClientPacket.CREATE_MATCH, client_bytes.payload(31, form)) == form


@pytest.mark.parametrize("count", [-1, 0])
def test_beatmap_request_can_have_only_ids(count: int) -> None:
    payload = struct.pack("<ii2i", count, 2, 75, 76)
    assert read(ClientPacket.BEATMAP_INFO_REQUEST, payload) == BeatmapInfoRequest((), (75, 76))


def test_beatmap_request_is_bounded() -> None:
    count = packets.BEATMAPS_REQUESTED_MAX + 1
    ids = struct.pack(f"<ii{count}i", 0, count, *range(count))
    assert read(ClientPacket.BEATMAP_INFO_REQUEST, ids) == BeatmapInfoRequest((), tuple(range(count - 1)))
    names = struct.pack("<i", count) + wire.string("a.osu") * count + struct.pack("<ii", 1, 75)
    assert read(ClientPacket.BEATMAP_INFO_REQUEST, names) == BeatmapInfoRequest(("a.osu",) * (count - 1), ())


def test_beatmap_request_with_too_large_a_count_is_malformed() -> None:
    with pytest.raises(MalformedPacket):
        read(ClientPacket.BEATMAP_INFO_REQUEST, struct.pack("<i", 2**31 - 1) + wire.string("a.osu"))


# --- packets of the server


def test_only_the_match_receives_its_password() -> None:
    match = msgspec.structs.replace(MATCH, password="secret")
    for hidden in (packets.match_new(7, match), packets.match_update(7, match, hide_password=True)):
        assert b"secret" not in hidden
        assert wire.string("a room") + b"\x0b\x00" in hidden
    for clear in (
        packets.match_update(7, match, hide_password=False),
        packets.match_join_success(7, match),
        packets.match_start(7, match),
    ):
        assert wire.string("a room") + wire.string("secret") in clear


def test_match_without_password_is_written_as_open() -> None:
    assert wire.string("a room") + b"\x00" in packets.match_new(7, MATCH)
    assert packets.match_update(7, MATCH, hide_password=True) == packets.match_update(7, MATCH, hide_password=False)


@pytest.mark.parametrize(
    "slots",
    [
        pytest.param((Slot(NOT_READY), *(Slot(),) * 15), id="a taken slot without its player"),
        pytest.param((Slot(),) * 15, id="15 slots"),
    ],
)
def test_match_with_a_player_slot_without_id_is_not_written(slots: tuple[Slot, ...]) -> None:
    with pytest.raises(AssertionError):
        packets.match_update(7, msgspec.structs.replace(MATCH, slots=slots), hide_password=True)


def test_player_id_in_an_open_slot_is_not_written() -> None:
    left = msgspec.structs.replace(MATCH, slots=(Slot(QUIT, player_id=9), *MATCH.slots[:1], *(Slot(),) * 14))
    form = read(ClientPacket.CREATE_MATCH, only(packets.match_new(7, left))[1])
    assert isinstance(form, MatchForm)
    assert [slot.user_id for slot in form.slots[:3]] == [0, 3, 0]


def test_written_match_can_be_read_as_a_client_form() -> None:
    seats = tuple(Slot(NOT_READY, team=seat % 3, mods=seat, player_id=100 + seat) for seat in range(SLOTS))
    match = Match(
        name="a",
        password="b",
        mode=3,
        mods=64,
        seed=-5,
        host_id=100,
        host_name="c",
        in_progress=True,
        map_id=75,
        map_md5="d" * 32,
        map_name="e",
        team_type=2,
        win_condition=1,
        free_mods=True,
        slots=seats,
    )
    form = read(ClientPacket.CREATE_MATCH, only(packets.match_join_success(70_000, match))[1])
    assert form == MatchForm(
        id=65_535,
        in_progress=True,
        mods=64,
        name="a",
        password="b",
        map_name="e",
        map_id=75,
        map_md5="d" * 32,
        slots=tuple(packets.SlotForm(seat.status, seat.team, seat.mods, seat.player_id) for seat in seats),
        host_id=100,
        mode=3,
        win_condition=1,
        team_type=2,
        free_mods=True,
        seed=-5,
    )


def test_pp_is_limited_to_its_field() -> None:
    written = packets.user_stats(3, **{**STATS, "pp": 70_000})
    assert written[-2:] == b"\xff\xff"


@pytest.mark.parametrize("number", [-(2**70), -1, 2**70])
def test_stats_and_presence_accept_any_number(number: int) -> None:
    stats: dict[str, Any] = {name: number if isinstance(value, int) else value for name, value in STATS.items()}
    presence: dict[str, Any] = {name: number if isinstance(value, int) else value for name, value in PRESENCE.items()}
    assert len(packets.user_stats(number, **stats)) == 53
    assert len(packets.user_presence(number, **presence)) == 7 + 19 + 3


def test_infinite_and_nan_floats_are_written() -> None:
    for odd in (math.inf, -math.inf, math.nan, 1e300):
        assert len(packets.user_stats(3, **{**STATS, "accuracy": odd})) == 53


def test_tournament_bit_does_not_change_the_mode() -> None:
    payload = only(packets.user_presence(3, **{**PRESENCE, "privileges": 0xFF, "mode": 2}))[1]
    assert payload[4 + 3 + 2] == 0x1F | 2 << 5


@pytest.mark.parametrize(("users", "limited"), [(0, 0), (32_767, 32_767), (40_000, 32_767)])
def test_channel_user_count_is_limited_to_32767(users: int, limited: int) -> None:
    for written in (packets.channel_info("#osu", "", users), packets.channel_auto_join("#osu", "", users)):
        assert written[-2:] == struct.pack("<h", limited)


def test_score_frame_is_relayed_with_the_servers_slot() -> None:
    frame = bytes(range(45))
    assert only(packets.match_score_update(frame, 15)) == (48, frame[:4] + b"\x0f" + frame[5:])


def test_spectate_frames_are_relayed_unchanged() -> None:
    assert only(packets.spectate_frames(b"anything")) == (15, b"anything")


def test_presence_bundle_has_packets_of_512_ids() -> None:
    found = wire.packets_in(packets.user_presence_bundle(range(1_100)))
    assert [packet_id for packet_id, _ in found] == [96] * 3
    assert [len(PayloadReader(payload).i32_list(2_000)) for _, payload in found] == [512, 512, 76]
    assert packets.user_presence_bundle(()) == b""


@pytest.mark.parametrize(("image", "click"), [("", ""), ("a|b", "c|d|e"), ("https://a.test/i.png", "https://a.test")])
def test_menu_icon_has_exactly_one_separator(image: str, click: str) -> None:
    assert PayloadReader(only(packets.main_menu_icon(image, click))[1]).string().count("|") == 1


def test_beatmap_info_has_the_field_order_of_the_protocol() -> None:
    entry = BeatmapInfoEntry(index=-1, map_id=75, set_id=1, status=-1, osu=0, fruits=1, taiko=2, mania=9, md5="")
    expected = struct.pack("<ihiiibbbbb", 1, -1, 75, 1, 0, -1, 0, 1, 2, 9) + b"\x00"
    assert only(packets.beatmap_info_reply([entry])) == (69, expected)

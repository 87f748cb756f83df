"""The encoded examples byte for byte, and each of them cut at every byte."""

from collections.abc import Callable, Mapping
from itertools import accumulate
from typing import Any

import pytest
from tests.faces.bancho import client_bytes
from tests.faces.bancho.vectors import BODIES, SAID, SENT, Vector

from kiai.faces.bancho import packets, wire
from kiai.faces.bancho.packets import READERS, BeatmapInfo, Client, MatchForm, Server, SlotForm, read
from kiai.faces.bancho.wire import Malformed, packets_in
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
    """Writes the one field there is."""

    def written(fields: Fields) -> bytes:
        (only,) = fields.values()
        return write(only)

    return written


def named(write: Callable[..., bytes]) -> Callable[[Fields], bytes]:
    """Writes the fields by their names."""
    return lambda fields: write(**fields)


def empty(write: Callable[[], bytes]) -> Callable[[Fields], bytes]:
    """Writes what has no fields."""
    return lambda fields: write()


WRITERS: Mapping[int, Callable[[Fields], bytes]] = {
    Server.LOGIN_REPLY: number(packets.login_reply),
    Server.SEND_MESSAGE: named(packets.message),
    Server.PING: empty(packets.ping),
    Server.IRC_CHANGE_USERNAME: named(packets.irc_change_username),
    Server.USER_STATS: named(packets.user_stats),
    Server.USER_LOGOUT: named(packets.user_logout),
    Server.SPECTATOR_JOINED: number(packets.spectator_joined),
    Server.SPECTATOR_LEFT: number(packets.spectator_left),
    Server.SPECTATE_FRAMES: lambda fields: packets.spectate_frames(client_bytes.bundle(fields)),
    Server.VERSION_UPDATE: empty(packets.version_update),
    Server.SPECTATOR_CANT_SPECTATE: number(packets.cant_spectate),
    Server.GET_ATTENTION: empty(packets.get_attention),
    Server.NOTIFICATION: named(packets.notification),
    Server.MATCH_UPDATE: lambda fields: packets.match_update(fields["id"], a_match(fields), hide_password=False),
    Server.MATCH_NEW: lambda fields: packets.match_new(fields["id"], a_match(fields)),
    Server.MATCH_DISPOSE: number(packets.match_dispose),
    Server.MATCH_JOIN_SUCCESS: lambda fields: packets.match_join_success(fields["id"], a_match(fields)),
    Server.MATCH_JOIN_FAIL: empty(packets.match_join_fail),
    Server.FELLOW_SPECTATOR_JOINED: number(packets.fellow_spectator_joined),
    Server.FELLOW_SPECTATOR_LEFT: number(packets.fellow_spectator_left),
    Server.MATCH_START: lambda fields: packets.match_start(fields["id"], a_match(fields)),
    Server.MATCH_SCORE_UPDATE: lambda fields: packets.match_score_update(
        client_bytes.score_frame({**fields, "id": 99}), fields["id"]
    ),
    Server.MATCH_TRANSFER_HOST: empty(packets.match_transfer_host),
    Server.MATCH_ALL_PLAYERS_LOADED: empty(packets.match_all_players_loaded),
    Server.MATCH_PLAYER_FAILED: number(packets.match_player_failed),
    Server.MATCH_COMPLETE: empty(packets.match_complete),
    Server.MATCH_SKIP: empty(packets.match_skip),
    Server.CHANNEL_JOIN_SUCCESS: named(packets.channel_join_success),
    Server.CHANNEL_INFO: named(packets.channel_info),
    Server.CHANNEL_KICK: named(packets.channel_kick),
    Server.CHANNEL_AUTO_JOIN: named(packets.channel_auto_join),
    Server.BEATMAP_INFO_REPLY: lambda fields: packets.beatmap_info_reply(
        [
            BeatmapInfo(**{name: value for name, value in entry.items() if name != "thread_id"})
            for entry in fields["beatmaps"]
        ]
    ),
    Server.PRIVILEGES: number(packets.privileges),
    Server.FRIENDS_LIST: named(packets.friends_list),
    Server.PROTOCOL_VERSION: named(packets.protocol_version),
    Server.MAIN_MENU_ICON: named(packets.main_menu_icon),
    Server.MATCH_PLAYER_SKIPPED: number(packets.match_player_skipped),
    Server.USER_PRESENCE: named(packets.user_presence),
    Server.RESTART: number(packets.restart),
    Server.MATCH_INVITE: named(packets.match_invite),
    Server.CHANNEL_INFO_END: empty(packets.channel_info_end),
    Server.MATCH_CHANGE_PASSWORD: named(packets.match_change_password),
    Server.SILENCE_END: named(packets.silence_end),
    Server.USER_SILENCED: number(packets.user_silenced),
    Server.USER_PRESENCE_SINGLE: number(packets.user_presence_single),
    Server.USER_PRESENCE_BUNDLE: named(packets.user_presence_bundle),
    Server.USER_DM_BLOCKED: lambda fields: packets.user_dm_blocked(fields["recipient"]),
    Server.TARGET_IS_SILENCED: lambda fields: packets.target_is_silenced(fields["recipient"]),
    Server.VERSION_UPDATE_FORCED: empty(packets.version_update_forced),
    Server.SWITCH_SERVER: number(packets.switch_server),
    Server.ACCOUNT_RESTRICTED: empty(packets.account_restricted),
    Server.MATCH_ABORT: empty(packets.match_abort),
    Server.SWITCH_TOURNAMENT_SERVER: named(packets.switch_tournament_server),
}


def meaning(vector: Vector) -> object:
    """What reading the packet must give."""
    fields = vector.fields
    match vector.id:
        case Client.CHANGE_ACTION:
            return packets.ChangeAction(**fields)
        case Client.SEND_PUBLIC_MESSAGE | Client.SEND_PRIVATE_MESSAGE | Client.SET_AWAY_MESSAGE:
            return packets.Message(**fields)
        case Client.CREATE_MATCH | Client.MATCH_CHANGE_SETTINGS | Client.MATCH_CHANGE_PASSWORD:
            return a_form(fields)
        case Client.JOIN_MATCH:
            return packets.JoinMatch(**fields)
        case Client.BEATMAP_INFO_REQUEST:
            return packets.BeatmapInfoRequest(tuple(fields["filenames"]), tuple(fields["ids"]))
        case Client.SPECTATE_FRAMES:
            return client_bytes.bundle(fields)
        case Client.MATCH_SCORE_UPDATE:
            return client_bytes.score_frame(fields)
        case Client.USER_STATS_REQUEST | Client.USER_PRESENCE_REQUEST:
            return tuple(fields["ids"])
        case _ if fields:
            (only,) = fields.values()
            return only
        case _:
            return None


def named_by(vector: Vector) -> str:
    return f"{vector.id}-{vector.name}"


def test_the_examples_cover_every_packet() -> None:
    assert {vector.id for vector in SAID} == set(READERS)
    assert {vector.id for vector in SENT} == set(WRITERS)


@pytest.mark.parametrize("vector", SENT, ids=named_by)
def test_what_we_write_is_the_example(vector: Vector) -> None:
    if "hidden" in vector.note:
        written = packets.match_update(vector.fields["id"], a_match(vector.fields), hide_password=True)
    else:
        assert vector.id is not None
        written = WRITERS[vector.id](vector.fields)
    assert written.hex() == vector.encoded.hex()


@pytest.mark.parametrize("vector", SAID, ids=named_by)
def test_what_we_read_is_what_the_example_says(vector: Vector) -> None:
    # PONG is left out of a body, for it says nothing.
    found = packets_in(vector.encoded)
    assert found == ([] if vector.id == Client.PONG else [(vector.id, vector.encoded[wire.HEADER_BYTES :])])
    assert vector.id is not None
    assert read(vector.id, vector.encoded[wire.HEADER_BYTES :]) == meaning(vector)


@pytest.mark.parametrize("vector", SAID, ids=named_by)
def test_what_the_other_tests_say_is_what_the_example_says(vector: Vector) -> None:
    assert vector.id is not None
    assert client_bytes.whole(vector.id, meaning(vector)).hex() == vector.encoded.hex()


def test_all_examples_in_one_body_are_read_alike() -> None:
    body = b"".join(vector.encoded for vector in SAID)
    expected = [(vector.id, meaning(vector)) for vector in SAID if vector.id != Client.PONG]
    assert [(packet_id, read(packet_id, payload)) for packet_id, payload in packets_in(body)] == expected


def test_several_packets_in_one_body() -> None:
    found = packets_in(BODIES["BODY_OF_SEVERAL_PACKETS"].encoded)
    said = [(packet_id, read(packet_id, payload)) for packet_id, payload in found]
    assert said == [(Client.CHANNEL_JOIN, "#lobby"), (Client.JOIN_LOBBY, None)]


def test_a_body_with_an_unknown_packet() -> None:
    found = packets_in(BODIES["BODY_WITH_UNKNOWN_PACKET"].encoded + CHANNEL_JOIN)
    assert found == [(0x1234, b"\xde\xad"), JOINED]


def test_the_reply_to_an_unknown_token() -> None:
    written = packets.notification("Server has restarted.") + packets.restart(0)
    assert written == BODIES["BODY_UNKNOWN_TOKEN"].encoded


@pytest.mark.parametrize("vector", SAID, ids=named_by)
def test_a_cut_body_loses_the_cut_packet_alone(vector: Vector) -> None:
    for size in range(len(vector.encoded)):
        assert packets_in(CHANNEL_JOIN + vector.encoded[:size]) == [JOINED]


@pytest.mark.parametrize("vector", SAID, ids=named_by)
def test_a_cut_payload_loses_its_packet_alone_and_raises_nothing_but_malformed(vector: Vector) -> None:
    assert vector.id is not None
    payload = vector.encoded[wire.HEADER_BYTES :]
    for size in range(len(payload)):
        body = CHANNEL_JOIN + wire.packet(vector.id, payload[:size]) + CHANNEL_JOIN
        found = packets_in(body)
        assert found == [JOINED, (vector.id, payload[:size]), JOINED]
        try:
            read(vector.id, payload[:size])
        except Malformed:
            continue


def test_all_examples_cut_at_each_byte_keep_what_came_before() -> None:
    body = b"".join(vector.encoded for vector in SAID)
    ends = list(accumulate(len(vector.encoded) for vector in SAID))
    heard = [vector.id != Client.PONG for vector in SAID]
    for size in range(len(body) + 1):
        whole = sum(said for end, said in zip(ends, heard, strict=True) if end <= size)
        assert len(packets_in(body[:size])) == whole

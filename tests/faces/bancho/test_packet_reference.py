"""Comparison of the codec with a reference, the library chio, for the client build b20250306.

The reference must write the same bytes and read the same values. The tests name the exceptions: USER_PRESENCE,
USER_DM_BLOCKED and TARGET_IS_SILENCED, a hidden password, and some numbers that it reads as unsigned.
"""

import struct
from collections.abc import Callable
from typing import Any

import chio
import msgspec
from chio.clients.b20250306 import b20250306 as reference
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.faces.bancho import client_bytes, unsent_packets

from kiai.faces.bancho import packets, wire
from kiai.faces.bancho.packets import (
    BeatmapInfoEntry,
    BeatmapInfoRequest,
    ChangeAction,
    ClientMessage,
    ClientPacket,
    JoinMatch,
    MatchForm,
    SlotForm,
)
from kiai.multiplayer.match import HAS_PLAYER, SLOTS, Match, Slot

TEXTS = st.text(max_size=200)
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="|"), max_size=40)
USER_IDS = st.integers(-(2**31), 2**31 - 1)
COUNTS = st.integers(0, 2**31 - 1)
MODS = st.integers(0, 2**31 - 1)
MODES = st.integers(0, 3)
U8 = st.integers(0, 2**8 - 1)
U16 = st.integers(0, 2**16 - 1)
F32 = st.floats(width=32, allow_nan=False)
STATUSES = st.sampled_from([1 << bit for bit in range(8)])

same = settings(deadline=None, max_examples=60)


def write(packet: str, *args: Any) -> bytes:
    """Encode a packet with the reference."""
    written: bytes = reference.write_packet_to_bytes(chio.PacketType[packet], *args)
    return written


def read_by_both(packet_id: int, sent: object) -> Any:
    """Read a client packet with both codecs, and return the value of the reference."""
    body = client_bytes.whole(packet_id, sent)
    assert [(found, packets.read(found, payload)) for found, payload in wire.packets_in(body)] == [(packet_id, sent)]
    packet, value = reference.read_packet_from_bytes(body)
    assert packet == packet_id
    return value


# --- packets of clients

SINGLE_NUMBERS = (16, 38, 40, 70, 73, 74, 87, 93, 108, 109)
SINGLE_TEXTS = (20, 63, 78)
EMPTY = (3, 17, 21, 29, 30, 33, 39, 44, 49, 52, 54, 55, 56, 59, 60, 77)


@same
@given(st.sampled_from(SINGLE_NUMBERS), USER_IDS)
def test_number_is_read_like_the_reference(packet_id: int, number: int) -> None:
    assert read_by_both(packet_id, number) == number


@same
@given(st.sampled_from(SINGLE_TEXTS), TEXTS)
def test_text_is_read_like_the_reference(packet_id: int, text: str) -> None:
    assert read_by_both(packet_id, text) == text


@same
@given(st.sampled_from(EMPTY))
def test_packet_without_payload_is_read_like_the_reference(packet_id: int) -> None:
    assert read_by_both(packet_id, None) is None


@same
@given(st.booleans(), st.integers(0, 2))
def test_flags_are_read_like_the_reference(flag: bool, presence_filter: int) -> None:
    assert read_by_both(ClientPacket.LOGOUT, int(flag)) is flag
    assert read_by_both(ClientPacket.TOGGLE_BLOCK_NON_FRIEND_DMS, int(flag)) is flag
    assert read_by_both(ClientPacket.RECEIVE_UPDATES, presence_filter) == presence_filter
    assert read_by_both(ClientPacket.USER_PRESENCE_REQUEST_ALL, int(flag)) is None


@same
@given(MODS)
def test_mods_are_read_like_the_reference(mods: int) -> None:
    assert read_by_both(ClientPacket.MATCH_CHANGE_MODS, mods) == mods


@same
@given(st.lists(USER_IDS, max_size=32, unique=True))
def test_requested_ids_are_read_like_the_reference(ids: list[int]) -> None:
    assert read_by_both(ClientPacket.USER_STATS_REQUEST, tuple(ids)) == ids
    assert read_by_both(ClientPacket.USER_PRESENCE_REQUEST, tuple(ids)) == ids


@same
@given(st.sampled_from((1, 25, 82)), st.builds(ClientMessage, NAMES, TEXTS, NAMES, USER_IDS))
def test_message_is_read_like_the_reference(packet_id: int, sent: ClientMessage) -> None:
    value = read_by_both(packet_id, sent)
    assert (value.sender, value.content, value.target, value.sender_id) == msgspec.structs.astuple(sent)


@same
@given(st.builds(ChangeAction, st.integers(0, 13), TEXTS, NAMES, MODS, MODES, USER_IDS))
def test_action_is_read_like_the_reference(sent: ChangeAction) -> None:
    value = read_by_both(ClientPacket.CHANGE_ACTION, sent)
    read = (value.action, value.text, value.beatmap_checksum, value.mods, value.mode, value.beatmap_id)
    assert read == msgspec.structs.astuple(sent)


@same
@given(st.builds(JoinMatch, USER_IDS, NAMES))
def test_join_is_read_like_the_reference(sent: JoinMatch) -> None:
    value = read_by_both(ClientPacket.JOIN_MATCH, sent)
    assert (value.match_id, value.password) == msgspec.structs.astuple(sent)


@same
@given(st.lists(NAMES, max_size=20), st.lists(USER_IDS, max_size=20, unique=True))
def test_beatmap_request_is_read_like_the_reference(filenames: list[str], ids: list[int]) -> None:
    value = read_by_both(ClientPacket.BEATMAP_INFO_REQUEST, BeatmapInfoRequest(tuple(filenames), tuple(ids)))
    assert (value.filenames, value.ids) == (filenames, ids)


@st.composite
def forms(draw: st.DrawFn) -> MatchForm:
    free_mods = draw(st.booleans())
    slots = []
    for _ in range(SLOTS):
        status = draw(STATUSES)
        user_id = draw(USER_IDS) if status & HAS_PLAYER else 0
        slots.append(SlotForm(status, draw(st.integers(0, 2)), draw(MODS) if free_mods else 0, user_id))
    return MatchForm(
        id=draw(U16),
        in_progress=draw(st.booleans()),
        mods=draw(MODS),
        name=draw(NAMES),
        password=draw(NAMES),
        map_name=draw(TEXTS),
        map_id=draw(USER_IDS),
        map_md5=draw(NAMES),
        slots=tuple(slots),
        host_id=draw(USER_IDS),
        mode=draw(MODES),
        win_condition=draw(MODES),
        team_type=draw(MODES),
        free_mods=free_mods,
        seed=draw(USER_IDS),
    )


@same
@given(st.sampled_from((31, 41, 90)), forms())
def test_match_is_read_like_the_reference(packet_id: int, sent: MatchForm) -> None:
    value = read_by_both(packet_id, sent)
    read = MatchForm(
        id=value.id,
        in_progress=value.in_progress,
        mods=value.mods,
        name=value.name,
        password=value.password,
        map_name=value.beatmap_text,
        map_id=value.beatmap_id,
        map_md5=value.beatmap_checksum,
        slots=tuple(
            SlotForm(slot.status, slot.team, slot.mods, slot.user_id if slot.has_player else 0) for slot in value.slots
        ),
        host_id=value.host_id,
        mode=value.mode,
        win_condition=value.scoring_type,
        team_type=value.team_type,
        free_mods=value.freemod,
        # The reference reads the seed as unsigned. The bytes are the same.
        seed=struct.unpack("<i", struct.pack("<I", value.seed))[0],
    )
    assert read == sent


# --- packets of the server

NUMBERS: dict[str, Callable[[int], bytes]] = {
    "BanchoMatchDisband": packets.match_dispose,
    "BanchoFellowSpectatorJoined": packets.fellow_spectator_joined,
    "BanchoFellowSpectatorLeft": packets.fellow_spectator_left,
    "BanchoSpectatorJoined": packets.spectator_joined,
    "BanchoSpectatorLeft": packets.spectator_left,
    "BanchoSpectatorCantSpectate": packets.cant_spectate,
    "BanchoRestart": packets.restart,
    "BanchoSilenceInfo": packets.silence_end,
    "BanchoUserSilenced": packets.user_silenced,
    "BanchoSwitchServer": unsent_packets.switch_server,
}
TEXTUAL: dict[str, Callable[[str], bytes]] = {
    "BanchoAnnounce": packets.notification,
    "BanchoChannelJoinSuccess": packets.channel_join_success,
    "BanchoChannelRevoked": packets.channel_kick,
    "BanchoMatchChangePassword": packets.match_change_password,
    "BanchoSwitchTournamentServer": unsent_packets.switch_tournament_server,
}
WITHOUT_PAYLOAD: dict[str, Callable[[], bytes]] = {
    "BanchoPing": unsent_packets.ping,
    "BanchoVersionUpdate": packets.version_update,
    "BanchoGetAttention": unsent_packets.get_attention,
    "BanchoMatchJoinFail": packets.match_join_fail,
    "BanchoMatchTransferHost": packets.match_transfer_host,
    "BanchoMatchAllPlayersLoaded": packets.match_all_players_loaded,
    "BanchoMatchComplete": packets.match_complete,
    "BanchoMatchSkip": packets.match_skip,
    "BanchoChannelInfoComplete": packets.channel_info_end,
    "BanchoVersionUpdateForced": unsent_packets.version_update_forced,
    "BanchoAccountRestricted": packets.account_restricted,
    "BanchoMatchAbort": packets.match_abort,
}


@same
@given(st.sampled_from(sorted(NUMBERS)), COUNTS)
def test_number_is_written_like_the_reference(packet: str, number: int) -> None:
    assert NUMBERS[packet](number) == write(packet, number)


@same
@given(st.sampled_from(sorted(TEXTUAL)), TEXTS)
def test_text_is_written_like_the_reference(packet: str, text: str) -> None:
    assert TEXTUAL[packet](text) == write(packet, text)


def test_packet_without_payload_is_written_like_the_reference() -> None:
    for packet, ours in WITHOUT_PAYLOAD.items():
        assert ours() == write(packet)


@same
@given(st.integers(-8, 2**31 - 1).filter(lambda code: code != chio.LoginError.UserInactive))
def test_login_reply_is_written_like_the_reference(code: int) -> None:
    # The reference replaces -4, which kiai never sends.
    assert packets.login_reply(code) == write("BanchoLoginReply", chio.LoginError(code) if code < 0 else code)


@same
@given(st.integers(0, 15))
def test_slot_is_written_like_the_reference(slot: int) -> None:
    assert packets.match_player_failed(slot) == write("BanchoMatchPlayerFailed", slot)
    assert packets.match_player_skipped(slot) == write("BanchoMatchPlayerSkipped", slot)


@same
@given(st.integers(0, 63), st.lists(COUNTS, max_size=300))
def test_privileges_friends_and_bundles_are_written_like_the_reference(bits: int, ids: list[int]) -> None:
    assert packets.privileges(bits) == write("BanchoLoginPermissions", chio.Permissions(bits))
    assert packets.friends_list(ids) == write("BanchoFriendsList", ids)
    if ids:
        users = [chio.UserInfo(id=user_id) for user_id in ids]
        assert packets.user_presence_bundle(ids) == write("BanchoUserPresenceBundle", users)
        assert packets.user_presence_single(ids[0]) == write("BanchoUserPresenceSingle", users[0])


def test_protocol_version_is_written_like_the_reference() -> None:
    assert packets.protocol_version(19) == write("BanchoProtocolNegotiation", 19) == write("BanchoProtocolNegotiation")


@same
@given(USER_IDS, st.integers(0, 2))
def test_logout_is_written_like_the_reference(user_id: int, state: int) -> None:
    theirs = chio.UserQuit(chio.UserInfo(id=user_id), chio.QuitState(state))
    assert packets.user_logout(user_id, state) == write("BanchoUserQuit", theirs)


@same
@given(NAMES, TEXTS, NAMES, USER_IDS)
def test_message_is_written_like_the_reference(sender: str, text: str, recipient: str, sender_id: int) -> None:
    theirs = chio.Message(sender, text, recipient, sender_id)
    assert packets.message(sender, text, recipient, sender_id) == write("BanchoMessage", theirs)
    assert packets.match_invite(sender, text, recipient, sender_id) == write("BanchoInvite", theirs)


@same
@given(NAMES)
def test_refused_message_is_written_like_the_reference_except_its_sender(target: str) -> None:
    # The reference writes -1 where kiai writes 0. Clients ignore it.
    for ours, packet in (
        (packets.user_dm_blocked(target), "BanchoUserDmsBlocked"),
        (packets.target_is_silenced(target), "BanchoTargetIsSilenced"),
    ):
        theirs = write(packet, target)
        assert ours[:-4] == theirs[:-4]
        assert (ours[-4:], theirs[-4:]) == (b"\x00" * 4, b"\xff" * 4)


@same
@given(NAMES, TEXTS, st.integers(0, 40_000))
def test_channel_is_written_like_the_reference(name: str, topic: str, users: int) -> None:
    theirs = chio.Channel(name=name, topic=topic, user_count=min(users, 32_767))
    assert packets.channel_info(name, topic, users) == write("BanchoChannelAvailable", theirs)
    assert packets.channel_auto_join(name, topic, users) == write("BanchoChannelAvailableAutojoin", theirs)


@same
@given(NAMES, NAMES)
def test_two_texts_in_one_are_written_like_the_reference(first: str, second: str) -> None:
    assert packets.main_menu_icon(first, second) == write("BanchoTitleUpdate", chio.TitleUpdate(first, second))
    assert unsent_packets.irc_change_username(first, second) == write("BanchoIrcChangeUsername", first, second)


@same
@given(
    st.tuples(USER_IDS, COUNTS, COUNTS, COUNTS),
    st.builds(ChangeAction, st.integers(0, 13), TEXTS, NAMES, MODS, MODES, USER_IDS),
    st.tuples(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1)),
    F32,
    U16,
)
def test_stats_are_written_like_the_reference(
    numbers: tuple[int, int, int, int],
    status: ChangeAction,
    scores: tuple[int, int],
    accuracy: float,
    pp: int,
) -> None:
    user_id, rank, plays, _ = numbers
    ours = packets.user_stats(
        user_id,
        action=status.action,
        info_text=status.info_text,
        map_md5=status.map_md5,
        mods=status.mods,
        mode=status.mode,
        map_id=status.map_id,
        ranked_score=scores[0],
        accuracy=accuracy,
        plays=plays,
        total_score=scores[1],
        rank=rank,
        pp=pp,
    )
    theirs = chio.UserInfo(
        id=user_id,
        status=chio.UserStatus(
            chio.Status(status.action),
            status.info_text,
            chio.Mods(status.mods),
            chio.Mode(status.mode),
            status.map_md5,
            status.map_id,
        ),
        stats=chio.UserStats(rank, scores[0], scores[1], accuracy, plays, pp),
    )
    assert ours == write("BanchoUserStats", theirs)


@same
@given(COUNTS, NAMES, st.integers(-24, 24), U8, st.integers(0, 31), MODES, F32, F32, COUNTS)
def test_presence_is_written_like_the_reference_except_one_byte(
    user_id: int,
    name: str,
    utc_offset: int,
    country: int,
    privileges: int,
    mode: int,
    longitude: float,
    latitude: float,
    rank: int,
) -> None:
    ours = packets.user_presence(
        user_id,
        name=name,
        utc_offset=utc_offset,
        country=country,
        privileges=privileges,
        mode=mode,
        longitude=longitude,
        latitude=latitude,
        rank=rank,
    )
    theirs = write(
        "BanchoUserPresence",
        chio.UserInfo(
            id=user_id,
            name=name,
            presence=chio.UserPresence(
                timezone=utc_offset,
                country_index=country,
                permissions=chio.Permissions(privileges),
                longitude=longitude,
                latitude=latitude,
            ),
            status=chio.UserStatus(mode=chio.Mode(mode)),
            stats=chio.UserStats(rank=rank),
        ),
    )
    assert ours[wire.HEADER_BYTES :] + bytes((mode,)) == theirs[wire.HEADER_BYTES :]


def as_theirs(match_id: int, form: MatchForm) -> chio.Match:
    return chio.Match(
        id=match_id,
        in_progress=form.in_progress,
        mods=chio.Mods(form.mods),
        name=form.name,
        password=form.password,
        beatmap_text=form.map_name,
        beatmap_id=form.map_id,
        beatmap_checksum=form.map_md5,
        slots=[
            chio.MatchSlot(slot.user_id, chio.SlotStatus(slot.status), chio.SlotTeam(slot.team), chio.Mods(slot.mods))
            for slot in form.slots
        ],
        host_id=form.host_id,
        mode=chio.Mode(form.mode),
        scoring_type=chio.ScoringType(form.win_condition),
        team_type=chio.TeamType(form.team_type),
        freemod=form.free_mods,
        seed=form.seed & 0xFFFFFFFF,
    )


def as_ours(form: MatchForm) -> Match:
    return Match(
        name=form.name,
        password=form.password,
        mode=form.mode,
        mods=form.mods,
        seed=form.seed,
        host_id=form.host_id,
        host_name="host",
        in_progress=form.in_progress,
        map_id=form.map_id,
        map_md5=form.map_md5,
        map_name=form.map_name,
        team_type=form.team_type,
        win_condition=form.win_condition,
        free_mods=form.free_mods,
        slots=tuple(Slot(slot.status, slot.team, slot.mods, slot.user_id) for slot in form.slots),
    )


def seated(form: MatchForm) -> MatchForm:
    """Build a slot whose player has an id other than 0."""
    slots = (
        msgspec.structs.replace(slot, user_id=slot.user_id or 1) if slot.status & HAS_PLAYER else slot
        for slot in form.slots
    )
    return msgspec.structs.replace(form, slots=tuple(slots))


@same
@given(forms().map(seated))
def test_match_is_written_like_the_reference(form: MatchForm) -> None:
    ours = as_ours(form)
    theirs = as_theirs(form.id, form)
    assert packets.match_update(form.id, ours, hide_password=False) == write("BanchoMatchUpdate", theirs)
    assert packets.match_join_success(form.id, ours) == write("BanchoMatchJoinSuccess", theirs)
    assert packets.match_start(form.id, ours) == write("BanchoMatchStart", theirs)


@same
@given(forms().map(seated))
def test_match_for_the_lobby_is_written_like_the_reference_except_its_password(form: MatchForm) -> None:
    # The reference cannot write a string that is present and empty: it omits the password, which is one byte shorter.
    theirs = write("BanchoMatchNew", as_theirs(form.id, msgspec.structs.replace(form, password="")))
    ours = packets.match_new(form.id, as_ours(form))
    if form.password:
        at = wire.HEADER_BYTES + 8 + len(wire.string(form.name))
        assert ours[at : at + 2] == b"\x0b\x00"
        ours = ours[:3] + struct.pack("<I", len(ours) - wire.HEADER_BYTES - 1) + ours[7:at] + b"\x00" + ours[at + 2 :]
    assert ours == theirs


SCORE_FRAMES = st.fixed_dictionaries(
    {
        "time": USER_IDS,
        "id": st.integers(0, 15),
        **dict.fromkeys(("n300", "n100", "n50", "geki", "katu", "miss", "max_combo", "current_combo"), U16),
        "total_score": COUNTS,
        "perfect": st.integers(0, 1),
        "hp": U8,
        "tag": U8,
        "score_v2": st.integers(0, 1),
        "combo_portion": st.floats(allow_nan=False),
        "bonus_portion": st.floats(allow_nan=False),
    }
)


@same
@given(SCORE_FRAMES, st.integers(0, 15))
def test_score_frame_is_relayed_like_the_reference(fields: dict[str, Any], slot: int) -> None:
    # Given a frame as the reference reads it
    frame = read_by_both(ClientPacket.MATCH_SCORE_UPDATE, client_bytes.score_frame(fields))
    # When both relay it with the player's slot
    frame.id = slot
    # Then
    assert packets.match_score_update(client_bytes.score_frame(fields), slot) == write("BanchoMatchScoreUpdate", frame)


@same
@given(
    st.fixed_dictionaries(
        {
            "extra": COUNTS,
            "frames": st.lists(
                st.fixed_dictionaries(
                    {"buttons": st.integers(0, 31), "legacy": st.just(0), "x": F32, "y": F32, "time": USER_IDS}
                ),
                max_size=20,
            ),
            "action": st.integers(0, 8),
            "score_frame": SCORE_FRAMES,
            "sequence": U16,
        }
    )
)
def test_spectate_frames_are_relayed_like_the_reference(fields: dict[str, Any]) -> None:
    sent = client_bytes.bundle(fields)
    assert packets.spectate_frames(sent) == write(
        "BanchoSpectateFrames", read_by_both(ClientPacket.SPECTATE_FRAMES, sent)
    )


GRADES = st.integers(0, 9)


@same
@given(
    st.lists(
        st.builds(
            BeatmapInfoEntry,
            index=st.integers(-1, 2**15 - 1),
            map_id=COUNTS,
            set_id=COUNTS,
            status=st.integers(-1, 4),
            osu=GRADES,
            fruits=GRADES,
            taiko=GRADES,
            mania=GRADES,
            md5=NAMES,
        ),
        max_size=20,
    )
)
def test_maps_are_written_like_the_reference(entries: list[BeatmapInfoEntry]) -> None:
    theirs = chio.BeatmapInfoReply(
        [
            chio.BeatmapInfo(
                entry.index,
                entry.map_id,
                entry.set_id,
                0,
                chio.RankedStatus(entry.status),
                entry.md5,
                chio.Rank(entry.osu),
                chio.Rank(entry.taiko),
                chio.Rank(entry.fruits),
                chio.Rank(entry.mania),
            )
            for entry in entries
        ]
    )
    assert packets.beatmap_info_reply(entries) == write("BanchoBeatmapInfoReply", theirs)

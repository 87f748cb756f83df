"""The packets of protocol 19: readers for those of clients, writers for those of the server (docs/spec/protocol.md).

`READERS` has a function for each packet of clients, which decodes its payload or raises MalformedPacket. The functions
at the end of the module each encode one packet with its header. They never fail, because numbers are limited to the
range of their fields.

PERF: a writer packs its header together with its first fields (`PayloadLayout`) where the size is known in advance.
"""

import enum
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from kiai.faces.bancho.wire import MalformedPacket, PayloadLayout, PayloadReader, i32_list, packet, string
from kiai.multiplayer.match import HAS_PLAYER, SLOTS, Match

PROTOCOL_VERSION: Final = 19

STATS_REQUESTED_MAX: Final = 32
PRESENCES_REQUESTED_MAX: Final = 256
BEATMAPS_REQUESTED_MAX: Final = 4_500
"""The maximum of names, and of ids, in one BEATMAP_INFO_REQUEST."""
BUNDLE_MAX: Final = 512
"""User ids in one USER_PRESENCE_BUNDLE."""
SCORE_FRAME_MIN_BYTES: Final = 29
SCORE_FRAME_MAX_BYTES: Final = 128
"""A frame has 29 or 45 bytes. The bound admits clients that append fields."""


class ClientPacket(enum.IntEnum):
    """The packets that clients send (docs/spec/protocol.md#client-packets)."""

    CHANGE_ACTION = 0
    SEND_PUBLIC_MESSAGE = 1
    LOGOUT = 2
    REQUEST_STATUS_UPDATE = 3
    PONG = 4
    START_SPECTATING = 16
    STOP_SPECTATING = 17
    SPECTATE_FRAMES = 18
    ERROR_REPORT = 20
    CANT_SPECTATE = 21
    SEND_PRIVATE_MESSAGE = 25
    PART_LOBBY = 29
    JOIN_LOBBY = 30
    CREATE_MATCH = 31
    JOIN_MATCH = 32
    PART_MATCH = 33
    MATCH_CHANGE_SLOT = 38
    MATCH_READY = 39
    MATCH_LOCK = 40
    MATCH_CHANGE_SETTINGS = 41
    MATCH_START = 44
    MATCH_SCORE_UPDATE = 47
    MATCH_COMPLETE = 49
    MATCH_CHANGE_MODS = 51
    MATCH_LOAD_COMPLETE = 52
    MATCH_NO_BEATMAP = 54
    MATCH_NOT_READY = 55
    MATCH_FAILED = 56
    MATCH_HAS_BEATMAP = 59
    MATCH_SKIP_REQUEST = 60
    CHANNEL_JOIN = 63
    BEATMAP_INFO_REQUEST = 68
    MATCH_TRANSFER_HOST = 70
    FRIEND_ADD = 73
    FRIEND_REMOVE = 74
    MATCH_CHANGE_TEAM = 77
    CHANNEL_PART = 78
    RECEIVE_UPDATES = 79
    SET_AWAY_MESSAGE = 82
    IRC_ONLY = 84
    USER_STATS_REQUEST = 85
    MATCH_INVITE = 87
    MATCH_CHANGE_PASSWORD = 90
    TOURNAMENT_MATCH_INFO_REQUEST = 93
    USER_PRESENCE_REQUEST = 97
    USER_PRESENCE_REQUEST_ALL = 98
    TOGGLE_BLOCK_NON_FRIEND_DMS = 99
    TOURNAMENT_JOIN_MATCH_CHANNEL = 108
    TOURNAMENT_LEAVE_MATCH_CHANNEL = 109


class ServerPacket(enum.IntEnum):
    """The packets that servers send (docs/spec/protocol.md#server-packets). Those without a writer are never sent."""

    LOGIN_REPLY = 5
    COMMAND_ERROR = 6
    SEND_MESSAGE = 7
    PING = 8
    IRC_CHANGE_USERNAME = 9
    IRC_QUIT = 10
    USER_STATS = 11
    USER_LOGOUT = 12
    SPECTATOR_JOINED = 13
    SPECTATOR_LEFT = 14
    SPECTATE_FRAMES = 15
    VERSION_UPDATE = 19
    SPECTATOR_CANT_SPECTATE = 22
    GET_ATTENTION = 23
    NOTIFICATION = 24
    MATCH_UPDATE = 26
    MATCH_NEW = 27
    MATCH_DISPOSE = 28
    LOBBY_JOIN = 34
    LOBBY_PART = 35
    MATCH_JOIN_SUCCESS = 36
    MATCH_JOIN_FAIL = 37
    FELLOW_SPECTATOR_JOINED = 42
    FELLOW_SPECTATOR_LEFT = 43
    ALL_PLAYERS_LOADED = 45
    MATCH_START = 46
    MATCH_SCORE_UPDATE = 48
    MATCH_TRANSFER_HOST = 50
    MATCH_ALL_PLAYERS_LOADED = 53
    MATCH_PLAYER_FAILED = 57
    MATCH_COMPLETE = 58
    MATCH_SKIP = 61
    UNAUTHORIZED = 62
    CHANNEL_JOIN_SUCCESS = 64
    CHANNEL_INFO = 65
    CHANNEL_KICK = 66
    CHANNEL_AUTO_JOIN = 67
    BEATMAP_INFO_REPLY = 69
    PRIVILEGES = 71
    FRIENDS_LIST = 72
    PROTOCOL_VERSION = 75
    MAIN_MENU_ICON = 76
    MONITOR = 80
    MATCH_PLAYER_SKIPPED = 81
    USER_PRESENCE = 83
    IRC_ONLY = 84
    RESTART = 86
    MATCH_INVITE = 88
    CHANNEL_INFO_END = 89
    MATCH_CHANGE_PASSWORD = 91
    SILENCE_END = 92
    USER_SILENCED = 94
    USER_PRESENCE_SINGLE = 95
    USER_PRESENCE_BUNDLE = 96
    USER_DM_BLOCKED = 100
    TARGET_IS_SILENCED = 101
    VERSION_UPDATE_FORCED = 102
    SWITCH_SERVER = 103
    ACCOUNT_RESTRICTED = 104
    RTX = 105
    MATCH_ABORT = 106
    SWITCH_TOURNAMENT_SERVER = 107


# --- packets of clients


class ChangeAction(msgspec.Struct, frozen=True):
    """A player's new status. `action` (docs/spec/protocol.md#actions) and `mode` (0-3) are not validated."""

    action: int
    info_text: str
    map_md5: str
    mods: int
    mode: int
    map_id: int


class ClientMessage(msgspec.Struct, frozen=True):
    """A chat line to a channel or a player, or an away message. `sender` and `sender_id` must not be trusted."""

    sender: str
    text: str
    recipient: str
    sender_id: int


class SlotForm(msgspec.Struct, frozen=True):
    """One slot as a client describes it. `user_id` 0 means no player; `mods` are 0 without free mods."""

    status: int
    team: int
    mods: int
    user_id: int


class MatchForm(msgspec.Struct, frozen=True):
    """The settings of a match that a client requests.

    Mode, win condition and team type are in 0-3. The other fields are not validated.
    """

    id: int
    in_progress: bool
    mods: int
    name: str
    password: str
    map_name: str
    map_id: int
    map_md5: str
    slots: tuple[SlotForm, ...]
    host_id: int
    mode: int
    win_condition: int
    team_type: int
    free_mods: bool
    seed: int


class JoinMatch(msgspec.Struct, frozen=True):
    """A request for a seat in a match."""

    match_id: int
    password: str


class BeatmapInfoRequest(msgspec.Struct, frozen=True):
    """A request for information about maps, by `.osu` file name and by id, at most BEATMAPS_REQUESTED_MAX of each."""

    filenames: tuple[str, ...]
    ids: tuple[int, ...]


def read(packet_id: int, payload: bytes) -> object:
    """Decode a client's packet: a Struct above, an int, a text, ids, bytes, or None for a packet without payload.

    Raises only MalformedPacket: for a payload that is too short or invalid, and for an id that is not in READERS.
    """
    reader = READERS.get(packet_id)
    if reader is None:
        raise MalformedPacket(f"unknown packet {packet_id}")
    return reader(payload)


_I32: Final = struct.Struct("<i")
_U32: Final = struct.Struct("<I")
_SLOT_MODS: Final = struct.Struct(f"<{SLOTS}I")


def _read_empty(payload: bytes) -> None:
    return None


def _read_i32(payload: bytes) -> int:
    try:
        number: int = _I32.unpack_from(payload)[0]
    except struct.error:
        raise MalformedPacket("expected a number") from None
    return number


def _read_optional_i32(payload: bytes) -> int:
    # Some clients omit the number, which has no meaning in these packets.
    return _read_i32(payload) if payload else 0


def _read_mods(payload: bytes) -> int:
    # The protocol calls it i32. Read as unsigned, so that bit 31, which is not a mod, does not become a sign.
    try:
        mods: int = _U32.unpack_from(payload)[0]
    except struct.error:
        raise MalformedPacket("expected mods") from None
    return mods


def _read_text(payload: bytes) -> str:
    return PayloadReader(payload).string()


def _read_stats_request(payload: bytes) -> tuple[int, ...]:
    return PayloadReader(payload).i32_list(STATS_REQUESTED_MAX)


def _read_presence_request(payload: bytes) -> tuple[int, ...]:
    return PayloadReader(payload).i32_list(PRESENCES_REQUESTED_MAX)


def _read_raw(payload: bytes) -> bytes:
    return payload  # PERF: frames are relayed to spectators without decoding


def _read_score_frame(payload: bytes) -> bytes:
    # PERF: relayed without decoding. The length is checked, because every client in the match decodes it.
    if not SCORE_FRAME_MIN_BYTES <= len(payload) <= SCORE_FRAME_MAX_BYTES:
        raise MalformedPacket(f"a score frame cannot have {len(payload)} bytes")
    return payload


def _read_change_action(payload: bytes) -> ChangeAction:
    reader = PayloadReader(payload)
    return ChangeAction(
        action=reader.u8(),
        info_text=reader.string(),
        map_md5=reader.string(),
        mods=reader.u32(),
        mode=reader.u8(),
        map_id=reader.i32(),
    )


def _read_message(payload: bytes) -> ClientMessage:
    reader = PayloadReader(payload)
    return ClientMessage(reader.string(), reader.string(), reader.string(), reader.i32())


def _read_join_match(payload: bytes) -> JoinMatch:
    reader = PayloadReader(payload)
    return JoinMatch(reader.i32(), reader.string())


def _read_match_form(payload: bytes) -> MatchForm:
    reader = PayloadReader(payload)
    match_id = reader.u16()
    in_progress = reader.u8() != 0
    reader.u8()  # the match type, which nothing uses
    mods = reader.u32()
    name = reader.string()
    password = reader.string()
    map_name = reader.string()
    map_id = reader.i32()
    map_md5 = reader.string()
    statuses = reader.raw(SLOTS)
    teams = reader.raw(SLOTS)
    # An id follows only for slots with a player; free mods only if the flag is set.
    user_ids = [reader.i32() if status & HAS_PLAYER else 0 for status in statuses]
    host_id = reader.i32()
    mode = _read_0_to_3(reader, "mode")
    win_condition = _read_0_to_3(reader, "win condition")
    team_type = _read_0_to_3(reader, "team type")
    free_mods = reader.u8() != 0
    slot_mods = _SLOT_MODS.unpack(reader.raw(_SLOT_MODS.size)) if free_mods else (0,) * SLOTS
    return MatchForm(
        id=match_id,
        in_progress=in_progress,
        mods=mods,
        name=name,
        password=password,
        map_name=map_name,
        map_id=map_id,
        map_md5=map_md5,
        slots=tuple(map(SlotForm, statuses, teams, slot_mods, user_ids)),
        host_id=host_id,
        mode=mode,
        win_condition=win_condition,
        team_type=team_type,
        free_mods=free_mods,
        seed=reader.i32(),
    )


def _read_0_to_3(reader: PayloadReader, what: str) -> int:
    number = reader.u8()
    if number > 3:
        # Other clients would drop the match's packets, or crash, on a value that they do not know.
        raise MalformedPacket(f"unknown {what} {number}")
    return number


def _read_beatmap_info_request(payload: bytes) -> BeatmapInfoRequest:
    reader = PayloadReader(payload)
    count = reader.i32()
    filenames = tuple(reader.string() for _ in range(min(count, BEATMAPS_REQUESTED_MAX)))
    if count > BEATMAPS_REQUESTED_MAX:
        # The ids come after all names, so they cannot be reached without reading the names beyond the bound.
        return BeatmapInfoRequest(filenames, ())
    return BeatmapInfoRequest(filenames, reader.i32s(reader.i32(), BEATMAPS_REQUESTED_MAX))


READERS: Final[Mapping[int, Callable[[bytes], object]]] = {
    ClientPacket.CHANGE_ACTION: _read_change_action,
    ClientPacket.SEND_PUBLIC_MESSAGE: _read_message,
    ClientPacket.LOGOUT: _read_optional_i32,
    ClientPacket.REQUEST_STATUS_UPDATE: _read_empty,
    ClientPacket.PONG: _read_empty,
    ClientPacket.START_SPECTATING: _read_i32,
    ClientPacket.STOP_SPECTATING: _read_empty,
    ClientPacket.SPECTATE_FRAMES: _read_raw,
    ClientPacket.ERROR_REPORT: _read_text,
    ClientPacket.CANT_SPECTATE: _read_empty,
    ClientPacket.SEND_PRIVATE_MESSAGE: _read_message,
    ClientPacket.PART_LOBBY: _read_empty,
    ClientPacket.JOIN_LOBBY: _read_empty,
    ClientPacket.CREATE_MATCH: _read_match_form,
    ClientPacket.JOIN_MATCH: _read_join_match,
    ClientPacket.PART_MATCH: _read_empty,
    ClientPacket.MATCH_CHANGE_SLOT: _read_i32,
    ClientPacket.MATCH_READY: _read_empty,
    ClientPacket.MATCH_LOCK: _read_i32,
    ClientPacket.MATCH_CHANGE_SETTINGS: _read_match_form,
    ClientPacket.MATCH_START: _read_empty,
    ClientPacket.MATCH_SCORE_UPDATE: _read_score_frame,
    ClientPacket.MATCH_COMPLETE: _read_empty,
    ClientPacket.MATCH_CHANGE_MODS: _read_mods,
    ClientPacket.MATCH_LOAD_COMPLETE: _read_empty,
    ClientPacket.MATCH_NO_BEATMAP: _read_empty,
    ClientPacket.MATCH_NOT_READY: _read_empty,
    ClientPacket.MATCH_FAILED: _read_empty,
    ClientPacket.MATCH_HAS_BEATMAP: _read_empty,
    ClientPacket.MATCH_SKIP_REQUEST: _read_empty,
    ClientPacket.CHANNEL_JOIN: _read_text,
    ClientPacket.BEATMAP_INFO_REQUEST: _read_beatmap_info_request,
    ClientPacket.MATCH_TRANSFER_HOST: _read_i32,
    ClientPacket.FRIEND_ADD: _read_i32,
    ClientPacket.FRIEND_REMOVE: _read_i32,
    ClientPacket.MATCH_CHANGE_TEAM: _read_empty,
    ClientPacket.CHANNEL_PART: _read_text,
    ClientPacket.RECEIVE_UPDATES: _read_i32,
    ClientPacket.SET_AWAY_MESSAGE: _read_message,
    ClientPacket.USER_STATS_REQUEST: _read_stats_request,
    ClientPacket.MATCH_INVITE: _read_i32,
    ClientPacket.MATCH_CHANGE_PASSWORD: _read_match_form,
    ClientPacket.TOURNAMENT_MATCH_INFO_REQUEST: _read_i32,
    ClientPacket.USER_PRESENCE_REQUEST: _read_presence_request,
    ClientPacket.USER_PRESENCE_REQUEST_ALL: _read_optional_i32,
    ClientPacket.TOGGLE_BLOCK_NON_FRIEND_DMS: _read_i32,
    ClientPacket.TOURNAMENT_JOIN_MATCH_CHANNEL: _read_i32,
    ClientPacket.TOURNAMENT_LEAVE_MATCH_CHANNEL: _read_i32,
}
"""The reader of each packet of clients, except IRC_ONLY, which no client sends."""


# --- packets of the server

_NUMBER: Final = PayloadLayout("HBIi")
_LOGOUT: Final = PayloadLayout("HBIiB")
_COUNT: Final = PayloadLayout("h")
_SENDER_ID: Final = PayloadLayout("i")
_STATS_HEAD: Final = PayloadLayout("HBIiB")
_STATS_TAIL: Final = PayloadLayout("IBiqfiqiH")
_STATS_BYTES: Final = 44
_PRESENCE_HEAD: Final = PayloadLayout("HBIi")
_PRESENCE_TAIL: Final = PayloadLayout("BBBffi")
_PRESENCE_BYTES: Final = 19
_MATCH_HEAD: Final = PayloadLayout("HBBI")
_MATCH_MAP_ID: Final = PayloadLayout("i")
_MATCH_SEATS: Final = PayloadLayout("B" * SLOTS * 2)
_MATCH_USERS: Final = tuple(PayloadLayout("i" * count) for count in range(SLOTS + 1))
_MATCH_RULES: Final = PayloadLayout("iBBBB")
_MATCH_SLOT_MODS: Final = PayloadLayout("I" * SLOTS)
_MATCH_SEED: Final = PayloadLayout("i")
_BEATMAP_COUNT: Final = PayloadLayout("i")
_BEATMAP: Final = PayloadLayout("hiiibbbbb")

_UTC_OFFSET_ZERO: Final = 24
_PRIVILEGES_MASK: Final = 0x1F  # the byte also has the mode, from bit 5 on
_MODE_SHIFT: Final = 5
_SCORE_FRAME_SLOT: Final = 4  # after the time, 4 bytes
_HIDDEN_PASSWORD: Final = b"\x0b\x00"
"""A string that is present and empty: clients show the lock and prompt for the password."""
_NO_PASSWORD: Final = b"\x00"

# PERF: packets without a payload are constants.
_VERSION_UPDATE: Final = packet(ServerPacket.VERSION_UPDATE)
_MATCH_JOIN_FAIL: Final = packet(ServerPacket.MATCH_JOIN_FAIL)
_MATCH_TRANSFER_HOST: Final = packet(ServerPacket.MATCH_TRANSFER_HOST)
_MATCH_ALL_PLAYERS_LOADED: Final = packet(ServerPacket.MATCH_ALL_PLAYERS_LOADED)
_MATCH_COMPLETE: Final = packet(ServerPacket.MATCH_COMPLETE)
_MATCH_SKIP: Final = packet(ServerPacket.MATCH_SKIP)
_CHANNEL_INFO_END: Final = packet(ServerPacket.CHANNEL_INFO_END)
_ACCOUNT_RESTRICTED: Final = packet(ServerPacket.ACCOUNT_RESTRICTED)
_MATCH_ABORT: Final = packet(ServerPacket.MATCH_ABORT)


class BeatmapInfoEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One map of BEATMAP_INFO_REPLY (docs/spec/protocol.md#beatmap-info).

    `index`: the position of its file name in the request, or -1 if the client requested it by id.
    `status`: -1 not submitted, 0 pending, 1 ranked, 2 approved, 3 qualified, 4 loved.
    `osu`, `fruits`, `taiko`, `mania`: the player's best grade (docs/spec/protocol.md#grades), 9 without a score.
    """

    index: int
    map_id: int
    set_id: int
    status: int
    osu: int
    fruits: int
    taiko: int
    mania: int
    md5: str


def _number(packet_id: ServerPacket, number: int) -> bytes:
    return _NUMBER.pack(packet_id, 0, 4, number)


def _chat(packet_id: ServerPacket, sender: str, text: str, recipient: str, sender_id: int) -> bytes:
    return packet(packet_id, string(sender) + string(text) + string(recipient) + _SENDER_ID.pack(sender_id))


def _channel(packet_id: ServerPacket, name: str, topic: str, users: int) -> bytes:
    return packet(packet_id, string(name) + string(topic) + _COUNT.pack(users))


def _match(packet_id: ServerPacket, match_id: int, match: Match, password: bytes) -> bytes:
    slots = match.slots
    seated = [slot.player_id for slot in slots if slot.status & HAS_PLAYER]
    # Clients read one id for each slot with a player. A missing id would shift all later fields, and clients crash.
    assert len(slots) == SLOTS, "a match has 16 slots"
    assert all(seated), "a slot with a player has its id"
    parts = [
        _MATCH_HEAD.pack(match_id, match.in_progress, 0, match.mods),
        string(match.name),
        password,
        string(match.map_name),
        _MATCH_MAP_ID.pack(match.map_id),
        string(match.map_md5),
        _MATCH_SEATS.pack(*(slot.status for slot in slots), *(slot.team for slot in slots)),
        _MATCH_USERS[len(seated)].pack(*seated),
        _MATCH_RULES.pack(match.host_id, match.mode, match.win_condition, match.team_type, match.free_mods),
    ]
    if match.free_mods:
        parts.append(_MATCH_SLOT_MODS.pack(*(slot.mods for slot in slots)))
    parts.append(_MATCH_SEED.pack(match.seed))
    return packet(packet_id, b"".join(parts))


def _hidden(match: Match) -> bytes:
    return _HIDDEN_PASSWORD if match.password else _NO_PASSWORD


def login_reply(code: int) -> bytes:
    """Encode the result of a login: the user's id, or a negative code of docs/spec/sessions.md#refusals."""
    return _number(ServerPacket.LOGIN_REPLY, code)


def message(sender: str, text: str, recipient: str, sender_id: int) -> bytes:
    """Encode a chat line. `recipient` is the client's name of the channel, or the name of the player."""
    return _chat(ServerPacket.SEND_MESSAGE, sender, text, recipient, sender_id)


def user_stats(
    user_id: int,
    *,
    action: int,
    info_text: str,
    map_md5: str,
    mods: int,
    mode: int,
    map_id: int,
    ranked_score: int,
    accuracy: float,
    plays: int,
    total_score: int,
    rank: int,
    pp: int,
) -> bytes:
    """Encode a player's status and stats. `mode` is 0-3, `accuracy` 0 to 1; `rank` 0 means no rank.

    pp above 65,535 become 65,535. The caller decides what a client receives instead
    (docs/spec/protocol.md#user-stats).
    """
    # PERF: the packet that players receive most often; two packs, and no second copy for the header.
    texts = string(info_text) + string(map_md5)
    head = _STATS_HEAD.pack(ServerPacket.USER_STATS, 0, _STATS_BYTES + len(texts), user_id, action)
    tail = _STATS_TAIL.pack(mods, mode, map_id, ranked_score, accuracy, plays, total_score, rank, pp)
    return head + texts + tail


def user_presence(
    user_id: int,
    *,
    name: str,
    utc_offset: int,
    country: int,
    privileges: int,
    mode: int,
    longitude: float,
    latitude: float,
    rank: int,
) -> bytes:
    """Encode a player's presence.

    `utc_offset` is in hours, `country` a number of docs/spec/protocol.md#countries, `mode` 0-3. `privileges` are the
    client's bits, without the tournament bit. `rank` 0 means no rank.
    """
    text = string(name)
    flags = privileges & _PRIVILEGES_MASK | (mode & 0b111) << _MODE_SHIFT
    head = _PRESENCE_HEAD.pack(ServerPacket.USER_PRESENCE, 0, _PRESENCE_BYTES + len(text), user_id)
    tail = _PRESENCE_TAIL.pack(utc_offset + _UTC_OFFSET_ZERO, country, flags, longitude, latitude, rank)
    return head + text + tail


def user_logout(user_id: int, state: int = 0) -> bytes:
    """Encode that a player went offline. `state`: 0 offline, 1 a game session remains, 2 an IRC session remains."""
    return _LOGOUT.pack(ServerPacket.USER_LOGOUT, 0, 5, user_id, state)


def spectator_joined(user_id: int) -> bytes:
    """Encode a new spectator, for the host, whose client begins to send frames."""
    return _number(ServerPacket.SPECTATOR_JOINED, user_id)


def spectator_left(user_id: int) -> bytes:
    """Encode that a spectator left, for the host. The client stops sending frames after the last one."""
    return _number(ServerPacket.SPECTATOR_LEFT, user_id)


def spectate_frames(payload: bytes) -> bytes:
    """Encode the host's frames. `payload` is that of the client's SPECTATE_FRAMES."""
    return packet(ServerPacket.SPECTATE_FRAMES, payload)


def version_update() -> bytes:
    """Encode the request to look for an update of the client."""
    return _VERSION_UPDATE


def cant_spectate(user_id: int) -> bytes:
    """Encode that a spectator does not have the map, for the host and its spectators."""
    return _number(ServerPacket.SPECTATOR_CANT_SPECTATE, user_id)


def notification(text: str) -> bytes:
    """Encode a notification, which may have several lines."""
    return packet(ServerPacket.NOTIFICATION, string(text))


def match_update(match_id: int, match: Match, *, hide_password: bool) -> bytes:
    """Encode the state of a match. Only seated players may receive its password."""
    return _match(
        ServerPacket.MATCH_UPDATE, match_id, match, _hidden(match) if hide_password else string(match.password)
    )


def match_new(match_id: int, match: Match) -> bytes:
    """Encode a match for the list of the lobby, without its password."""
    return _match(ServerPacket.MATCH_NEW, match_id, match, _hidden(match))


def match_dispose(match_id: int) -> bytes:
    """Encode that a match was closed."""
    return _number(ServerPacket.MATCH_DISPOSE, match_id)


def match_join_success(match_id: int, match: Match) -> bytes:
    """Encode a match with its password, for a player who got a seat. The client opens the screen of the match."""
    return _match(ServerPacket.MATCH_JOIN_SUCCESS, match_id, match, string(match.password))


def match_join_fail() -> bytes:
    """Encode that the player did not get a seat."""
    return _MATCH_JOIN_FAIL


def fellow_spectator_joined(user_id: int) -> bytes:
    """Encode a new spectator, for the other spectators of the host."""
    return _number(ServerPacket.FELLOW_SPECTATOR_JOINED, user_id)


def fellow_spectator_left(user_id: int) -> bytes:
    """Encode that a spectator left, for the other spectators of the host."""
    return _number(ServerPacket.FELLOW_SPECTATOR_LEFT, user_id)


def match_start(match_id: int, match: Match) -> bytes:
    """Encode the start of a play with the password, for the players, whose clients load the map."""
    return _match(ServerPacket.MATCH_START, match_id, match, string(match.password))


def match_score_update(payload: bytes, slot: int) -> bytes:
    """Encode a player's score frame, with the slot replaced."""
    # A client could send the slot of another player.
    frame = bytearray(payload)
    frame[_SCORE_FRAME_SLOT : _SCORE_FRAME_SLOT + 1] = bytes((slot & 0xFF,))
    return packet(ServerPacket.MATCH_SCORE_UPDATE, bytes(frame))


def match_transfer_host() -> bytes:
    """Encode that the receiver is the new host."""
    return _MATCH_TRANSFER_HOST


def match_all_players_loaded() -> bytes:
    """Encode that all players have loaded the map and the play begins."""
    return _MATCH_ALL_PLAYERS_LOADED


def match_player_failed(slot: int) -> bytes:
    """Encode that the player in a slot (0-15) failed."""
    return _number(ServerPacket.MATCH_PLAYER_FAILED, slot)


def match_complete() -> bytes:
    """Encode the end of a play, for the players, whose clients show the results."""
    return _MATCH_COMPLETE


def match_skip() -> bytes:
    """Encode that all players want to skip the intro."""
    return _MATCH_SKIP


def channel_join_success(name: str) -> bytes:
    """Encode that the receiver has joined a channel. The client opens its tab."""
    return packet(ServerPacket.CHANNEL_JOIN_SUCCESS, string(name))


def channel_info(name: str, topic: str, users: int) -> bytes:
    """Encode a channel with its user count, at most 32,767, for the client's list."""
    return _channel(ServerPacket.CHANNEL_INFO, name, topic, users)


def channel_kick(name: str) -> bytes:
    """Encode that the receiver is not in a channel. The client closes its tab."""
    return packet(ServerPacket.CHANNEL_KICK, string(name))


def channel_auto_join(name: str, topic: str, users: int) -> bytes:
    """Encode a channel like `channel_info`. The client also joins it."""
    return _channel(ServerPacket.CHANNEL_AUTO_JOIN, name, topic, users)


def beatmap_info_reply(entries: Sequence[BeatmapInfoEntry]) -> bytes:
    """Encode the reply to BEATMAP_INFO_REQUEST. Unknown maps are omitted."""
    parts = [_BEATMAP_COUNT.pack(len(entries))]
    for entry in entries:
        grades = (entry.osu, entry.fruits, entry.taiko, entry.mania)
        parts.append(_BEATMAP.pack(entry.index, entry.map_id, entry.set_id, 0, entry.status, *grades))
        parts.append(string(entry.md5))
    return packet(ServerPacket.BEATMAP_INFO_REPLY, b"".join(parts))


def privileges(bits: int) -> bytes:
    """Encode the receiver's own client privileges (docs/spec/game-rules.md#client-privileges)."""
    return _number(ServerPacket.PRIVILEGES, bits)


def friends_list(ids: Iterable[int]) -> bytes:
    """Encode the receiver's friends, which replace the client's list."""
    return packet(ServerPacket.FRIENDS_LIST, i32_list(tuple(ids)))


def protocol_version(version: int = PROTOCOL_VERSION) -> bytes:
    """Encode the version of the protocol, the first packet of a login reply."""
    return _number(ServerPacket.PROTOCOL_VERSION, version)


def main_menu_icon(image_url: str, click_url: str) -> bytes:
    """Encode the image of the main menu and the link of a click. Both may be empty."""
    # Clients split the text at "|" and expect two parts.
    image_url, click_url = (url.replace("|", "%7C") for url in (image_url, click_url))
    return packet(ServerPacket.MAIN_MENU_ICON, string(f"{image_url}|{click_url}"))


def match_player_skipped(slot: int) -> bytes:
    """Encode that the player in a slot (0-15) wants to skip the intro."""
    return _number(ServerPacket.MATCH_PLAYER_SKIPPED, slot)


def restart(ms: int) -> bytes:
    """Encode the request to log in again after `ms` milliseconds."""
    return _number(ServerPacket.RESTART, ms)


def match_invite(sender: str, text: str, recipient: str, sender_id: int) -> bytes:
    """Encode an invitation to a match. `text` contains the link."""
    return _chat(ServerPacket.MATCH_INVITE, sender, text, recipient, sender_id)


def channel_info_end() -> bytes:
    """Encode the end of the list of channels."""
    return _CHANNEL_INFO_END


def match_change_password(password: str) -> bytes:
    """Encode the new password of a match, for its seated players."""
    return packet(ServerPacket.MATCH_CHANGE_PASSWORD, string(password))


def silence_end(seconds: int) -> bytes:
    """Encode the remaining seconds of the receiver's silence; 0 ends it."""
    return _number(ServerPacket.SILENCE_END, seconds)


def user_silenced(user_id: int) -> bytes:
    """Encode that a player was silenced. Clients delete the player's lines."""
    return _number(ServerPacket.USER_SILENCED, user_id)


def user_presence_single(user_id: int) -> bytes:
    """Encode that a player is online. The client requests the presence when it shows the player."""
    return _number(ServerPacket.USER_PRESENCE_SINGLE, user_id)


def user_presence_bundle(ids: Iterable[int]) -> bytes:
    """Encode that players are online, in packets of up to BUNDLE_MAX ids. Returns b"" without ids."""
    user_ids = tuple(ids)
    bundles = (user_ids[start : start + BUNDLE_MAX] for start in range(0, len(user_ids), BUNDLE_MAX))
    return b"".join(packet(ServerPacket.USER_PRESENCE_BUNDLE, i32_list(bundle)) for bundle in bundles)


def user_dm_blocked(target: str) -> bytes:
    """Encode that a player does not accept messages from the receiver."""
    return _chat(ServerPacket.USER_DM_BLOCKED, "", "", target, 0)


def target_is_silenced(target: str) -> bytes:
    """Encode that a player is silenced and cannot reply."""
    return _chat(ServerPacket.TARGET_IS_SILENCED, "", "", target, 0)


def account_restricted() -> bytes:
    """Encode that the receiver's account is restricted."""
    return _ACCOUNT_RESTRICTED


def match_abort() -> bytes:
    """Encode that the play was aborted. Clients return to the screen of the match."""
    return _MATCH_ABORT

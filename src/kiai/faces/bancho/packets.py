"""Every packet of protocol 19: reading what clients send, writing what we send (docs/spec/protocol.md).

`READERS` turns a client's payload into what it says, or raises Malformed. The functions at the end each write one
packet whole, header included; they never fail, for numbers are brought into the range of their fields.
"""

import enum
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from kiai.faces.bancho.wire import Layout, Malformed, Reader, i32_list, packet, string
from kiai.multiplayer.match import HAS_PLAYER, SLOTS, Match

PROTOCOL_VERSION: Final = 19

STATS_ASKED_MAX: Final = 32
PRESENCES_ASKED_MAX: Final = 256
BEATMAPS_ASKED_MAX: Final = 4_500
"""Of the names and of the ids in one BEATMAP_INFO_REQUEST."""
BUNDLE_MAX: Final = 512
"""User ids in one USER_PRESENCE_BUNDLE."""
SCORE_FRAME_MIN_BYTES: Final = 29
SCORE_FRAME_MAX_BYTES: Final = 128
"""A frame is 29 or 45 bytes; some room for clients that say more."""


class Client(enum.IntEnum):
    """What a client sends (docs/spec/protocol.md#client-packets)."""

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


class Server(enum.IntEnum):
    """What a server sends (docs/spec/protocol.md#server-packets); those without a function below are never sent."""

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


# What clients send


class ChangeAction(msgspec.Struct, frozen=True):
    """What the player is doing now. `action` is a number of docs/spec/protocol.md#actions and `mode` 0-3, both
    unchecked.
    """

    action: int
    info_text: str
    map_md5: str
    mods: int
    mode: int
    map_id: int


class Message(msgspec.Struct, frozen=True):
    """A chat line to a channel or a player, or an away message. The sender is what the client claims: ignore it."""

    sender: str
    text: str
    recipient: str
    sender_id: int


class SlotForm(msgspec.Struct, frozen=True):
    """One seat as a client describes it; `user_id` 0 is nobody, `mods` are 0 without free mods."""

    status: int
    team: int
    mods: int
    user_id: int


class MatchForm(msgspec.Struct, frozen=True):
    """A room as a client wants it. Mode, win condition and team type are 0-3; everything else is unchecked."""

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
    """Asks for a seat."""

    match_id: int
    password: str


class BeatmapInfoRequest(msgspec.Struct, frozen=True):
    """Asks about maps, by .osu file name and by id; each at most BEATMAPS_ASKED_MAX."""

    filenames: tuple[str, ...]
    ids: tuple[int, ...]


def read(packet_id: int, payload: bytes) -> object:
    """What a client's packet says: a Struct above, an int, a text, ids, bytes, or None when it has no payload.

    Raises Malformed, and nothing else, when the payload is too short or invalid or the id is none of READERS.
    """
    reader = READERS.get(packet_id)
    if reader is None:
        raise Malformed(f"there is no packet {packet_id}")
    return reader(payload)


_I32: Final = struct.Struct("<i")
_U32: Final = struct.Struct("<I")
_SLOT_MODS: Final = struct.Struct(f"<{SLOTS}I")


def _nothing(payload: bytes) -> None:
    return None


def _i32(payload: bytes) -> int:
    try:
        number: int = _I32.unpack_from(payload)[0]
    except struct.error:
        raise Malformed("a number was to follow") from None
    return number


def _i32_or_nothing(payload: bytes) -> int:
    return _i32(payload) if payload else 0


def _mods(payload: bytes) -> int:
    # The wire calls it i32, but bits are never negative: bit 31 is no mod and must not become a sign.
    try:
        mods: int = _U32.unpack_from(payload)[0]
    except struct.error:
        raise Malformed("mods were to follow") from None
    return mods


def _text(payload: bytes) -> str:
    return Reader(payload).string()


def _stats_asked(payload: bytes) -> tuple[int, ...]:
    return Reader(payload).i32_list(STATS_ASKED_MAX)


def _presences_asked(payload: bytes) -> tuple[int, ...]:
    return Reader(payload).i32_list(PRESENCES_ASKED_MAX)


def _as_it_is(payload: bytes) -> bytes:
    return payload


def _score_frame(payload: bytes) -> bytes:
    if not SCORE_FRAME_MIN_BYTES <= len(payload) <= SCORE_FRAME_MAX_BYTES:
        raise Malformed(f"a score frame has no {len(payload)} bytes")
    return payload


def _change_action(payload: bytes) -> ChangeAction:
    reader = Reader(payload)
    return ChangeAction(
        action=reader.u8(),
        info_text=reader.string(),
        map_md5=reader.string(),
        mods=reader.u32(),
        mode=reader.u8(),
        map_id=reader.i32(),
    )


def _message(payload: bytes) -> Message:
    reader = Reader(payload)
    return Message(reader.string(), reader.string(), reader.string(), reader.i32())


def _join_match(payload: bytes) -> JoinMatch:
    reader = Reader(payload)
    return JoinMatch(reader.i32(), reader.string())


def _match_form(payload: bytes) -> MatchForm:
    reader = Reader(payload)
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
    user_ids = [reader.i32() if status & HAS_PLAYER else 0 for status in statuses]
    host_id = reader.i32()
    mode = _one_of_four(reader, "mode")
    win_condition = _one_of_four(reader, "win condition")
    team_type = _one_of_four(reader, "team type")
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


def _one_of_four(reader: Reader, what: str) -> int:
    number = reader.u8()
    if number > 3:
        # Clients lose the packet, or themselves, over a room with one they do not know.
        raise Malformed(f"there is no {what} {number}")
    return number


def _beatmap_info_request(payload: bytes) -> BeatmapInfoRequest:
    reader = Reader(payload)
    asked = reader.i32()
    filenames = tuple(reader.string() for _ in range(min(asked, BEATMAPS_ASKED_MAX)))
    if asked > BEATMAPS_ASKED_MAX:
        # The ids come after all the names.
        return BeatmapInfoRequest(filenames, ())
    return BeatmapInfoRequest(filenames, reader.i32s(reader.i32(), BEATMAPS_ASKED_MAX))


READERS: Final[Mapping[int, Callable[[bytes], object]]] = {
    Client.CHANGE_ACTION: _change_action,
    Client.SEND_PUBLIC_MESSAGE: _message,
    Client.LOGOUT: _i32_or_nothing,
    Client.REQUEST_STATUS_UPDATE: _nothing,
    Client.PONG: _nothing,
    Client.START_SPECTATING: _i32,
    Client.STOP_SPECTATING: _nothing,
    Client.SPECTATE_FRAMES: _as_it_is,
    Client.ERROR_REPORT: _text,
    Client.CANT_SPECTATE: _nothing,
    Client.SEND_PRIVATE_MESSAGE: _message,
    Client.PART_LOBBY: _nothing,
    Client.JOIN_LOBBY: _nothing,
    Client.CREATE_MATCH: _match_form,
    Client.JOIN_MATCH: _join_match,
    Client.PART_MATCH: _nothing,
    Client.MATCH_CHANGE_SLOT: _i32,
    Client.MATCH_READY: _nothing,
    Client.MATCH_LOCK: _i32,
    Client.MATCH_CHANGE_SETTINGS: _match_form,
    Client.MATCH_START: _nothing,
    Client.MATCH_SCORE_UPDATE: _score_frame,
    Client.MATCH_COMPLETE: _nothing,
    Client.MATCH_CHANGE_MODS: _mods,
    Client.MATCH_LOAD_COMPLETE: _nothing,
    Client.MATCH_NO_BEATMAP: _nothing,
    Client.MATCH_NOT_READY: _nothing,
    Client.MATCH_FAILED: _nothing,
    Client.MATCH_HAS_BEATMAP: _nothing,
    Client.MATCH_SKIP_REQUEST: _nothing,
    Client.CHANNEL_JOIN: _text,
    Client.BEATMAP_INFO_REQUEST: _beatmap_info_request,
    Client.MATCH_TRANSFER_HOST: _i32,
    Client.FRIEND_ADD: _i32,
    Client.FRIEND_REMOVE: _i32,
    Client.MATCH_CHANGE_TEAM: _nothing,
    Client.CHANNEL_PART: _text,
    Client.RECEIVE_UPDATES: _i32,
    Client.SET_AWAY_MESSAGE: _message,
    Client.USER_STATS_REQUEST: _stats_asked,
    Client.MATCH_INVITE: _i32,
    Client.MATCH_CHANGE_PASSWORD: _match_form,
    Client.TOURNAMENT_MATCH_INFO_REQUEST: _i32,
    Client.USER_PRESENCE_REQUEST: _presences_asked,
    Client.USER_PRESENCE_REQUEST_ALL: _i32_or_nothing,
    Client.TOGGLE_BLOCK_NON_FRIEND_DMS: _i32,
    Client.TOURNAMENT_JOIN_MATCH_CHANNEL: _i32,
    Client.TOURNAMENT_LEAVE_MATCH_CHANNEL: _i32,
}
"""c2s packet id -> what reads its payload, for every id but IRC_ONLY, which nobody sends."""


# What we send

_NUMBER: Final = Layout("HBIi")
_LOGOUT: Final = Layout("HBIiB")
_COUNT: Final = Layout("h")
_SENDER_ID: Final = Layout("i")
_STATS_HEAD: Final = Layout("HBIiB")
_STATS_TAIL: Final = Layout("IBiqfiqiH")
_STATS_BYTES: Final = 44
_PRESENCE_HEAD: Final = Layout("HBIi")
_PRESENCE_TAIL: Final = Layout("BBBffi")
_PRESENCE_BYTES: Final = 19
_MATCH_HEAD: Final = Layout("HBBI")
_MATCH_MAP_ID: Final = Layout("i")
_MATCH_SEATS: Final = Layout("B" * SLOTS * 2)
_MATCH_USERS: Final = tuple(Layout("i" * count) for count in range(SLOTS + 1))
_MATCH_RULES: Final = Layout("iBBBB")
_MATCH_SLOT_MODS: Final = Layout("I" * SLOTS)
_MATCH_SEED: Final = Layout("i")
_BEATMAP_COUNT: Final = Layout("i")
_BEATMAP: Final = Layout("hiiibbbbb")

_UTC_OFFSET_ZERO: Final = 24
_PRIVILEGES_SHOWN: Final = 0x1F
_MODE_SHIFT: Final = 5
_SCORE_FRAME_SLOT: Final = 4
_HIDDEN_PASSWORD: Final = b"\x0b\x00"
"""A string that is there and empty: clients show the lock and ask for the password."""
_NO_PASSWORD: Final = b"\x00"

_PING: Final = packet(Server.PING)
_VERSION_UPDATE: Final = packet(Server.VERSION_UPDATE)
_GET_ATTENTION: Final = packet(Server.GET_ATTENTION)
_MATCH_JOIN_FAIL: Final = packet(Server.MATCH_JOIN_FAIL)
_MATCH_TRANSFER_HOST: Final = packet(Server.MATCH_TRANSFER_HOST)
_MATCH_ALL_PLAYERS_LOADED: Final = packet(Server.MATCH_ALL_PLAYERS_LOADED)
_MATCH_COMPLETE: Final = packet(Server.MATCH_COMPLETE)
_MATCH_SKIP: Final = packet(Server.MATCH_SKIP)
_CHANNEL_INFO_END: Final = packet(Server.CHANNEL_INFO_END)
_VERSION_UPDATE_FORCED: Final = packet(Server.VERSION_UPDATE_FORCED)
_ACCOUNT_RESTRICTED: Final = packet(Server.ACCOUNT_RESTRICTED)
_MATCH_ABORT: Final = packet(Server.MATCH_ABORT)


class BeatmapInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a client is told about one map (docs/spec/protocol.md#beatmap-info).

    `index` is the place of its file name in the request, -1 when it was asked by id. `status` counts as the client
    does: -1 not submitted, 0 pending, 1 ranked, 2 approved, 3 qualified, 4 loved. The modes' fields hold the player's
    best grade there, a number of docs/spec/protocol.md#grades; 9 is none.
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


def _number(packet_id: Server, number: int) -> bytes:
    return _NUMBER.pack(packet_id, 0, 4, number)


def _chat(packet_id: Server, sender: str, text: str, recipient: str, sender_id: int) -> bytes:
    return packet(packet_id, string(sender) + string(text) + string(recipient) + _SENDER_ID.pack(sender_id))


def _channel(packet_id: Server, name: str, topic: str, users: int) -> bytes:
    return packet(packet_id, string(name) + string(topic) + _COUNT.pack(users))


def _match(packet_id: Server, match_id: int, match: Match, password: bytes) -> bytes:
    slots = match.slots
    seated = [slot.player_id for slot in slots if slot.status & HAS_PLAYER]
    # A seat without its player would shift every field after it, and clients crash.
    assert len(slots) == SLOTS, "a match has 16 slots"
    assert all(seated), "a taken slot has its player"
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
    """The user's id, or a negative code of docs/spec/sessions.md#refusals."""
    return _number(Server.LOGIN_REPLY, code)


def message(sender: str, text: str, recipient: str, sender_id: int) -> bytes:
    """A chat line. `recipient` is the channel as the client knows it, or for a DM the receiving player's name."""
    return _chat(Server.SEND_MESSAGE, sender, text, recipient, sender_id)


def ping() -> bytes:
    """Asks for a PONG; never over HTTP, where it makes clients poll without end.

    See docs/spec/protocol.md#what-breaks-clients.
    """
    return _PING


def irc_change_username(old: str, new: str) -> bytes:
    """A player's new name."""
    return packet(Server.IRC_CHANGE_USERNAME, string(f"{old}>>>>{new}"))


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
    """What a player does and how good it is. `mode` is 0-3, `accuracy` 0..1, `rank` 0 is none.

    More pp than the receiver can read is the caller's matter (docs/spec/protocol.md#user-stats): here it becomes
    65,535.
    """
    texts = string(info_text) + string(map_md5)
    head = _STATS_HEAD.pack(Server.USER_STATS, 0, _STATS_BYTES + len(texts), user_id, action)
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
    """Who a player is. `utc_offset` in hours, `country` a number of docs/spec/protocol.md#countries, `privileges` the
    client's bits (the tournament bit is left out), `mode` 0-3, `rank` 0 is none."""
    text = string(name)
    shown = privileges & _PRIVILEGES_SHOWN | (mode & 0b111) << _MODE_SHIFT
    head = _PRESENCE_HEAD.pack(Server.USER_PRESENCE, 0, _PRESENCE_BYTES + len(text), user_id)
    tail = _PRESENCE_TAIL.pack(utc_offset + _UTC_OFFSET_ZERO, country, shown, longitude, latitude, rank)
    return head + text + tail


def user_logout(user_id: int, state: int = 0) -> bytes:
    """A player went offline. `state`: 0 gone, 1 a game session remains, 2 an IRC session remains."""
    return _LOGOUT.pack(Server.USER_LOGOUT, 0, 5, user_id, state)


def spectator_joined(user_id: int) -> bytes:
    """To the watched player, who begins to send frames."""
    return _number(Server.SPECTATOR_JOINED, user_id)


def spectator_left(user_id: int) -> bytes:
    """To the watched player."""
    return _number(Server.SPECTATOR_LEFT, user_id)


def spectate_frames(payload: bytes) -> bytes:
    """The watched player's SPECTATE_FRAMES as it came."""
    return packet(Server.SPECTATE_FRAMES, payload)


def version_update() -> bytes:
    """Makes the client look for an update."""
    return _VERSION_UPDATE


def cant_spectate(user_id: int) -> bytes:
    """That spectator lacks the map."""
    return _number(Server.SPECTATOR_CANT_SPECTATE, user_id)


def get_attention() -> bytes:
    """Flashes the client's window."""
    return _GET_ATTENTION


def notification(text: str) -> bytes:
    """A pop-up; may have several lines."""
    return packet(Server.NOTIFICATION, string(text))


def match_update(match_id: int, match: Match, *, hide_password: bool) -> bytes:
    """A room as it is now; its password only for those who sit in it."""
    return _match(Server.MATCH_UPDATE, match_id, match, _hidden(match) if hide_password else string(match.password))


def match_new(match_id: int, match: Match) -> bytes:
    """A room for the lobby's list; its password stays hidden."""
    return _match(Server.MATCH_NEW, match_id, match, _hidden(match))


def match_dispose(match_id: int) -> bytes:
    """A room is gone."""
    return _number(Server.MATCH_DISPOSE, match_id)


def match_join_success(match_id: int, match: Match) -> bytes:
    """Opens the room's screen; with the password."""
    return _match(Server.MATCH_JOIN_SUCCESS, match_id, match, string(match.password))


def match_join_fail() -> bytes:
    """No seat."""
    return _MATCH_JOIN_FAIL


def fellow_spectator_joined(user_id: int) -> bytes:
    """To the other spectators of the same player."""
    return _number(Server.FELLOW_SPECTATOR_JOINED, user_id)


def fellow_spectator_left(user_id: int) -> bytes:
    """To the other spectators of the same player."""
    return _number(Server.FELLOW_SPECTATOR_LEFT, user_id)


def match_start(match_id: int, match: Match) -> bytes:
    """To those who play: load the map."""
    return _match(Server.MATCH_START, match_id, match, string(match.password))


def match_score_update(payload: bytes, slot: int) -> bytes:
    """A player's score frame as it came, but for the slot, which is ours to say."""
    frame = bytearray(payload)
    frame[_SCORE_FRAME_SLOT : _SCORE_FRAME_SLOT + 1] = bytes((slot & 0xFF,))
    return packet(Server.MATCH_SCORE_UPDATE, bytes(frame))


def match_transfer_host() -> bytes:
    """To the new host."""
    return _MATCH_TRANSFER_HOST


def match_all_players_loaded() -> bytes:
    """To those who play: the song begins."""
    return _MATCH_ALL_PLAYERS_LOADED


def match_player_failed(slot: int) -> bytes:
    """The player of that slot, 0-15, failed."""
    return _number(Server.MATCH_PLAYER_FAILED, slot)


def match_complete() -> bytes:
    """To those who played: show the results."""
    return _MATCH_COMPLETE


def match_skip() -> bytes:
    """Everybody wants to skip the intro."""
    return _MATCH_SKIP


def channel_join_success(name: str) -> bytes:
    """Opens a channel's tab."""
    return packet(Server.CHANNEL_JOIN_SUCCESS, string(name))


def channel_info(name: str, topic: str, users: int) -> bytes:
    """Puts a channel in the list, or its new number of users; at most 32,767 are shown."""
    return _channel(Server.CHANNEL_INFO, name, topic, users)


def channel_kick(name: str) -> bytes:
    """Closes a channel's tab."""
    return packet(Server.CHANNEL_KICK, string(name))


def channel_auto_join(name: str, topic: str, users: int) -> bytes:
    """As channel_info, and the client joins."""
    return _channel(Server.CHANNEL_AUTO_JOIN, name, topic, users)


def beatmap_info_reply(entries: Sequence[BeatmapInfo]) -> bytes:
    """What we know about the maps a client asked for; unknown ones are left out."""
    parts = [_BEATMAP_COUNT.pack(len(entries))]
    for entry in entries:
        grades = (entry.osu, entry.fruits, entry.taiko, entry.mania)
        parts.append(_BEATMAP.pack(entry.index, entry.map_id, entry.set_id, 0, entry.status, *grades))
        parts.append(string(entry.md5))
    return packet(Server.BEATMAP_INFO_REPLY, b"".join(parts))


def privileges(bits: int) -> bytes:
    """The receiver's own client privileges (docs/spec/game-rules.md#client-privileges)."""
    return _number(Server.PRIVILEGES, bits)


def friends_list(ids: Iterable[int]) -> bytes:
    """The receiver's friends: replaces the list it had."""
    return packet(Server.FRIENDS_LIST, i32_list(tuple(ids)))


def protocol_version(version: int = PROTOCOL_VERSION) -> bytes:
    """The first packet of a login."""
    return _number(Server.PROTOCOL_VERSION, version)


def main_menu_icon(image_url: str, click_url: str) -> bytes:
    """The picture of the main menu and where it leads; both may be empty."""
    # Clients split at the one "|" there must be.
    image_url, click_url = (url.replace("|", "%7C") for url in (image_url, click_url))
    return packet(Server.MAIN_MENU_ICON, string(f"{image_url}|{click_url}"))


def match_player_skipped(slot: int) -> bytes:
    """The player of that slot, 0-15, wants to skip the intro."""
    return _number(Server.MATCH_PLAYER_SKIPPED, slot)


def restart(ms: int) -> bytes:
    """The client logs in again after that time."""
    return _number(Server.RESTART, ms)


def match_invite(sender: str, text: str, recipient: str, sender_id: int) -> bytes:
    """An invitation; the text holds the link."""
    return _chat(Server.MATCH_INVITE, sender, text, recipient, sender_id)


def channel_info_end() -> bytes:
    """The list of channels is complete."""
    return _CHANNEL_INFO_END


def match_change_password(password: str) -> bytes:
    """To the room: its new password."""
    return packet(Server.MATCH_CHANGE_PASSWORD, string(password))


def silence_end(seconds: int) -> bytes:
    """How long the receiver is still silenced; 0 lifts it."""
    return _number(Server.SILENCE_END, seconds)


def user_silenced(user_id: int) -> bytes:
    """Deletes that player's lines."""
    return _number(Server.USER_SILENCED, user_id)


def user_presence_single(user_id: int) -> bytes:
    """A player is online; the client asks when it wants to know more."""
    return _number(Server.USER_PRESENCE_SINGLE, user_id)


def user_presence_bundle(ids: Iterable[int]) -> bytes:
    """As user_presence_single for many: packets of BUNDLE_MAX ids each, none for no ids."""
    every = tuple(ids)
    bundles = (every[start : start + BUNDLE_MAX] for start in range(0, len(every), BUNDLE_MAX))
    return b"".join(packet(Server.USER_PRESENCE_BUNDLE, i32_list(bundle)) for bundle in bundles)


def user_dm_blocked(target: str) -> bytes:
    """That player takes no messages from the receiver."""
    return _chat(Server.USER_DM_BLOCKED, "", "", target, 0)


def target_is_silenced(target: str) -> bytes:
    """That player is silenced and could not answer."""
    return _chat(Server.TARGET_IS_SILENCED, "", "", target, 0)


def version_update_forced() -> bytes:
    """Makes the client update at once."""
    return _VERSION_UPDATE_FORCED


def switch_server(seconds: int) -> bytes:
    """Makes a client that is idle that long go to the next host."""
    return _number(Server.SWITCH_SERVER, seconds)


def account_restricted() -> bytes:
    """Shows the receiver that its account is restricted."""
    return _ACCOUNT_RESTRICTED


def match_abort() -> bytes:
    """To those who play: back to the room."""
    return _MATCH_ABORT


def switch_tournament_server(address: str) -> bytes:
    """Makes a tournament client go there."""
    return packet(Server.SWITCH_TOURNAMENT_SERVER, string(address))

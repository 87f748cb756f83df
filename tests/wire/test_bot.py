"""The bot as game clients meet it: real packets to a real server with its limits on."""

import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faces.bancho.client_bytes import whole
from tests.wire.kit import Server, cli, eventually
from tests.wire.test_bancho_bad_input import PASSWORD, Bancho, ids

from kiai.faces.bancho import packets
from kiai.faces.bancho.packets import Client, JoinMatch, MatchForm, Message, SlotForm
from kiai.faces.bancho.wire import Reader, packets_in

FILES = Path(__file__).parent / "files"
TITLE = "re[in] Easy Life"
NAMES = ("anna", "boris", "carla", "dora", "mod", "Plum Harbor")


class Player:
    """One client. `unread` is what it was told and no test has looked at."""

    def __init__(self, bancho: Bancho, name: str) -> None:
        self._bancho = bancho
        self.name = name
        self.token = bancho.fresh(name)

    def send(self, *sent: bytes) -> bytes:
        """Sends packets; the reply."""
        reply = self._bancho.post(b"".join(sent), self.token)
        assert reply.status == 200
        return bytes(reply.body)

    def says(self, channel: str, text: str) -> list[tuple[str, str, str]]:
        """A line in a channel; the lines it is answered with."""
        return lines(self.send(whole(Client.SEND_PUBLIC_MESSAGE, Message("", text, channel, 0))))

    def tells_bot(self, text: str) -> list[str]:
        """A line to the bot; its answer."""
        body = self.send(whole(Client.SEND_PRIVATE_MESSAGE, Message("", text, "BanchoBot", 0)))
        return [said for sender, said, to in lines(body) if (sender, to) == ("BanchoBot", self.name)]

    def in_room(self, channel: str, text: str) -> list[str]:
        """A command in a room's channel; what the bot says there."""
        return [said for sender, said, to in self.says(channel, text) if (sender, to) == ("BanchoBot", channel)]


def lines(body: bytes) -> list[tuple[str, str, str]]:
    """The chat lines in a reply: sender, text, recipient."""
    found = []
    for packet_id, payload in packets_in(body):
        if packet_id == packets.Server.SEND_MESSAGE:
            reader = Reader(payload)
            found.append((reader.string(), reader.string(), reader.string()))
    return found


def invitations(body: bytes) -> list[str]:
    """The texts of the invitations in a reply."""
    found = []
    for packet_id, payload in packets_in(body):
        if packet_id == packets.Server.MATCH_INVITE:
            reader = Reader(payload)
            reader.string()
            found.append(reader.string())
    return found


def room_of(body: bytes) -> int:
    """The id of the room that a reply opens."""
    [payload] = [payload for packet_id, payload in packets_in(body) if packet_id == packets.Server.MATCH_JOIN_SUCCESS]
    return int(struct.unpack_from("<H", payload)[0])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("bot")
    data, maps = folder / "data", folder / "maps"
    maps.mkdir()
    cli(data, "migrate")
    shutil.copy(FILES / "title-with-mod-words.osu", maps)
    for name in NAMES:
        address = f"{name.replace(' ', '.')}@example.org"
        cli(data, "users", "add", name, "--email", address, "--password", PASSWORD.format(name))
    cli(data, "users", "grant", "mod", "moderator")
    cli(data, "beatmaps", "import", str(maps))
    server = Server(data).start()
    try:
        yield server
        assert '"unhandled"' not in server.stderr
        assert '"packet failed"' not in server.stderr
        assert '"command failed"' not in server.stderr
        server.stop()
    finally:
        server.kill()


@pytest.fixture(scope="module")
def bancho(server: Server) -> Bancho:
    return Bancho(server)


@pytest.fixture(scope="module")
def anna(bancho: Bancho) -> Player:
    return Player(bancho, "anna")


@pytest.fixture(scope="module")
def carla(bancho: Bancho) -> Player:
    return Player(bancho, "carla")


@pytest.fixture(scope="module")
def mod(bancho: Bancho) -> Player:
    return Player(bancho, "mod")


def form(name: str, host_id: int, password: str = "") -> MatchForm:
    """A room as a client makes it."""
    return MatchForm(
        id=0,
        in_progress=False,
        mods=0,
        name=name,
        password=password,
        map_name="A - B [C]",
        map_id=75,
        map_md5="0" * 32,
        slots=(SlotForm(1, 0, 0, 0),) * 16,
        host_id=host_id,
        mode=0,
        win_condition=0,
        team_type=0,
        free_mods=False,
        seed=0,
    )


def user_id_of(server: Server, name: str) -> int:
    return int(server.get(f"/get_player_info?scope=info&name={name.replace(' ', '_')}").json["player"]["info"]["id"])


def test_an_invitation_is_to_the_room_whose_channel_it_is_said_in(server: Server, bancho: Bancho, anna: Player) -> None:
    carla = Player(bancho, "carla")
    [made] = anna.tells_bot("!mp make Final")
    assert made.startswith("Created the tournament match https://osu.localhost/mp/")
    assert made.endswith(" Final")
    body = anna.send(whole(Client.PART_MATCH, None))
    final = next(number for number in range(1, 65) if packets.channel_join_success(f"#multi_{number}") in body)
    own = anna.send(whole(Client.CREATE_MATCH, form("my room", user_id_of(server, "anna"), "tea party")))
    assert room_of(own) != final
    carla.send()

    answer = anna.in_room(f"#multi_{final}", "!mp invite carla")

    assert answer == ["Invited carla to the room"]
    [text] = invitations(carla.send())
    assert f"osump://{final}/" in text
    assert text.endswith(" Final].")
    anna.send(whole(Client.PART_MATCH, None))
    assert anna.in_room(f"#multi_{final}", "!mp invite carla") == ["Invited carla to the room"]
    assert f"osump://{final}/" in invitations(carla.send())[0], "a referee without any seat"
    anna.says(f"#multi_{final}", "!mp close")


def test_an_added_referee_enters_the_channel_and_leads_from_there(server: Server, bancho: Bancho, anna: Player) -> None:
    boris = Player(bancho, "boris")
    room = room_of(anna.send(whole(Client.CREATE_MATCH, form("a room", user_id_of(server, "anna")))))
    assert packets.channel_kick(f"#multi_{room}") in boris.send(whole(Client.CHANNEL_JOIN, f"#multi_{room}"))

    assert anna.in_room("#multiplayer", "!mp addref boris carla nobody") == [
        "Added boris to the match referees",
        "Added carla to the match referees",
        "User not found: nobody",
    ]
    told = [text for sender, text, _ in lines(boris.send()) if sender == "BanchoBot"]
    assert told == [f"anna made you a referee of a room: /join #multi_{room}"]
    assert packets.channel_join_success(f"#multi_{room}") in boris.send(whole(Client.CHANNEL_JOIN, f"#multi_{room}"))
    sizes = [boris.in_room(f"#multi_{room}", f"!mp size {size}") for size in range(2, 17)]
    assert sizes == [[f"Changed match to size {size}"] for size in range(2, 17)], "a tool sets a room at once"
    said = [text for sender, text, to in lines(anna.send()) if (sender, to) == ("boris", "#multiplayer")]
    assert said == [f"!mp size {size}" for size in range(2, 17)]
    anna.send(whole(Client.PART_MATCH, None))


def test_what_comes_of_a_command_is_read_after_it(server: Server, bancho: Bancho, anna: Player) -> None:
    dora = Player(bancho, "dora")
    room = room_of(anna.send(whole(Client.CREATE_MATCH, form("in order", user_id_of(server, "anna")))))
    dora.send(whole(Client.JOIN_MATCH, JoinMatch(room, "")))
    dora.send()

    anna.in_room("#multiplayer", "!mp host dora")

    assert [text for _, text, to in lines(dora.send()) if to == "#multiplayer"] == [
        "!mp host dora",
        "dora became the host.",
        "Changed match host to dora",
    ]
    dora.send(whole(Client.PART_MATCH, None))
    anna.send(whole(Client.PART_MATCH, None))


def test_an_answer_tells_what_the_room_has_and_digits_are_ascii(server: Server, anna: Player) -> None:
    room_of(anna.send(whole(Client.CREATE_MATCH, form("mods", user_id_of(server, "anna")))))

    assert anna.in_room("#multiplayer", "!mp mods EZ HR") == ["Enabled Easy, disabled FreeMod"]
    assert anna.in_room("#multiplayer", "!mp mods V2") == ["Disabled all mods, disabled FreeMod"]
    assert anna.in_room("#multiplayer", f"!mp name {'x' * 70}") == [f'Room name updated to "{"x" * 50}"']
    for text in ("!mp start ²", "!mp start ５", "!mp timer ²", "!mp scrim bo²", "!mp map ²"):
        assert "Usage: !mp " in anna.in_room("#multiplayer", text)[-1], text
    anna.send(whole(Client.PART_MATCH, None))


def test_settings_tell_the_teams(server: Server, bancho: Bancho, anna: Player) -> None:
    dora = Player(bancho, "dora")
    room = room_of(anna.send(whole(Client.CREATE_MATCH, form("teams", user_id_of(server, "anna")))))
    dora.send(whole(Client.JOIN_MATCH, JoinMatch(room, "")))
    anna.in_room("#multiplayer", "!mp set 2")
    anna.in_room("#multiplayer", "!mp team dora blue")

    seats = [line for line in anna.in_room("#multiplayer", "!mp settings") if line.startswith("Slot ")]

    assert [line[line.index("[") :] for line in seats] == ["[Host / Team Red ]", "[Team Blue]"]
    dora.send(whole(Client.PART_MATCH, None))
    anna.send(whole(Client.PART_MATCH, None))


def test_words_of_a_title_are_no_mods(bancho: Bancho) -> None:
    carla = Player(bancho, "carla")
    link = f"https://osu.localhost/beatmapsets/4200010#/4200011 Kit - {TITLE} [Hard]"

    title, _, about = carla.tells_bot(f"\x01ACTION is playing [{link}]\x01")
    assert title.endswith("[Hard] NM")
    assert about.startswith("5.26 stars")
    easy = carla.tells_bot(f"\x01ACTION is playing [{link}] -Easy +HardRock\x01")
    assert easy[0].endswith("[Hard] EZ")
    assert carla.tells_bot("!with +EZHR")[0].endswith("[Hard] EZ")
    assert carla.tells_bot("!with +DTHT")[0].endswith("[Hard] DT")


def test_a_report_is_read_by_the_staff_alone(bancho: Bancho, mod: Player) -> None:
    dora, boris = Player(bancho, "dora"), Player(bancho, "boris")
    boris.send()
    mod.send()

    told = dora.says("#osu", "!report Plum Harbor (Spamming) being loud")

    assert told == [
        ("BanchoBot", "Your report has been sent: Plum Harbor (Spamming). The staff will look into it.", "dora")
    ]
    assert b"Plum Harbor" not in boris.send()
    assert ("BanchoBot", "Report 1: dora reports Plum Harbor (Spamming): being loud", "#staff") in lines(mod.send())
    assert "Report 1" not in str(told)
    dora.says("#announce", "!report Plum Harbor (Cheating) again")  # a channel where players only read
    assert mod.tells_bot("!reports")[-1] == "Page 1 of 1; 1 open"


def test_a_silence_is_told_as_long_as_it_is_and_its_player_leaves_the_room(
    server: Server, bancho: Bancho, mod: Player
) -> None:
    dora = Player(bancho, "dora")
    room_of(dora.send(whole(Client.CREATE_MATCH, form("doras room", user_id_of(server, "dora")))))

    said = mod.tells_bot("!silence dora 10m spam")

    assert said == ["dora is silenced for 10 minutes (600 s): spam"]
    body = dora.send()
    assert packets.silence_end(600) in body
    assert packets.channel_kick("#multiplayer") in body
    eventually(lambda: server.get("/get_match?id=1").status == 404)
    assert 92 in ids(dora.send(whole(Client.SEND_PUBLIC_MESSAGE, Message("", "hello", "#osu", 0))))

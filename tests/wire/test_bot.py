"""The bot over a real connection: packets of clients to a server with rate limits."""

import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faces.bancho.client_bytes import whole
from tests.wire.kit import Server, cli, eventually
from tests.wire.test_bancho_bad_input import PASSWORD, Bancho, ids

from kiai.faces.bancho import packets
from kiai.faces.bancho.packets import ClientMessage, ClientPacket, JoinMatch, MatchForm, SlotForm
from kiai.faces.bancho.wire import PayloadReader, packets_in

FILES = Path(__file__).parent / "files"
TITLE = "re[in] Easy Life"
NAMES = ("anna", "boris", "carla", "dora", "mod", "Plum Harbor")


class Player:
    """A logged-in client."""

    def __init__(self, bancho: Bancho, name: str) -> None:
        self._bancho = bancho
        self.name = name
        self.token = bancho.new_session(name)

    def send(self, *sent: bytes) -> bytes:
        """Send packets and return the body of the answer."""
        reply = self._bancho.post(b"".join(sent), self.token)
        assert reply.status == 200
        return bytes(reply.body)

    def write(self, channel: str, text: str) -> list[tuple[str, str, str]]:
        """Write a line in a channel. Return the lines in the answer."""
        return lines(self.send(whole(ClientPacket.SEND_PUBLIC_MESSAGE, ClientMessage("", text, channel, 0))))

    def write_to_bot(self, text: str) -> list[str]:
        """Write a line to the bot. Return its answer."""
        body = self.send(whole(ClientPacket.SEND_PRIVATE_MESSAGE, ClientMessage("", text, "BanchoBot", 0)))
        return [line for sender, line, to in lines(body) if (sender, to) == ("BanchoBot", self.name)]

    def write_in_match(self, channel: str, text: str) -> list[str]:
        """Write a command in the channel of a match. Return the lines of the bot there."""
        return [line for sender, line, to in self.write(channel, text) if (sender, to) == ("BanchoBot", channel)]


def lines(body: bytes) -> list[tuple[str, str, str]]:
    """Return the chat lines of an answer: sender, text, recipient."""
    found = []
    for packet_id, payload in packets_in(body):
        if packet_id == packets.ServerPacket.SEND_MESSAGE:
            reader = PayloadReader(payload)
            found.append((reader.string(), reader.string(), reader.string()))
    return found


def invitations(body: bytes) -> list[str]:
    """Return the texts of the invitations in an answer."""
    found = []
    for packet_id, payload in packets_in(body):
        if packet_id == packets.ServerPacket.MATCH_INVITE:
            reader = PayloadReader(payload)
            reader.string()
            found.append(reader.string())
    return found


def match_id_of(body: bytes) -> int:
    """Return the id of the match that an answer opens."""
    [payload] = [
        payload for packet_id, payload in packets_in(body) if packet_id == packets.ServerPacket.MATCH_JOIN_SUCCESS
    ]
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
    """Return the match of a packet CREATE_MATCH."""
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


def test_invitation_is_to_match_of_the_channel(server: Server, bancho: Bancho, anna: Player) -> None:
    carla = Player(bancho, "carla")
    [made] = anna.write_to_bot("!mp make Final")
    assert made.startswith("Created the tournament match https://osu.localhost/mp/")
    assert made.endswith(" Final")
    body = anna.send(whole(ClientPacket.PART_MATCH, None))
    final = next(number for number in range(1, 65) if packets.channel_join_success(f"#multi_{number}") in body)
    own = anna.send(whole(ClientPacket.CREATE_MATCH, form("my match", user_id_of(server, "anna"), "tea party")))
    assert match_id_of(own) != final
    carla.send()

    answer = anna.write_in_match(f"#multi_{final}", "!mp invite carla")

    assert answer == ["Invited carla to the room"]
    [text] = invitations(carla.send())
    assert f"osump://{final}/" in text
    assert text.endswith(" Final].")
    anna.send(whole(ClientPacket.PART_MATCH, None))
    assert anna.write_in_match(f"#multi_{final}", "!mp invite carla") == ["Invited carla to the room"]
    assert f"osump://{final}/" in invitations(carla.send())[0], "the referee has no seat"
    anna.write(f"#multi_{final}", "!mp close")


def test_added_referee_joins_channel_and_uses_commands(server: Server, bancho: Bancho, anna: Player) -> None:
    boris = Player(bancho, "boris")
    match_id = match_id_of(anna.send(whole(ClientPacket.CREATE_MATCH, form("a match", user_id_of(server, "anna")))))
    assert packets.channel_kick(f"#multi_{match_id}") in boris.send(
        whole(ClientPacket.CHANNEL_JOIN, f"#multi_{match_id}")
    )

    assert anna.write_in_match("#multiplayer", "!mp addref boris carla nobody") == [
        "Added boris to the match referees",
        "Added carla to the match referees",
        "User not found: nobody",
    ]
    bot_lines = [text for sender, text, _ in lines(boris.send()) if sender == "BanchoBot"]
    assert bot_lines == [f"anna made you a referee of a match: /join #multi_{match_id}"]
    assert packets.channel_join_success(f"#multi_{match_id}") in boris.send(
        whole(ClientPacket.CHANNEL_JOIN, f"#multi_{match_id}")
    )
    sizes = [boris.write_in_match(f"#multi_{match_id}", f"!mp size {size}") for size in range(2, 17)]
    assert sizes == [[f"Changed match to size {size}"] for size in range(2, 17)], "leaders have no rate limit"
    texts = [text for sender, text, to in lines(anna.send()) if (sender, to) == ("boris", "#multiplayer")]
    assert texts == [f"!mp size {size}" for size in range(2, 17)]
    anna.send(whole(ClientPacket.PART_MATCH, None))


def test_answer_follows_command_and_its_events(server: Server, bancho: Bancho, anna: Player) -> None:
    dora = Player(bancho, "dora")
    match_id = match_id_of(anna.send(whole(ClientPacket.CREATE_MATCH, form("in order", user_id_of(server, "anna")))))
    dora.send(whole(ClientPacket.JOIN_MATCH, JoinMatch(match_id, "")))
    dora.send()

    anna.write_in_match("#multiplayer", "!mp host dora")

    assert [text for _, text, to in lines(dora.send()) if to == "#multiplayer"] == [
        "!mp host dora",
        "dora became the host.",
        "Changed match host to dora",
    ]
    dora.send(whole(ClientPacket.PART_MATCH, None))
    anna.send(whole(ClientPacket.PART_MATCH, None))


def test_answers_have_stored_values_and_digits_are_ascii(server: Server, anna: Player) -> None:
    match_id_of(anna.send(whole(ClientPacket.CREATE_MATCH, form("mods", user_id_of(server, "anna")))))

    assert anna.write_in_match("#multiplayer", "!mp mods EZ HR") == ["Enabled Easy, disabled FreeMod"]
    assert anna.write_in_match("#multiplayer", "!mp mods V2") == ["Disabled all mods, disabled FreeMod"]
    assert anna.write_in_match("#multiplayer", f"!mp name {'x' * 70}") == [f'Room name updated to "{"x" * 50}"']
    for text in ("!mp start ²", "!mp start ５", "!mp timer ²", "!mp scrim bo²", "!mp map ²"):
        assert "Usage: !mp " in anna.write_in_match("#multiplayer", text)[-1], text
    anna.send(whole(ClientPacket.PART_MATCH, None))


def test_settings_answer_includes_teams(server: Server, bancho: Bancho, anna: Player) -> None:
    dora = Player(bancho, "dora")
    match_id = match_id_of(anna.send(whole(ClientPacket.CREATE_MATCH, form("teams", user_id_of(server, "anna")))))
    dora.send(whole(ClientPacket.JOIN_MATCH, JoinMatch(match_id, "")))
    anna.write_in_match("#multiplayer", "!mp set 2")
    anna.write_in_match("#multiplayer", "!mp team dora blue")

    seats = [line for line in anna.write_in_match("#multiplayer", "!mp settings") if line.startswith("Slot ")]

    assert [line[line.index("[") :] for line in seats] == ["[Host / Team Red ]", "[Team Blue]"]
    dora.send(whole(ClientPacket.PART_MATCH, None))
    anna.send(whole(ClientPacket.PART_MATCH, None))


def test_words_of_title_are_not_read_as_mods(bancho: Bancho) -> None:
    carla = Player(bancho, "carla")
    link = f"https://osu.localhost/beatmapsets/4200010#/4200011 Kit - {TITLE} [Hard]"

    title, _, about = carla.write_to_bot(f"\x01ACTION is playing [{link}]\x01")
    assert title.endswith("[Hard] NM")
    assert about.startswith("5.26 stars")
    easy = carla.write_to_bot(f"\x01ACTION is playing [{link}] -Easy +HardRock\x01")
    assert easy[0].endswith("[Hard] EZ")
    assert carla.write_to_bot("!with +EZHR")[0].endswith("[Hard] EZ")
    assert carla.write_to_bot("!with +DTHT")[0].endswith("[Hard] DT")


def test_report_is_visible_to_staff_only(bancho: Bancho, mod: Player) -> None:
    dora, boris = Player(bancho, "dora"), Player(bancho, "boris")
    boris.send()
    mod.send()

    bot_lines = dora.write("#osu", "!report Plum Harbor (Spamming) being loud")

    assert bot_lines == [
        ("BanchoBot", "Your report has been sent: Plum Harbor (Spamming). The staff will look into it.", "dora")
    ]
    assert b"Plum Harbor" not in boris.send()
    assert ("BanchoBot", "Report 1: dora reports Plum Harbor (Spamming): being loud", "#staff") in lines(mod.send())
    assert "Report 1" not in str(bot_lines)
    dora.write("#announce", "!report Plum Harbor (Cheating) again")  # a channel where players only read
    assert mod.write_to_bot("!reports")[-1] == "Page 1 of 1, 1 open."


def test_silence_answer_has_duration_and_player_leaves_match(server: Server, bancho: Bancho, mod: Player) -> None:
    dora = Player(bancho, "dora")
    match_id_of(dora.send(whole(ClientPacket.CREATE_MATCH, form("match of dora", user_id_of(server, "dora")))))

    texts = mod.write_to_bot("!silence dora 10m spam")

    assert texts == ["dora is silenced for 10 minutes: spam"]
    body = dora.send()
    assert packets.silence_end(600) in body
    assert packets.channel_kick("#multiplayer") in body
    eventually(lambda: server.get("/get_match?id=1").status == 404)
    assert 92 in ids(dora.send(whole(ClientPacket.SEND_PUBLIC_MESSAGE, ClientMessage("", "hello", "#osu", 0))))

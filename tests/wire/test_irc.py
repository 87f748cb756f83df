"""IRC clients on a real server: login, channels, private lines, lists, limits and hostile input."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.faces.bancho.client_bytes import whole
from tests.patience import patiently
from tests.wire.irc import IrcClient, add_players, connect
from tests.wire.kit import Server, eventually
from tests.wire.test_bancho_bad_input import Bancho

from kiai.faces.bancho import packets
from kiai.faces.bancho.packets import ClientMessage, ClientPacket, JoinMatch

NAMES = ("anna", "boris", "carla", "Dora Moon", "erik", "fay", "gina", "hugo", "jill", "kurt", "lena", "mona")
BOT = ":BanchoBot!cho@ppy.sh PRIVMSG"
HOSTILE = b"PRIVMSG anna :a\x00b\xff\xfec\r\nPRIVMSG anna :d\rPING :e\r\n\r\n\n \r\n:\r\n@t=1 :x ping f\r\n"


class Irc(msgspec.Struct):
    """A server with IRC, the IRC passwords of its players, and a client of the game's protocol."""

    server: Server
    passwords: dict[str, str]
    game: Bancho

    def connect(self, name: str) -> IrcClient:
        return connect(self.server, name, self.passwords[name])

    def raw(self) -> IrcClient:
        return IrcClient(self.server.irc_ports["irc"])


@pytest.fixture(scope="module")
def irc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Irc]:
    data: Path = tmp_path_factory.mktemp("irc") / "data"
    passwords = add_players(data, NAMES, bots=["mona"])
    server = Server(data, IRC="127.0.0.1:0").start()
    try:
        yield Irc(server, passwords, Bancho(server))
        assert '"unhandled"' not in server.stderr
        assert '"command failed"' not in server.stderr
        server.stop()
    finally:
        server.kill()


@pytest.fixture
def anna(irc: Irc) -> Iterator[IrcClient]:
    with irc.connect("anna") as client:
        yield client


@pytest.fixture(scope="module")
def boris(irc: Irc) -> str:
    """The token of a session of the game."""
    return irc.game.new_session("boris")


def said(body: bytes, text: str) -> bool:
    return text.encode() in body


# --- login


@pytest.mark.parametrize(
    "lines",
    [
        "PASS {0}|USER erik 0 * :erik|NICK erik",
        "PASS {0}|NICK erik|USER erik 0 * :erik",
        "USER erik 0 * :erik|PASS {0}|NICK erik",
        "CAP LS 302|PASS {0}|NICK erik|USER erik 0 * :erik|CAP END",
        "pass {0}|nick ERIK|user x 0 * :y",
    ],
)
def test_log_in_works_in_any_order(irc: Irc, lines: str) -> None:
    with irc.raw() as client:
        client.send(*lines.format(irc.passwords["erik"]).split("|"))

        welcome = client.until(" 376 ")

    if lines.startswith("CAP"):
        assert welcome.pop(0) == ":cho.ppy.sh CAP * LS :"
    assert welcome[0] == ":cho.ppy.sh 001 erik :Welcome to kiai, erik!cho@ppy.sh"
    assert [line.split()[1] for line in welcome[:5]] == ["001", "002", "003", "004", "375"]


def test_line_feed_alone_ends_a_line(irc: Irc) -> None:
    with irc.raw() as client:
        client.send_bytes(f"PASS {irc.passwords['erik']}\nNICK erik\nUSER erik 0 * :erik\n".encode())

        client.wait(" 001 erik ")


def test_wrong_password_closes_the_connection(irc: Irc) -> None:
    for name, lines in (
        ("fay", ["PASS wrong"]),
        ("nobody_here", [f"PASS {irc.passwords['fay']}"]),
        ("fay", []),
    ):
        with irc.raw() as client:
            client.send(*lines, f"NICK {name}", f"USER {name} 0 * :x")

            assert client.until_end() == [f":cho.ppy.sh 464 {name} :Bad authentication token."]


def test_nothing_is_done_before_the_log_in(irc: Irc) -> None:
    with irc.raw() as client:
        client.send("JOIN #osu", "PRIVMSG anna :hi", "WHO #osu")

        for _ in range(3):
            client.wait(":cho.ppy.sh 451 * :")


def test_restricted_player_is_refused_and_cut_off(irc: Irc) -> None:
    with irc.connect("gina") as client:
        irc.server.cli("users", "restrict", "gina", "--reason", "a test")

        assert client.until_end()[-1].startswith("ERROR :")
    with irc.raw() as again:
        again.send(f"PASS {irc.passwords['gina']}", "NICK gina", "USER gina 0 * :x")
        assert " 465 gina " in again.until_end()[0]
    irc.server.cli("users", "unrestrict", "gina")


def test_newer_connection_takes_over(irc: Irc) -> None:
    with irc.connect("hugo") as older, irc.connect("hugo") as newer:
        assert older.until_end()[-1].startswith("ERROR :")
        newer.send("PING :still here")
        newer.wait("still here")


# --- channels


def test_join_has_its_lines_in_order(irc: Irc, anna: IrcClient) -> None:
    lines = anna.join("#osu")

    assert lines[0] == ":anna!cho@ppy.sh JOIN :#osu"
    assert lines[1] == ":BanchoBot!cho@cho.ppy.sh MODE #osu +v anna"
    assert lines[2].startswith(":cho.ppy.sh 332 anna #osu :")
    assert lines[3].startswith(":cho.ppy.sh 333 anna #osu BanchoBot!BanchoBot@cho.ppy.sh ")
    assert lines[4].startswith(":cho.ppy.sh 353 anna = #osu :@BanchoBot ")
    assert lines[4].endswith(" ")
    assert "+anna" in lines[4].split()
    assert lines[5] == ":cho.ppy.sh 366 anna #osu :End of /NAMES list."

    anna.send("JOIN #osu")
    assert anna.quiet() == []
    anna.send("PART #osu")
    anna.wait(":anna!cho@ppy.sh PART :#osu")
    anna.send("PART #osu")
    anna.wait(" 442 anna #osu ")


@pytest.mark.parametrize("channel", ["#nothing", "#staff", "#multiplayer", "#spectator", "#multi_1", "#mp_1", "#mp_x"])
def test_channel_that_is_not_there_or_not_allowed(anna: IrcClient, channel: str) -> None:
    anna.send(f"JOIN {channel}")

    assert anna.wait(" 403 ") == f":cho.ppy.sh 403 anna {channel} :No such channel {channel}"


def test_lines_of_a_channel_go_both_ways(irc: Irc, anna: IrcClient, boris: str) -> None:
    anna.join("#osu")
    irc.game.post(b"", boris)

    anna.send("PRIVMSG #osu :from irc", "PRIVMSG #osu :\x01ACTION waves\x01")
    eventually(lambda: said(irc.game.post(b"", boris).body, "from irc"))
    irc.game.post(whole(ClientPacket.SEND_PUBLIC_MESSAGE, ClientMessage("", "from the game", "#osu", 0)), boris)
    assert anna.wait("PRIVMSG") == ":boris!cho@ppy.sh PRIVMSG #osu :from the game"
    action = "\x01ACTION is listening to [https://osu.localhost/b/75 a song]\x01"
    irc.game.post(whole(ClientPacket.SEND_PUBLIC_MESSAGE, ClientMessage("", action, "#osu", 0)), boris)
    assert anna.wait("PRIVMSG") == f":boris!cho@ppy.sh PRIVMSG #osu :{action}"


def test_members_come_and_go(irc: Irc, anna: IrcClient) -> None:
    anna.join("#osu")
    with irc.connect("carla") as carla:
        carla.join("#osu")
        assert anna.wait("carla") == ":carla!cho@ppy.sh JOIN :#osu"
        carla.send("PART #osu")
        assert anna.wait("carla") == ":carla!cho@ppy.sh PART :#osu"
        carla.join("#osu")
        anna.wait("carla")
        carla.send("QUIT :bye")
        assert anna.wait("carla") == ":carla!cho@ppy.sh QUIT :quit"
    token = irc.game.new_session("carla")
    assert anna.wait("carla") == ":carla!cho@ppy.sh JOIN :#osu"
    time.sleep(1.1)  # a LOGOUT right after the login is ignored
    irc.game.post(whole(ClientPacket.LOGOUT, bytes(4)), token)
    assert anna.wait("carla") == ":carla!cho@ppy.sh QUIT :quit"


def test_long_line_is_split_and_nothing_is_lost(irc: Irc, anna: IrcClient, boris: str) -> None:
    anna.join("#osu")
    text = " ".join(f"wörd{number}" for number in range(150))

    irc.game.post(whole(ClientPacket.SEND_PUBLIC_MESSAGE, ClientMessage("", text, "#osu", 0)), boris)

    head = ":boris!cho@ppy.sh PRIVMSG #osu :"
    lines = [line for line in anna.until("wörd149") if line.startswith(head)]
    assert len(lines) > 1
    assert " ".join(line.removeprefix(head) for line in lines) == text


# --- private lines


def test_private_lines_go_both_ways(irc: Irc, anna: IrcClient, boris: str) -> None:
    irc.game.post(b"", boris)
    anna.send("PRIVMSG Boris :hello")
    eventually(lambda: said(irc.game.post(b"", boris).body, "hello"))
    irc.game.post(whole(ClientPacket.SEND_PRIVATE_MESSAGE, ClientMessage("", "hello back", "anna", 0)), boris)
    assert anna.wait("PRIVMSG") == ":boris!cho@ppy.sh PRIVMSG anna :hello back"


def test_line_to_oneself_comes_back_once(anna: IrcClient) -> None:
    anna.send("PRIVMSG anna :note to self")

    assert anna.quiet() == [":anna!cho@ppy.sh PRIVMSG anna :note to self"]


def test_player_in_the_game_and_in_irc_gets_a_line_in_both(irc: Irc, anna: IrcClient, boris: str) -> None:
    with irc.connect("boris") as client:
        irc.game.post(b"", boris)
        anna.send("PRIVMSG boris :to both of you")

        client.wait(":anna!cho@ppy.sh PRIVMSG boris :to both of you")
        eventually(lambda: said(irc.game.post(b"", boris).body, "to both of you"))
        client.join("#osu")
        client.send("PRIVMSG #osu :my own line")
        assert not any("my own line" in line for line in client.quiet())
        assert not said(irc.game.post(b"", boris).body, "my own line")


@pytest.mark.parametrize("target", ["nobody_here", "#nothing", "#mp_12"])
def test_target_that_is_not_there(anna: IrcClient, target: str) -> None:
    anna.send(f"PRIVMSG {target} :hello")

    assert anna.wait(" 401 ") == f":cho.ppy.sh 401 anna {target} :No such nick"


def test_channel_without_membership(anna: IrcClient) -> None:
    anna.send("PRIVMSG #osu :hello")

    anna.wait(" 404 anna #osu :")


def test_bot_answers_whatever_its_name(anna: IrcClient) -> None:
    anna.send("PRIVMSG banchobot :!roll 1")

    assert anna.wait("rolls") == f"{BOT} anna :anna rolls 1 point(s)"
    anna.send("NOTICE BanchoBot :!roll 1")
    assert anna.quiet() == []


def test_away_player_answers(irc: Irc, anna: IrcClient) -> None:
    with irc.connect("carla") as carla:
        carla.send("AWAY :at lunch")
        carla.wait(" 306 carla ")
        anna.send("PRIVMSG carla :hi")
        assert anna.wait(" 301 ") == ":cho.ppy.sh 301 anna carla :at lunch"
        carla.send("AWAY")
        carla.wait(" 305 carla ")


# --- lists and other commands


def test_whois_names_the_id_in_its_fifth_word(irc: Irc, anna: IrcClient) -> None:
    anna.join("#osu")
    anna.send("WHOIS Anna")

    lines = anna.until(" 318 ")
    assert lines[0] == ":cho.ppy.sh 311 anna anna https://osu.ppy.sh/u/3 * :https://osu.ppy.sh/u/3"
    assert lines[1] == ":cho.ppy.sh 319 anna anna :#osu "
    assert lines[2].startswith(":cho.ppy.sh 312 anna anna cho.ppy.sh :")
    assert lines[-1] == ":cho.ppy.sh 318 anna anna :End of /WHOIS list."
    anna.send("WHOIS nobody_here")
    assert [line.split()[1] for line in anna.until(" 318 ")] == ["401", "318"]


def test_name_with_a_blank_is_a_nick_with_an_underscore(irc: Irc, anna: IrcClient) -> None:
    with irc.connect("Dora Moon") as dora:
        assert dora.nick == "Dora_Moon"
        anna.send("PRIVMSG dora_moon :hello", "ISON Dora_Moon nobody_here anna", "USERHOST Dora_Moon")
        dora.wait(":anna!cho@ppy.sh PRIVMSG Dora_Moon :hello")
        anna.wait(":cho.ppy.sh 303 anna :Dora_Moon anna")
        anna.wait(":cho.ppy.sh 302 anna :Dora_Moon=+cho@ppy.sh")


@pytest.mark.parametrize(
    ("command", "answers"),
    [
        ("NAMES #osu", ["353 anna = #osu :@BanchoBot ", "366 anna #osu :"]),
        ("WHO #osu", ["352 anna #osu cho ppy.sh cho.ppy.sh BanchoBot H@ :0 ", "315 anna #osu :"]),
        ("WHO anna", ["352 anna * cho ppy.sh cho.ppy.sh anna H :0 anna", "315 anna anna :"]),
        ("LIST", ["321 anna Channel :", "322 anna #osu ", "323 anna :"]),
        ("TOPIC #osu", ["332 anna #osu :", "333 anna #osu "]),
        ("TOPIC #osu :mine now", ["482 anna #osu :"]),
        ("MODE #osu", ["324 anna #osu +nt", "329 anna #osu "]),
        ("MODE #osu +o anna", ["482 anna #osu :"]),
        ("MODE anna", ["221 anna +"]),
        ("KICK #osu boris", ["482 anna #osu :"]),
        ("INVITE boris #osu", ["482 anna #osu :"]),
        ("OPER a b", ["491 anna :"]),
        ("NICK somebody", ["484 anna :"]),
        ("PASS x", ["462 anna :"]),
        ("LUSERS", ["251 anna :There are ", "254 anna ", "255 anna :"]),
        ("MOTD", ["375 anna :", "376 anna :"]),
        ("VERSION", ["351 anna kiai-"]),
        ("TIME", ["391 anna cho.ppy.sh :"]),
        ("PING x", ["PONG cho.ppy.sh :x"]),
        ("JOIN", ["461 anna JOIN :Not enough parameters"]),
        ("PRIVMSG #osu", ["461 anna PRIVMSG :Not enough parameters"]),
        ("WHATEVER x", ["421 anna WHATEVER :Unknown command"]),
    ],
)
def test_command_has_its_answer(anna: IrcClient, command: str, answers: list[str]) -> None:
    anna.send(command)

    for answer in answers:
        anna.wait(f":cho.ppy.sh {answer}")


def test_list_has_only_what_the_player_may_read(anna: IrcClient) -> None:
    anna.send("LIST")

    listed = [line.split()[3] for line in anna.until(" 323 ") if " 322 " in line]
    assert "#osu" in listed
    assert "#staff" not in listed


# --- presence


def test_player_in_irc_is_shown_as_online(irc: Irc, boris: str) -> None:
    before = irc.server.get("/get_player_count").json["counts"]["online"]
    irc.game.post(b"", boris)
    with irc.connect("lena"):
        body = irc.game.post(b"", boris).body
        user_id = irc.server.get("/get_player_info?scope=info&name=lena").json["player"]["info"]["id"]
        assert (-user_id).to_bytes(4, "little", signed=True) in body
        assert irc.server.get("/get_player_count").json["counts"]["online"] == before + 1
        assert irc.server.get(f"/get_player_status?id={user_id}").json["player_status"]["online"] is True
        token = irc.game.new_session("lena")
        assert irc.server.get("/get_player_count").json["counts"]["online"] == before + 1
        time.sleep(1.1)
        irc.game.post(b"", boris)
        irc.game.post(whole(ClientPacket.LOGOUT, bytes(4)), token)
        assert packets.user_logout(user_id, 2) in irc.game.post(b"", boris).body
    eventually(lambda: packets.user_logout(user_id) in irc.game.post(b"", boris).body)


# --- matches


def test_referee_leads_a_match_from_irc(irc: Irc) -> None:
    with irc.connect("fay") as fay, irc.connect("carla") as carla:
        fay.send("PRIVMSG BanchoBot :!mp make A room")
        created = fay.wait("Created the tournament match")
        assert created.startswith(f"{BOT} fay :Created the tournament match https://osu.ppy.sh/mp/")
        room = f"#mp_{created.partition('/mp/')[2].split()[0]}"
        lines = fay.until(" 366 ")
        assert lines[0] == f":fay!cho@ppy.sh JOIN :{room}"
        assert lines[2].startswith(f":cho.ppy.sh 332 fay {room} :multiplayer game #")
        assert lines[4] == f":cho.ppy.sh 353 fay = {room} :@BanchoBot +fay "

        carla.send(f"JOIN {room}", f"PRIVMSG {room} :hello")
        carla.wait(f" 403 carla {room} :")
        carla.wait(f" 401 carla {room} :No such nick")
        commands = [
            "name Another room",
            "password secret",
            "size 8",
            "set 2 1",
            "mods HD Freemod",
            "lock",
            "addref carla",
        ]
        fay.send(*(f"PRIVMSG {room} :!mp {command}" for command in commands))
        for answer in (
            'Room name updated to "Another room"',
            "Changed the match password",
            "Changed match to size 8",
            "Changed match settings to TeamVs, Accuracy",
            "Locked the match",
            "Added carla to the match referees",
        ):
            assert fay.wait(answer).startswith(f"{BOT} {room} :")
        carla.join(room)
        carla.send(f"PRIVMSG {room} :hello referees")
        assert fay.wait("hello referees") == f":carla!cho@ppy.sh PRIVMSG {room} :hello referees"
    with irc.connect("fay") as again:
        again.wait(f":fay!cho@ppy.sh JOIN :{room}")
        again.until(" 366 ")
        again.send(f"PRIVMSG {room} :!mp close")
        lines = again.quiet()
        assert f":fay!cho@ppy.sh PART :{room}" in lines
        assert f"{BOT} {room} :Closed the match" in lines


def test_players_in_a_match_are_heard(irc: Irc, boris: str) -> None:
    with irc.connect("fay") as fay:
        fay.send("PRIVMSG BanchoBot :!mp make Both ways")
        room = f"#mp_{fay.wait('Created').partition('/mp/')[2].split()[0]}"
        number = int(fay.wait(" 332 ").rpartition("#")[2])
        fay.send(f"PRIVMSG {room} :!mp password")
        fay.wait("Removed the match password")
        irc.game.post(whole(ClientPacket.JOIN_MATCH, JoinMatch(number, "")), boris)
        assert fay.wait("joined in slot") == f"{BOT} {room} :boris joined in slot 1."
        irc.game.post(whole(ClientPacket.SEND_PUBLIC_MESSAGE, ClientMessage("", "hi ref", "#multiplayer", 0)), boris)
        assert fay.wait("hi ref") == f":boris!cho@ppy.sh PRIVMSG {room} :hi ref"
        fay.send(f"PRIVMSG {room} :hi player")
        eventually(lambda: said(irc.game.post(b"", boris).body, "hi player"))
        fay.send(f"NAMES {room}")
        assert "boris" not in fay.wait(" 353 ")
        fay.send(f"PRIVMSG {room} :!mp close")
        fay.wait("Closed the match")


# --- limits and hostile input


def test_person_has_twenty_lines_at_once_and_then_notices(irc: Irc) -> None:
    with irc.connect("jill") as jill:
        jill.send(*(f"PRIVMSG jill :{number}" for number in range(24)))

        lines = jill.quiet()

    assert len([line for line in lines if " PRIVMSG jill :" in line]) in (20, 21)
    assert len([line for line in lines if "NOTICE jill :You are sending too fast" in line]) in (3, 4)


def test_flood_silences(irc: Irc) -> None:
    with irc.connect("kurt") as kurt:
        kurt.send(*(f"PRIVMSG kurt :{number}" for number in range(40)))

        kurt.wait("NOTICE kurt :You are silenced for 5 minutes.")
        kurt.quiet()
        kurt.join("#osu")
        time.sleep(patiently(1.0))  # the limit allows two lines a second
        kurt.send("PRIVMSG #osu :can you hear me", "PRIVMSG anna :can you")
        assert len([line for line in kurt.quiet() if "NOTICE kurt :You are silenced for " in line]) == 2


def test_chat_bot_has_three_hundred_lines_at_once(irc: Irc) -> None:
    with irc.connect("mona") as mona:
        mona.send(*(f"PRIVMSG mona :{number}" for number in range(300)))

        assert len([line for line in mona.until(":299") if " PRIVMSG mona :" in line]) == 300


def test_long_input_is_dropped_and_the_connection_goes_on(anna: IrcClient) -> None:
    anna.send(f"PRIVMSG anna :{'x' * 3_000}", "PING :next")
    assert " 417 anna :" in anna.until(":next")[0]
    anna.send(f"PRIVMSG anna :{'y' * 1_500}")
    received = [line for line in anna.quiet() if "PRIVMSG anna :" in line]
    assert "".join(line.partition(" :")[2] for line in received) == "y" * 1_500
    anna.send_bytes(b"z" * 70_000)
    assert anna.until_end()[-1].startswith("ERROR :")


def test_hostile_bytes_make_no_line_of_their_own(irc: Irc, boris: str) -> None:
    with irc.connect("anna") as anna:
        anna.join("#osu")
        anna.send_bytes(HOSTILE)
        lines = anna.quiet()
        assert ":anna!cho@ppy.sh PRIVMSG anna :ab\ufffd\ufffdc" in "".join(lines).replace("a b", "ab")
        assert ":cho.ppy.sh PONG cho.ppy.sh :e" in lines
        assert ":cho.ppy.sh PONG cho.ppy.sh :f" in lines
        text = "one\r\nQUIT :two\0three"
        irc.game.post(whole(ClientPacket.SEND_PUBLIC_MESSAGE, ClientMessage("", text, "#osu", 0)), boris)
        assert anna.wait("boris").startswith(":boris!cho@ppy.sh PRIVMSG #osu :one")


def test_ten_thousand_joins_delay_nobody_and_end_with_their_client(irc: Irc) -> None:
    with irc.connect("kurt") as kurt, irc.connect("lena") as lena:
        lena.join("#osu")
        kurt.socket.settimeout(0.5)
        with contextlib.suppress(TimeoutError):  # the server does not read faster than it answers
            kurt.send(*(f"JOIN #c{number},#osu" for number in range(10_000)))
        began = time.monotonic()
        lena.send("PING :still here")
        lena.wait(":still here")
        assert time.monotonic() - began < patiently(2)
        kurt.close()
        lena.wait(":kurt!cho@ppy.sh QUIT")
        assert time.monotonic() - began < patiently(8)
    with irc.connect("kurt") as kurt:
        assert any(line.startswith(":kurt!cho@ppy.sh JOIN") for line in kurt.join("#osu"))


@pytest.mark.parametrize("channels", [",".join(f"#c{number}" for number in range(400)), "#osu," * 300, "," * 1_500])
def test_join_of_many_channels_is_cut(irc: Irc, channels: str) -> None:
    with irc.connect("gina") as gina:
        gina.send(f"JOIN {channels}")
        lines = gina.quiet()

    assert len([line for line in lines if " 403 " in line]) <= 20
    assert len([line for line in lines if " JOIN " in line]) <= 1


STRANGE_NICKS = (
    "fay!cho@ppy.sh",
    "#osu",
    "@fay",
    ":fay",
    "fay\x01",
    "fay\x00boris",
    "a,b",
    "*",
    "BanchoBot",
    "cho.ppy.sh",
    "f\u0430y",  # with a letter of another alphabet
    "fay\u200b",
    "\uff26ay",
    "x" * 500,
)


@pytest.mark.parametrize("number", range(len(STRANGE_NICKS)))
def test_no_nick_is_another_player(irc: Irc, number: int) -> None:
    """The password belongs to an account, so no way to write a name opens another one."""
    # Each from an address of its own: five wrong passwords would refuse the next ones in any case.
    with IrcClient(irc.server.irc_ports["irc"], source=f"127.0.2.{number + 1}") as client:
        client.send(f"PASS {irc.passwords['hugo']}", f"NICK {STRANGE_NICKS[number]}", "USER x 0 * :x")
        lines = client.until_end()
    assert [line.split()[1] for line in lines] == ["464"]


def test_nick_stays_the_name_of_the_account(irc: Irc, anna: IrcClient) -> None:
    for nick in ("boris", "anna_", "ANNA", ":", "anna boris", "#osu"):
        anna.send(f"NICK {nick}")
    lines = anna.quiet()
    assert {line.split()[1] for line in lines} <= {"484", "461"}
    anna.send("PRIVMSG anna :it is me")
    assert anna.wait("it is me").startswith(":anna!cho@ppy.sh PRIVMSG anna :")


def test_passwords_are_guessed_five_times_a_minute(tmp_path: Path) -> None:
    data = tmp_path / "data"
    passwords = add_players(data, ["anna", "boris"])
    server = Server(data, IRC="127.0.0.1:0").start()

    def log_in(name: str, password: str, source: str) -> str:
        with IrcClient(server.irc_ports["irc"], source=source) as client:
            client.send(f"PASS {password}", f"NICK {name}", f"USER {name} 0 * :x")
            return client.wait(lambda line: True).split()[1]

    try:
        assert log_in("boris", passwords["boris"], "127.0.0.1") == "001"
        for number in range(5):
            assert log_in(f"anna{number}", "wrong", "127.0.0.1") == "464"
        assert log_in("boris", passwords["boris"], "127.0.0.1") == "464", "the address is limited"
        assert log_in("boris", passwords["boris"], "127.0.0.2") == "001"
        for number in range(5):
            assert log_in("Anna", "wrong", f"127.0.1.{number}") == "464"
        assert log_in("anna", passwords["anna"], "127.0.0.9") == "464", "the name is limited"
        server.stop()
    finally:
        server.kill()

"""The tables in docs/spec have the same numbers as the code."""

import re
from pathlib import Path
from typing import Final

from kiai.accounts.login_records import MEANINGLESS
from kiai.beatmaps.model import MapStatus
from kiai.faces.bancho.app import RESTRICTED
from kiai.faces.bancho.packets import ClientPacket, ServerPacket
from kiai.osu.mods import Mods, mods_text
from kiai.osu.privileges import Privilege

ROOT: Final = Path(__file__).parents[2]
SPEC: Final = ROOT / "docs" / "spec"
CLIENT: Final = ROOT / "src" / "kiai" / "faces" / "client"
ANSWERED: Final = {ClientPacket.CREATE_MATCH, ClientPacket.JOIN_MATCH}
"""Packets whose only effect for a restricted player is an error message."""


def rows(page: str, heading: str) -> list[list[str]]:
    """Yield the rows of the tables under a heading, without the header rows."""
    text = (SPEC / page).read_text("utf-8")
    found = re.search(rf"(?ms)^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text)
    assert found is not None, heading
    lines = [line for line in found[1].splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    heads = {index for index, row in enumerate(cells) if set("".join(row)) <= set("-")}
    return [row for index, row in enumerate(cells) if not {index, index + 1} & heads]


def packets(heading: str) -> dict[int, str]:
    """Return the names of packets by id. A row may hold two packets."""
    found: dict[int, str] = {}
    for row in rows("protocol.md", heading):
        found |= zip(map(int, row[0].split(", ")), row[1].split(", "), strict=True)
    return found


def test_every_packet_of_clients_is_listed_under_its_number() -> None:
    assert packets("Client packets") == {packet.value: packet.name for packet in ClientPacket}


def test_packets_of_the_server_are_listed_under_their_numbers() -> None:
    listed = packets("Server packets")

    assert listed == {packet.value: packet.name for packet in ServerPacket if packet.value in listed}


def test_the_packets_of_a_restricted_session_are_listed() -> None:
    text = (SPEC / "sessions.md").read_text("utf-8")
    found = re.search(r"A restricted session may send packets ([\d, and]+)\.", text.replace("\n", " "))

    assert found is not None
    listed = {int(number) for number in re.findall(r"\d+", found[1])}
    assert listed | {ClientPacket.PONG} == {int(packet) for packet in RESTRICTED - ANSWERED} | {ClientPacket.PONG}


def test_mods_are_listed_with_their_values() -> None:
    cells = [cell for row in rows("game-rules.md", "Mods") for cell in (row[:3], row[-4:-1]) if cell[0]]
    listed = {int(value): code for value, code, _ in cells}

    assert listed == {int(mod): mods_text(mod) for mod in Mods}


def test_privileges_are_listed_with_their_values() -> None:
    cells = [cell for row in rows("game-rules.md", "Privileges") for cell in (row[:3], row[3:]) if cell[0]]
    listed = {int(value): (1 << int(bit), name) for bit, value, name in cells}

    names = {int(bit): str(bit.name).lower().replace("tourney_", "tournament ") for bit in Privilege}
    assert listed == {value: (value, name) for value, name in names.items()}


def test_statuses_of_maps_are_listed() -> None:
    listed = {
        int(row[0].split(maxsplit=1)[0]): row[0].split(maxsplit=1)[1] for row in rows("beatmaps.md", "Status numbers")
    }

    assert listed == {int(status): status.name.lower().replace("_", " ") for status in MapStatus}


def test_hashes_that_say_nothing_are_listed() -> None:
    text = (SPEC / "sessions.md").read_text("utf-8")

    assert set(re.findall(r"(?m)^\| `([0-9a-f]{32})` \|", text)) == MEANINGLESS - {""}


def test_every_path_that_game_clients_ask_for_is_described() -> None:
    pages = "\n".join(path.read_text("utf-8") for path in SPEC.glob("*.md"))
    code = "\n".join(path.read_text("utf-8") for path in CLIENT.glob("*.py"))
    served = {path.partition("{")[0] for path in re.findall(r'"(/[a-z][\w./-]*(?:\{\w+\}[\w./{}]*)?)"', code)}
    assert len(served) > 30

    # A row may name several paths that begin alike: "`/web/osu-osz2-bmsubmit-getid.php`, `...-upload.php`".
    shortened = {"/web/osu-osz2-bmsubmit-upload.php": "...-upload.php"}
    assert [path for path in sorted(served) if shortened.get(path, path) not in pages] == []

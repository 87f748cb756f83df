"""The nomination mode over a real server: the bot, the API, the website, the mail, and a server that is killed."""

import asyncio
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import update
from tests import stores
from tests.patience import patiently
from tests.site.kit import a_browser
from tests.wire.kit import Server, cli, eventually
from tests.wire.rows import NORMAL, Rows
from tests.wire.test_bancho_bad_input import PASSWORD, Bancho
from tests.wire.test_bot import FILES, Player, lines
from tests.wire.test_community import NP

from kiai.app import open_services
from kiai.staff import OPERATOR
from kiai.storage.tables import audit_log, chat_lines, map_requests, maps, qualified_sets

NAMES: Final = ("anna", "nora", "boris")
LATE_S: Final = 5.0


async def populate(data: Path) -> tuple[dict[str, int], dict[str, str]]:
    """Create a player and two nominators. Return their ids and keys."""
    async with open_services(stores.settings(data)) as services:
        ids = {
            name: await services.accounts.register(
                name=name, email=f"{name}@example.org", password=PASSWORD.format(name), priv=NORMAL
            )
            for name in NAMES
        }
        for name in NAMES[1:]:
            await services.staff.grant(OPERATOR, name, ["nominator"])
        return ids, {name: await services.api_keys.issue(user_id) for name, user_id in ids.items()}


class Mode:
    """A server in the nomination mode with one pending map."""

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        self.ids, self.keys = asyncio.run(populate(self.data))
        shutil.copy(FILES / "title-with-mod-words.osu", folder)
        self.file = folder / "title-with-mod-words.osu"
        cli(self.data, "beatmaps", "import", str(self.file), "--status", "pending")
        # Without rate limits: the tests send more commands than a player may.
        self.server = Server(self.data, RATE_LIMITS="off", NOMINATION_MODE="on").start()
        self.rows = Rows(self.data)
        [self.map] = self.rows.look(maps)
        self.path = f"/v2/maps/{self.map.id}/nominations"

    def ask(self, method: str, by: str | None = None, body: bytes | None = None) -> tuple[int, Any]:
        reply = self.server.ask(method, self.path, body=body, key=self.keys.get(by or ""))
        return reply.status, reply.json

    def status(self) -> int:
        [row] = self.rows.look(maps)
        return int(row.status)

    def page(self, user_id: int | None = None) -> Any:
        return a_browser(self.server, user_id=user_id).get(f"/beatmapsets/{self.map.set_id}")


@pytest.fixture
def mode(tmp_path: Path) -> Iterator[Mode]:
    mode = Mode(tmp_path)
    try:
        yield mode
        for fault in ('"unhandled"', '"packet failed"', '"command failed"', '"job failed"', '"delivery failed"'):
            assert fault not in mode.server.stderr
        mode.server.stop()
    finally:
        mode.rows.close()
        mode.server.kill()


def test_set_is_requested_nominated_qualified_and_ranked_after_a_kill(mode: Mode) -> None:
    bancho = Bancho(mode.server)
    page = mode.page(mode.ids["anna"]).button("Request ranking").press()
    assert page.message == "Your request has been sent to the nominators."
    assert "2 nominations qualify this set." in page.text
    nora = Player(bancho, "nora")
    nora.write_to_bot(NP.format(set_id=mode.map.set_id, map_id=mode.map.id))
    assert "by anna" in nora.write_to_bot("!requests")[0]
    assert "nomination mode is on" in nora.write_to_bot("!map rank")[0]
    queue = a_browser(mode.server, user_id=mode.ids["nora"]).get("/requests")
    assert (queue.status, queue.link("anna")) == (200, f"/users/{mode.ids['anna']}")
    assert [row.attributes["data-set-id"] for row in queue.css("tr[data-set-id]")] == [str(mode.map.set_id)]
    assert queue.stat("nominations") == "0"
    assert float(queue.stat("pp") or 0) > 0
    assert queue.link("Requests") == "/requests"
    of_anna = a_browser(mode.server, user_id=mode.ids["anna"])
    assert of_anna.get("/requests").status == 404
    assert of_anna.get("/").link("Requests") is None

    assert "1 of 2 nominations" in nora.write_to_bot("!nominate good flow")[0]
    assert "already nominated" in nora.write_to_bot("!nominate")[0]
    assert "1 of 2 nominations: nora" in mode.page().text

    assert mode.ask("POST", "anna", b"{}")[0] == 403
    assert mode.ask("POST", None, b"{}")[0] == 401
    status, reply = mode.ask("POST", "boris", b'{"reason": "fine"}')
    assert (status, reply["data"]["count"], reply["data"]["needed"]) == (201, 2, 2)
    assert reply["data"]["mode"] == "nominations"
    assert [one["player"]["name"] for one in reply["data"]["nominations"]] == ["nora", "boris"]
    assert mode.ask("POST", "boris", b"")[0] == 409
    assert mode.ask("GET") == (200, reply)
    assert mode.status() == 4
    shown = mode.page().text
    assert "The set is qualified. It will be ranked on" in shown
    assert shown.count("Nominated by") == 2
    eventually(lambda: any("is now qualified, by boris" in row.text for row in mode.rows.look(chat_lines)))

    # Killed while the set waits, and started again after its time.
    mode.server.kill()
    with stores.engine(mode.data).begin() as connection:
        connection.execute(update(qualified_sets).values(ranks_at_ms=time.time_ns() // 1_000_000 - 86_400_000))
    mode.server.start()
    eventually(lambda: mode.status() == 2, within_s=patiently(LATE_S))
    mode.server.kill()
    mode.server.start()

    acts = [(row.action, row.actor_id, row.source) for row in mode.rows.look(audit_log)]
    acts = [act for act in acts if act[0] in ("nominate", "beatmap_status")]
    assert acts == [
        ("nominate", mode.ids["nora"], "game"),
        ("nominate", mode.ids["boris"], "api"),
        ("beatmap_status", mode.ids["boris"], "api"),
        ("beatmap_status", 0, "job"),
    ]
    letter = "was answered: it is qualified now."
    login = Bancho(mode.server).login("anna")
    assert any(letter in text for _, text, _ in lines(login.body)), "anna was offline"


def test_reset_from_the_game_and_the_api_reaches_the_other_nominator(mode: Mode) -> None:
    nora = Player(Bancho(mode.server), "nora")
    nora.write_to_bot(NP.format(set_id=mode.map.set_id, map_id=mode.map.id))
    assert "no nominations" in nora.write_to_bot("!denominate wrong tags")[0]
    assert "Usage: !denominate <reason>" in nora.write_to_bot("!denominate")[0]
    nora.write_to_bot("!nominate")
    assert mode.ask("POST", "boris", b"{}")[0] == 201
    assert mode.status() == 4

    for body, code in ((b"{}", 422), (b'{"reason": ""}', 422), (b'{"reason": "x", "y": 1}', 422), (b"[", 400)):
        assert mode.ask("DELETE", "boris", body)[0] == code
    assert mode.ask("DELETE", "anna", b'{"reason": "x"}')[0] == 403
    status, reply = mode.ask("DELETE", "boris", b'{"reason": "wrong tags"}')
    assert (status, reply["data"]["count"], reply["data"]["ranks_at"]) == (200, 0, None)
    assert mode.ask("DELETE", "boris", b'{"reason": "wrong tags"}')[0] == 409
    assert mode.status() == 0
    found: list[str] = []

    def told() -> bool:
        found.extend(text for _, text, _ in lines(nora.send()))
        return any("was reset: wrong tags" in text for text in found)

    eventually(told)
    shown = mode.page().text
    assert "Nominations reset by boris" in shown
    assert "wrong tags" not in shown, "reasons stay in the log"

    nora.write_to_bot("!nominate")
    assert "reset 1 nomination: again" in nora.write_to_bot("!denominate again")[0]
    reply = mode.server.ask("GET", "/v2/maps/77777/nominations")
    assert reply.status == 404


def test_requests_on_the_website_are_for_players_who_may_write_and_for_pending_maps(mode: Mode) -> None:
    anna = mode.ids["anna"]
    cli(mode.data, "users", "silence", "anna", "1h", "--reason", "test")
    [button] = [node for node in mode.page(anna).css("button") if node.text(strip=True) == "Request ranking"]
    assert "disabled" in button.attributes
    assert "silenced" in (button.attributes["title"] or "")
    cli(mode.data, "users", "unsilence", "anna")

    form = mode.page(anna).button("Request ranking")
    assert form.press().message == "Your request has been sent to the nominators."
    assert form.press().message == "Your request has been sent to the nominators.", "pressed twice"
    assert len(mode.rows.look(map_requests)) == 1
    cli(mode.data, "beatmaps", "status", "loved", "--map", str(mode.map.id))
    assert mode.rows.look(map_requests) == [], "the command line answers requests, too"
    assert form.press().alert == "Only pending beatmaps can be requested."
    with pytest.raises(AssertionError, match="no button"):
        mode.page(anna).button("Request ranking")


def test_a_server_in_the_simple_mode_says_so(tmp_path: Path) -> None:
    data = tmp_path / "data"
    _, keys = asyncio.run(populate(data))
    shutil.copy(FILES / "title-with-mod-words.osu", tmp_path)
    cli(data, "beatmaps", "import", str(tmp_path / "title-with-mod-words.osu"), "--status", "pending")
    server = Server(data).start()
    rows = Rows(data)
    try:
        [beatmap] = rows.look(maps)
        nora = Player(Bancho(server), "nora")
        nora.write_to_bot(NP.format(set_id=beatmap.set_id, map_id=beatmap.id))
        assert "simple mode is on" in nora.write_to_bot("!nominate")[0].lower()
        assert "simple mode is on" in nora.write_to_bot("!denominate x")[0].lower()
        path = f"/v2/maps/{beatmap.id}/nominations"
        reply = server.ask("POST", path, body=b"{}", key=keys["nora"])
        assert (reply.status, "simple mode" in reply.json["error"]) == (400, True)
        assert server.get(path).json["data"]["mode"] == "simple"
        server.stop()
    finally:
        rows.close()
        server.kill()

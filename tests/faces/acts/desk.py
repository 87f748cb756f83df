"""A whole server in one process, in which tests carry out commands one by one and read the audit log after each."""

import asyncio
import contextlib
import itertools
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec
from tests import stores
from tests.beatmaps import standin
from tests.beatmaps.standin import StandIn
from tests.builders import NewMap, Run, a_map
from tests.in_process import asgi
from tests.wire.kit import API, Reply

from kiai.accounts.visibility import is_public
from kiai.app import Services, open_services
from kiai.beatmaps import MapStatus
from kiai.chat.bot import BotCommand
from kiai.chat.model import BotReply
from kiai.logs import AccessLog
from kiai.osu.privileges import PERMISSIONS, Privilege, may
from kiai.realtime.port import Session
from kiai.server import HttpServer
from kiai.staff.audit import AFTER, HEAD, StoredRow

NORMAL: Final = int(Privilege.UNRESTRICTED | Privilege.VERIFIED)
ROLES: Final = {
    "player": 0,
    "supporter": int(Privilege.SUPPORTER),
    "tournament": int(Privilege.TOURNEY_MANAGER),
    "nominator": int(Privilege.NOMINATOR),
    "moderator": int(Privilege.MODERATOR),
    "administrator": int(Privilege.ADMINISTRATOR),
    "developer": int(Privilege.DEVELOPER),
}
"""Role -> its bit, the weakest first."""
MATCH: Final[dict[str, Any]] = {
    "name": "a match",
    "password": "",
    "map_id": 0,
    "map_md5": "",
    "map_name": "",
    "mode": 0,
    "mods": 0,
    "win_condition": 0,
    "team_type": 0,
    "free_mods": False,
    "seed": 0,
}

_CODE: Final = re.compile(r"!confirm [0-9a-z]{6}(?= within)")
_numbers = itertools.count(1)


class Person(msgspec.Struct, frozen=True):
    """An account of a test, with a session in the game or in IRC."""

    id: int
    name: str
    role: str
    token: str


class Desk:
    """The services of a server, and what a test needs to act on them. No job runs: every audit row is of the test."""

    def __init__(self, services: Services, run: Run, client: httpx.AsyncClient, upstream: StandIn, data: Path) -> None:
        self.services = services
        self.data = data
        self.run = run
        self.upstream = upstream
        self._client = client

    # --- people and things

    def person(self, role: str = "player", *, irc: bool = False, restricted: bool = False) -> Person:
        """Register an account with a role and log it in."""
        name = f"{role[:4]}{next(_numbers)}"
        priv = (NORMAL | ROLES[role]) & ~int(restricted)
        user_id = self.run(
            self.services.accounts.register(
                name=name, email=f"{name}@example.org", password=None, country="nl", priv=priv
            )
        )
        session = Session(
            token=name,
            user_id=user_id,
            name=name,
            priv=priv,
            hidden=not is_public(priv),
            irc=irc,
            country="nl",
            build=20250415,
            client="b20250415.2",
            login_time_ms=self.services.clock.now_ms(),
        )
        self.run(self.services.presence.open_session(session))
        return Person(user_id, name, role, name)

    def session(self, person: Person) -> Session:
        """Return the session of a person."""
        return self.run(self.services.realtime.session(person.token))

    def key(self, person: Person) -> str:
        """Create an API key for a person."""
        return self.run(self.services.api_keys.issue(person.id))

    def map(self, status: MapStatus = MapStatus.PENDING) -> NewMap:
        """Import a map in a set of its own, which upstream has, too."""
        number = 500_000 + next(_numbers)
        new = a_map(number, title=f"Song {number}")
        report = self.run(self.services.importer.import_file(new.data, name="map.osu", status=status))
        assert not report.skipped, report.skipped
        self.upstream.has(new, set_id=number)
        return new

    def open_match(self, host: Person) -> int:
        """Create a match in which a person is the host, and return its id."""
        return int(self.run(self.services.matches.create(self.session(host), **MATCH)).match_id)

    # --- acting

    def ask(self, person: Person, line: str, channel: str = "") -> BotReply | None:
        """Send the bot a line and return its answer."""
        return self.run(self.services.bot.on_message(self.session(person), channel, line))

    def say(self, person: Person, line: str, channel: str = "") -> list[str]:
        """Send the bot a line and return the lines of its answer."""
        answer = self.ask(person, line, channel)
        return [] if answer is None else list(answer.lines)

    def carry_out(self, person: Person, line: str, channel: str = "") -> list[str]:
        """Send the bot a line, and confirm it if it asks for that."""
        lines = self.say(person, line, channel)
        code = _CODE.search("".join(lines))
        return lines if code is None else self.say(person, code[0], channel)

    def both(self, first: Awaitable[Any], second: Awaitable[Any]) -> list[Any]:
        """Run two coroutines at once, and return their results."""

        async def main() -> list[Any]:
            return list(await asyncio.gather(first, second))

        return self.run(main())

    def request(self, method: str, path: str, key: str, body: object = None) -> Reply:
        """Send a request to the API."""
        headers = {"Authorization": f"Bearer {key}"}
        content = None if body is None else msgspec.json.encode(body)
        if content is not None:
            headers["Content-Type"] = "application/json"

        async def main() -> Reply:
            answer = await self._client.request(method, path, headers=headers, content=content)
            return Reply(answer.status_code, dict(answer.headers), answer.content)

        return self.run(main())

    def poll(self, person: Person, *sent: bytes) -> bytes:
        """Send the packets of a person's client, and return the reply."""

        async def main() -> bytes:
            headers = {"Host": "c.localhost", "osu-token": person.token, "User-Agent": "osu!"}
            answer = await self._client.post("/", headers=headers, content=b"".join(sent))
            assert answer.status_code == 200, answer
            return answer.content

        return self.run(main())

    # --- the audit log

    def newest_row(self) -> int:
        """Return the id of the newest audit row."""
        return self.run(self._head())

    async def _head(self) -> int:
        head = await self.services.database.one(HEAD)
        assert head is not None
        return head.last_id

    def rows_after(self, row_id: int) -> list[StoredRow]:
        """Return the audit rows above an id."""
        return self.run(self.services.database.all(AFTER, after=row_id))

    @property
    def commands(self) -> Sequence[BotCommand]:
        """All commands of the bot."""
        return self.services.bot.commands


def weakest_role(permission: str) -> str:
    """Return the weakest role with a permission, "player" for none."""
    bits = PERMISSIONS[permission] if permission else 0
    return next((role for role, bit in ROLES.items() if bit & bits), "player")


def role_below(permission: str) -> str:
    """Return the strongest role without a permission."""
    return [role for role, bit in ROLES.items() if not may(NORMAL | bit, permission)][-1]


@contextlib.contextmanager
def opened(run: Run, data: Path, **others: object) -> Iterator[Desk]:
    """Open a server on a new data folder, with these settings, until the end of the block."""
    with standin.running() as upstream:
        settings = stores.settings(
            data,
            rate_limits=False,
            workers_pp=1,
            mirrors=(),
            upstream_url=upstream.url,
            upstream_key="key",
            allow_private_upstream=True,
            first_user_is_owner=False,
            **others,
        )
        services_of = open_services(settings)
        services = run(services_of.__aenter__())
        run(services.channels.reload())  # as a server does at its start
        log = AccessLog("json")
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(asgi(HttpServer(services, log).front)), base_url=f"http://{API}"
        )
        try:
            yield Desk(services, run, client, upstream, data)
        finally:
            run(client.aclose())
            log.close()
            run(services_of.__aexit__(None, None, None))


Prepare = Callable[["Scene"], None]


class Scene:
    """The people and things of an example: its author, a fresh target, and the values that its line names."""

    def __init__(self, desk: Desk, role: str, *, irc: bool = False) -> None:
        self.desk = desk
        self.actor = desk.person(role, irc=irc)
        self.target = desk.person()
        self.channel = ""
        self.values: dict[str, object] = {
            "t": self.target.name,
            "id": self.target.id,
            "me": self.actor.name,
            "n": (number := next(_numbers)),
            "ip": f"198.51.{number // 250 % 250}.{number % 250 + 1}",
        }

    @property
    def run(self) -> Run:
        """Runs a coroutine."""
        return self.desk.run

    @property
    def services(self) -> Services:
        """The services of the server."""
        return self.desk.services

    def text(self, line: str) -> str:
        """Return a line with the values of the scene."""
        return line.format_map(self.values)

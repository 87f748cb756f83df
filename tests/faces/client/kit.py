"""The game's web endpoints in process, without a network, over the services of a `World`."""

import asyncio
import contextlib
import functools
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any, Final

import httpx
from sqlalchemy import update
from tests import engines
from tests.builders import NORMAL, NOW_MS, PASSWORD, Run, World, a_player

from kiai.accounts import Credentials, Passwords
from kiai.accounts.visibility import is_public
from kiai.faces.asgi import App, Receive, Send
from kiai.faces.client import app as client_app
from kiai.faces.client.gateway import ClientGateway
from kiai.osu.names import password_md5
from kiai.realtime.port import Session
from kiai.realtime.rate_limiter import RateLimiter
from kiai.storage.tables import users

ADDRESS: Final = "192.0.2.1"
PASSWORD_MD5: Final = password_md5(PASSWORD)


@contextlib.contextmanager
def sqlite_world(run: Run, folder: Path) -> Iterator[World]:
    """Open every domain service on a new SQLite file in `folder`."""
    database = run(engines.connect(engines.sqlite_url(folder)))
    try:
        yield World(database, run, folder)
    finally:
        run(database.close())


@functools.cache
def _stored_password() -> str:
    """Return the hash of `PASSWORD`. It is computed once per process, because hashing is slow on purpose."""
    return asyncio.run(Passwords(threads=1).hash(PASSWORD_MD5))


def a_gateway(world: World, *, limited: bool) -> ClientGateway:
    """Return the gateway of the web endpoints over the services of this world."""
    limiter = RateLimiter(world.realtime, world.clock)
    return ClientGateway(
        Credentials(world.accounts, limiter, limited=limited), world.realtime, limiter, limited=limited
    )


class Site:
    """The web endpoints of these modules. `get` and `post` send requests of a client at `address`."""

    def __init__(
        self,
        world: World,
        modules: Sequence[client_app.HasEndpoints],
        *,
        gateway: ClientGateway | None = None,
        limited: bool = False,
    ) -> None:
        self.world = world
        self.address = ADDRESS
        self.gateway = gateway or a_gateway(world, limited=limited)
        self._password_hash = _stored_password()
        self._app: App = client_app.build(self.gateway, list(modules))

    def get(self, path: str, **query: Any) -> httpx.Response:
        """Send a GET request with this query."""
        return self.ask("GET", path, params=query)

    def post(
        self,
        path: str,
        data: Mapping[str, Any] | None = None,
        *,
        query: Mapping[str, Any] | None = None,
        files: Mapping[str, Any] | None = None,
        content: bytes | None = None,
        json: Any = None,
    ) -> httpx.Response:
        """Send a POST request with a form (multipart if it has files), bytes or JSON."""
        return self.ask("POST", path, params=query, data=data, files=files, content=content, json=json)

    def ask(self, method: str, path: str, **how: Any) -> httpx.Response:
        """Send a request with the arguments of `httpx.AsyncClient.request`."""
        return self.world.run(self._ask(method, path, **how))

    async def _ask(self, method: str, path: str, **how: Any) -> httpx.Response:
        transport = httpx.ASGITransport(self._addressed)
        async with httpx.AsyncClient(transport=transport, base_url="http://osu.example.org") as client:
            return await client.request(method, path, **how)

    async def _addressed(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        await self._app({**scope, "kiai.address": self.address}, receive, send)

    def join(self, name: str, *, priv: int = NORMAL, online: bool = True) -> int:
        """Create a player with the password `PASSWORD`, with a session unless `online` is False. Return the id."""
        user_id = self.world.add_player(a_player(name, priv=priv))
        self.world.change(update(users).where(users.c.id == user_id).values(password_hash=self._password_hash))
        if online:
            self.online(user_id)
        return user_id

    def online(self, user_id: int, **fields: Any) -> Session:
        """Open a session of the account with the game."""
        user = self.world.user(user_id)
        given: dict[str, Any] = {
            "token": f"{user.name}-{len(self.world.run(self.world.realtime.sessions_of(user_id)))}",
            "user_id": user_id,
            "name": user.name,
            "priv": user.priv,
            "hidden": not is_public(user.priv),
            "login_time_ms": NOW_MS,
        }
        session = Session(**(given | fields))
        self.world.run(self.world.realtime.open_session(session))
        return session

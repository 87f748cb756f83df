"""`a.DOMAIN`: avatars. A player without an avatar, and any other path, gets the default picture.

See docs/spec/web.md#avatars.
"""

import hashlib
import re
from importlib import resources
from typing import Final

import falcon
import falcon.asgi

from kiai.accounts.avatars import Avatars
from kiai.accounts.model import ID_MAX
from kiai.faces.asgi import GET_ONLY, FalconApp, falcon_app

_NAME: Final = re.compile(r"/(?P<id>[0-9]{1,10})(_[0-9A-Za-z]{1,32})?(\.(png|jpg|jpeg|gif))?", re.ASCII)


class AvatarEndpoints:
    """The handler of the avatar host."""

    def __init__(self, avatars: Avatars) -> None:
        self._avatars = avatars
        self._default = resources.files("kiai.faces.client").joinpath("default-avatar.png").read_bytes()

    def app(self) -> FalconApp:
        """Return the ASGI application."""
        app = falcon_app()
        app.add_sink(self._serve)
        return app

    async def _serve(self, req: falcon.asgi.Request, resp: falcon.asgi.Response | None, **_: str) -> None:
        assert resp is not None  # None is for web sockets
        req.scope["kiai.route"] = "/{id}"
        if req.method != "GET":
            resp.status = 405
            resp.set_header("Allow", GET_ONLY)
            return
        match = _NAME.fullmatch(req.path)
        user_id = int(match["id"]) if match else 0
        # 200, not 404: the game has no default picture of its own.
        picture = await self._avatars.find(user_id) if 0 < user_id <= ID_MAX else None
        body = self._default if picture is None else picture
        etag = f'"{hashlib.blake2b(body, digest_size=9).hexdigest()}"'
        resp.set_headers(
            (
                ("Cache-Control", "public, max-age=300"),
                ("ETag", etag),
                # Players upload these bytes. The policy stops a browser from running scripts in them.
                ("Content-Security-Policy", "sandbox; default-src 'none'"),
            )
        )
        if etag in (req.get_header("If-None-Match") or ""):
            resp.status = 304
            return
        resp.content_type = "image/png"
        resp.data = body

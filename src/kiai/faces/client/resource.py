"""The game's web endpoints through Falcon: every endpoint, and the errors of unknown paths and methods.

`short_way.py` serves reads without Falcon. The tests compare both.
"""

from collections.abc import Mapping, Sequence

import falcon
import falcon.asgi

from kiai.faces.asgi import FalconApp, falcon_app, no_options
from kiai.faces.client.gateway import PRIVATE, TEXT, ClientGateway, Endpoint, Received


def build_falcon(gateway: ClientGateway, endpoints: Sequence[Endpoint]) -> FalconApp:
    """Return the Falcon application that serves these endpoints. Other paths get 404 with an empty body."""
    by_path: dict[str, dict[str, Endpoint]] = {}
    for endpoint in endpoints:
        by_path.setdefault(endpoint.path, {})[endpoint.method] = endpoint
    app = falcon_app({path: _allow(methods) for path, methods in by_path.items()})
    for path, methods in by_path.items():
        app.add_route(path, _Resource(gateway, methods))
    app.add_sink(_not_found)
    return app


class _Resource:
    """The Falcon resource of one path."""

    def __init__(self, gateway: ClientGateway, endpoints: Mapping[str, Endpoint]) -> None:
        self._gateway = gateway
        self._endpoints = endpoints

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, **path: str) -> None:
        """Handle GET, and HEAD, which the front turns into GET."""
        await self._serve(req, resp, path)

    async def on_post(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, **path: str) -> None:
        """Handle POST."""
        await self._serve(req, resp, path)

    on_options = staticmethod(no_options)

    async def _serve(self, req: falcon.asgi.Request, resp: falcon.asgi.Response, path: Mapping[str, str]) -> None:
        req.scope["kiai.route"] = req.uri_template
        endpoint = self._endpoints.get(req.method)
        if endpoint is None:
            raise falcon.HTTPMethodNotAllowed([])
        answer = await self._gateway.respond(endpoint, Received(req.scope, req.params, path, req))
        resp.status = answer.status
        resp.content_type = answer.content_type
        if answer.chunks is None:
            resp.data = answer.body
        else:
            resp.set_stream(answer.chunks, answer.length or 0)
        if endpoint.credentials is not None:  # includes errors: they also depend on the account
            resp.set_header("Cache-Control", PRIVATE)
        for name, value in answer.headers:
            resp.set_header(name, value)


def _allow(methods: Mapping[str, Endpoint]) -> str:
    return ", ".join(name for method in sorted(methods) for name in (("GET", "HEAD") if method == "GET" else (method,)))


async def _not_found(req: falcon.asgi.Request, resp: falcon.asgi.Response | None, **_: str) -> None:
    assert resp is not None  # None is for web sockets
    resp.status = 404
    resp.content_type = TEXT

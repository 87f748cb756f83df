"""The endpoints for the operator's tools: liveness, readiness and metrics."""

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import falcon
import falcon.asgi
import msgspec

from kiai.faces.asgi import FalconApp, falcon_app, no_options
from kiai.faces.metrics import Metrics
from kiai.networks import Network, is_loopback, is_within
from kiai.uptime import OK, Components


class Readiness(msgspec.Struct, frozen=True):
    """The answer of `/readyz`. Only this host and trusted networks see `checks`."""

    ready: bool
    checks: dict[str, str | int] | None = None


class Health:
    """`/healthz`, `/readyz`, `/metrics`."""

    def __init__(self, metrics: Metrics, components: Components, data: Path, trusted: tuple[Network, ...] = ()) -> None:
        self._metrics = metrics
        self._components = components
        self._data = data
        self._trusted = trusted
        self.stopping = False

    def app(self) -> FalconApp:
        """Return the ASGI application."""
        app = falcon_app()
        app.add_route("/healthz", _Page(self._healthz))
        app.add_route("/readyz", _Page(self._readyz))
        app.add_route("/metrics", _Page(self._show_metrics))
        return app

    async def _healthz(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        resp.text = "ok"
        resp.content_type = "text/plain; charset=utf-8"

    async def _readyz(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        checks: dict[str, str | int] = {**await self._components.states()}
        ready = all(state == OK for state in checks.values()) and not self.stopping
        checks["disk_free_mb"] = shutil.disk_usage(self._data).free // 2**20
        if self.stopping:
            checks["stopping"] = "yes"
        resp.status = 200 if ready else 503
        resp.content_type = "application/json; charset=utf-8"
        resp.data = msgspec.json.encode(Readiness(ready, checks if self._may_see_details(req) else None))

    async def _show_metrics(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        # 404, not 403: the public cannot tell that the endpoint exists.
        if not self._may_see_details(req):
            resp.status = 404
            return
        resp.content_type = "text/plain; version=0.0.4; charset=utf-8"
        resp.data = await self._metrics.render()

    def _may_see_details(self, req: falcon.asgi.Request) -> bool:
        address: str = req.scope["kiai.address"]
        return is_loopback(address) or is_within(address, self._trusted)


class _Page:
    def __init__(self, answer: Callable[[falcon.asgi.Request, falcon.asgi.Response], Awaitable[None]]) -> None:
        self.on_get = answer
        self.on_options = no_options

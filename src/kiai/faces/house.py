"""What the operator's tools ask: is it alive, is it ready, how is it."""

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

import falcon
import falcon.asgi
import msgspec

from kiai.errors import KiaiError
from kiai.faces.asgi import FalconApp, falcon_app, no_options
from kiai.faces.metrics import Metrics
from kiai.networks import Network, is_loopback, is_within

CHECK_S: Final = 1.0
REMEMBERED_S: Final = 1.0
Check = Callable[[], Awaitable[object]]


class Readiness(msgspec.Struct, frozen=True):
    """Whether every part answers. `checks` is shown to this host and trusted networks only."""

    ready: bool
    checks: dict[str, str | int] | None = None


class House:
    """`/healthz`, `/readyz`, `/metrics`."""

    def __init__(
        self, metrics: Metrics, checks: Mapping[str, Check], data: Path, trusted: tuple[Network, ...] = ()
    ) -> None:
        self._metrics = metrics
        self._checks = checks
        self._data = data
        self._trusted = trusted
        self._checked_at = float("-inf")
        self._last = Readiness(ready=False, checks={})
        self.stopping = False

    def app(self) -> FalconApp:
        """The ASGI application."""
        app = falcon_app()
        app.add_route("/healthz", _Page(self._healthz))
        app.add_route("/readyz", _Page(self._readyz))
        app.add_route("/metrics", _Page(self._show_metrics))
        return app

    async def _healthz(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        resp.text = "ok"
        resp.content_type = "text/plain; charset=utf-8"

    async def _readyz(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        if time.monotonic() - self._checked_at > REMEMBERED_S:
            self._checked_at = time.monotonic()
            self._last = await self._look()
        ready = self._last.ready and not self.stopping
        resp.status = 200 if ready else 503
        resp.content_type = "application/json; charset=utf-8"
        shown = {**(self._last.checks or {}), "stopping": "yes"} if self.stopping else self._last.checks
        resp.data = msgspec.json.encode(Readiness(ready, shown if self._may_know(req) else None))

    async def _look(self) -> Readiness:
        found: dict[str, str | int] = {}
        for name, check in self._checks.items():
            try:
                await asyncio.wait_for(check(), CHECK_S)
                found[name] = "ok"
            except (KiaiError, TimeoutError) as error:
                found[name] = str(error) or f"no answer in {CHECK_S:g} s"
        ready = all(state == "ok" for state in found.values())
        found["disk_free_mb"] = shutil.disk_usage(self._data).free // 2**20
        return Readiness(ready, found)

    async def _show_metrics(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        if not self._may_know(req):
            resp.status = 404
            return
        resp.content_type = "text/plain; version=0.0.4; charset=utf-8"
        resp.data = await self._metrics.show()

    def _may_know(self, req: falcon.asgi.Request) -> bool:
        address: str = req.scope["kiai.address"]
        return is_loopback(address) or is_within(address, self._trusted)


class _Page:
    def __init__(self, answer: Callable[[falcon.asgi.Request, falcon.asgi.Response], Awaitable[None]]) -> None:
        self.on_get = answer
        self.on_options = no_options

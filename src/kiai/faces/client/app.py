"""The application of the game's web endpoints: hosts `osu.`, `b.`, `s.` and `assets.` (docs/spec/web.md).

Each module declares its `Endpoint`s, and the gateway checks each request. An endpoint has no rules of the game: it
translates the request into a call of a service, and the result into the response that the client expects.
"""

from typing import Protocol

from kiai.faces.asgi import FalconApp
from kiai.faces.client.gateway import ClientGateway, Endpoint


class HasEndpoints(Protocol):
    """A module of endpoints."""

    def endpoints(self) -> list[Endpoint]: ...


def build(gateway: ClientGateway, modules: list[HasEndpoints]) -> FalconApp:
    """Return the application that serves the endpoints of these modules."""
    return gateway.app([endpoint for module in modules for endpoint in module.endpoints()])

"""The application of the game's web endpoints: hosts `osu.`, `b.`, `s.` and `assets.` (docs/spec/web.md).

Each module declares its `Endpoint`s, and the gateway checks each request. An endpoint has no rules of the game: it
translates the request into a call of a service, and the result into the response that the client expects.
"""

from typing import Protocol

from kiai.faces.client.gateway import ClientGateway, Endpoint
from kiai.faces.client.resource import build_falcon
from kiai.faces.client.short_way import ClientShortWay


class HasEndpoints(Protocol):
    """A module of endpoints."""

    def endpoints(self) -> list[Endpoint]: ...


def build(gateway: ClientGateway, modules: list[HasEndpoints]) -> ClientShortWay:
    """Return the application that serves the endpoints of these modules."""
    endpoints = [endpoint for module in modules for endpoint in module.endpoints()]
    return ClientShortWay(gateway, endpoints, build_falcon(gateway, endpoints))

"""What the game client asks for beside the realtime stream: hosts `osu.`, `b.`, `s.`, `assets.` (docs/spec/web.md).

Each page module declares its `Page`s; the door lets requests in. A page holds no rule of the game: it turns what the
client sent into a verb of the subjects, and the result into the client's words.
"""

from typing import Protocol

from kiai.faces.asgi import FalconApp
from kiai.faces.client.door import Door, Page


class Pages(Protocol):
    """A module of endpoints."""

    def pages(self) -> list[Page]: ...


def build(door: Door, modules: list[Pages]) -> FalconApp:
    """The application of all these modules."""
    return door.app([page for module in modules for page in module.pages()])

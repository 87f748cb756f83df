"""The application without a socket, for tests in one process."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from kiai.faces.asgi import Scope
from kiai.faces.front import Front

Message = MutableMapping[str, Any]


class Direct:
    """A connection whose client reads everything immediately."""

    status_sent: int | None = None
    response_complete = False
    disconnected = False
    open_ended = False

    def cut(self) -> None:
        """Do nothing: there is no connection to close."""


def asgi(front: Front) -> Callable[..., Awaitable[None]]:
    """Return the front as an application for any ASGI server or client."""

    async def app(
        scope: Scope, receive: Callable[[], Awaitable[Message]], send: Callable[..., Awaitable[None]]
    ) -> None:
        wire = scope["kiai.wire"] = Direct()

        async def watched(message: Message) -> None:
            await send(message)
            wire.status_sent = message.get("status", wire.status_sent)
            wire.response_complete = message["type"] == "http.response.body" and not message.get("more_body", False)

        await front(scope, receive, watched)

    return app

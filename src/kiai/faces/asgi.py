"""The shapes of ASGI and Falcon that the faces share."""

from collections.abc import Awaitable, Callable
from typing import Any

import falcon.asgi

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
FalconApp = falcon.asgi.App[falcon.asgi.Request, falcon.asgi.Response]

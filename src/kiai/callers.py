"""The caller of the current request, by which fair queues distinguish callers.

The front sets the network of the client at the start of each request.
"""

from contextvars import ContextVar
from typing import Final

SERVER: Final = "the server itself"
"""The caller of jobs and commands, outside all requests."""

# A context variable, because the functions between a face and the database have no other use for this value.
CALLER: Final[ContextVar[str]] = ContextVar("caller", default=SERVER)

"""On whose behalf the code runs: what a queue deep below the faces tells callers apart by.

The front notes the caller's network at the start of each request. A context variable carries it: the verbs between a
face and the database have no other use for it.
"""

from contextvars import ContextVar
from typing import Final

CALLER: Final[ContextVar[str]] = ContextVar("caller", default="the server itself")

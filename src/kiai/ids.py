"""Names nobody has used before, as things one is given: secrets from the operating system, and cheap request ids."""

import itertools
import secrets
import uuid
from typing import Protocol


class Ids(Protocol):
    """What makes up new names."""

    def token(self, bytes_: int = 27) -> str:
        """A secret that cannot be guessed: `bytes_` random bytes as url-safe text (27 bytes are 36 characters)."""
        ...

    def session_token(self) -> str:
        """A secret in the form that game clients know: a random UUID."""
        ...

    def request_id(self) -> str:
        """Text that no other request has, in this or another process; cheap, and no secret."""
        ...


class SystemIds:
    """Randomness of the operating system."""

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(4)
        self._requests = itertools.count(1)

    def token(self, bytes_: int = 27) -> str:
        """A secret that cannot be guessed."""
        return secrets.token_urlsafe(bytes_)

    def session_token(self) -> str:
        """A random UUID; its bits come from the operating system."""
        return str(uuid.uuid4())

    def request_id(self) -> str:
        """The random prefix of this process and a counter."""
        return f"{self._prefix}-{next(self._requests):x}"


class SequenceIds:
    """Counts instead, so that a test knows what comes: text of the same length and alphabet, in the same order."""

    def __init__(self) -> None:
        self._tokens = itertools.count(1)
        self._requests = itertools.count(1)

    def token(self, bytes_: int = 27) -> str:
        """The next number, with zeros in front to the length of a real token."""
        characters = (bytes_ * 4 + 2) // 3
        return str(next(self._tokens)).zfill(characters)

    def session_token(self) -> str:
        """The next number, in the form of a UUID."""
        return str(uuid.UUID(int=next(self._tokens)))

    def request_id(self) -> str:
        """The next number."""
        return f"request-{next(self._requests)}"

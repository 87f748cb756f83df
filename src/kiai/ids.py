"""Names nobody has used before, as things one is given: secrets from the operating system, and cheap request ids."""

import itertools
import secrets
from typing import Protocol


class Ids(Protocol):
    """What makes up new names."""

    def token(self, bytes_: int = 27) -> str:
        """A secret that cannot be guessed: `bytes_` random bytes as url-safe text (27 bytes are 36 characters)."""
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

    def request_id(self) -> str:
        """The next number."""
        return f"request-{next(self._requests)}"

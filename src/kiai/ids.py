"""Generators of secrets and request ids, passed in by the caller."""

import itertools
import secrets
import uuid
from typing import Protocol


class Ids(Protocol):
    """A source of unique texts."""

    def token(self, bytes_: int = 27) -> str:
        """Return a secret: `bytes_` random bytes as URL-safe text. 27 bytes give 36 characters."""
        ...

    def session_token(self) -> str:
        """Return a secret in the form that game clients expect: a random UUID."""
        ...

    def request_id(self) -> str:
        """Return a text that is unique among all requests of all processes. It is not a secret."""
        ...


class SystemIds:
    """Ids with the random numbers of the operating system."""

    def __init__(self) -> None:
        # PERF: One random prefix for each process and a counter: a random number for each request costs a system call.
        self._prefix = secrets.token_hex(4)
        self._requests = itertools.count(1)

    def token(self, bytes_: int = 27) -> str:
        """Return random URL-safe text."""
        return secrets.token_urlsafe(bytes_)

    def session_token(self) -> str:
        """Return a random UUID."""
        return str(uuid.uuid4())  # uuid4 uses os.urandom, so 122 bits cannot be guessed

    def request_id(self) -> str:
        """Return the prefix of this process and a counter."""
        return f"{self._prefix}-{next(self._requests):x}"


class SequenceIds:
    """Consecutive numbers in the length and alphabet of real ids, for tests."""

    def __init__(self) -> None:
        self._tokens = itertools.count(1)
        self._requests = itertools.count(1)

    def token(self, bytes_: int = 27) -> str:
        """Return the next number, padded with zeros to the length of a real token."""
        characters = (bytes_ * 4 + 2) // 3
        return str(next(self._tokens)).zfill(characters)

    def session_token(self) -> str:
        """Return the next number in the form of a UUID."""
        return str(uuid.UUID(int=next(self._tokens)))

    def request_id(self) -> str:
        """Return the next number."""
        return f"request-{next(self._requests)}"

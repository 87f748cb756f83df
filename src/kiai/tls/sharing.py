"""How several machines share one certificate, as this package sees it (`kiai.shared_certificate`)."""

from typing import Protocol


class Sharing(Protocol):
    """All methods but `answer` raise Unavailable."""

    async def take_over(self) -> None:
        """Store what another machine has published."""

    async def publish(self, *, answers_until_ms: int = 0) -> None:
        """Publish the certificate and the account of this machine. All machines answer challenges until this time."""

    async def publish_if_newer(self) -> None:
        """Publish the certificate of this machine if no machine has."""

    async def answer(self, token: str) -> bytes | None:
        """Return the answer to a challenge that any machine has begun."""

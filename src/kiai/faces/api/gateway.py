"""The gateway of the API: identifies the sender of a request and applies the rate limits."""

from collections.abc import Callable
from typing import Final

from kiai.accounts import EVERYBODY, ApiKeys, Viewer
from kiai.at_once import result_at_once
from kiai.clock import Clock
from kiai.errors import NotAllowed, NotAuthenticated, UnderMaintenance
from kiai.faces.api.errors import TooManyRequests
from kiai.faces.api.operation import OWN, Caller, Method
from kiai.faces.api.urls import Scope
from kiai.faces.rate_limit import RateLimit
from kiai.faces.streams import StreamSender
from kiai.networks import network_of
from kiai.osu.privileges import may
from kiai.realtime.buckets import FailureLimit
from kiai.realtime.rate_limiter import RateLimiter

WRONG_KEYS: Final = RateLimit("wrong-keys", 60, 60.0)
"""Number of requests with a wrong API key that an address may send. Each one costs a lookup in the database."""


class ApiGateway:
    """Authenticates requests and applies rate limits.

    `everything` is the limit on all requests of a caller together, or None if rate limits are off.
    """

    def __init__(
        self,
        api_keys: ApiKeys,
        limiter: RateLimiter,
        clock: Clock,
        everything: RateLimit | None,
        under_maintenance: Callable[[], bool],
        streams: StreamSender,
    ) -> None:
        self._api_keys = api_keys
        self._limiter = limiter
        self.everything = everything
        self.streams = streams
        self._under_maintenance = under_maintenance
        self._wrong_keys = FailureLimit(clock.monotonic, limit=WRONG_KEYS.count, period_s=WRONG_KEYS.period_s)

    async def caller(self, scope: Scope, authorization: str | None) -> Caller:
        """Return the sender of a request.

        Raises NotAuthenticated for a wrong key, and TooManyRequests if the address has sent too many wrong keys.
        """
        address = scope["kiai.address"]
        if authorization is None:
            return Caller(EVERYBODY, network_of(address), scope)
        # The documented forms are `Bearer <key>` and the bare key.
        scheme, _, rest = authorization.partition(" ")
        key = rest.strip() if scheme.lower() == "bearer" and rest else authorization
        # Before the lookup: an address that guesses keys must not reach the database.
        if self.everything is not None and (retry_s := self._wrong_keys.retry_s(address)):
            raise TooManyRequests(WRONG_KEYS.count, WRONG_KEYS.period, retry_s)
        try:
            key_id, viewer = await self._api_keys.identified(key)
        except NotAuthenticated:
            self._wrong_keys.count(address)
            raise
        return Caller(viewer, f"user:{viewer.user_id}", scope, key_id)

    def check_maintenance(self, caller: Caller, method: Method) -> None:
        """Raise UnderMaintenance for a request that may change something during maintenance, except from staff."""
        if method != "GET" and self._under_maintenance() and not caller.viewer.is_staff:
            raise UnderMaintenance

    async def check_rate_limits(self, caller: Caller, own: RateLimit | None, headers: dict[bytes, bytes]) -> None:
        """Count the request against the limits and set the X-RateLimit headers. Raises TooManyRequests."""
        if self.everything is None:
            return
        # The operation's own limit is the stricter one. It comes last, so that the headers describe it.
        for limit in (self.everything,) if own is None else (self.everything, own):
            taken = await self._limiter.consume(
                f"{limit.name}:{caller.bucket}", limit=limit.count, period_s=limit.period_s
            )
            headers[b"x-ratelimit-limit"] = b"%d" % limit.count
            headers[b"x-ratelimit-remaining"] = b"%d" % taken.remaining
            headers[b"x-ratelimit-reset"] = b"%d" % (taken.reset_s + 0.999)  # rounded up to whole seconds
            if not taken.granted:
                raise TooManyRequests(limit.count, limit.period, taken.reset_s)

    def check_at_once(self, network: str) -> bytes | None:
        """Count a request without a key, for an operation without a limit of its own. Return the X-RateLimit headers.

        They are encoded as lines. Return None, and count nothing, if that has to wait or the request exceeds the limit.
        """
        limit = self.everything
        if limit is None:
            return b""
        if not self._limiter.answers_at_once:
            return None
        taken = result_at_once(
            self._limiter.consume(f"{limit.name}:{network}", limit=limit.count, period_s=limit.period_s)
        )
        if taken is None or not taken.granted:
            return None
        return b"x-ratelimit-limit: %d\r\nx-ratelimit-remaining: %d\r\nx-ratelimit-reset: %d\r\n" % (
            limit.count,
            taken.remaining,
            taken.reset_s + 0.999,
        )

    async def refund(self, caller: Caller, own: RateLimit | None) -> None:
        """Return what `check_rate_limits` has counted for a request that is served again from its beginning."""
        for limit in (self.everything, own):
            if self.everything is not None and limit is not None:
                await self._limiter.refund(f"{limit.name}:{caller.bucket}", limit=limit.count, period_s=limit.period_s)


def check_permission(viewer: Viewer, permission: str) -> None:
    """Raise NotAllowed if the holder of a key lacks the permission of an operation."""
    if permission == OWN:
        return
    if not viewer.priv:
        raise NotAllowed("unrestricted")
    if permission and not may(viewer.priv, permission):
        raise NotAllowed(permission)

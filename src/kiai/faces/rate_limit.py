"""Rate limits of requests. Endpoints declare them, and the gateways of the faces enforce them.

Each limit is declared with its endpoint. The limit of logins is in `bancho/login.py`, that of wrong passwords in
`accounts/credentials.py`. `docs/operate/limits.md` lists all of them.
"""

import msgspec


class RateLimit(msgspec.Struct, frozen=True):
    """A token bucket: `count` requests in each `period_s` seconds on average, at most `burst` at once.

    A `burst` of None means `count`. `name` is the prefix of the bucket in shared state.
    """

    name: str
    count: int
    period_s: float
    burst: int | None = None

    @property
    def period(self) -> str:
        """The period in words, e.g. "minute"."""
        return {1.0: "second", 60.0: "minute", 3600.0: "hour"}.get(self.period_s, f"{self.period_s:g} s")

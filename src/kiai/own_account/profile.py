"""Settings of a player: preferred mode, play style, country, userpage and privacy."""

import contextlib
from typing import Final

from kiai.accounts import Accounts, User, Viewer
from kiai.accounts.model import Privacy
from kiai.clock import Clock
from kiai.errors import Invalid, Refused, Unavailable
from kiai.osu.countries import is_country
from kiai.own_account.acts import own_act, own_change
from kiai.presence import Presence
from kiai.scores.visibility_changes import Standing
from kiai.storage.outbox import enqueue
from kiai.storage.port import Database, Transaction

DAY_MS: Final = 86_400_000
HIDDEN: Final = "xx"


class CountryTooEarly(Refused):
    """The country was changed too recently. The next change is allowed at `next_ms`."""

    def __init__(self, next_ms: int) -> None:
        super().__init__("the country was changed too recently")
        self.next_ms = next_ms


class ProfileSettings:
    """Changes the settings of a player. A country changes once in `country_days` days."""

    def __init__(
        self,
        database: Database,
        accounts: Accounts,
        standing: Standing,
        presence: Presence,
        clock: Clock,
        *,
        country_days: int,
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._standing = standing
        self._presence = presence
        self._clock = clock
        self._country_ms = country_days * DAY_MS

    def country_wait_ms(self, user: User) -> int | None:
        """Return when the player may change the country again, None for now."""
        if user.country_changed_at_ms is None:
            return None
        next_ms = user.country_changed_at_ms + self._country_ms
        return next_ms if next_ms > self._clock.now_ms() else None

    async def save(self, user_id: int, *, preferred_mode: int, play_style: int, country: str) -> User:
        """Change the settings, all or none of them. `country` is two letters in any case. Return the account.

        Raises Invalid for a value outside its range, and CountryTooEarly.
        """
        country = country.lower()
        if not is_country(country):
            raise Invalid("country", "two letters of ISO 3166-1", country)
        viewer = Viewer(user_id=user_id)
        user = await self._accounts.user(viewer, id=user_id)
        moves = country != user.own_country
        if moves:
            self._check_country(user, country)
        changes = {"preferred_mode": preferred_mode, "play_style": play_style}
        await self._accounts.set_profile(viewer, changes, own_change(user_id, "profile"))
        if moves:
            await self._move(user_id, country)
        return await self._accounts.user(viewer, id=user_id)

    def _check_country(self, user: User, country: str) -> None:
        if country == HIDDEN:
            raise Invalid("country", "a country; the privacy settings can hide it", country)
        next_ms = self.country_wait_ms(user)
        if next_ms is not None:
            raise CountryTooEarly(next_ms)

    async def _move(self, user_id: int, country: str) -> None:
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            user = await self._accounts.to_change(tx, user_id)
            if country == user.own_country:
                return
            self._check_country(user, country)
            hidden = user.home_country is not None
            await self._accounts.set_country(
                tx,
                user_id,
                country=HIDDEN if hidden else country,
                home_country=country if hidden else None,
                changed_at_ms=now,
            )
            if not hidden:
                await self._standing.on_country_change(tx, user_id, country)
            details = {"before": user.own_country, "after": country}
            await own_act(self._clock, user_id, "country", details)(tx)
            await enqueue(tx, "profiles", user_id, now)

        await self._database.transaction(body)
        await self._apply_now(user_id)

    async def save_userpage(self, user_id: int, text: str) -> None:
        """Change the userpage; an empty text removes it. Raises Invalid, and Refused for a silenced player."""
        # Browsers send line ends of two characters, which the limit of the page does not mean.
        plain = text.replace("\r\n", "\n").replace("\r", "\n")
        await self._accounts.set_profile(
            Viewer(user_id=user_id),
            {"userpage_content": plain if plain.strip() else None},
            own_change(user_id, "userpage"),
        )

    async def save_privacy(self, user_id: int, privacy: Privacy, *, hide_country: bool) -> None:
        """Change what the player keeps private. Game and chat follow at once."""
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            user = await self._accounts.to_change(tx, user_id)
            before, after = (
                _privacy_settings(user.privacy, user.home_country is not None),
                _privacy_settings(privacy, hide_country),
            )
            if before == after:
                return
            if user.privacy != int(privacy):
                await self._accounts.set_privacy(tx, user_id, int(privacy))
            if hide_country != (user.home_country is not None):
                shown = HIDDEN if hide_country else user.own_country
                await self._accounts.set_country(
                    tx,
                    user_id,
                    country=shown,
                    home_country=user.country if hide_country else None,
                    changed_at_ms=user.country_changed_at_ms,
                )
                await self._standing.on_country_change(tx, user_id, shown)
            await own_change(user_id, "privacy")(tx, now, before, after)
            await enqueue(tx, "profiles", user_id, now)

        await self._database.transaction(body)
        await self._apply_now(user_id)

    async def _apply_now(self, user_id: int) -> None:
        # The outbox does the same a moment later. It also does it after a crash, or when shared state is back.
        with contextlib.suppress(Unavailable):
            await self._presence.on_profile_change([str(user_id)])


def _privacy_settings(privacy: int, hides_country: bool) -> dict[str, object]:
    """Return the settings of privacy as the values of a record."""
    return {**{str(flag.name).lower(): bool(privacy & flag) for flag in Privacy}, "hide_country": hides_country}

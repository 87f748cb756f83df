"""Names and countries that staff sets (docs/spec/game-rules.md#names)."""

from kiai.accounts import Accounts, User
from kiai.clock import Clock
from kiai.errors import Conflict, Invalid, WrongState
from kiai.osu.countries import is_country
from kiai.osu.names import name_fault
from kiai.scores.visibility_changes import Standing
from kiai.staff import audit
from kiai.staff.audit import Actor
from kiai.staff.authority import Authority, Who
from kiai.storage.outbox import enqueue
from kiai.storage.port import Transaction, UniqueViolation


def check_name(name: str) -> None:
    """Raise Invalid if no account can have the name."""
    if (fault := name_fault(name)) is not None:
        raise Invalid("name", fault, name)


def check_country(country: str) -> None:
    """Raise Invalid if no country has the code."""
    if not is_country(country.lower()):
        raise Invalid("country", "two letters of ISO 3166-1", country)


class Naming:
    """Renames accounts and moves them to other countries."""

    def __init__(self, accounts: Accounts, authority: Authority, standing: Standing, clock: Clock) -> None:
        self._accounts = accounts
        self._authority = authority
        self._standing = standing
        self._clock = clock

    async def rename(self, actor: Actor, who: Who, name: str, *, force: bool = False) -> User:
        """Give an account another name and end its sessions. Return the account after it.

        The old name stays reserved for its owner for 90 days. `force` ignores the reservation of the new name for
        another player. Raises NotAllowed, Invalid, NotFound, Refused by the target rule, WrongState for the present
        name, Conflict for a taken or reserved one.
        """
        await self._authority.require(actor, "users.rename_other")
        check_name(name)
        target = await self._authority.target(who)
        required = await self._authority.require_over(
            actor, "users.rename_other", target, action="rename", oneself="ranked"
        )
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            user = await self._accounts.to_change(tx, target.id)
            if user.name == name:
                raise WrongState(f"{name} is already the name")
            # The player's own next change does not wait longer because of this one.
            await self._accounts.rename(tx, user, name, now, renamed_at_ms=user.renamed_at_ms or 0, force=force)
            await audit.write(
                tx,
                actor,
                "rename",
                at_ms=now,
                target_kind="user",
                target_id=user.id,
                details={"before": user.name, "after": name},
            )

        try:
            await self._authority.transaction(required, body)
        except UniqueViolation as violation:
            raise Conflict("name") from violation
        return await self._authority.target(target.id)

    async def set_country(self, actor: Actor, who: Who, country: str) -> User:
        """Move an account to another country, with its scores and ranks. Return the account after it.

        A country that the player hides stays hidden. Raises NotAllowed, Invalid, NotFound, Refused by the target rule,
        and WrongState for the present country.
        """
        await self._authority.require(actor, "users.country")
        country = country.lower()
        check_country(country)
        target = await self._authority.target(who)
        required = await self._authority.require_over(
            actor, "users.country", target, action="country", oneself="ranked"
        )
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            user = await self._accounts.to_change(tx, target.id)
            if user.own_country == country:
                raise WrongState(f"{country} is already the country of {user.name}")
            hidden = user.home_country is not None
            await self._accounts.set_country(
                tx,
                user.id,
                country=user.country if hidden else country,
                home_country=country if hidden else None,
                changed_at_ms=user.country_changed_at_ms,
            )
            if not hidden:
                await self._standing.on_country_change(tx, user.id, country)
            await enqueue(tx, "profiles", user.id, now)
            await audit.write(
                tx,
                actor,
                "country",
                at_ms=now,
                target_kind="user",
                target_id=user.id,
                details={"before": user.own_country, "after": country},
            )

        await self._authority.transaction(required, body)
        return await self._authority.target(target.id)

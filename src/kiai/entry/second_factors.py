"""Second factors: one-time codes of an authenticator app (TOTP, RFC 6238) and recovery codes.

The secret of an app is encrypted in the database. Codes of the time step before, of the current one and of the next one
are accepted, each step once. A recovery code works once.
"""

import hashlib
import hmac
from typing import Final

import msgspec
from sqlalchemy import bindparam, delete, func, insert, select, update

from kiai.accounts import Accounts, User
from kiai.accounts.api_keys import Also, nothing_else
from kiai.accounts.queries import PRIV_TO_CHANGE
from kiai.clock import Clock
from kiai.entry.history import SecurityHistory
from kiai.entry.invites import code_hash, random_code
from kiai.entry.model import Change, LoginEvent, Origin, TooManyCodes, WrongCode
from kiai.errors import Conflict, Refused
from kiai.realtime.rate_limiter import RateLimiter
from kiai.secret_box import SecretBox
from kiai.staff.audit import Actor
from kiai.storage.port import Command, Database, Query, RowReader, Transaction, UniqueViolation, scalar
from kiai.storage.tables import authenticators, passkeys, recovery_codes

STEP_S: Final = 30
STEPS_AROUND: Final = 1
CODE_DIGITS: Final = 6
RECOVERY_CODES: Final = 10
CODES_MAX: Final = 100  # read at once, more than an account ever has
MARK_LENGTH: Final = 16
CODE_TEXT_MAX: Final = 64
CODES_PER_MINUTE: Final = 5
CODES_PER_HOUR: Final = 20
"""Wrong codes of an account. Of a million codes three are right at a time, so a guesser needs years."""
PURPOSE: Final = "totp"


class Factors(msgspec.Struct, frozen=True):
    """The second factors of an account. `authenticator` is True when codes of an app are required."""

    authenticator: bool
    passkeys: int
    recovery_codes: int

    @property
    def required(self) -> bool:
        """Whether a password alone does not log in."""
        return self.authenticator or self.passkeys > 0


class Setup(msgspec.Struct, frozen=True):
    """An authenticator that is not turned on yet: its secret in base32, and the same as a URI for a QR code."""

    secret: str
    uri: str


class _Stored(msgspec.Struct, frozen=True):
    secret: bytes
    enabled_at_ms: int | None
    last_step: int
    used_steps: int


_STORED = Query(
    select(*[authenticators.c[name] for name in _Stored.__struct_fields__]).where(
        authenticators.c.user_id == bindparam("user_id")
    ),
    _Stored,
)
_FACTORS = Query(
    select(
        select(func.count())
        .select_from(authenticators)
        .where(authenticators.c.user_id == bindparam("user_id"), authenticators.c.enabled_at_ms.is_not(None))
        .scalar_subquery(),
        select(func.count()).select_from(passkeys).where(passkeys.c.user_id == bindparam("user_id")).scalar_subquery(),
        select(func.count())
        .select_from(recovery_codes)
        .where(recovery_codes.c.user_id == bindparam("user_id"))
        .scalar_subquery(),
    ),
    lambda apps, keys, codes: Factors(bool(apps), keys, codes),
)
_REMOVE = Command(delete(authenticators).where(authenticators.c.user_id == bindparam("of_user")))
_ADD = Command(
    insert(authenticators).values({name: bindparam(name) for name in ("user_id", "secret", "created_at_ms")})
)
_ENABLE = Command(
    update(authenticators)
    .where(authenticators.c.user_id == bindparam("of_user"), authenticators.c.enabled_at_ms.is_(None))
    .values(enabled_at_ms=bindparam("at_ms"))
)
# Compares the old values: of two logins with one code at the same time only one changes the row.
_USE_STEP = Command(
    update(authenticators)
    .where(
        authenticators.c.user_id == bindparam("of_user"),
        authenticators.c.last_step == bindparam("old_step"),
        authenticators.c.used_steps == bindparam("old_used"),
    )
    .values(last_step=bindparam("new_step"), used_steps=bindparam("new_used"))
)
_REMOVE_CODES = Command(delete(recovery_codes).where(recovery_codes.c.user_id == bindparam("of_user")))
_ADD_CODE = Command(insert(recovery_codes).values(user_id=bindparam("user_id"), hash=bindparam("hash")))
_USE_CODE = Command(
    delete(recovery_codes).where(
        recovery_codes.c.user_id == bindparam("of_user"), recovery_codes.c.hash == bindparam("with_hash")
    )
)
_REMOVE_PASSKEYS = Command(delete(passkeys).where(passkeys.c.user_id == bindparam("of_user")))
_CODES = Query(
    select(recovery_codes.c.hash).where(recovery_codes.c.user_id == bindparam("user_id")).limit(CODES_MAX),
    lambda found: bytes(found),
)
_CODE_COUNT = Query(
    select(func.count()).select_from(recovery_codes).where(recovery_codes.c.user_id == bindparam("user_id")), scalar
)


class SecondFactors:
    """Sets up, checks and removes second factors."""

    def __init__(
        self,
        database: Database,
        accounts: Accounts,
        history: SecurityHistory,
        limiter: RateLimiter,
        box: SecretBox,
        clock: Clock,
        *,
        title: str,
        limited: bool,
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._history = history
        self._limiter = limiter
        self._box = box
        self._clock = clock
        self._title = title
        self._limited = limited

    async def of(self, user_id: int, reader: RowReader | None = None) -> Factors:
        """Return the second factors of an account."""
        found = await (reader or self._database).one(_FACTORS, user_id=user_id)
        assert found is not None
        return found

    # --- the authenticator

    async def set_up(self, user: User) -> Setup:
        """Create a secret that `turn_on` activates. It replaces one that was not activated.

        Raises Conflict when an authenticator is on.
        """
        import pyotp

        secret = pyotp.random_base32()
        now = self._clock.now_ms()
        sealed = self._box.seal(secret.encode(), PURPOSE)

        async def body(tx: Transaction) -> None:
            stored = await tx.one(_STORED, user_id=user.id)
            if stored is not None and stored.enabled_at_ms is not None:
                raise Conflict("authenticator")
            await tx.run(_REMOVE, of_user=user.id)
            await tx.run(_ADD, user_id=user.id, secret=sealed, created_at_ms=now)

        try:
            await self._database.transaction(body)
        except UniqueViolation as error:  # the same form twice at the same time
            raise Conflict("authenticator") from error
        return self._setup(user, secret)

    async def pending(self, user: User) -> Setup | None:
        """Return the authenticator that is set up but not turned on, or None."""
        stored = await self._database.one(_STORED, user_id=user.id)
        if stored is None or stored.enabled_at_ms is not None:
            return None
        secret = self._secret(stored)
        return None if secret is None else self._setup(user, secret)

    def _setup(self, user: User, secret: str) -> Setup:
        import pyotp

        uri = pyotp.TOTP(secret).provisioning_uri(name=user.name, issuer_name=self._title)
        return Setup(secret, uri)

    def _secret(self, stored: _Stored) -> str | None:
        plain = self._box.open(stored.secret, PURPOSE)
        return None if plain is None else plain.decode()

    async def turn_on(self, user: User, code: str, origin: Origin) -> list[str]:
        """Activate the authenticator with one of its codes, and return new recovery codes, which replace older ones.

        Raises WrongCode, TooManyCodes, and Conflict when none is set up.
        """
        account = await self._accounts.account_of(user.id)
        await self._count_guess(user.id, origin)

        async def body(tx: Transaction) -> list[str]:
            stored = await tx.one(_STORED, user_id=user.id)
            if stored is None or stored.enabled_at_ms is not None:
                raise Conflict("authenticator")
            if not await self._use_step(tx, user.id, stored, code):
                raise WrongCode
            await tx.run(_ENABLE, of_user=user.id, at_ms=self._clock.now_ms())
            await self._history.write(tx, account, Change.AUTHENTICATOR_ON, origin)
            return await self._new_recovery_codes(tx, user.id)

        codes = await self._database.transaction(body)
        await self._refund(user.id)
        return codes

    async def turn_off(self, user: User, origin: Origin) -> None:
        """Remove the authenticator; the caller has checked the password. Without passkeys also the recovery codes."""
        account = await self._accounts.account_of(user.id)

        async def body(tx: Transaction) -> None:
            if not await tx.run(_REMOVE, of_user=user.id):
                return
            await self.drop_unneeded_codes(tx, user.id)
            await self._history.write(tx, account, Change.AUTHENTICATOR_OFF, origin)

        await self._database.transaction(body)

    # --- recovery codes

    async def mark_of_codes(self, user_id: int, reader: RowReader | None = None) -> str:
        """Return a text that changes with the unused recovery codes of an account, and says nothing about them."""
        hashes = await (reader or self._database).all(_CODES, user_id=user_id)
        return hashlib.sha256(b"".join(sorted(hashes))).hexdigest()[:MARK_LENGTH]

    async def new_recovery_codes(self, user: User, origin: Origin, *, seen: str | None = None) -> list[str]:
        """Return 10 new recovery codes, which replace the old ones. Raises Refused without a second factor.

        `seen` is what `mark_of_codes` returned when the player saw the form. It raises Refused if the codes have
        changed since, e.g. because the form was sent twice.
        """
        account = await self._accounts.account_of(user.id)

        async def body(tx: Transaction) -> list[str]:
            # Locked: two forms at once would otherwise leave the codes of both.
            await tx.one(PRIV_TO_CHANGE, user_id=user.id)
            if seen is not None and seen != await self.mark_of_codes(user.id, tx):
                raise Refused("the recovery codes have changed since this page was opened")
            if not (await self.of(user.id, tx)).required:
                raise Refused("recovery codes need an authenticator or a passkey")
            await self._history.write(tx, account, Change.RECOVERY_CODES, origin)
            return await self._new_recovery_codes(tx, user.id)

        return await self._database.transaction(body)

    async def first_recovery_codes(self, tx: Transaction, user_id: int) -> list[str]:
        """Return new recovery codes in the caller's transaction if the account has none, otherwise an empty list."""
        return [] if await tx.one(_CODE_COUNT, user_id=user_id) else await self._new_recovery_codes(tx, user_id)

    async def drop_unneeded_codes(self, tx: Transaction, user_id: int) -> None:
        """Remove the recovery codes in the caller's transaction if the account has no second factor left."""
        if not (await self.of(user_id, tx)).required:
            await tx.run(_REMOVE_CODES, of_user=user_id)

    async def _new_recovery_codes(self, tx: Transaction, user_id: int) -> list[str]:
        codes = [random_code() for _ in range(RECOVERY_CODES)]
        await tx.run(_REMOVE_CODES, of_user=user_id)
        await tx.run_many(_ADD_CODE, [{"user_id": user_id, "hash": code_hash(code)} for code in codes])
        return codes

    # --- checks

    async def check(self, user_id: int, code: str, origin: Origin) -> None:
        """Use up a code of the authenticator or a recovery code. Raises WrongCode, TooManyCodes, Unavailable.

        A wrong code is recorded in the history, because its sender knows the password.
        """
        await self._count_guess(user_id, origin)
        account = await self._accounts.account_of(user_id)
        plain = "".join(code[:CODE_TEXT_MAX].split())

        async def body(tx: Transaction) -> bool:
            if len(plain) == CODE_DIGITS and plain.isascii() and plain.isdigit():
                stored = await tx.one(_STORED, user_id=user_id)
                enabled = stored is not None and stored.enabled_at_ms is not None
                return enabled and stored is not None and await self._use_step(tx, user_id, stored, plain)
            if not await tx.run(_USE_CODE, of_user=user_id, with_hash=code_hash(plain)):
                return False
            await self._history.write(tx, account, Change.RECOVERY_CODE_USED, origin)
            return True

        if not await self._database.transaction(body):
            self._history.record(user_id, LoginEvent.WRONG_CODE, origin)
            raise WrongCode
        await self._refund(user_id)

    async def _use_step(self, tx: Transaction, user_id: int, stored: _Stored, code: str) -> bool:
        import pyotp

        secret = self._secret(stored)
        if secret is None:  # the key file was replaced; recovery codes still work
            return False
        now = self._clock.now_ms() // 1000 // STEP_S
        generator = pyotp.TOTP(secret, digits=CODE_DIGITS, interval=STEP_S)
        plain = "".join(code[:CODE_TEXT_MAX].split()).encode("utf-8", "backslashreplace")
        for step in range(now - STEPS_AROUND, now + STEPS_AROUND + 1):
            used = use_of_step(stored.last_step, stored.used_steps, step)
            # Every step is compared, in constant time, also one that cannot be used.
            if hmac.compare_digest(generator.generate_otp(step).encode(), plain) and used is not None:
                new_step, new_used = used
                return bool(
                    await tx.run(
                        _USE_STEP,
                        of_user=user_id,
                        old_step=stored.last_step,
                        old_used=stored.used_steps,
                        new_step=new_step,
                        new_used=new_used,
                    )
                )
        return False

    async def _count_guess(self, user_id: int, origin: Origin) -> None:
        if not self._limited:
            return
        for bucket, limit, period_s in _buckets(user_id):
            answer = await self._limiter.consume(bucket, limit=limit, period_s=period_s)
            if not answer.granted:
                raise TooManyCodes(answer.reset_s)

    async def _refund(self, user_id: int) -> None:
        """Give the guess back: a right code does not count."""
        if self._limited:
            for bucket, limit, period_s in _buckets(user_id):
                await self._limiter.refund(bucket, limit=limit, period_s=period_s)

    # --- the staff

    async def reset(self, actor: Actor, name: str, *, reason: str = "", check: Also = nothing_else) -> None:
        """Remove all second factors of an account. Raises NotFound("user"). `check` runs first in the transaction."""
        account = await self._accounts.account(name)

        async def body(tx: Transaction) -> None:
            await check(tx)
            before = await self.of(account.id, tx)
            await tx.run(_REMOVE, of_user=account.id)
            await tx.run(_REMOVE_CODES, of_user=account.id)
            await tx.run(_REMOVE_PASSKEYS, of_user=account.id)
            await self._history.write(
                tx,
                account,
                Change.SECOND_FACTOR_RESET,
                Origin(actor.source),
                actor=actor,
                reason=reason,
                details={"authenticator": before.authenticator, "passkeys": before.passkeys},
            )

        await self._database.transaction(body)


def _buckets(user_id: int) -> list[tuple[str, int, float]]:
    return [
        (f"codes:{user_id}", CODES_PER_MINUTE, 60.0),
        (f"codes-of-hour:{user_id}", CODES_PER_HOUR, 3600.0),
    ]


def use_of_step(last_step: int, used_steps: int, step: int) -> tuple[int, int] | None:
    """Return the new `last_step` and `used_steps` after the code of `step` was accepted; None if it was used before.

    Bit n of `used_steps` says whether the code of `last_step` - n was accepted. Steps that are no longer accepted are
    forgotten.
    """
    window = (1 << (2 * STEPS_AROUND + 1)) - 1
    if step > last_step:
        shift = step - last_step
        return step, ((used_steps << shift) & window if shift <= 2 * STEPS_AROUND else 0) | 1
    bit = 1 << (last_step - step)
    # A step before the window: the clock was set back. Its code may have been used.
    if bit > window or used_steps & bit:
        return None
    return last_step, used_steps | bit

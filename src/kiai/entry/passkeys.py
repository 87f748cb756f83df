"""Passkeys (WebAuthn): a login without a name and a password, and a second factor after a password.

The options of a ceremony go to the browser together with a state, which is encrypted: it contains the challenge, and
the browser sends it back with its answer. A challenge works once, for 5 minutes.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import msgspec
from sqlalchemy import bindparam, delete, func, insert, select, update

from kiai.accounts import Accounts, User
from kiai.clock import Clock
from kiai.entry.history import SecurityHistory
from kiai.entry.model import Change, Origin
from kiai.entry.second_factors import SecondFactors
from kiai.errors import Conflict, Invalid, NotFound, Refused
from kiai.realtime.port import Realtime
from kiai.secret_box import SecretBox
from kiai.server_settings import LOCAL_DOMAIN
from kiai.storage.port import Command, Database, Query, Transaction, UniqueViolation, columns_for, scalar
from kiai.storage.tables import passkeys

if TYPE_CHECKING:
    from fido2.server import Fido2Server

PASSKEYS_MAX: Final = 20
NAME_MAX: Final = 64
CEREMONY_S: Final = 300
CREDENTIAL_ID_MAX: Final = 1023  # bytes, by the standard
PURPOSE: Final = "passkey"


class BadPasskey(Refused):
    """The answer of the browser or of the passkey is not valid. `reason` is for the log."""


class Passkey(msgspec.Struct, frozen=True):
    """A passkey in the list of its owner. Times are unix milliseconds."""

    id: int
    name: str
    created_at_ms: int
    used_at_ms: int | None


class Ceremony(msgspec.Struct, frozen=True):
    """The options for the browser, as JSON objects of WebAuthn, and the state that comes back with the answer."""

    options: Mapping[str, Any]
    state: str


class _State(msgspec.Struct, frozen=True):
    user_id: int  # 0: the owner of the passkey, not known yet
    challenge: str
    user_verification: str
    kind: str  # add, login


class _Stored(msgspec.Struct, frozen=True):
    id: int
    user_id: int
    credential: bytes
    sign_count: int


_OF = Query(
    select(*columns_for(Passkey, passkeys))
    .where(passkeys.c.user_id == bindparam("user_id"))
    .order_by(passkeys.c.id)
    .limit(PASSKEYS_MAX),
    Passkey,
)
_CREDENTIALS_OF = Query(
    select(passkeys.c.credential)
    .where(passkeys.c.user_id == bindparam("user_id"))
    .order_by(passkeys.c.id)
    .limit(PASSKEYS_MAX),
    scalar,
)
_BY_CREDENTIAL = Query(
    select(*columns_for(_Stored, passkeys)).where(passkeys.c.credential_id == bindparam("credential_id")), _Stored
)
_COUNT = Query(select(func.count()).select_from(passkeys).where(passkeys.c.user_id == bindparam("user_id")), scalar)
_ADD = Command(
    insert(passkeys).values(
        {
            name: bindparam(name)
            for name in ("user_id", "credential_id", "credential", "sign_count", "name", "created_at_ms")
        }
    )
)
_USED = Command(
    update(passkeys)
    .where(passkeys.c.id == bindparam("passkey_id"))
    .values(sign_count=bindparam("count"), used_at_ms=bindparam("at_ms"))
)
_REMOVE = Command(
    delete(passkeys).where(passkeys.c.id == bindparam("passkey_id"), passkeys.c.user_id == bindparam("of_user"))
)


class Passkeys:
    """Adds, uses and removes passkeys. `site_url` is the address of the website, to which passkeys are bound."""

    def __init__(
        self,
        database: Database,
        accounts: Accounts,
        factors: SecondFactors,
        history: SecurityHistory,
        realtime: Realtime,
        box: SecretBox,
        clock: Clock,
        *,
        title: str,
        site_url: str,
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._factors = factors
        self._history = history
        self._realtime = realtime
        self._box = box
        self._clock = clock
        self._title = title
        self._site_url = site_url
        self._loaded: Fido2Server | None = None

    @property
    def _server(self) -> "Fido2Server":
        # Imported at the first use: 8 MB that a server without passkeys does not need.
        from fido2.server import Fido2Server
        from fido2.webauthn import PublicKeyCredentialRpEntity

        if self._loaded is None:
            host = urlsplit(self._site_url).hostname or LOCAL_DOMAIN
            self._loaded = Fido2Server(
                PublicKeyCredentialRpEntity(name=self._title, id=host), verify_origin=self._is_own_origin
            )
        return self._loaded

    def _is_own_origin(self, origin: str) -> bool:
        own, other = urlsplit(self._site_url), urlsplit(origin)
        if own.hostname == LOCAL_DOMAIN:  # a developer may reach the server through another port
            return other.scheme in ("http", "https") and other.hostname == LOCAL_DOMAIN
        return origin == self._site_url

    async def of(self, user_id: int) -> list[Passkey]:
        """Return the passkeys of an account, oldest first."""
        return await self._database.all(_OF, user_id=user_id)

    # --- adding

    async def begin_adding(self, user: User) -> Ceremony:
        """Return the options with which the browser creates a passkey. Raises Refused at the limit of passkeys."""
        from fido2.webauthn import (
            AttestedCredentialData,
            PublicKeyCredentialUserEntity,
            ResidentKeyRequirement,
            UserVerificationRequirement,
        )

        known = [
            AttestedCredentialData(stored) for stored in await self._database.all(_CREDENTIALS_OF, user_id=user.id)
        ]
        if len(known) >= PASSKEYS_MAX:
            raise Refused(f"an account has at most {PASSKEYS_MAX} passkeys; remove one first")
        options, state = self._server.register_begin(
            PublicKeyCredentialUserEntity(id=_handle(user.id), name=user.name, display_name=user.name),
            known,
            resident_key_requirement=ResidentKeyRequirement.REQUIRED,
            user_verification=UserVerificationRequirement.REQUIRED,
        )
        return self._ceremony(options, state, user.id, "add")

    async def add(self, user: User, state: str, response: Mapping[str, Any], name: str, origin: Origin) -> list[str]:
        """Store a new passkey. Return recovery codes if it is the first second factor, otherwise an empty list.

        Raises BadPasskey, Invalid for the name, Conflict for a passkey that is already known, Refused at the limit.
        """
        label = name.strip()
        if not 1 <= len(label) <= NAME_MAX or not label.isprintable():
            raise Invalid("passkey_name", f"1 to {NAME_MAX} printable characters", name)
        ceremony = await self._open(state, "add")
        if ceremony.user_id != user.id:
            raise BadPasskey("the ceremony belongs to another account")
        try:
            data = self._server.register_complete(_fido_state(ceremony), response)
        except Exception as error:  # the library raises many kinds for damaged answers
            raise BadPasskey(str(error)) from error
        assert data.credential_data is not None
        credential = data.credential_data
        if len(credential.credential_id) > CREDENTIAL_ID_MAX:
            raise BadPasskey("the id of the passkey is too long")
        account = await self._accounts.account_of(user.id)

        async def body(tx: Transaction) -> list[str]:
            if (await tx.one(_COUNT, user_id=user.id) or 0) >= PASSKEYS_MAX:
                raise Refused(f"an account has at most {PASSKEYS_MAX} passkeys; remove one first")
            await tx.run(
                _ADD,
                user_id=user.id,
                credential_id=bytes(credential.credential_id),
                credential=bytes(credential),
                sign_count=data.counter,
                name=label,
                created_at_ms=self._clock.now_ms(),
            )
            await self._history.write(tx, account, Change.PASSKEY_ADDED, origin)
            return await self._factors.first_recovery_codes(tx, user.id)

        try:
            return await self._database.transaction(body)
        except UniqueViolation as error:
            raise Conflict("passkey") from error

    async def remove(self, user: User, passkey_id: int, origin: Origin) -> None:
        """Remove a passkey of the account. Raises NotFound, also for a passkey of another account."""
        account = await self._accounts.account_of(user.id)

        async def body(tx: Transaction) -> None:
            if not await tx.run(_REMOVE, passkey_id=passkey_id, of_user=user.id):
                raise NotFound("passkey")
            await self._factors.drop_unneeded_codes(tx, user.id)
            await self._history.write(tx, account, Change.PASSKEY_REMOVED, origin)

        await self._database.transaction(body)

    # --- logging in

    async def begin_login(self, user_id: int = 0) -> Ceremony:
        """Return the options with which the browser asks for a passkey: one of `user_id`, or any for 0."""
        from fido2.webauthn import AttestedCredentialData, UserVerificationRequirement

        known = None
        verification = UserVerificationRequirement.REQUIRED
        if user_id:
            stored = await self._database.all(_CREDENTIALS_OF, user_id=user_id)
            known = [AttestedCredentialData(one) for one in stored]
            verification = UserVerificationRequirement.PREFERRED  # the password was checked
        options, state = self._server.authenticate_begin(known, user_verification=verification)
        return self._ceremony(options, state, user_id, "login")

    async def log_in(self, state: str, response: Mapping[str, Any], *, user_id: int = 0) -> int:
        """Check the answer of a passkey and return the id of its account. Raises BadPasskey, Unavailable.

        `user_id` is the account whose password was checked before, 0 for a login without a name.
        """
        from fido2.webauthn import AttestedCredentialData, AuthenticationResponse

        ceremony = await self._open(state, "login")
        if ceremony.user_id != user_id:
            raise BadPasskey("the ceremony belongs to another login")
        try:
            answer = AuthenticationResponse.from_dict(response)
            credential_id = bytes(answer.raw_id)
        except Exception as error:  # the library raises many kinds for damaged answers
            raise BadPasskey(str(error)) from error
        if len(credential_id) > CREDENTIAL_ID_MAX:
            raise BadPasskey("the id of the passkey is too long")
        stored = await self._database.one(_BY_CREDENTIAL, credential_id=credential_id)
        if stored is None or user_id not in (0, stored.user_id):
            raise BadPasskey("the passkey is not known")
        try:
            self._server.authenticate_complete(
                _fido_state(ceremony), [AttestedCredentialData(stored.credential)], response
            )
        except Exception as error:
            raise BadPasskey(str(error)) from error
        handle = answer.response.user_handle
        if handle is not None and bytes(handle) != _handle(stored.user_id):
            raise BadPasskey("the passkey names another account")
        count = answer.response.authenticator_data.counter
        # Synchronised passkeys do not count and send 0. Any other count must grow, or the passkey was copied.
        if (count or stored.sign_count) and count <= stored.sign_count:
            raise BadPasskey("the counter of the passkey did not grow")

        async def body(tx: Transaction) -> None:
            await tx.run(_USED, passkey_id=stored.id, count=count, at_ms=self._clock.now_ms())

        await self._database.transaction(body)
        return stored.user_id

    # --- the state of a ceremony

    def _ceremony(self, options: Any, state: Mapping[str, Any], user_id: int, kind: str) -> Ceremony:
        state_of_key = _State(user_id, state["challenge"], str(state["user_verification"].value), kind)
        sealed = self._box.seal(msgspec.json.encode(state_of_key), PURPOSE)
        return Ceremony(dict(options), sealed.decode())

    async def _open(self, sealed: str, kind: str) -> _State:
        plain = self._box.open(sealed.encode("utf-8", "replace"), PURPOSE, max_age_s=CEREMONY_S)
        if plain is None:
            raise BadPasskey("the ceremony has ended")
        state = msgspec.json.decode(plain, type=_State)
        # A challenge works once: an answer that was recorded on its way is worth nothing later.
        if state.kind != kind or not await self._realtime.once(f"passkey:{state.challenge}", CEREMONY_S):
            raise BadPasskey("the ceremony has ended")
        return state


def _fido_state(state: _State) -> dict[str, Any]:
    return {"challenge": state.challenge, "user_verification": state.user_verification}


def _handle(user_id: int) -> bytes:
    """Return the name of an account inside its passkeys."""
    return user_id.to_bytes(8, "big")

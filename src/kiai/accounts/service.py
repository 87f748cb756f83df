"""The verbs of accounts: registering, finding, logging in, renaming, passwords, profiles."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from kiai.accounts import listing, queries
from kiai.accounts.model import PLAY_STYLE_MAX, USERPAGE_MAX, Account, Player, User
from kiai.accounts.passwords import Passwords, Remembered
from kiai.accounts.visibility import BOARDS_LOOK_CHANGED, EVERYBODY, Viewer, can_see
from kiai.clock import Clock
from kiai.errors import Conflict, Invalid, NotAllowed, NotAuthenticated, NotFound, Refused, Unavailable
from kiai.osu.countries import is_country
from kiai.osu.modes import MODES
from kiai.osu.names import email_fault, name_fault, password_fault, password_md5, safe_name
from kiai.osu.numbers import is_id, whole_number
from kiai.osu.privileges import VERIFIED, Privilege, may
from kiai.storage.outbox import tell
from kiai.storage.patterns import containing
from kiai.storage.port import Database, Reader, Taken, Transaction, Value

NAME_RESERVED_MS: Final = 90 * 86_400_000
RENAME_EVERY_MS: Final = 7 * 86_400_000
BADGE_MAX: Final = 64
LISTED_MAX: Final = 10_000  # a filtered total is counted no further than this
LOGIN_NAME_MAX: Final = 32  # no account's name is longer
LOGIN_TRIES: Final = 3

_MD5: Final = re.compile(r"[0-9a-f]{32}")


class Accounts:
    """Accounts and their profiles. Restricting is a verb of `staff`, which tells everybody who must know."""

    def __init__(self, database: Database, passwords: Passwords, clock: Clock) -> None:
        self._database = database
        self._passwords = passwords
        self._remembered = Remembered(clock)
        self._clock = clock

    # --- finding

    async def user(self, viewer: Viewer = EVERYBODY, *, id: int | None = None, name: str | None = None) -> User:  # noqa: A002
        """The account with this id or name, if `viewer` may know of it. Raises NotFound("player")."""
        if id is not None:
            if not is_id(id):
                raise NotFound("player")
            found = await self._database.one(queries.USER_BY_ID, id=id)
        else:
            found = await self._database.one(queries.USER_BY_SAFE_NAME, safe_name=safe_name(name or ""))
            if found is None and (old := await self._renamed(name or "")) is not None:
                found = await self._database.one(queries.USER_BY_ID, id=old)
        if found is None or not can_see(viewer, found):
            raise NotFound("player")
        return found

    async def player(self, viewer: Viewer = EVERYBODY, *, id: int | None = None, name: str | None = None) -> Player:  # noqa: A002
        """As `user`, but only who it is, with the clan. Raises NotFound("player")."""
        if id is not None:
            if not is_id(id):
                raise NotFound("player")
            found = await self._database.one(queries.PLAYER_BY_ID, id=id)
        else:
            found = await self._database.one(queries.PLAYER_BY_SAFE_NAME, safe_name=safe_name(name or ""))
            if found is None and (old := await self._renamed(name or "")) is not None:
                found = await self._database.one(queries.PLAYER_BY_ID, id=old)
        if found is None or not can_see(viewer, found):
            raise NotFound("player")
        return found

    async def _renamed(self, name: str) -> int | None:
        return await self._database.one(queries.ID_BY_OLD_NAME, safe_name=safe_name(name))

    async def account(self, name: str) -> Account:
        """An account with its e-mail, for the operator. Raises NotFound("user")."""
        found = await self._database.one(queries.ACCOUNT_BY_SAFE_NAME, safe_name=safe_name(name))
        if found is None:
            raise NotFound("user")
        return found

    async def accounts(self, after: int = 0) -> list[Account]:
        """A page of all accounts with an id above `after`, the bot included; empty at the end."""
        return await self._database.all(queries.ACCOUNTS_AFTER, after=after)

    async def names_of(self, user_ids: Sequence[int]) -> dict[int, str]:
        """The names of those among these accounts whom everybody may see; at most 33 ids."""
        padded = [*user_ids, *[0] * queries.NAMES_MAX][: queries.NAMES_MAX]
        return dict(await self._database.all(queries.NAMES_OF, **{f"id{n}": one for n, one in enumerate(padded)}))

    async def players_among(self, user_ids: Iterable[int]) -> dict[int, Player]:
        """Those of these accounts whom everybody may see, by id; at most 100 ids."""
        found = await self._database.all(queries.PLAYERS_AMONG, **_padded(sorted(set(user_ids))))
        return {one.id: one for one in found}

    async def search(self, text: str) -> list[tuple[int, str]]:
        """Visible players whose name holds `text` (both spellings), as (id, name) by id; at most 50."""
        pattern = containing(safe_name(text))
        return [] if pattern is None else await self._database.all(queries.SEARCH, pattern=pattern)

    async def search_users(self, text: str, *, limit: int, offset: int = 0) -> tuple[list[User], int]:
        """The visible accounts whose name holds `text`, by id, and how many there are, counted up to 10,000."""
        pattern = containing(safe_name(text))
        if pattern is None:
            return [], 0
        rows = await self._database.all(queries.SEARCH_USERS, pattern=pattern, limit=limit, offset=offset)
        return rows, await self._database.one(queries.SEARCH_COUNT, pattern=pattern, most=LISTED_MAX) or 0

    async def listed(
        self, filters: Mapping[str, Value], *, limit: int, offset: int = 0, after: int = 0
    ) -> tuple[list[User], int]:
        """Visible accounts by id that match every given filter of `listing.FILTERS`, and how many there are in all.

        The total is counted up to 10,000. `after` continues behind an id instead of skipping `offset` rows.
        """
        one = listing.which(filters)
        wanted = {name: filters[name] for name in one[0]}
        rows = await self._database.all(listing.PAGES[one], limit=limit, offset=offset, after=after, **wanted)
        return rows, await self._database.one(listing.COUNTS[one], most=LISTED_MAX, **wanted) or 0

    async def listed_among(self, user_ids: Iterable[int], filters: Mapping[str, Value]) -> list[User]:
        """Those of these accounts that `listed` would list, by id. Reads 100 a statement."""
        wanted = {name: filters.get(name) for name in listing.FILTERS}
        ids = sorted(set(user_ids))
        found: list[User] = []
        for start in range(0, len(ids), listing.AMONG_MAX):
            part = _padded(ids[start : start + listing.AMONG_MAX])
            found += await self._database.all(listing.AMONG, **part, **wanted)
        return found

    async def total(self) -> int:
        """How many accounts are registered; the bot is none."""
        return await self._database.one(queries.TOTAL) or 0

    async def avatar_of(self, user_id: int) -> str | None:
        """The key of a visible account's picture in the files store, or None."""
        return await self._database.one(queries.AVATAR_OF, id=user_id)

    # --- logging in

    async def remembered(self, name: str, password_md5: str) -> User | None:
        """The account with this name if this password was right for it within the last hour; computes no hash."""
        if not _can_be_credentials(name, password_md5):
            return None
        user, stored = await self._database.one(queries.CREDENTIALS, safe_name=safe_name(name)) or (None, None)
        if user is None or stored is None or not self._remembered.has(password_md5, stored):
            return None
        return user

    async def authenticate(self, name: str, password_md5: str, *, caller: str = "") -> User:
        """The account with this name and password, restricted and banned ones too; former names do not count.

        A right password is remembered for an hour. `caller` is whose turn it is while passwords wait to be verified.
        Raises NotAuthenticated, the same after the same time whether the name or the password is wrong or neither can
        be one (docs/spec/security.md#log-in-and-passwords), and Unavailable.
        """
        if not _can_be_credentials(name, password_md5):
            await self._passwords.pretend(caller)
            raise NotAuthenticated
        # Each turn takes the account as it is now: verifying takes a while, in which it may be banned or get another
        # password. What was verified is remembered, so that the second turn usually ends it.
        for _ in range(LOGIN_TRIES):
            user, stored = await self._database.one(queries.CREDENTIALS, safe_name=safe_name(name)) or (None, None)
            if user is None or stored is None:
                await self._passwords.pretend(caller)
                raise NotAuthenticated
            if self._remembered.has(password_md5, stored):
                return user
            right, renewed = await self._passwords.verify(password_md5, stored, caller)
            if not right:
                raise NotAuthenticated
            self._remembered.add(password_md5, stored)
            if renewed is not None:
                await self._renew(user.id, stored, renewed)
                self._remembered.add(password_md5, renewed)
        raise Unavailable("login", "the password changes all the time")

    async def _renew(self, user_id: int, old: str, new: str) -> None:
        async def body(tx: Transaction) -> None:
            await tx.run(queries.RENEW_PASSWORD, user_id=user_id, old_hash=old, new_hash=new)

        await self._database.transaction(body)

    async def verify(self, tx: Transaction, user_id: int) -> int:
        """Marks the account as verified, which its first login does; its privileges then.

        Raises NotFound("user").

        See docs/spec/game-rules.md#privileges.
        """
        priv = await self.priv_to_change(tx, user_id)
        if not priv & VERIFIED:
            priv |= VERIFIED
            await self.set_priv(tx, user_id, priv)
        return priv

    async def has_owner(self, reader: Reader) -> bool:
        """Whether any account is a developer, which an owner is; a restricted one counts. Looks at every account."""
        return await reader.one(queries.ANY_DEVELOPER) is not None

    async def silence_to_change(self, tx: Transaction, user_id: int) -> int:
        """Until when an account is silenced, unix ms, held against other changes until the transaction ends."""
        until = await tx.one(queries.SILENCE_TO_CHANGE, user_id=user_id)
        if until is None:
            raise NotFound("user")
        return int(until)

    async def set_silence(self, tx: Transaction, user_id: int, until_ms: int) -> None:
        """Stores until when an account is silenced; who may do so, and what follows, is the business of `staff`."""
        await tx.run(queries.SET_SILENCE, user_id=user_id, until_ms=until_ms)

    async def settle_country(self, tx: Transaction, user_id: int, country: str) -> bool:
        """Gives an account without country (`xx`) this one; whether it had none. Rank lists are the caller's affair."""
        return bool(await tx.run(queries.SETTLE_COUNTRY, user_id=user_id, country=country))

    async def touch(self, active: Mapping[int, int]) -> None:
        """Notes when accounts were last active: unix ms by id. An earlier time than the one known changes nothing."""
        if not active:
            return

        async def body(tx: Transaction) -> None:
            # In order of ids, so that two processes never wait for one another in a circle.
            rows = [{"user_id": user_id, "at_ms": at_ms} for user_id, at_ms in sorted(active.items())]
            await tx.many(queries.SET_ACTIVE, rows)

        await self._database.transaction(body)

    async def set_friends_only_dms(self, user_id: int, on: bool) -> None:
        """Whether only friends may send private messages to the account."""

        async def body(tx: Transaction) -> None:
            await tx.run(queries.SET_FRIENDS_ONLY_DMS, user_id=user_id, on=int(on))

        await self._database.transaction(body)

    # --- registering and changing

    async def register(
        self,
        *,
        name: str,
        email: str,
        password: str | None,
        country: str = "xx",
        priv: int = int(Privilege.UNRESTRICTED),
        caller: str = "",
    ) -> int:
        """A new account; its id. `password` in plain text, None for one that cannot log in.

        `caller` is whose turn it is while passwords wait to be hashed.

        Raises Invalid for a name, e-mail, password or country outside the rules (docs/spec/game-rules.md#names),
        Conflict when name or e-mail are taken or the name is reserved for its former owner.
        """
        if fault := name_fault(name):
            raise Invalid("name", fault, name)
        if fault := email_fault(email):
            raise Invalid("email", fault, email)
        if not is_country(country):
            raise Invalid("country", "two letters of ISO 3166-1", country)
        if password is not None and (fault := password_fault(password, name=name, email=email)):
            raise Invalid("password", fault, "a password that does not fit")
        hashed = None if password is None else await self._passwords.hash(password_md5(password), caller)
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> int:
            await self._free_name(tx, name, user_id=0, now_ms=now)
            user_id = await tx.one(
                queries.INSERT_USER,
                name=name,
                safe_name=safe_name(name),
                email=email.lower(),
                password_hash=hashed,
                priv=priv,
                country=country,
                created_at_ms=now,
                active_at_ms=now,
            )
            await tx.run(queries.COUNT_USER, by=1)
            assert user_id is not None
            return int(user_id)

        try:
            return await self._database.transaction(body)
        except Taken as taken:
            raise Conflict("email" if "email" in taken.constraint else "name") from taken

    async def faults_of(self, *, name: str, email: str, password: str) -> dict[str, list[str]]:
        """What keeps this account from being made, by field: rules that do not hold, and what is taken."""
        faults: dict[str, list[str]] = {}
        if fault := name_fault(name):
            faults["name"] = [f"Must be {fault}."]
        elif await self._is_taken(name):
            faults["name"] = ["This name is taken already."]
        if fault := email_fault(email):
            faults["email"] = [f"Must be {fault}."]
        elif await self._database.one(queries.EMAIL_TAKEN, email=email.lower()) is not None:
            faults["email"] = ["This address is taken already."]
        if fault := password_fault(password, name=name, email=email):
            faults["password"] = [f"Must be {fault}."]
        return faults

    async def _is_taken(self, name: str) -> bool:
        safe = safe_name(name)
        since = self._clock.now_ms() - NAME_RESERVED_MS
        return (
            await self._database.one(queries.USER_BY_SAFE_NAME, safe_name=safe) is not None
            or await self._database.one(queries.NAME_RESERVED, safe_name=safe, since_ms=since, user_id=0) is not None
        )

    async def _free_name(self, tx: Transaction, name: str, *, user_id: int, now_ms: int) -> None:
        reserved = await tx.one(
            queries.NAME_RESERVED, safe_name=safe_name(name), since_ms=now_ms - NAME_RESERVED_MS, user_id=user_id
        )
        if reserved is not None:
            raise Conflict("name")

    async def set_password(self, user_id: int, *, password: str, name: str, email: str) -> None:
        """A new password; API keys and sessions end with the old one. Raises Invalid.

        See docs/spec/security.md#log-in-and-passwords.
        """
        if fault := password_fault(password, name=name, email=email):
            raise Invalid("password", fault, "a password that does not fit")
        hashed = await self._passwords.hash(password_md5(password))
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            await tx.run(queries.SET_PASSWORD, user_id=user_id, password_hash=hashed)
            await tx.run(queries.REVOKE_KEYS, holder_id=user_id, at_ms=now)
            await tell(tx, "sessions", user_id, now)

        await self._database.transaction(body)

    async def set_priv(self, tx: Transaction, user_id: int, priv: int) -> None:
        """Stores privileges; who may do so, and what follows, is the business of `staff`."""
        await tx.run(queries.SET_PRIV, user_id=user_id, priv=priv)

    async def priv_to_change(self, tx: Transaction, user_id: int) -> int:
        """An account's privileges, held against other changes until the transaction ends. Raises NotFound("user")."""
        priv = await tx.one(queries.PRIV_TO_CHANGE, user_id=user_id)
        if priv is None:
            raise NotFound("user")
        return int(priv)

    async def developers(self, tx: Transaction) -> int:
        """How many unrestricted developers there are, held against other changes until the transaction ends."""
        return len(await tx.all(queries.DEVELOPERS))

    async def set_avatar(self, user_id: int, key: str | None) -> str | None:
        """Which stored picture the account shows from now on, and which it showed until now; None for the default."""

        async def body(tx: Transaction) -> str | None:
            before = await tx.one(queries.LOCK_AVATAR, id=user_id)
            await tx.run(queries.SET_AVATAR, user_id=user_id, avatar=key)
            return before

        return await self._database.transaction(body)

    async def has_avatar(self, key: str) -> bool:
        """Whether an account, hidden or not, shows the picture of this key."""
        owner = whole_number(key.removeprefix("avatars/").partition("-")[0])
        return owner is not None and await self._database.one(queries.ANY_AVATAR_OF, id=owner) == key

    async def set_profile(self, viewer: Viewer, changes: Mapping[str, object]) -> User:
        """Changes what an account may change about itself, all or nothing; the account afterwards.

        Raises Invalid for a value outside its range, NotAllowed for a field that needs a right the holder lacks,
        Refused for a rename too early, Conflict for a name that is taken.
        """
        user = await self.user(viewer, id=viewer.user_id)
        values: dict[str, Value] = {name: getattr(user, name) for name in queries.PROFILE_FIELDS}
        for name, value in changes.items():
            if name != "name":
                values[name] = _checked(name, value, viewer)
        new_name = changes.get("name")
        now = self._clock.now_ms()
        if "name" in changes:
            self._check_rename(user, new_name, viewer, now)

        async def body(tx: Transaction) -> None:
            await tx.run(queries.SET_PROFILE, user_id=user.id, **values)
            if isinstance(new_name, str) and new_name != user.name:
                await self._rename(tx, user, new_name, now)

        try:
            await self._database.transaction(body)
        except Taken as taken:
            raise Conflict("name") from taken
        return await self.user(viewer, id=user.id)

    def _check_rename(self, user: User, name: object, viewer: Viewer, now_ms: int) -> None:
        if not may(viewer.priv, "users.rename_self"):
            raise NotAllowed("users.rename_self (supporters) to change the field name")
        if not isinstance(name, str):
            raise Invalid("name", "a text", name)
        if (fault := name_fault(name)) is not None:
            raise Invalid("name", fault, name)
        if user.renamed_at_ms is not None and now_ms - user.renamed_at_ms < RENAME_EVERY_MS:
            raise Refused("the field name may be changed once a week")

    async def _rename(self, tx: Transaction, user: User, name: str, now_ms: int) -> None:
        await self._free_name(tx, name, user_id=user.id, now_ms=now_ms)
        await tx.run(
            queries.RELEASE_NAME, user_id=user.id, name=user.name, safe_name=user.safe_name, released_at_ms=now_ms
        )
        await tx.run(queries.SET_NAME, user_id=user.id, name=name, safe_name=safe_name(name), renamed_at_ms=now_ms)
        await tx.run(BOARDS_LOOK_CHANGED)
        await tell(tx, "sessions", user.id, now_ms)  # packets carry names: the client has to log in as who it is now


def _can_be_credentials(name: str, password_md5: str) -> bool:
    return bool(_MD5.fullmatch(password_md5)) and len(name) <= LOGIN_NAME_MAX and "\x00" not in name


def _padded(user_ids: Sequence[int]) -> dict[str, Value]:
    """The parameters of a statement that takes 100 ids; 0 is nobody's."""
    return {f"id{n}": user_ids[n] if n < len(user_ids) else 0 for n in range(queries.AMONG_MAX)}


def _checked(name: str, value: object, viewer: Viewer) -> Value:
    """One profile field's new value, or the error that names the field."""
    if name == "preferred_mode":
        if type(value) is not int or value not in MODES:
            raise Invalid(name, "one of 0, 1, 2, 3, 4, 5, 6, 8", value)
        return value
    if name == "play_style":
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= PLAY_STYLE_MAX:
            raise Invalid(name, f"a whole number from 0 to {PLAY_STYLE_MAX}", value)
        return value
    if name == "userpage_content":
        return _text(name, value, USERPAGE_MAX)
    if name in ("custom_badge_name", "custom_badge_icon"):
        if not viewer.priv & int(Privilege.SUPPORTER | Privilege.PREMIUM):
            raise NotAllowed(f"supporter to change the field {name}")
        return _text(name, value, BADGE_MAX)
    if name == "country":  # moving moves rank entries too: a verb of the staff
        raise NotAllowed("users.inspect: only the staff changes the field country")
    raise Invalid(name, "left out: it cannot be changed here", value)


def _text(name: str, value: object, longest: int) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > longest or "\x00" in value:
        raise Invalid(name, f"a text of at most {longest} characters", value)
    return value

"""The service of accounts: lookup, login, registration, names, passwords and profiles."""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Final

from kiai import webhooks
from kiai.accounts import listing, queries
from kiai.accounts.changes import Record, no_record
from kiai.accounts.model import BOT_ID, PLAY_STYLE_MAX, USERPAGE_MAX, Account, OldName, Player, Privacy, User
from kiai.accounts.name_index import NameKind, add_names, remove_names
from kiai.accounts.passwords import Passwords, VerifiedPasswords
from kiai.accounts.visibility import BOARDS_LOOK_CHANGED, EVERYBODY, Viewer, can_see
from kiai.clock import Clock
from kiai.errors import Conflict, Invalid, NotAllowed, NotAuthenticated, NotFound, Refused, Unavailable
from kiai.osu.countries import is_country
from kiai.osu.modes import MODES
from kiai.osu.names import EMAIL_MAX, email_fault, name_fault, password_fault, password_md5, safe_name
from kiai.osu.numbers import is_id, whole_number
from kiai.osu.privileges import VERIFIED, Privilege, may
from kiai.storage.outbox import enqueue
from kiai.storage.patterns import containing
from kiai.storage.port import Database, RowReader, Transaction, UniqueViolation, Value

NAME_RESERVED_MS: Final = 90 * 86_400_000
RENAME_EVERY_MS: Final = 7 * 86_400_000
BADGE_MAX: Final = 64
LISTED_MAX: Final = 10_000  # the totals of filtered lists are counted up to this number
LOGIN_NAME_MAX: Final = 32  # the longest name of an account
LOGIN_TRIES: Final = 3

AlsoForUser = Callable[[Transaction, int], Awaitable[object]]
"""Further changes of another subject in the transaction of a change of this account."""

NAME_TAKEN: Final = "This name is already taken."
NAME_OF_FORMER_OWNER: Final = "This name is reserved for its former owner."
# No more than that: otherwise the form would tell strangers who has an account.
EMAIL_TAKEN: Final = "This e-mail address cannot be used."

_MD5: Final = re.compile(r"[0-9a-f]{32}")


def check_person(*, name: str, email: str, country: str = "xx") -> None:
    """Raise Invalid if no account can have this name, address or country. They may be taken all the same."""
    if fault := name_fault(name):
        raise Invalid("name", fault, name)
    if fault := email_fault(email):
        raise Invalid("email", fault, email)
    if not is_country(country):
        raise Invalid("country", "two letters of ISO 3166-1", country)


class Accounts:
    """Accounts and their profiles. Sanctions belong to `staff`, which also notifies the affected services."""

    def __init__(self, database: Database, passwords: Passwords, clock: Clock) -> None:
        self._database = database
        self._passwords = passwords
        self._remembered = VerifiedPasswords(clock)
        self._clock = clock

    # --- lookup

    async def user(self, viewer: Viewer = EVERYBODY, *, id: int | None = None, name: str | None = None) -> User:  # noqa: A002
        """Return the account with this id or name if `viewer` may see it, else raise NotFound("player").

        A former name finds the account that had it last, unless another account has the name now.
        """
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
        """Return the same account as `user` does, with only the fields of lists and the clan."""
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

    async def bot(self) -> User:
        """Return the account of the bot."""
        found = await self._database.one(queries.USER_BY_ID, id=BOT_ID)
        assert found is not None  # every database has the bot
        return found

    async def bot_name(self) -> str:
        """Return the name of the bot."""
        return (await self.bot()).name

    async def old_names(self, user_id: int) -> list[OldName]:
        """Return the names that an account had before, the last one first; at most 100."""
        return await self._database.all(queries.OLD_NAMES_OF, user_id=user_id)

    async def account(self, name: str) -> Account:
        """Return an account with its e-mail address, for the operator. Raises NotFound("user")."""
        found = await self._database.one(queries.ACCOUNT_BY_SAFE_NAME, safe_name=safe_name(name))
        if found is None:
            raise NotFound("user")
        return found

    async def account_of(self, user_id: int, reader: RowReader | None = None) -> Account:
        """Return the account with this id with its e-mail address, for its owner. Raises NotFound("user")."""
        found = await (reader or self._database).one(queries.ACCOUNT_BY_ID, id=user_id)
        if found is None:
            raise NotFound("user")
        return found

    async def account_with_email(self, email: str) -> Account | None:
        """Return the account with this e-mail address in any case, or None."""
        if len(email) > EMAIL_MAX or "\x00" in email:
            return None
        return await self._database.one(queries.ACCOUNT_BY_EMAIL, email=email.lower())

    async def account_named(self, name: str) -> Account | None:
        """Return the account with this name, also a hidden one, or None. Former names do not count."""
        if len(name) > LOGIN_NAME_MAX or "\x00" in name:
            return None
        return await self._database.one(queries.ACCOUNT_BY_SAFE_NAME, safe_name=safe_name(name))

    async def accounts(self, after: int = 0) -> list[Account]:
        """Return the next page of all accounts, including the bot, with ids above `after`; empty at the end."""
        return await self._database.all(queries.ACCOUNTS_AFTER, after=after)

    async def names_of(self, user_ids: Sequence[int]) -> dict[int, str]:
        """Return the names of the visible ones of these accounts by id. Takes at most 33 ids."""
        # The statement has a fixed number of parameters, so that it is prepared once. No account has id 0.
        padded = [*user_ids, *[0] * queries.NAMES_MAX][: queries.NAMES_MAX]
        return dict(await self._database.all(queries.NAMES_OF, **{f"id{n}": id_ for n, id_ in enumerate(padded)}))

    async def ids_of_names(self, safe_names: Sequence[str]) -> dict[str, int]:
        """Return the ids of the visible accounts with these safe names, by name. Takes at most 33 names."""
        # No account has the name "".
        padded = [*safe_names, *[""] * queries.NAMES_MAX][: queries.NAMES_MAX]
        rows = await self._database.all(queries.IDS_OF_NAMES, **{f"name{n}": name for n, name in enumerate(padded)})
        return dict(rows)

    async def players_among(self, user_ids: Iterable[int]) -> dict[int, Player]:
        """Return the visible ones of these accounts by id. Takes at most 100 ids."""
        found = await self._database.all(queries.PLAYERS_AMONG, **_padded(sorted(set(user_ids))))
        return {player.id: player for player in found}

    async def hiding_online(self, user_ids: Iterable[int]) -> frozenset[int]:
        """Return those of these accounts that hide being online. Takes at most 100 ids."""
        return frozenset(await self._database.all(queries.HIDING_ONLINE, **_padded(sorted(set(user_ids)))))

    async def search(self, text: str) -> list[tuple[int, str]]:
        """Return at most 50 visible players whose safe name contains `text`, as (id, name) in order of id."""
        pattern = containing(safe_name(text))
        return [] if pattern is None else await self._database.all(queries.SEARCH, pattern=pattern)

    async def search_users(self, text: str, *, limit: int, offset: int = 0) -> tuple[list[User], int]:
        """Return a page of visible accounts whose name contains `text`, in order of id, and the total up to 10,000."""
        pattern = containing(safe_name(text))
        if pattern is None:
            return [], 0
        rows = await self._database.all(queries.SEARCH_USERS, pattern=pattern, limit=limit, offset=offset)
        return rows, await self._database.one(queries.SEARCH_COUNT, pattern=pattern, most=LISTED_MAX) or 0

    async def listed(
        self, filters: Mapping[str, Value], *, limit: int, offset: int = 0, after: int = 0
    ) -> tuple[list[User], int]:
        """Return a page of visible accounts that match all given filters, in order of id, and the total up to 10,000.

        `filters` has names of `listing.FILTERS`. A page starts after the id `after`, or skips `offset` rows.
        """
        choice = listing.choose(filters)
        values = {name: filters[name] for name in choice[0]}
        rows = await self._database.all(listing.PAGES[choice], limit=limit, offset=offset, after=after, **values)
        return rows, await self._database.one(listing.COUNTS[choice], most=LISTED_MAX, **values) or 0

    async def listed_among(self, user_ids: Iterable[int], filters: Mapping[str, Value]) -> list[User]:
        """Return those of these accounts that are visible and match the filters, in order of id.

        Runs one statement for 100 ids.
        """
        values = {name: filters.get(name) for name in listing.FILTERS}
        ids = sorted(set(user_ids))
        found: list[User] = []
        for start in range(0, len(ids), listing.AMONG_MAX):
            part = _padded(ids[start : start + listing.AMONG_MAX])
            found += await self._database.all(listing.AMONG, **part, **values)
        return found

    async def total(self) -> int:
        """Return the number of registered accounts, without the bot."""
        return await self._database.one(queries.TOTAL) or 0

    async def picture_of(self, user_id: int, picture: str, viewer: Viewer = EVERYBODY) -> str | None:
        """Return the key in the file store of the `avatar` or `cover` of an account that `viewer` may see, or None."""
        statements = queries.PICTURES[picture]
        sees_all = user_id == viewer.user_id or viewer.is_staff
        return await self._database.one(statements.of_any if sees_all else statements.of_visible, id=user_id)

    # --- login

    async def remembered(self, name: str, password_md5: str) -> User | None:
        """Return the account if this password was right for it within the last hour, else None. Computes no hash."""
        if not _can_be_credentials(name, password_md5):
            return None
        user, stored = await self._database.one(queries.CREDENTIALS, safe_name=safe_name(name)) or (None, None)
        if user is None or stored is None or not self._remembered.has(password_md5, stored):
            return None
        return user

    async def authenticate(self, name: str, password_md5: str, *, caller: str = "") -> User:
        """Return the account with this name and password, also a restricted or banned one. Former names do not count.

        A right password is remembered for an hour. `caller` is the caller in the queue of passwords. Raises
        NotAuthenticated, in the same time for a wrong name, a wrong password and invalid texts
        (docs/spec/security.md#login-and-passwords), and Unavailable.
        """
        if not _can_be_credentials(name, password_md5):
            await self._passwords.dummy_verify(caller)
            raise NotAuthenticated
        # Read the account again after each verification, which takes a while: meanwhile the account may be banned or
        # get another password. The second iteration usually finds the remembered password and returns.
        for _ in range(LOGIN_TRIES):
            user, stored = await self._database.one(queries.CREDENTIALS, safe_name=safe_name(name)) or (None, None)
            if user is None or stored is None:
                await self._passwords.dummy_verify(caller)
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
        raise Unavailable("login", "the password changed repeatedly during the login")

    async def _renew(self, user_id: int, old: str, new: str) -> None:
        async def body(tx: Transaction) -> None:
            await tx.run(queries.RENEW_PASSWORD, user_id=user_id, old_hash=old, new_hash=new)

        await self._database.transaction(body)

    async def verify(self, tx: Transaction, user_id: int) -> int:
        """Mark the account as verified, at its first login. Return its privileges. Raises NotFound("user").

        See docs/spec/game-rules.md#privileges.
        """
        priv = await self.priv_to_change(tx, user_id)
        if not priv & VERIFIED:
            priv |= VERIFIED
            await self.set_priv(tx, user_id, priv)
        return priv

    async def has_owner(self, reader: RowReader) -> bool:
        """Return whether any account is a developer, also a restricted one. Owners are developers."""
        return await reader.one(queries.ANY_DEVELOPER) is not None

    async def silence_to_change(self, tx: Transaction, user_id: int) -> int:
        """Return the end of an account's silence in unix milliseconds, and lock the row. Raises NotFound("user")."""
        until = await tx.one(queries.SILENCE_TO_CHANGE, user_id=user_id)
        if until is None:
            raise NotFound("user")
        return int(until)

    async def set_silence(self, tx: Transaction, user_id: int, until_ms: int) -> None:
        """Store the end of an account's silence. `staff` checks the permission and applies the consequences."""
        await tx.run(queries.SET_SILENCE, user_id=user_id, until_ms=until_ms)

    async def set_first_country(self, tx: Transaction, user_id: int, country: str) -> bool:
        """Set the country of an account that has none (`xx`). Return whether it was set. The caller updates ranks."""
        return bool(await tx.run(queries.SET_FIRST_COUNTRY, user_id=user_id, country=country))

    async def touch(self, active: Mapping[int, int]) -> None:
        """Store the times of last activity: unix milliseconds by id. An earlier time than the stored one is ignored."""
        if not active:
            return

        async def body(tx: Transaction) -> None:
            # Sorted: two processes that lock the same rows in different orders would deadlock.
            rows = [{"user_id": user_id, "at_ms": at_ms} for user_id, at_ms in sorted(active.items())]
            await tx.run_many(queries.SET_ACTIVE, rows)

        await self._database.transaction(body)

    async def set_language(self, tx: Transaction, user_id: int, language: str) -> None:
        """Store the language in which the account reads mails, two letters. Empty: the caller does not know it."""
        if language:
            await tx.run(queries.SET_LANGUAGE, user_id=user_id, language=language)

    async def set_friends_only_dms(self, user_id: int, on: bool) -> bool:
        """Store the choice of the game, whether only friends may send private messages. Return what holds now.

        The stricter one of the choices in the game and on the website holds.
        """

        async def body(tx: Transaction) -> bool:
            privacy = await tx.one(queries.SET_FRIENDS_ONLY_DMS, user_id=user_id, on=int(on))
            return on or bool((privacy or 0) & Privacy.FRIENDS_ONLY)

        return await self._database.transaction(body)

    # --- registration and changes

    async def register(
        self,
        *,
        name: str,
        email: str,
        password: str | None,
        country: str = "xx",
        priv: int = int(Privilege.UNRESTRICTED),
        caller: str = "",
        also: AlsoForUser | None = None,
    ) -> int:
        """Create an account and return its id.

        `password` is plain text; None creates an account that cannot log in. `caller` is the caller in the queue of
        passwords. `also` runs in the same transaction, with the new id. Raises Invalid for a name, e-mail address,
        password or country outside the rules (docs/spec/game-rules.md#names), and Conflict when the name or address is
        taken, or the name is reserved for its former owner.
        """
        check_person(name=name, email=email, country=country)
        if password is not None and (fault := password_fault(password, name=name, email=email)):
            raise Invalid("password", fault, "a password that does not fit")
        # Before the transaction, which must not wait for the queue of passwords.
        hashed = None if password is None else await self._passwords.hash(password_md5(password), caller)
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> int:
            await self._check_reserved(tx, name, user_id=0, now_ms=now)
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
            assert user_id is not None
            await tx.run(queries.COUNT_USER, by=1)
            await add_names(tx, NameKind.NAME, user_id, name)
            await webhooks.enqueue(tx, "player_new", {"player": user_id}, now)
            if also is not None:
                await also(tx, int(user_id))
            return int(user_id)

        try:
            return await self._database.transaction(body)
        except UniqueViolation as violation:
            raise Conflict("email" if "email" in violation.constraint else "name") from violation

    async def check_new(self, *, name: str, email: str, country: str) -> None:
        """Raise as `register` would for these, before the caller asks for a password.

        Another registration may take the name afterwards: `register` decides.
        """
        check_person(name=name, email=email, country=country)
        if await self.is_taken(name, for_user=0):
            raise Conflict("name")
        if await self._database.one(queries.EMAIL_TAKEN, email=email.lower()) is not None:
            raise Conflict("email")

    async def faults_of(self, *, name: str, email: str, password: str) -> dict[str, list[str]]:
        """Return the messages for a registration form by field: broken rules, and taken names and addresses.

        Another registration may take the name afterwards: `register` decides.
        """
        faults: dict[str, list[str]] = {}
        if fault := name_fault(name):
            faults["name"] = [f"Must be {fault}."]
        elif await self._database.one(queries.USER_BY_SAFE_NAME, safe_name=safe_name(name)) is not None:
            faults["name"] = [NAME_TAKEN]
        elif await self._is_reserved(name):
            faults["name"] = [NAME_OF_FORMER_OWNER]
        if fault := email_fault(email):
            faults["email"] = [f"Must be {fault}."]
        elif await self._database.one(queries.EMAIL_TAKEN, email=email.lower()) is not None:
            faults["email"] = [EMAIL_TAKEN]
        if fault := password_fault(password, name=name, email=email):
            faults["password"] = [f"Must be {fault}."]
        return faults

    async def is_taken(self, name: str, *, for_user: int) -> bool:
        """Return whether an account has this name, or it is reserved for another account than `for_user`."""
        taken = await self._database.one(queries.USER_BY_SAFE_NAME, safe_name=safe_name(name)) is not None
        return taken or await self._is_reserved(name, for_user)

    async def _is_reserved(self, name: str, for_user: int = 0) -> bool:
        since = self._clock.now_ms() - NAME_RESERVED_MS
        reserved_for = await self._database.one(
            queries.NAME_RESERVED, safe_name=safe_name(name), since_ms=since, user_id=for_user
        )
        return reserved_for is not None

    async def _check_reserved(self, tx: Transaction, name: str, *, user_id: int, now_ms: int) -> None:
        reserved = await tx.one(
            queries.NAME_RESERVED, safe_name=safe_name(name), since_ms=now_ms - NAME_RESERVED_MS, user_id=user_id
        )
        if reserved is not None:
            raise Conflict("name")

    async def set_password(
        self, user_id: int, *, password: str, name: str, email: str, also: AlsoForUser | None = None
    ) -> None:
        """Set a new password, revoke all API keys and end all sessions of the account in the game. Raises Invalid.

        `also` runs in the same transaction. See docs/spec/security.md#login-and-passwords.
        """
        if fault := password_fault(password, name=name, email=email):
            raise Invalid("password", fault, "a password that does not fit")
        hashed = await self._passwords.hash(password_md5(password))
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> None:
            await tx.run(queries.SET_PASSWORD, user_id=user_id, password_hash=hashed)
            await tx.run(queries.REVOKE_KEYS, holder_id=user_id, at_ms=now)
            await enqueue(tx, "sessions", user_id, now)
            if also is not None:
                await also(tx, user_id)

        await self._database.transaction(body)

    async def set_email(self, tx: Transaction, user_id: int, email: str, *, verified_at_ms: int | None) -> None:
        """Store an address that `email_fault` accepts. The transaction raises UniqueViolation if it is in use."""
        await tx.run(queries.SET_EMAIL, user_id=user_id, email=email.lower(), verified_at_ms=verified_at_ms)

    async def set_email_verified(self, tx: Transaction, user_id: int, email: str, at_ms: int) -> bool:
        """Record that the owner of the account receives mail at this address. Return False if it has another one."""
        return bool(await tx.run(queries.SET_EMAIL_VERIFIED, user_id=user_id, of_email=email, at_ms=at_ms))

    async def is_email_in_use(self, email: str) -> bool:
        """Return whether an account has this address, in any case."""
        return await self._database.one(queries.EMAIL_TAKEN, email=email.lower()) is not None

    async def set_priv(self, tx: Transaction, user_id: int, priv: int) -> None:
        """Store privileges. `staff` checks the permission and applies the consequences."""
        await tx.run(queries.SET_PRIV, user_id=user_id, priv=priv)

    async def priv_to_change(self, tx: Transaction, user_id: int) -> int:
        """Return an account's privileges and lock the row until the transaction ends. Raises NotFound("user")."""
        priv = await tx.one(queries.PRIV_TO_CHANGE, user_id=user_id)
        if priv is None:
            raise NotFound("user")
        return int(priv)

    async def developers(self, tx: Transaction) -> int:
        """Return the number of unrestricted developers and lock their rows until the transaction ends."""
        return len(await tx.all(queries.DEVELOPERS))

    async def set_picture(self, user_id: int, picture: str, key: str | None, record: Record = no_record) -> str | None:
        """Set the key of the `avatar` or `cover`, None for the default picture. Return the previous key."""
        statements = queries.PICTURES[picture]

        async def body(tx: Transaction) -> str | None:
            # Locked: of two changes at the same time, each must see the key that it replaces, to retire its file.
            before = await tx.one(statements.lock, id=user_id)
            await tx.run(statements.set, user_id=user_id, key=key)
            if before != key:
                await record(tx, self._clock.now_ms(), {picture: before}, {picture: key})
            return before

        return await self._database.transaction(body)

    async def has_picture(self, key: str) -> bool:
        """Return whether an account, hidden or not, has the avatar or cover with this key."""
        # The key contains the id of its account, so this needs no index on the column.
        folder, _, name = key.partition("/")
        statements = queries.PICTURES.get(folder.removesuffix("s"))
        owner = whole_number(name.partition("-")[0])
        if statements is None or owner is None:
            return False
        return await self._database.one(statements.of_any, id=owner) == key

    async def set_profile(self, viewer: Viewer, changes: Mapping[str, object], record: Record = no_record) -> User:
        """Change fields of the viewer's own account, all or none of them. Return the changed account.

        Raises Invalid for a value outside its range, NotAllowed for a field that needs a privilege the viewer lacks,
        Refused for a second rename within a week and for the userpage of a silenced player, Conflict for a taken name.
        """
        user = await self.user(viewer, id=viewer.user_id)
        if "userpage_content" in changes:
            self.check_not_silenced(user, "the userpage")
        values = {name: _checked(name, value, viewer) for name, value in changes.items() if name != "name"}
        new_name = changes.get("name")
        now = self._clock.now_ms()
        if "name" in changes:
            self._check_rename(user, new_name, viewer, now)

        async def body(tx: Transaction) -> None:
            current = await self.to_change(tx, user.id)
            fields = {name: getattr(current, name) for name in queries.PROFILE_FIELDS}
            await tx.run(queries.SET_PROFILE, user_id=user.id, **{**fields, **values})
            after: dict[str, object] = {name: value for name, value in values.items() if fields[name] != value}
            if isinstance(new_name, str) and new_name != current.name:
                await self.rename(tx, current, new_name, now, renamed_at_ms=now)
                after["name"] = new_name
            if after:
                await record(tx, now, {name: getattr(current, name) for name in after}, after)

        try:
            await self._database.transaction(body)
        except UniqueViolation as violation:
            raise Conflict("name") from violation
        return await self.user(viewer, id=user.id)

    async def clear_userpage(self, tx: Transaction, user_id: int) -> int:
        """Remove the userpage of an account. Return its length in characters, 0 without one."""
        current = await self.to_change(tx, user_id)
        fields = {name: getattr(current, name) for name in queries.PROFILE_FIELDS}
        await tx.run(queries.SET_PROFILE, user_id=user_id, **{**fields, "userpage_content": None})
        return len(current.userpage_content or "")

    def check_not_silenced(self, user: User, what: str) -> None:
        """Raise Refused for a silenced player, who cannot change `what` (docs/spec/game-rules.md#silence)."""
        if user.silenced_until_ms > self._clock.now_ms():
            raise Refused(f"you are silenced and cannot change {what}")

    def _check_rename(self, user: User, name: object, viewer: Viewer, now_ms: int) -> None:
        if not may(viewer.priv, "users.rename_self"):
            raise NotAllowed("users.rename_self (supporters) to change the field name")
        if not isinstance(name, str):
            raise Invalid("name", "a text", name)
        if (fault := name_fault(name)) is not None:
            raise Invalid("name", fault, name)
        if user.renamed_at_ms is not None and now_ms - user.renamed_at_ms < RENAME_EVERY_MS:
            raise Refused("the field name may be changed once a week")

    async def rename(
        self, tx: Transaction, user: User, name: str, now_ms: int, *, renamed_at_ms: int, force: bool = False
    ) -> None:
        """Give the account another name, keep the old one, and end its sessions. Raises Conflict for a reserved name.

        `renamed_at_ms` is the start of the time until the next change; `force` ignores a reservation. A taken name
        raises UniqueViolation.
        """
        if not force:
            await self._check_reserved(tx, name, user_id=user.id, now_ms=now_ms)
        released = await tx.one(
            queries.RELEASE_NAME, user_id=user.id, name=user.name, safe_name=user.safe_name, released_at_ms=now_ms
        )
        assert released is not None
        await tx.run(
            queries.SET_NAME,
            user_id=user.id,
            name=name,
            safe_name=safe_name(name),
            renamed_at_ms=renamed_at_ms,
        )
        await remove_names(tx, NameKind.NAME, user.id, user.name)
        await add_names(tx, NameKind.NAME, user.id, name)
        await add_names(tx, NameKind.FORMER, released, user.name)
        await tx.run(BOARDS_LOOK_CHANGED)
        # Other clients know the player by the old name: the session ends, and the client logs in again.
        await enqueue(tx, "sessions", user.id, now_ms)

    async def forget_names(self, tx: Transaction, user: User) -> None:
        """Delete the old names of an account, and all its names from the index of the search."""
        await remove_names(tx, NameKind.NAME, user.id, user.name)
        while names := await tx.all(queries.OLD_NAMES_TO_FORGET, user_id=user.id):
            for old_id, name in names:
                await remove_names(tx, NameKind.FORMER, old_id, name)
                await tx.run(queries.FORGET_OLD_NAME, old_id=old_id)

    async def had_name(self, reader: RowReader, user_id: int, name: str) -> bool:
        """Return whether the account had this name before."""
        return await reader.one(queries.HAD_NAME, user_id=user_id, safe_name=safe_name(name)) is not None

    async def to_change(self, tx: Transaction, user_id: int) -> User:
        """Return an account, also a hidden one, and lock its row until the transaction ends. Raises NotFound."""
        found = await tx.one(queries.USER_TO_CHANGE, user_id=user_id)
        if found is None:
            raise NotFound("player")
        return found

    async def set_privacy(self, tx: Transaction, user_id: int, privacy: int) -> None:
        """Store bits of `Privacy`."""
        await tx.run(queries.SET_PRIVACY, user_id=user_id, privacy=privacy)

    async def set_country(
        self, tx: Transaction, user_id: int, *, country: str, home_country: str | None, changed_at_ms: int | None
    ) -> None:
        """Store the country that everybody sees, and the hidden one. The caller updates ranks."""
        await tx.run(
            queries.SET_COUNTRY,
            user_id=user_id,
            country=country,
            home_country=home_country,
            changed_at_ms=changed_at_ms,
        )

    async def set_deletion(self, tx: Transaction, user_id: int, at_ms: int | None) -> None:
        """Store when the account is to be deleted, None for never."""
        await tx.run(queries.SET_DELETION, user_id=user_id, at_ms=at_ms)

    async def deletions_due(self) -> list[int]:
        """Return the ids of at most 10 accounts whose deletion is due, the longest due first."""
        return await self._database.all(queries.DELETIONS_DUE, now_ms=self._clock.now_ms())


def _can_be_credentials(name: str, password_md5: str) -> bool:
    """Return whether the texts can belong to an account, so that a lookup is useful."""
    return bool(_MD5.fullmatch(password_md5)) and len(name) <= LOGIN_NAME_MAX and "\x00" not in name


def _padded(user_ids: Sequence[int]) -> dict[str, Value]:
    """Return the parameters of a statement with 100 ids. No account has id 0."""
    return {f"id{n}": user_ids[n] if n < len(user_ids) else 0 for n in range(queries.AMONG_MAX)}


def _checked(name: str, value: object, viewer: Viewer) -> Value:
    """Return the value for a field of the profile. Raises Invalid and NotAllowed with the name of the field."""
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
    if name == "country":  # a move also changes the ranks of countries: `staff` does it
        raise NotAllowed("users.inspect: only staff can change the field country")
    raise Invalid(name, "left out: it cannot be changed here", value)


def _text(name: str, value: object, longest: int) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or len(value) > longest or "\x00" in value:
        raise Invalid(name, f"a text of at most {longest} characters", value)
    return value

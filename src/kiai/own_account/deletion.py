"""Deletion of accounts: a request, a time to change one's mind, and anonymising (docs/spec/site.md#deletion).

A login before the end of that time cancels the request. A job then anonymises the account in one transaction: from then
on nothing names the player. A task deletes lists of any length in steps. Scores stay, hidden and without a name,
so that boards and first places of others do not change their past.
"""

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Table, bindparam, delete, literal_column, select, update

from kiai.accounts import Accounts, User, Viewer
from kiai.accounts.api_keys import Also, nothing_else
from kiai.accounts.visibility import BOARDS_LOOK_CHANGED, is_public
from kiai.accounts.web_sessions import WebSessions
from kiai.clans import ClanActs
from kiai.clock import Clock
from kiai.errors import Invalid, Refused
from kiai.files.port import Files
from kiai.files.retiring import RetiredFiles
from kiai.logs import get_logger
from kiai.osu.privileges import Privilege
from kiai.own_account import exports as exports_
from kiai.own_account.acts import own_act
from kiai.own_account.exports import Exports
from kiai.scores.visibility_changes import Standing
from kiai.screenshots import screenshot_key
from kiai.secret_box import SecretBox
from kiai.staff import audit
from kiai.staff.audit import Actor
from kiai.storage import tasks
from kiai.storage.outbox import enqueue
from kiai.storage.port import Command, Database, Query, Transaction, scalar
from kiai.storage.tables import (
    account_events,
    account_tokens,
    activity,
    api_keys,
    authenticators,
    chat_erasures,
    chat_lines,
    client_hashes,
    comments,
    favourites,
    irc_passwords,
    logins,
    mail,
    map_requests,
    nominations,
    notes,
    passkeys,
    recovery_codes,
    relationships,
    screenshots,
    set_comments,
    sets,
    users,
)
from kiai.storage.tasks import Task

DELETION: Final = "deletion"
"""The kind of the task, and of the rows of the outbox that delete files (`FILES`)."""
FILES: Final = "files"
DAY_MS: Final = 86_400_000
PROOF: Final = "deletion"
PROOF_S: Final = 600
JOB: Final = Actor(user_id=0, source="job")

_user: Final[Any] = bindparam("of_user")
ANONYMISE: Final = Command(
    update(users)
    .where(users.c.id == _user)
    .values(
        name=bindparam("new_name"),
        safe_name=bindparam("new_name"),
        email=bindparam("no_email"),
        deleted_at_ms=bindparam("at_ms"),
        priv=literal_column("0"),
        **dict.fromkeys(
            (
                "password_hash",
                "custom_badge_name",
                "custom_badge_icon",
                "userpage_content",
                "avatar",
                "cover",
                "home_country",
                "country_changed_at_ms",
                "renamed_at_ms",
                "email_verified_at_ms",
                "deletes_at_ms",
            ),
            literal_column("NULL"),
        ),
        **dict.fromkeys(
            (
                "play_style",
                "preferred_mode",
                "privacy",
                "friends_only_dms",
                "donor_until_ms",
                "silenced_until_ms",
                "restricted_until_ms",
                "freeze_until_ms",
            ),
            literal_column("0"),
        ),
        country=literal_column("'xx'"),
        language=literal_column("''"),
    )
)
SMALL: Final = tuple(
    Command(delete(table).where(table.c.user_id == _user))
    for table in (
        account_events,
        account_tokens,
        api_keys,
        authenticators,
        chat_erasures,
        client_hashes,
        irc_passwords,
        logins,
        map_requests,
        nominations,
        notes,
        passkeys,
        recovery_codes,
        relationships,
    )
)
"""Rows of bounded number: they go in the transaction that anonymises the account."""


def _first(table: Table, owner: Any, key: Any, *more: Any) -> Query[Any]:
    columns = [key, *more]
    return Query(
        select(*columns).where(owner == _user).order_by(key).limit(bindparam("most")),
        (lambda *row: row) if more else scalar,
    )


def _delete_one(owner: Any, key: Any) -> Command:
    return Command(delete(owner.table).where(owner == _user, key == bindparam("key")))


FOLLOWERS: Final = _first(relationships, relationships.c.target_id, relationships.c.user_id)
LINES: Final = _first(chat_lines, chat_lines.c.user_id, chat_lines.c.id)
LETTERS: Final = _first(mail, mail.c.to_id, mail.c.id)
COMMENTS: Final = _first(comments, comments.c.user_id, comments.c.id)
SET_COMMENTS: Final = _first(set_comments, set_comments.c.user_id, set_comments.c.id)
ACTIVITY: Final = _first(activity, activity.c.user_id, activity.c.id)
FAVOURITES: Final = _first(favourites, favourites.c.user_id, favourites.c.set_id)
SCREENSHOTS: Final = _first(screenshots, screenshots.c.user_id, screenshots.c.id, screenshots.c.kind)
DELETE_FOLLOWER: Final = _delete_one(relationships.c.target_id, relationships.c.user_id)
DELETE_LINE: Final = _delete_one(chat_lines.c.user_id, chat_lines.c.id)
DELETE_LETTER: Final = _delete_one(mail.c.to_id, mail.c.id)
DELETE_COMMENT: Final = _delete_one(comments.c.user_id, comments.c.id)
DELETE_SET_COMMENT: Final = _delete_one(set_comments.c.user_id, set_comments.c.id)
DELETE_ACTIVITY: Final = _delete_one(activity.c.user_id, activity.c.id)
DELETE_FAVOURITE: Final = _delete_one(favourites.c.user_id, favourites.c.set_id)
DELETE_SCREENSHOT: Final = _delete_one(screenshots.c.user_id, screenshots.c.id)
COUNT_FAVOURITE: Final = Command(
    update(sets).where(sets.c.id == bindparam("key")).values(favourites=sets.c.favourites - literal_column("1"))
)


class Deletion:
    """Requests, cancels and executes deletions. `grace_days` is the time in which a login cancels a request."""

    def __init__(
        self,
        database: Database,
        accounts: Accounts,
        standing: Standing,
        clans: ClanActs,
        exports: Exports,
        web_sessions: WebSessions,
        files: Files,
        box: SecretBox,
        clock: Clock,
        *,
        grace_days: int,
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._standing = standing
        self._clans = clans
        self._exports = exports
        self._web_sessions = web_sessions
        self._box = box
        self._files = files
        self._retired = RetiredFiles(files, clock)
        self._clock = clock
        self.grace_days = grace_days

    async def prepare(self, user_id: int, typed_name: str) -> str:
        """Check a request and return its proof, with which `confirm` executes it within 10 minutes.

        The caller has checked the password, which the second step then does not need. `typed_name` is the name of the
        account. Raises Invalid for another name, and Refused for the last developer.
        """

        async def body(tx: Transaction) -> None:
            await self._check_request(tx, await self._accounts.to_change(tx, user_id), typed_name)

        await self._database.transaction(body)
        return self._box.seal(str(user_id).encode(), PROOF).decode()

    async def confirm(self, user_id: int, proof: str) -> int:
        """Request the deletion with a proof of `prepare`. Return when it will be executed.

        Raises Refused for the proof of another account and for an expired one.
        """
        opened = self._box.open(proof.encode(errors="replace"), PROOF, max_age_s=PROOF_S)
        if opened != str(user_id).encode():
            raise Refused("the confirmation has expired; fill in the form again")
        user = await self._accounts.user(Viewer(user_id=user_id), id=user_id)
        return await self.request(user_id, user.name)

    async def request(self, user_id: int, typed_name: str) -> int:
        """Request the deletion of an account. All its sessions end. Return when it will be executed.

        `typed_name` is the name of the account, which the player types as a confirmation. Raises Invalid for another
        name, and Refused for the last developer.
        """
        now = self._clock.now_ms()

        async def body(tx: Transaction) -> int:
            await self._check_request(tx, await self._accounts.to_change(tx, user_id), typed_name)
            due = now + self.grace_days * DAY_MS
            await self._accounts.set_deletion(tx, user_id, due)
            # A later login is then a sign that the player came back.
            await self._web_sessions.end_all_in(tx, user_id)
            await enqueue(tx, "sessions", user_id, now)
            await own_act(self._clock, user_id, "deletion_request")(tx)
            return due

        return await self._database.transaction(body)

    async def _check_request(self, tx: Transaction, user: User, typed_name: str) -> None:
        if typed_name.strip() != user.name:
            raise Invalid("name", "the name of this account", typed_name)
        await self._check_not_last(tx, user)

    async def cancel(self, user_id: int) -> bool:
        """Cancel a requested deletion: a login does this. Return whether there was one."""
        # PERF: each login on the website asks, and almost none has a request.
        if (await self._accounts.user(Viewer(user_id=user_id), id=user_id)).deletes_at_ms is None:
            return False

        async def body(tx: Transaction) -> bool:
            user = await self._accounts.to_change(tx, user_id)
            if user.deletes_at_ms is None:
                return False
            await self._accounts.set_deletion(tx, user_id, None)
            await own_act(self._clock, user_id, "deletion_cancel")(tx)
            return True

        return await self._database.transaction(body)

    async def run(self) -> int:
        """Execute the deletions that are due. Return their number. A job calls this."""
        executed = 0
        for user_id in await self._accounts.deletions_due():
            try:
                executed += await self._execute(user_id)
            except Refused as error:  # the last developer: the others could not administer the server
                get_logger("deletion").warning("an account was not deleted", user_id=user_id, reason=error.reason)
                await self.cancel(user_id)
        return executed

    async def execute_for(self, actor: Actor, user_id: int, *, check: Also = nothing_else) -> bool:
        """Delete an account for staff. Return False if it is deleted already. Raises Refused for the last developer.

        `check` runs first in the transaction; its errors leave the account as it is.
        """
        return await self._execute(user_id, actor, check)

    async def _execute(self, user_id: int, by_staff: Actor | None = None, check: Also = nothing_else) -> bool:
        export = await self._exports.of(user_id)
        if export is not None:
            await self._exports.delete(export)
        now = self._clock.now_ms()
        # Retired before the row changes, as in `accounts/profile_pictures.py`: a failure leaves no file without a row.
        before = await self._database.transaction(lambda tx: self._accounts.to_change(tx, user_id))
        for key in (before.avatar, before.cover):
            if key is not None:
                await self._retired.add(key)

        async def body(tx: Transaction) -> bool:
            user = await self._accounts.to_change(tx, user_id)
            if user.deleted_at_ms is not None:
                return False
            await check(tx)
            # Otherwise it was cancelled in the meantime.
            if by_staff is None and (user.deletes_at_ms is None or user.deletes_at_ms > now):
                return False
            await self._check_not_last(tx, user)
            await self._clans.remove_member(tx, user_id)
            name = f"deleteduser_{user_id}"
            await tx.run(ANONYMISE, of_user=user_id, new_name=name, no_email=str(user_id), at_ms=now)
            await self._accounts.forget_names(tx, user)
            for command in SMALL:
                await tx.run(command, of_user=user_id)
            await tx.run(exports_.REMOVE, of_user=user_id)
            await self._web_sessions.end_all_in(tx, user_id)
            await self._apply_consequences(tx, user, now, by_staff)
            return True

        return await self._database.transaction(body)

    async def _apply_consequences(self, tx: Transaction, user: User, now: int, by_staff: Actor | None) -> None:
        if user.country != "xx":
            await self._standing.on_country_change(tx, user.id, "xx")
        if is_public(user.priv):
            await self._standing.on_visibility_change(tx, user.id, public=False)
        else:
            await tx.run(BOARDS_LOOK_CHANGED)
        await tasks.begin(tx, DELETION, user.id, now)
        await enqueue(tx, "privileges", user.id, now)
        await enqueue(tx, "sessions", user.id, now)
        actor, action = (JOB, "delete") if by_staff is None else (by_staff, "user_delete")
        await audit.write(tx, actor, action, at_ms=now, target_kind="user", target_id=user.id)

    async def _check_not_last(self, tx: Transaction, user: User) -> None:
        active = int(Privilege.DEVELOPER | Privilege.UNRESTRICTED)
        if user.priv & active == active and await self._accounts.developers(tx) <= 1:
            raise Refused("you are the last developer of this server; give the role to another player first")

    # --- the task

    async def step(self, tx: Transaction, task: Task, most: int) -> int:
        """Delete up to `most` rows of an anonymised account. Return their number. The reconciler calls this."""
        user_id = task.subject
        now = self._clock.now_ms()
        done = 0
        for query, commands in (
            (FOLLOWERS, (DELETE_FOLLOWER,)),
            (LINES, (DELETE_LINE,)),
            (LETTERS, (DELETE_LETTER,)),
            (COMMENTS, (DELETE_COMMENT,)),
            (SET_COMMENTS, (DELETE_SET_COMMENT,)),
            (ACTIVITY, (DELETE_ACTIVITY,)),
            (FAVOURITES, (DELETE_FAVOURITE, COUNT_FAVOURITE)),
        ):
            keys = await tx.all(query, of_user=user_id, most=most - done)
            for command in commands:
                fixed = {} if command is COUNT_FAVOURITE else {"of_user": user_id}
                await tx.run_many(command, [{"key": key, **fixed} for key in keys])
            done += len(keys)
            if done >= most:
                await tasks.advance(tx, task, f"{task.done + done}", done=task.done + done, total=0, now_ms=now)
                return done
        pictures = await tx.all(SCREENSHOTS, of_user=user_id, most=most - done)
        for id_, kind in pictures:
            await enqueue(tx, FILES, screenshot_key(id_, kind), now)
        await tx.run_many(DELETE_SCREENSHOT, [{"key": id_, "of_user": user_id} for id_, _ in pictures])
        done += len(pictures)
        if done >= most:
            await tasks.advance(tx, task, f"{task.done + done}", done=task.done + done, total=0, now_ms=now)
        else:
            await tasks.finish(tx, task)
        return done

    async def delete_files(self, keys: Sequence[str]) -> None:
        """Delete files whose rows are gone. The outbox calls this, possibly twice."""
        for key in keys:
            await self._files.delete(key)

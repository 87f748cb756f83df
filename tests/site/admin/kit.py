"""A server with staff of every role for tests of the admin panel, and cases of its acts."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlalchemy import select, update
from tests import runs, stores
from tests.site.kit import Browser, FormOnPage, PageReply, a_browser
from tests.webhooks.receiver import Receiver
from tests.wire.kit import Server, cli

from kiai.osu.privileges import ROLES
from kiai.storage.tables import audit_log, users

PLAYER, OTHER, RESTRICTED, NOMINATOR, MODERATOR, ADMINISTRATOR, DEVELOPER, OWNER, SECOND = range(8, 17)
PRIVILEGES: Final = {
    PLAYER: 3,
    OTHER: 3,
    RESTRICTED: 2,
    NOMINATOR: 3 | ROLES["nominator"],
    MODERATOR: 3 | ROLES["moderator"],
    ADMINISTRATOR: 3 | ROLES["administrator"],
    DEVELOPER: 3 | ROLES["developer"],
    OWNER: ROLES["owner"],
    SECOND: 3 | ROLES["administrator"],
}
"""The accounts of the tests: id -> stored privileges. `SECOND` is another administrator."""


class World:
    """The server, and direct access to its rows. `receiver` gets the messages of webhooks."""

    receiver: Receiver

    def __init__(self, data: Path, **settings: str) -> None:
        stores.copied(runs.once("admin-world", self._build), data)
        self.server = Server(data, RATE_LIMITS="off", STAFF_SECOND_FACTOR="on", **settings).start()

    @classmethod
    def _build(cls, data: Path) -> None:
        """Make the data folder, once for all processes of a test run."""
        cli(data, "demo", "--players", "16", "--maps", "6", "--scores", "60")
        for user_id, priv in PRIVILEGES.items():
            cls._write(data, update(users).where(users.c.id == user_id).values(priv=priv))

    def browser(self, user_id: int, *, second_factor_h: float | None = 0) -> Browser:
        """Return a visitor with a session, and with a second factor if it is staff."""
        return a_browser(self.server, user_id=user_id, second_factor_h=second_factor_h)

    def name(self, user_id: int) -> str:
        """Return the present name of an account."""
        return str(self.row(select(users.c.name).where(users.c.id == user_id))[0])

    def row(self, statement: Any) -> Any:
        """Return the first row."""
        with stores.engine(self.server.data).connect() as connection:
            return connection.execute(statement).first()

    def rows(self, statement: Any) -> list[Any]:
        """Return all rows."""
        with stores.engine(self.server.data).connect() as connection:
            return list(connection.execute(statement))

    def write(self, statement: Any) -> None:
        """Change rows directly."""
        self._write(self.server.data, statement)

    @staticmethod
    def _write(data: Path, statement: Any) -> None:
        with stores.engine(data).begin() as connection:
            connection.execute(statement)

    def audit(self) -> list[Any]:
        """Return all rows of the audit log, oldest first."""
        with stores.engine(self.server.data).connect() as connection:
            return list(connection.execute(audit_log.select().order_by(audit_log.c.id)))


class Case(msgspec.Struct, frozen=True):
    """An act of the panel: the audit row that it writes, and how to fill in its form as an actor.

    `prepare` brings the target into the state in which the act is possible. `undo` is the act that undoes it.
    """

    action: str
    actor: int
    filled_in: Callable[[World, Browser], FormOnPage]
    prepare: Callable[[World], None] | None = None
    target: Callable[[World], str] | None = None
    also: tuple[str, ...] = ()
    """Actions of further rows, which the act writes before its own one."""
    changes: bool = True
    """Whether the row has the values before and after the act, or other details."""


def confirmed(form: FormOnPage, button: str | None = None) -> PageReply:
    """Press the button of an act, then Confirm."""
    question = form.press(button)
    return question.form(question.h1).press("Confirm")


def details(row: Any) -> dict[str, Any]:
    """Return the details of a row of the audit log."""
    found: dict[str, Any] = json.loads(row.details)
    return found

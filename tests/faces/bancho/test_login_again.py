"""A login during which the account changes starts again, a bounded number of times."""

import asyncio
from typing import Any, cast

import pytest

from kiai.errors import Unavailable
from kiai.faces.bancho.login import LOGIN_TRIES, Login, LoginReply
from kiai.presence.service import AccountChanged

TOKEN = "t" * 36


class Changing(Login):
    """A login whose account changes during the first `changes` tries."""

    def __init__(self, changes: int) -> None:
        self.changes = changes
        self.tries: list[bool] = []

    async def _try(self, request: Any, location: Any, *, again: bool) -> LoginReply:
        self.tries.append(again)
        if len(self.tries) <= self.changes:
            raise AccountChanged
        return LoginReply(TOKEN, b"")


def log_in(login: Login) -> LoginReply:
    return asyncio.run(login._log_in(cast(Any, None), cast(Any, None)))


def test_the_login_starts_again_and_is_recorded_once() -> None:
    login = Changing(changes=LOGIN_TRIES - 1)

    assert log_in(login).token == TOKEN
    assert login.tries == [False] + [True] * (LOGIN_TRIES - 1)


def test_an_account_that_changes_in_every_try_has_to_log_in_later() -> None:
    login = Changing(changes=LOGIN_TRIES)

    with pytest.raises(Unavailable):
        log_in(login)

    assert len(login.tries) == LOGIN_TRIES

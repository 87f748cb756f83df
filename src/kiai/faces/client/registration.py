"""`POST /users`: making an account in the game (docs/spec/web.md#registration).

The client sends the form while the player types (`check=1`) and once more to create (`check=0`). Whatever is wrong is
told for all fields at once, under the names of the form. The form holds a password in clear: it is never logged.
"""

from typing import Final

import msgspec

from kiai.accounts import Accounts
from kiai.errors import Conflict, Invalid
from kiai.faces.client.door import JSON, Answer, Ask, Door, Haste, Page
from kiai.networks import network_of

CHECKS: Final = Haste("users-checks", 60, 60.0)
CREATIONS: Final = Haste("users-creations", 3, 86_400.0)
FIELDS: Final = {"name": "username", "email": "user_email", "password": "password"}
CREATE: Final = "0"
CLOSED: Final = "This server makes no accounts in the game."


class Registration:
    """The handler. Without `is_open` nobody gets an account here."""

    def __init__(self, door: Door, accounts: Accounts, *, is_open: bool) -> None:
        self._door = door
        self._accounts = accounts
        self._is_open = is_open

    async def users(self, ask: Ask) -> Answer:
        """Checks a form, or makes the account it asks for. Its country is settled by its first log-in."""
        name, email, password = (ask.form.text(f"user[{field}]") or "" for field in FIELDS.values())
        if not (name and email and password):
            return Answer(b"A name, an e-mail address and a password are needed.", status=400)
        if not self._is_open:
            return _faults({"password": [CLOSED]})
        faults = await self._accounts.faults_of(name=name, email=email, password=password)
        if faults:
            return _faults(faults)
        if ask.form.text("check") != CREATE:
            return Answer(b"ok")
        await self._door.take(CREATIONS, network_of(ask.address))
        try:
            await self._accounts.register(name=name, email=email, password=password)
        except Conflict as conflict:  # somebody was faster
            return _faults({conflict.what: ["This is taken already."]})
        except Invalid as invalid:
            return _faults({invalid.field: [f"Must be {invalid.allowed}."]})
        return Answer(b"ok")

    def pages(self) -> list[Page]:
        """What this module serves."""
        return [Page("POST", "/users", self.users, haste=CHECKS)]


def _faults(faults: dict[str, list[str]]) -> Answer:
    told = {FIELDS[name]: ["\n".join(texts)] for name, texts in faults.items()}
    return Answer(msgspec.json.encode({"form_error": {"user": told}}), status=400, content_type=JSON)

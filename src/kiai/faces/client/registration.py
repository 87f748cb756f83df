"""`POST /users`: registration in the game (docs/spec/web.md#registration).

The client sends the form while the player types (`check=1`) and once more to create the account (`check=0`). The answer
lists the errors of all fields by the names in the form. The form contains the password in clear text and must never be
logged.
"""

from typing import Final

import msgspec

from kiai.entry import Origin
from kiai.entry.registration import Registration, RegistrationClosed, RegistrationFaults, TooManyRegistrations
from kiai.errors import UnderMaintenance
from kiai.faces.client.gateway import JSON, ClientRequest, ClientResponse, Endpoint
from kiai.faces.rate_limit import RateLimit

CHECKS: Final = RateLimit("users-checks", 60, 60.0)
FIELDS: Final = {"name": "username", "email": "user_email", "password": "password"}
CREATE: Final = "0"
MAINTENANCE: Final = "The server is under maintenance. Please register later."
CLOSED: Final = "Registration in the game is disabled on this server."
BY_INVITE: Final = "Registration needs an invite code on this server. Register on the website: {url}"


class RegistrationEndpoints:
    """The handler of registration. `url` is the page of registration on the website."""

    def __init__(self, registration: Registration, url: str) -> None:
        self._registration = registration
        self._url = url

    async def users(self, request: ClientRequest) -> ClientResponse:
        """Check the form, and create the account for `check=0`. The first login sets its country."""
        name, email, password = (request.form.text(f"user[{field}]") or "" for field in FIELDS.values())
        if not (name and email and password):
            return ClientResponse(b"A name, an e-mail address and a password are required.", status=400)
        if self._registration.state == "invite":  # the form has no field for an invite code
            return self._form_errors({"invite": []})
        try:
            errors = await self._registration.faults_of(name=name, email=email, password=password)
            if not errors and request.form.text("check") == CREATE:
                await self._registration.register(
                    name=name, email=email, password=password, origin=Origin("game", request.address)
                )
        except RegistrationFaults as faults:  # another registration took the name or the address after the check above
            errors = faults.by_field
        except TooManyRegistrations:
            return ClientResponse(status=429)
        except UnderMaintenance:
            errors = {"password": [MAINTENANCE]}
        except RegistrationClosed:
            errors = {"password": [CLOSED]}
        return self._form_errors(errors) if errors else ClientResponse(b"ok")

    def endpoints(self) -> list[Endpoint]:
        """Return the endpoints of this module."""
        return [Endpoint("POST", "/users", self.users, rate_limit=CHECKS)]

    def _form_errors(self, errors: dict[str, list[str]]) -> ClientResponse:
        """Return the answer with errors by field, or the one that leads to the website for an invite code."""
        if "invite" in errors:
            # The error needs a field of the form; the client shows the one of the password in a visible place.
            errors = {"password": [BY_INVITE.format(url=self._url)]}
        # The client expects all texts of a field in one string.
        by_field = {FIELDS[name]: ["\n".join(texts)] for name, texts in errors.items()}
        return ClientResponse(msgspec.json.encode({"form_error": {"user": by_field}}), status=400, content_type=JSON)

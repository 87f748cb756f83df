"""The exceptions of the domain. The faces translate them to messages, status codes and packets.

KiaiError
|- NotFound(what)                  it does not exist, or is hidden from the caller
|- Invalid(field, allowed, got)    an input outside its range
|- NotAllowed(right)               the caller is known and lacks a privilege
|  `- LacksRole(reason)            the caller is known and lacks a role in a clan, or an invitation
|- NotAuthenticated()              no credential, or a wrong one
|- Refused(reason)                 a rule of the game or of the server forbids it
|  |- NotATarget(reason)           the bot or the caller, on whom nobody can do it
|  |- OutRanked()                  the role of the target is not below that of the caller
|  |- WrongState(reason)           the target has the state already, or not the state to end
|  `- TooOften(reason, after_s)     the caller does this too often
|- Conflict(what)                  the name or place is already taken
|- UnderMaintenance()              only staff may use the server now
`- Unavailable(part, reason)       a failure of the server: the client may retry later
   |- TooSlow(part, reason)        it exceeds the time limit of one request
   `- Damaged(part, fault, remedy) stored data cannot be read: a retry does not help
"""


class KiaiError(Exception):
    """The base class of all exceptions that the domain raises deliberately."""


class NotFound(KiaiError):
    """`what` does not exist, or is hidden from the caller. Both cases look the same to the caller."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} not found")
        self.what = what


class Invalid(KiaiError):
    """An input is not allowed. `field` names it; `allowed` and `got` are English phrases for the message."""

    def __init__(self, field: str, allowed: str, got: object) -> None:
        super().__init__(f"{field} must be {allowed}, got {quoted(got)}")
        self.field = field
        self.allowed = allowed
        self.got = got


class NotAllowed(KiaiError):
    """The caller is authenticated but lacks the privilege `right`."""

    def __init__(self, right: str) -> None:
        super().__init__(f"needs the privilege {right}")
        self.right = right


class LacksRole(NotAllowed):
    """The caller lacks a role in a clan, or an invitation to it. `reason` is an English clause for the message."""

    def __init__(self, reason: str) -> None:
        KiaiError.__init__(self, reason)
        self.right = reason
        self.reason = reason


class NotAuthenticated(KiaiError):
    """The credential is missing, wrong, revoked or expired."""


class Refused(KiaiError):
    """A rule forbids the request. `reason` is an English clause for the message."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NotATarget(Refused):
    """Nobody can do it to the bot, or to themselves."""


class OutRanked(Refused):
    """Only a higher role can act on the target."""

    def __init__(self) -> None:
        super().__init__("only a higher role can act on this user")


class WrongState(Refused):
    """The target has the requested state already, or does not have the state that should end."""


class TooOften(Refused):
    """The caller has done this too often. The next time is allowed in `after_s` seconds."""

    def __init__(self, reason: str, after_s: float) -> None:
        super().__init__(reason)
        self.after_s = after_s


class Conflict(KiaiError):
    """`what` is already taken."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} is already taken")
        self.what = what


class UnderMaintenance(KiaiError):
    """Staff has switched maintenance on, so only staff may use the server."""

    def __init__(self) -> None:
        super().__init__("the server is under maintenance; please come back later")


class Unavailable(KiaiError):
    """A part of the server cannot answer now. Nothing was changed."""

    def __init__(self, part: str, reason: str = "") -> None:
        super().__init__(f"{part} is not available" + (f": {reason}" if reason else ""))
        self.part = part
        self.reason = reason


class TooSlow(Unavailable):
    """The request exceeded its time limit. A smaller page or more filters may be fast enough."""


class Damaged(Unavailable):
    """Stored data is damaged: `fault` describes the damage, `remedy` what the operator can do."""

    def __init__(self, part: str, fault: str, remedy: str) -> None:
        # Not Unavailable.__init__, because the message differs.
        KiaiError.__init__(self, f"{part} is damaged: {fault}; {remedy}")
        self.part = part
        self.reason = fault


def quoted(value: object, longest: int = 60) -> str:
    """Return a value for an error message: quoted, on one line, at most `longest` characters."""
    # ascii() escapes control characters, which could break a log line or a terminal.
    text = ascii(value) if isinstance(value, str) else str(value)
    return text if len(text) <= longest else text[: longest - 3] + "..."

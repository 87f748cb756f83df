"""What can go wrong, as facts. Words, status codes and packets for them belong to the faces.

KiaiError
|- NotFound(what)                  unknown and hidden are the same answer
|- Invalid(field, allowed, got)    an input outside its range
|- NotAllowed(right)               the caller is known and lacks a right
|- NotAuthenticated()              no or a wrong credential
|- Refused(reason)                 a rule of the game or the house says no
|- Conflict(what)                  somebody or something else already has it
`- Unavailable(part, reason)       our own trouble: try again later
   |- TooSlow(part, reason)      it would have taken longer than one caller may take
   `- Damaged(part, fault, remedy) what is stored cannot be read; trying again does not help
"""


class KiaiError(Exception):
    """The root of every error that a domain verb raises on purpose."""


class NotFound(KiaiError):
    """There is no such thing, or the asker may not know of it."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} not found")
        self.what = what


class Invalid(KiaiError):
    """An input is outside what is allowed; `allowed` and `got` are for people."""

    def __init__(self, field: str, allowed: str, got: object) -> None:
        super().__init__(f"{field} must be {allowed}, got {shown(got)}")
        self.field = field
        self.allowed = allowed
        self.got = got


class NotAllowed(KiaiError):
    """The caller is known but lacks the right named here."""

    def __init__(self, right: str) -> None:
        super().__init__(f"needs the privilege {right}")
        self.right = right


class NotAuthenticated(KiaiError):
    """No credential was given, or a wrong, revoked or expired one."""


class Refused(KiaiError):
    """A rule says no; `reason` is an English sentence fragment."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Conflict(KiaiError):
    """What is asked for is taken already."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} is already taken")
        self.what = what


class Unavailable(KiaiError):
    """A part of the server cannot answer now; nothing was changed."""

    def __init__(self, part: str, reason: str = "") -> None:
        super().__init__(f"{part} is not available" + (f": {reason}" if reason else ""))
        self.part = part
        self.reason = reason


class TooSlow(Unavailable):
    """What was asked for takes longer than one caller may take; less of it, or more filters, may be quick."""


class Damaged(Unavailable):
    """What a part of the server has stored is damaged: `fault` says how, `remedy` what the operator can do."""

    def __init__(self, part: str, fault: str, remedy: str) -> None:
        KiaiError.__init__(self, f"{part} is damaged: {fault}; {remedy}")
        self.part = part
        self.reason = fault


def shown(value: object, longest: int = 60) -> str:
    """A value as it may be repeated to the one who sent it: quoted, one line, at most `longest` characters."""
    text = ascii(value) if isinstance(value, str) else str(value)
    return text if len(text) <= longest else text[: longest - 3] + "..."

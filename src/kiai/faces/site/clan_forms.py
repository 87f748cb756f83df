"""Parts that the forms about clans share: what a refusal says, and the page that asks before an act."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from kiai.clans import Clan
from kiai.clans.model import MustWait, WrongClanCode
from kiai.errors import Conflict, Invalid, KiaiError, LacksRole, NotAllowed, NotFound, Refused
from kiai.faces.site.locale import Locale
from kiai.faces.site.page import FormState, Head, SiteRequest, View
from kiai.faces.site.phrases import known
from kiai.faces.site.settings import common
from kiai.staff.reasons import REASON_MAX, checked_reason

REFUSALS: Final = (Conflict, Invalid, NotAllowed, NotFound, Refused)
"""The errors of acts in clans that `refusal` explains."""
TEXT_MAX: Final = 64
"""Characters of a name, tag or code that a refused form shows again."""
MINUTE_MS: Final = 60_000
SURE: Final = "1"


class Question(msgspec.Struct, frozen=True):
    """The page before an act. `heading` names the target, `action` is the path of the form, `back` that of "Cancel".

    - `fields`: the fields of the form, for the act itself.
    - `changes`: what changes, each with its name, its value before and its value after.
    - `tag`: the visitor types this tag to confirm; empty for an act that needs only the button.
    - `reason`: whether the act is one of staff, who say why.
    """

    heading: str
    sentence: str
    action: str
    back: str
    fields: Mapping[str, str] = {}
    changes: Sequence[tuple[str, str, str]] = ()
    tag: str = ""
    reason: bool = False


def unanswered(request: SiteRequest, question: Question) -> View | None:
    """Return the page that asks, or None if the visitor has confirmed with all that the question needs."""
    if request.form.text("sure") != SURE:
        return _page(request, question, None)
    values = {name: value[: REASON_MAX + 1] for name, value in common.typed(request, "tag_typed", "reason").items()}
    errors: dict[str, str] = {}
    text = request.locale.text
    if question.tag and values["tag_typed"].strip().upper() != question.tag:
        errors["tag_typed"] = text("Type the tag %(tag)s.", tag=question.tag)
    if question.reason:
        try:
            checked_reason(values["reason"])
        except Invalid as error:
            errors["reason"] = text("Must be %(allowed)s.", allowed=request.locale.phrase(error.allowed))
    if not errors:
        return None
    form = FormState(values, errors, text("Nothing was changed. Check the marked field."))
    return _page(request, question, form, 422)


def reason_of(request: SiteRequest) -> str:
    """Return the reason that `unanswered` has checked."""
    return checked_reason(request.form.text("reason") or "", optional=True)


def _page(request: SiteRequest, question: Question, form: FormState | None, status: int = 200) -> View:
    values = {"question": question, "form": form, "reason_max": REASON_MAX}
    return View("clan_confirm.html", values, Head(title=question.heading), status)


def titled(clan: Clan) -> str:
    """Return the tag and the name of a clan."""
    return f"[{clan.tag}] {clan.name}"


def refusal(request: SiteRequest, error: KiaiError, values: Mapping[str, str] = {}) -> FormState:
    """Return what a refused form shows. Raises `error` again if another page explains it, e.g. that of status 404."""
    locale, text = request.locale, request.locale.text
    match error:
        case Invalid():
            return common.invalid(locale, values, error, {})
        case Conflict(what="tag"):
            return common.wrong(locale, values, "tag", text("This tag is already taken."))
        case Conflict(what="name"):
            return common.wrong(locale, values, "name", text("This name is already taken."))
        case WrongClanCode():
            return common.wrong(locale, values, "code", text("This code is wrong. The clan may have a new one."))
        case MustWait():
            return FormState(values, message=_waiting(locale, error, request.now_ms))
        case NotFound(what="player"):
            return common.wrong(locale, values, "player", text("No player has this name."))
        case NotFound(what="member"):
            return FormState(values, message=text("This player is not a member of the clan."))
        case NotFound(what="request"):
            return FormState(values, message=text("This request no longer exists."))
        case NotAllowed(right="verified"):
            return FormState(values, message=text("Log in to the game once. Then you can found and join clans."))
        case NotAllowed(right="unrestricted"):
            return FormState(values, message=text("Restricted players cannot found or join clans."))
        case Refused(reason=reason) | LacksRole(reason=reason):
            return FormState(values, message=_sentence(locale, reason))
    raise error


def _sentence(locale: Locale, reason: str) -> str:
    """Return a clause of the domain as a sentence."""
    found = known(reason)
    message = locale.phrase(reason)
    # A name at the start stays as its player writes it.
    first = message[:1] if found is not None and found[0].startswith("%(") else message[:1].upper()
    return f"{first}{message[1:]}."


def _waiting(locale: Locale, error: MustWait, now_ms: int) -> str:
    text = locale.text
    time = locale.formats.relative(max(error.until_ms, now_ms + MINUTE_MS), now_ms)
    match error.wait_for:
        case "entering" if error.player:
            return text("%(name)s has left a clan recently and can join one %(time)s.", name=error.player, time=time)
        case "entering":
            return text("You have left a clan recently. You can found or join one %(time)s.", time=time)
        case "renaming":
            return text("The clan was renamed recently. It can have another name %(time)s.", time=time)
        case "reserving":
            return text(
                "The clan reserves as many former names and tags as it can. It can have another one %(time)s.",
                time=time,
            )

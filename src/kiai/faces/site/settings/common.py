"""Parts that the pages of the settings share."""

import math
from collections.abc import Mapping
from typing import Final

from kiai.errors import Invalid
from kiai.faces.rate_limit import RateLimit
from kiai.faces.site.locale import Locale
from kiai.faces.site.page import FORM_MAX, Access, FormState, Handler, Page, Redirect, SiteRequest

CHANGES: Final = RateLimit("settings-changes", 60, 60.0)
"""The limit of an account for all forms of the settings without a limit of their own."""


def show(path: str, handler: Handler) -> Page:
    """Return a page of the settings."""
    return Page("GET", path, handler, Access.PLAYER)


def form(path: str, handler: Handler, rate_limit: RateLimit = CHANGES, most: int = FORM_MAX) -> Page:
    """Return a form of the settings, which restricted players may use. `most` is its largest size in bytes."""
    return Page(
        "POST",
        path,
        handler,
        Access.PLAYER,
        restricted=True,
        rate_limit=rate_limit,
        body_max=most,
        part_max=most,
    )


def typed(request: SiteRequest, *names: str) -> dict[str, str]:
    """Return the texts of these fields."""
    return {name: request.form.text(name) or "" for name in names}


def saved(path: str, what: str) -> Redirect:
    """Return the redirect that follows an accepted form. The page shows the message of `what`."""
    return Redirect(f"{path}?saved={what}")


def message_of(request: SiteRequest, sentences: Mapping[str, str]) -> str:
    """Return the message of the form that redirected to the page, by its `what`."""
    return sentences.get(request.query.values.get("saved", ""), "")


def wrong(locale: Locale, values: Mapping[str, str], field: str, message: str) -> FormState:
    """Return the state of a form with one wrong field."""
    return FormState(values, {field: message}, locale.text("Nothing was changed. Check the marked field."))


def refused(locale: Locale, values: Mapping[str, str], reason: str) -> FormState:
    """Return the state of a form that is refused as a whole. `reason` is a phrase of the domain."""
    message = locale.phrase(reason)
    return FormState(values, message=f"{message[:1].upper()}{message[1:]}{'' if message.endswith('.') else '.'}")


def invalid(locale: Locale, values: Mapping[str, str], error: Invalid, fields: Mapping[str, str]) -> FormState:
    """Return the state of a form with a value outside its range. `fields` has the form's names of other fields."""
    return wrong(
        locale,
        values,
        fields.get(error.field, error.field),
        locale.text("Must be %(allowed)s.", allowed=locale.phrase(error.allowed)),
    )


def wrong_password(locale: Locale, values: Mapping[str, str]) -> FormState:
    """Return the state of a form with a wrong current password."""
    return wrong(locale, values, "current_password", locale.text("This is not your current password."))


def wait_message(locale: Locale, retry_s: float) -> str:
    """Return the message for too many wrong passwords."""
    seconds = max(1, math.ceil(retry_s))
    return locale.plural("Try again in %(num)s second.", "Try again in %(num)s seconds.", seconds)

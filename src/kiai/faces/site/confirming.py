"""The page that asks before an act of staff on the public pages. It sends the same fields again with `confirmed`."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from kiai.faces.site.page import Head, SiteRequest, View

CONFIRMED: Final = "1"


class ActConfirmation(msgspec.Struct, frozen=True):
    """The page before an act. `heading` names the target, `sentence` says what will happen.

    `action` is the path of the form, `back` that of "Cancel". `facts` are what the visitor has chosen, each with its
    label. `danger` is for an act that cannot be undone.
    """

    heading: str
    sentence: str
    action: str
    back: str
    fields: Mapping[str, str] = {}
    facts: Sequence[tuple[str, str]] = ()
    danger: bool = False


def is_confirmed(request: SiteRequest) -> bool:
    """Return whether the form comes from the page that asks."""
    return request.form.text("confirmed") == CONFIRMED


def confirmation_page(confirmation: ActConfirmation) -> View:
    """Return the page that asks."""
    return View("confirm.html", {"confirmation": confirmation}, Head(title=confirmation.heading))

"""Forms for acts of staff, declared as data: fields, the question before the act, the act, what undoes it.

    page of the target -> form of the act -> question that names the target -> the domain's verb -> the page again

The question is a page of its own, which sends the same fields again with `confirmed`. The form carries the id of the
newest audit row at the time when the page was shown, so that an act does nothing when another member of staff, or an
earlier press of the same button, has changed the target since (`Actor.seen_id`).
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Final, Generic, Literal, Protocol, Self, TypeVar

import msgspec

from kiai.errors import Conflict, Invalid, NotFound, OutRanked, Refused, Unavailable
from kiai.faces.site.admin.frame import admin_view, staff_form
from kiai.faces.site.page import FORM_MAX, FormState, Page, Redirect, Response, SiteRequest, View
from kiai.osu.durations import parse_duration
from kiai.osu.numbers import whole_number
from kiai.staff import Actor
from kiai.staff.audit import ChangedMeanwhile
from kiai.staff.audit_reading import AuditReading
from kiai.staff.reasons import REASON_MAX

TEXT_MAX: Final = 100
CHECKED_MAX: Final = 64  # boxes of one group
DURATION_FORMS: Final = "a time like 10m, 2h30m, 7d or 2w, up to a year"


class Field(msgspec.Struct, frozen=True):
    """A field of an act. `options` are the values and words of a choice, or of a group of boxes.

    `explained` has a sentence for some values of a group of boxes. The question repeats the values of all fields that
    are not `long`.
    """

    name: str
    label: str
    kind: Literal["text", "textarea", "duration", "choice", "boxes"] = "text"
    required: bool = True
    most: int = TEXT_MAX
    help: str = ""
    options: tuple[tuple[str, str], ...] = ()
    explained: Mapping[str, str] = {}
    value: str = ""
    long: bool = False


REASON: Final = Field("reason", "Reason", most=REASON_MAX, help="The audit log shows it.")
OPTIONAL_REASON: Final = msgspec.structs.replace(REASON, required=False)
DURATION: Final = Field("duration", "Duration", "duration", help=DURATION_FORMS.capitalize() + ".")

Values = Mapping[str, str]


class Named(Protocol):
    """The target of an act. `name` is for the question and the messages, `id` is that of the audit row."""

    @property
    def id(self) -> int:
        """The id in the audit log."""
        ...

    @property
    def name(self) -> str:
        """The name that staff knows it by."""
        ...


T = TypeVar("T", bound=Named)


class Secret(msgspec.Struct, frozen=True):
    """A result that is shown once, e.g. a link. `attribute` marks it for programs."""

    text: str
    attribute: str
    label: str


class Act(msgspec.Struct, Generic[T], frozen=True):
    """An act on a target.

    - `name`: the last part of its path, e.g. `silence`.
    - `title`: of its form and button, e.g. "Silence". `button` is that of the button if it differs.
    - `done`: the message after it, with `{name}` for the target.
    - `effect`: what it does, for the question. Whole sentences.
    - `run`: calls the verb. It returns None, or what the page shows once.
    - `undo`: the act whose form the message offers.
    - `danger`: its button is red.
    - `home`: the page after an act that removes the target. Empty: the page of the target.
    - `present`: the values that the form of an act begins with, for an act that changes values.
    """

    name: str
    title: str
    permission: str
    done: str
    effect: str
    run: Callable[[Actor, T, Values], Awaitable[Secret | None]]
    fields: tuple[Field, ...] = (REASON,)
    undo: str = ""
    danger: bool = False
    home: str = ""
    button: str = ""
    present: Callable[[T], Values] | None = None

    def shown_for(self, target: T) -> Self:
        """Return the act with the present values of a target in its fields."""
        if self.present is None:
            return self
        values = self.present(target)
        fields = (msgspec.structs.replace(one, value=values.get(one.name, one.value)) for one in self.fields)
        return msgspec.structs.replace(self, fields=tuple(fields))


class ActForms(Generic[T]):
    """The forms of all acts on targets of one kind.

    `kind` is the target's kind in the audit log. `load` finds the target of a request and raises NotFound. `show`
    returns its page again with the state of the form of an act. `path_of` is the path of the target's page. `possible`
    are the names of the acts that fit the state of the target at a time in unix ms; without it all do. `most` is the
    largest size of a form in bytes.

    A button with the name `preview` shows the page again, with the typed values as `ShownForms.preview`.
    """

    def __init__(
        self,
        path: str,
        acts: Sequence[Act[T]],
        audit: AuditReading,
        *,
        kind: str,
        load: Callable[[SiteRequest], Awaitable[T]],
        show: Callable[[SiteRequest, T, "ShownForms"], Awaitable[View]],
        path_of: Callable[[T], str],
        possible: Callable[[T, int], Collection[str]] | None = None,
        most: int = FORM_MAX,
    ) -> None:
        self._path = path
        self.acts = {act.name: act for act in acts}
        self._audit = audit
        self._kind = kind
        self._load = load
        self._show = show
        self._path_of = path_of
        self._possible = possible
        self._most = most

    def pages(self) -> list[Page]:
        """Return the forms."""
        return [
            staff_form(f"{self._path}/{act.name}", self._handler(act), act.permission, self._most)
            for act in self.acts.values()
        ]

    async def page(self, request: SiteRequest) -> Response:
        """Return the page of the target of a request: the handler of the page on which the forms are."""
        return await self.page_of(request, await self._load(request))

    async def page_of(self, request: SiteRequest, target: T) -> View:
        """Return the page of a target."""
        return await self._show(request, target, await self.shown(request, target))

    async def shown(self, request: SiteRequest, target: T, failed: "Failed | None" = None) -> "ShownForms":
        """Return what the page of a target needs for the forms that the visitor may use.

        A message and the act that undoes the last one come from the query `done`.
        """
        done = self.acts.get(request.query.values.get("done", "")) if failed is None else None
        possible = self.acts if self._possible is None else self._possible(target, request.now_ms)
        usable = tuple(
            act.shown_for(target)
            for act in self.acts.values()
            if request.visitor.may(act.permission) and act.name in possible
        )
        undo = next((act for act in usable if act.name == done.undo), None) if done is not None else None
        return ShownForms(
            path=self._path_of(target),
            acts=usable,
            seen_id=await self._audit.newest_id(),
            failed=failed,
            message=done.done.format(name=target.name) if done is not None else "",
            undo=undo,
        )

    def _handler(self, act: Act[T]) -> Callable[[SiteRequest], Awaitable[Response]]:
        async def handle(request: SiteRequest) -> Response:
            target = await self._load(request)
            values, errors = _typed(act, request)
            if request.form.text("preview"):
                return await self._previewed(request, target, act, FormState(values))
            if errors:
                return await self._failed(request, target, act, FormState(values, errors, "Check the marked field."))
            if request.form.text("confirmed") != "1":
                return self._question(request, target, act, values)
            return await self._do(request, target, act, values)

        return handle

    async def _previewed(self, request: SiteRequest, target: T, act: Act[T], form: FormState) -> View:
        forms = await self.shown(request, target, Failed(act.name, form))
        # As on the page before: a preview does not show what others have changed since.
        seen = whole_number(request.form.text("seen") or "")
        seen_id = forms.seen_id if seen is None else min(seen, forms.seen_id)
        return await self._show(request, target, msgspec.structs.replace(forms, seen_id=seen_id, preview=form.values))

    def _question(self, request: SiteRequest, target: T, act: Act[T], values: Values) -> View:
        labels = [
            (field.label, _words(field, values[field.name]))
            for field in act.fields
            if values.get(field.name, "") and not field.long
        ]
        seen = whole_number(request.form.text("seen") or "")
        back = self._path_of(target)
        shown = {
            "act": act,
            "target": target,
            "given": labels,
            "hidden": [*values.items(), ("seen", "" if seen is None else str(seen))],
            "back": back,
            "action": f"{back}/{act.name}",
        }
        return admin_view(request, "confirm.html", f"{act.title}: {target.name}?", shown, crumbs=((back, target.name),))

    async def _do(self, request: SiteRequest, target: T, act: Act[T], values: Values) -> Response:
        seen = whole_number(request.form.text("seen") or "")
        actor = Actor(request.visitor.player.id, "web", seen)
        try:
            secret = await act.run(actor, target, values)
        except Invalid as error:
            names = {field.name for field in act.fields}
            fault = f"Must be {error.allowed}."
            form = FormState(values, {error.field: fault}) if error.field in names else FormState(values, {}, fault)
            return await self._failed(request, target, act, form)
        except ChangedMeanwhile as error:
            message = await self._changed(request, error)
            return await self._failed(request, target, act, FormState(values, message=message), 409)
        except OutRanked as error:
            return await self._failed(request, target, act, FormState(values, message=_sentence(error.reason)), 403)
        except Conflict as error:
            return await self._failed(request, target, act, FormState(values, message=_sentence(str(error))), 409)
        except Refused as error:
            # Most often the reason why an act does not fit the state any more.
            changed = await self._audit.change_since(actor, self._kind, target.id)
            if changed is not None:
                form = FormState(values, message=await self._changed(request, changed))
                return await self._failed(request, target, act, form, 409)
            return await self._failed(request, target, act, FormState(values, message=_sentence(error.reason)))
        except Unavailable as error:
            return await self._failed(request, target, act, FormState(values, message=_sentence(str(error))), 503)
        except NotFound as error:
            message = f"The {error.what} does not exist."
            return await self._failed(request, target, act, FormState(values, message=message))
        if secret is not None:
            back = self._path_of(target)
            return admin_view(
                request,
                "secret.html",
                act.title,
                {"secret": secret, "target": target, "back": back},
                crumbs=((back, target.name),),
            )
        return Redirect(act.home or f"{self._path_of(target)}?done={act.name}")

    async def _failed(
        self, request: SiteRequest, target: T, act: Act[T], form: FormState, status: int = 422
    ) -> Response:
        # The target may be gone: then the page of the error is the answer.
        target = await self._load(request)
        forms = await self.shown(request, target, Failed(act.name, form))
        view = await self._show(request, target, forms)
        return msgspec.structs.replace(view, status=status)

    async def _changed(self, request: SiteRequest, error: ChangedMeanwhile) -> str:
        if error.actor_id == request.visitor.player.id:
            return f"You have changed this a moment ago ({error.action}). Nothing was done twice."
        name = await self._audit.name_of(error.actor_id)
        return f"Changed by {name} a moment ago ({error.action}). Nothing was done; look at the new state first."


class Failed(msgspec.Struct, frozen=True):
    """The act whose form is shown again, and why."""

    name: str
    form: FormState


class ShownForms(msgspec.Struct, frozen=True):
    """The values of the macros of `admin/acts.html`.

    The forms, the state of the one that failed, the message of the last act, and the values that a preview shows.
    """

    path: str
    acts: tuple[Act[Any], ...]
    seen_id: int
    failed: Failed | None
    message: str
    undo: Act[Any] | None
    preview: Values | None = None

    def form_of(self, name: str) -> FormState | None:
        """Return the state of the form of an act, if it failed."""
        return self.failed.form if self.failed is not None and self.failed.name == name else None

    def has(self, name: str) -> bool:
        """Return whether the visitor can use an act now."""
        return any(act.name == name for act in self.acts)


def _typed(act: Act[Any], request: SiteRequest) -> tuple[dict[str, str], dict[str, str]]:
    """Return the values of the fields of an act, and the errors by field."""
    values: dict[str, str] = {}
    errors: dict[str, str] = {}
    for field in act.fields:
        if field.kind == "boxes":
            known = {option for option, _ in field.options}
            given = [request.form.text(f"{field.name}-{option}") for option in known]
            chosen = [option for option, text in zip(known, given, strict=True) if text]
            again = (request.form.text(field.name) or "").split()[:CHECKED_MAX]  # from the question
            values[field.name] = " ".join(sorted({*chosen, *(option for option in again if option in known)}))
            continue
        text = (request.form.text(field.name) or "").strip()
        values[field.name] = text
        allowed = _fault(field, text)
        if allowed:
            errors[field.name] = f"Must be {allowed}."
    return values, errors


def _fault(field: Field, text: str) -> str:
    """Return what a field allows if its text is wrong, or an empty text."""
    if not text:
        return f"a text of 1 to {field.most} characters" if field.required else ""
    if len(text) > field.most or "\0" in text:
        return f"a text of at most {field.most} characters"
    if field.kind == "duration" and parse_duration(text) is None:
        return DURATION_FORMS
    if field.kind == "choice" and text not in {option for option, _ in field.options}:
        return "one of the choices"
    return ""


def _words(field: Field, value: str) -> str:
    words = dict(field.options)
    return ", ".join(words.get(part, part) for part in value.split()) if field.options else value


def _sentence(reason: str) -> str:
    return f"{reason[:1].upper()}{reason[1:]}{'' if reason.endswith('.') else '.'}"

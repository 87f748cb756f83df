"""`/admin/flags`: the queue of integrity flags, a flag with its evidence, and the verdict."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from kiai.beatmaps.model import full_title
from kiai.errors import NotFound
from kiai.faces.site.admin.acts import REASON, Act, ActForms, Field, ShownForms, Values
from kiai.faces.site.admin.audit_details import value_words
from kiai.faces.site.admin.frame import admin_view, staff_actor, staff_page
from kiai.faces.site.admin.named_accounts import account_id
from kiai.faces.site.admin.user_acts import LENGTH as RESTRICTION_LENGTH
from kiai.faces.site.page import Page, Response, SiteRequest, View
from kiai.faces.site.templating import url
from kiai.osu.durations import parse_duration
from kiai.osu.modes import mode_text
from kiai.osu.mods import mods_text
from kiai.osu.numbers import whole_number
from kiai.scores.details import ScoreDetails, ScoreReader
from kiai.scores.flags import KINDS, STATES, VERDICTS, FlagObject, State
from kiai.staff import Actor
from kiai.staff.audit_reading import AuditReading
from kiai.staff.authority import Authority
from kiai.staff.flag_queue import HANDLE, TEXT_MAX, FlagQueue
from kiai.staff.flag_verdicts import PERMISSION as RESTRICT
from kiai.staff.flag_verdicts import FlagVerdicts, reason_of

PATH: Final = "/admin/flags"
PAGE: Final = 50
FIGURES_MAX: Final = 40
ID_MAX: Final = 2**62


class FlagTarget(msgspec.Struct, frozen=True):
    """A flag as the target of an act. `id` is that of the player, as in the audit row."""

    id: int
    name: str
    flag: FlagObject


class ComparedScore(msgspec.Struct, frozen=True):
    """A score of a flag. `details` is None if it is hidden or gone."""

    id: int
    details: ScoreDetails | None
    facts: Sequence[tuple[str, str]] = ()


class FlagPages:
    """The pages of flags in the panel."""

    def __init__(
        self,
        authority: Authority,
        audit: AuditReading,
        queue: FlagQueue,
        verdicts: FlagVerdicts,
        scores: ScoreReader,
    ) -> None:
        self._verdicts = verdicts
        self._authority = authority
        self._queue = queue
        self._scores = scores
        words = tuple((verdict, verdict.capitalize()) for verdict in VERDICTS)
        close: Act[FlagTarget] = Act(
            "close",
            "Verdict",
            HANDLE,
            "{name} is closed.",
            "The flag leaves the queue and is not raised again. A verdict restricts nobody.",
            self._close,
            (
                Field("verdict", "Verdict", "choice", options=words, value="unclear"),
                Field("text", "Text", "textarea", required=False, most=TEXT_MAX, help="The audit log shows it."),
            ),
            button="Close flag",
        )
        restrict: Act[FlagTarget] = Act(
            "restrict",
            "Restrict the player",
            RESTRICT,
            "{name} is closed, and the player is restricted.",
            "The flag is closed with the verdict cheating, and the player is restricted, both with this reason. "
            "The account and its scores are hidden from everybody else.",
            self._restrict,
            (RESTRICTION_LENGTH, REASON),
            danger=True,
        )
        self._forms = ActForms(
            f"{PATH}/{{flag}}",
            [close, restrict],
            audit,
            kind="user",
            load=self._load,
            show=self._view,
            path_of=lambda target: f"{PATH}/{target.flag.id}",
            possible=lambda target, now_ms: ("close", "restrict") if target.flag.state == "open" else (),
        )

    def pages(self) -> list[Page]:
        """Return the pages and the form."""
        return [
            staff_page(PATH, self._list, HANDLE),
            staff_page(f"{PATH}/{{flag}}", self._forms.page, HANDLE),
            *self._forms.pages(),
        ]

    async def _list(self, request: SiteRequest) -> Response:
        query = request.query
        state: State = query.choice("state", STATES, "open")  # type: ignore[assignment]  # one of STATES
        kind = query.choice("kind", KINDS, "")
        user = query.text("user")
        before = query.whole("before", 0, at_most=ID_MAX) or None
        found: list[FlagObject] = []
        filtered = bool(kind or user or state != "all")
        sentence = "No flag waits." if state == "open" and not kind and not user else "No flag fits."
        try:
            user_id = await account_id(self._authority, user)
        except NotFound:
            sentence = "There is no account of this name."
        else:
            found = await self._queue.page(
                staff_actor(request), user_id=user_id, kind=kind or None, state=state, limit=PAGE + 1, before=before
            )
        typed = {"state": state, "kind": kind, "user": user}
        values = {
            "flags": found[:PAGE],
            "figures": {flag.id: figures_of(flag) for flag in found},
            "typed": typed,
            "states": STATES,
            "kinds": KINDS,
            "filtered": filtered,
            "sentence": sentence,
            "next": url(PATH, **typed, before=found[PAGE - 1].id) if len(found) > PAGE else None,
        }
        return admin_view(request, "flags.html", "Flags", values)

    async def _load(self, request: SiteRequest) -> FlagTarget:
        flag_id = whole_number(request.path["flag"], ID_MAX, 1)
        if flag_id is None:
            raise NotFound("page")
        flag = await self._queue.find(staff_actor(request), flag_id)
        return FlagTarget(flag.player.id, f"Flag {flag.id} of {flag.player.name}", flag)

    async def _view(self, request: SiteRequest, target: FlagTarget, forms: ShownForms) -> View:
        flag = target.flag
        ids = [score_id for score_id in (flag.score_id, flag.other_score_id) if score_id is not None]
        values = {
            "flag": flag,
            "figures": figures_of(flag),
            "compared": [await self._score(request, score_id) for score_id in ids],
            "restricts": flag.verdict == "cheating" and request.visitor.may(RESTRICT),
            "forms": _with_reason(forms, flag),
        }
        return admin_view(request, "flag.html", target.name, values, crumbs=((PATH, "Flags"),))

    async def _score(self, request: SiteRequest, score_id: int) -> ComparedScore:
        try:
            found = await self._scores.find(score_id, request.visitor.viewer)
        except NotFound:
            return ComparedScore(score_id, None)
        score, formats = found.score, request.locale.formats
        counts = (score.n300, score.n100, score.n50, score.ngeki, score.nkatu, score.nmiss)
        facts = (
            ("Map", full_title(found.beatmap)),
            ("Mode", mode_text(score.mode)),
            ("Mods", mods_text(score.mods)),
            ("Score", formats.number(score.score)),
            ("Accuracy", formats.accuracy(score.acc)),
            ("Combo", formats.number(score.max_combo)),
            ("300 / 100 / 50 / geki / katu / miss", " / ".join(map(str, counts))),
            ("pp", formats.number(score.pp, 2)),
            ("Played", formats.moment(score.play_time_ms)),
        )
        return ComparedScore(score_id, found, facts)

    async def _close(self, actor: Actor, target: FlagTarget, values: Values) -> None:
        await self._queue.close(_by_state(actor), target.flag.id, values["verdict"], " ".join(values["text"].split()))

    async def _restrict(self, actor: Actor, target: FlagTarget, values: Values) -> None:
        seconds = parse_duration(values["duration"]) if values["duration"] else None
        await self._verdicts.restrict(_by_state(actor), target.flag.id, values["reason"], seconds=seconds)


def _by_state(actor: Actor) -> Actor:
    # The state of the flag decides between two at once. Other acts on the player do not hinder it.
    return msgspec.structs.replace(actor, seen_id=None)


def _with_reason(forms: ShownForms, flag: FlagObject) -> ShownForms:
    """Return the forms with the reason of the flag in the form that restricts."""
    reason = msgspec.structs.replace(REASON, value=reason_of(flag))
    acts = tuple(
        msgspec.structs.replace(act, fields=(RESTRICTION_LENGTH, reason)) if act.name == "restrict" else act
        for act in forms.acts
    )
    return msgspec.structs.replace(forms, acts=acts)


def figures_of(flag: FlagObject) -> list[tuple[str, str]]:
    """Return the figures of a flag in words. The threshold is the last one."""
    known: list[tuple[str, Any]] = sorted(flag.figures.items(), key=lambda pair: pair[0] == "threshold")
    shown = known if len(known) <= FIGURES_MAX else [*known[: FIGURES_MAX - 1], known[-1]]
    return [(name.replace("_", " ")[:100], value_words(value)) for name, value in shown]

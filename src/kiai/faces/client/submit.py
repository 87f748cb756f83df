"""`osu-submit-modular-selector.php`: receives a play and returns the ranking panel (docs/spec/submission.md).

The client understands three kinds of answers: `error: ` with a word ends the submission, 503 makes it retry later, and
a body that begins with `beatmapId` is the panel.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Final

from kiai.accounts import TooManyGuesses, User
from kiai.clock import Clock
from kiai.errors import NotAuthenticated, Refused, Unavailable
from kiai.faces.client.gateway import Banned, ClientGateway, ClientRequest, ClientResponse, Endpoint
from kiai.faces.client.submission_form import (
    IMAGE_MAX,
    REPLAY_MAX,
    DecryptedForm,
    can_decrypt,
    decrypt_form,
    read_submission,
)
from kiai.faces.forms import Form
from kiai.faces.request_body import BodyTooLarge
from kiai.fair_queue import FairQueue
from kiai.networks import is_loopback, network_of
from kiai.osu.texts import field
from kiai.realtime.buckets import FailureLimit
from kiai.scores.medals import BY_ID
from kiai.scores.model import Chart
from kiai.scores.submission import NotNow, Rejected, Submission, Submissions
from kiai.staff.hardware import HardwareWatch

BODY_MAX: Final = 20 * 1024 * 1024
# Forms of one address that are malformed, too long, with a wrong password, of a player without a session, or beyond the
# limits of a player. Each form costs a decryption.
ODD_FORMS_PER_MINUTE: Final = 60
LONG_FORMS_WAITING: Final = 64
LONG_FORMS_OF_CALLER: Final = 8
LONG_FORM_WAIT_S: Final = 5.0
PART_MAX: Final = max(REPLAY_MAX, IMAGE_MAX)

_SEPARATORS: Final = str.maketrans("/+", "  ")  # of medals and their fields in the panel
_NO: Final = ClientResponse(b"error: no")
Pair = tuple[str, object, object]


class SubmissionEndpoints:
    """The handlers of both endpoints.

    A form must be decrypted before its password can be checked, so anyone can make the server decrypt. Forms that the
    game does not send are therefore counted per address, and long forms are decrypted one at a time.
    """

    def __init__(
        self,
        gateway: ClientGateway,
        submissions: Submissions,
        hardware: HardwareWatch,
        clock: Clock,
        domain: str,
        *,
        limited: bool,
    ) -> None:
        self._gateway = gateway
        self._submissions = submissions
        self._hardware = hardware
        self._domain = domain
        self._limited = limited
        self._odd_forms = FailureLimit(clock.monotonic, limit=ODD_FORMS_PER_MINUTE, period_s=60.0)
        self._long_forms = FairQueue(
            "submission",
            running_max=1,
            waiting_max=LONG_FORMS_WAITING,
            per_caller_max=LONG_FORMS_OF_CALLER,
            wait_s=LONG_FORM_WAIT_S,
        )

    async def submit(self, request: ClientRequest) -> ClientResponse:
        """Submit a play of a current build."""
        return await self._answer_within_limit(request, old=False)

    async def submit_old(self, request: ClientRequest) -> ClientResponse:
        """Submit a play of an older build, which sends no version and expects the old panel."""
        return await self._answer_within_limit(request, old=True)

    async def _answer_within_limit(self, request: ClientRequest, *, old: bool) -> ClientResponse:
        # 503 instead of an error word: the game of a player behind the same address retries later.
        if self._limited and self._odd_forms.retry_s(request.address):
            raise Unavailable("submission", f"{ODD_FORMS_PER_MINUTE} odd forms came from this address within a minute")
        try:
            return await self._answer(request, old=old)
        except Banned:
            return ClientResponse(b"error: inactive")
        except NotAuthenticated:
            self._count_odd_form(request.address)
            return ClientResponse(b"error: pass")
        except (Refused, BodyTooLarge, TooManyGuesses, NotNow):
            self._count_odd_form(request.address)
            raise

    def _count_odd_form(self, address: str) -> None:
        # Behind a proxy that sends no X-Forwarded-For, all players have the address of loopback.
        if not is_loopback(address):
            self._odd_forms.count(address)

    @asynccontextmanager
    async def _long_form(self, address: str) -> AsyncIterator[None]:
        # Counted before the decryption, so that concurrent requests cannot exceed the limit.
        self._count_odd_form(address)
        async with self._long_forms.turn(network_of(address)):
            yield

    async def _answer(self, request: ClientRequest, *, old: bool) -> ClientResponse:
        assert request.reader is not None
        small = await request.reader.read_small()
        turn = partial(self._long_form, request.address)
        try:
            # The game sends the replay last. The password is checked before it is read, so that only players can upload
            # megabytes. With the parts in another order the whole form is needed first.
            if can_decrypt(small, old=old):
                decrypted = await decrypt_form(small, old=old, turn=turn)
                user = await self._log_in(decrypted, small, request.address)
                form = await request.reader.read_all()
            else:
                form = await request.reader.read_all()
                decrypted = await decrypt_form(form, old=old, turn=turn)
                user = await self._log_in(decrypted, form, request.address)
            sent = read_submission(form, decrypted, user_agent=request.header(b"user-agent"))
            chart = await self._submit(user, sent)
        except Rejected as rejected:
            return ClientResponse(f"error: {rejected.word}".encode())
        return ClientResponse((old_panel if old else panel)(chart, self._domain).encode())

    async def _submit(self, user: User, sent: Submission) -> Chart:
        """Submit a play and compare its device, also that of a play without a chart, such as a failed one."""
        try:
            chart = await self._submissions.submit(user, sent)
        except Rejected:
            await self._hardware.check_submission(user.id, sent.client_hash)
            raise
        await self._hardware.check_submission(user.id, sent.client_hash)
        return chart

    async def _log_in(self, decrypted: DecryptedForm, form: Form, address: str) -> User:
        return await self._gateway.log_in(decrypted.player_name, form.text("pass") or "", address=address)

    def endpoints(self) -> list[Endpoint]:
        """Return the endpoints. `Submissions` limits the rate and answers 503, so that the client retries."""
        return [
            Endpoint(
                "POST",
                path,
                handler,
                bad_request=_NO,
                rate_limit=None,
                body_max=BODY_MAX,
                part_max=PART_MAX,
                streamed_body=True,
            )
            for path, handler in (
                ("/web/osu-submit-modular-selector.php", self.submit),
                ("/web/osu-submit-modular.php", self.submit_old),
            )
        ]


def panel(chart: Chart, domain: str) -> str:
    """Return the three lines of the ranking panel. A missing previous value is empty.

    See docs/spec/submission.md#ranking-panel.
    """
    return "|".join(
        (
            _about(chart),
            "\n",
            "chartId:beatmap",
            f"chartUrl:https://osu.{domain}/s/{chart.set_id}",
            "chartName:Beatmap Ranking",
            *_pairs(_map_pairs(chart)),
            f"onlineScoreId:{chart.score_id}",
            "\n",
            "chartId:overall",
            f"chartUrl:https://{domain}/u/{chart.user_id}",
            "chartName:Overall Ranking",
            *_pairs(_profile_pairs(chart)),
            f"achievements-new:{'/'.join(map(_medal, chart.medals))}",
        )
    )


def old_panel(chart: Chart, domain: str) -> str:
    """Return the two lines of the panel for older builds, with accuracy as a fraction and every key present.

    See docs/spec/submission.md#ranking-panel.
    """
    overall = [
        (name, _fraction(before) if name == "accuracy" else before, _fraction(after) if name == "accuracy" else after)
        for name, before, after in _profile_pairs(chart)
    ]
    rank_before = chart.map_rank_before or ""
    return "\n".join(
        (
            _about(chart),
            "|".join(
                (
                    "chartId:overall",
                    "chartName:Overall Ranking",
                    "chartEndDate:",
                    f"beatmapRankingBefore:{rank_before}",
                    f"beatmapRankingAfter:{chart.map_rank_after or ''}",
                    *_pairs(overall),
                    f"achievements:{' '.join(BY_ID[medal_id].file for medal_id in chart.medals if medal_id in BY_ID)}",
                    f"onlineScoreId:{chart.score_id}",
                    "toNextRank:0",
                    "toNextRankUser:",
                )
            ),
        )
    )


def _about(chart: Chart) -> str:
    # PERF: strftime takes 5 us more.
    updated = datetime.fromtimestamp(chart.updated_ms // 1000, UTC).isoformat(" ").removesuffix("+00:00")
    return "|".join(
        (
            f"beatmapId:{chart.map_id}",
            f"beatmapSetId:{chart.set_id}",
            f"beatmapPlaycount:{chart.plays}",
            f"beatmapPasscount:{chart.passes}",
            f"approvedDate:{updated}",
        )
    )


def _map_pairs(chart: Chart) -> list[Pair]:
    before, after = chart.standing, chart.this
    score_before = "" if before is None else before.score
    return [
        ("rank", chart.map_rank_before or "", chart.map_rank_after or ""),
        ("rankedScore", score_before, after.score),
        ("totalScore", score_before, after.score),
        ("maxCombo", "" if before is None else before.max_combo, after.max_combo),
        ("accuracy", "" if before is None else f"{before.acc:.2f}", f"{after.acc:.2f}"),
        ("pp", "" if before is None else round(before.pp), round(after.pp)),
    ]


def _profile_pairs(chart: Chart) -> list[Pair]:
    before, after = chart.before, chart.after
    return [
        ("rank", chart.rank_before or "", chart.rank_after or ""),
        ("rankedScore", before.rscore, after.rscore),
        ("totalScore", before.tscore, after.tscore),
        ("maxCombo", before.max_combo, after.max_combo),
        ("accuracy", f"{before.acc:.2f}", f"{after.acc:.2f}"),
        ("pp", before.pp, after.pp),
    ]


def _pairs(pairs: list[Pair]) -> list[str]:
    return [f"{name}Before:{before}|{name}After:{after}" for name, before, after in pairs]


def _fraction(percent: object) -> str:
    return f"{float(str(percent)) / 100:.4f}"


def _medal(medal_id: int) -> str:
    medal = BY_ID[medal_id]
    return "+".join(field(text).translate(_SEPARATORS) for text in (medal.file, medal.name, medal.description))

"""`osu-submit-modular-selector.php`: a play comes in, a ranking panel goes out (docs/spec/submission.md).

The answers are the client's words: `error: ` and a word stops it from asking again, 503 makes it ask again later, and a
body that begins with `beatmapId` shows the panel.
"""

from datetime import UTC, datetime
from typing import Final

from kiai.accounts import User
from kiai.errors import NotAuthenticated
from kiai.faces.client.door import Answer, Ask, Banned, Door, Form, Page
from kiai.faces.client.submission_form import (
    IMAGE_MAX,
    REPLAY_MAX,
    Opened,
    holds_the_play,
    open_form,
    read_submission,
)
from kiai.osu.texts import field
from kiai.scores.medals import BY_ID
from kiai.scores.model import Chart
from kiai.scores.submission import Rejected, Submissions

BODY_MAX: Final = 20 * 1024 * 1024
PART_MAX: Final = max(REPLAY_MAX, IMAGE_MAX)

_TROUBLE: Final = str.maketrans("/+", "  ")
_NO: Final = Answer(b"error: no")
Pair = tuple[str, object, object]


class Submit:
    """The handlers of both endpoints."""

    def __init__(self, door: Door, submissions: Submissions, domain: str) -> None:
        self._door = door
        self._submissions = submissions
        self._domain = domain

    async def submit(self, ask: Ask) -> Answer:
        """A play of a present build."""
        return await self._answer(ask, old=False)

    async def submit_old(self, ask: Ask) -> Answer:
        """A play of a build that sends no version."""
        return await self._answer(ask, old=True)

    async def _answer(self, ask: Ask, *, old: bool) -> Answer:
        assert ask.reader is not None
        small = await ask.reader.small()
        try:
            if holds_the_play(
                small, old=old
            ):  # as in the game's own order: the replay comes last, and is taken in for a player
                opened = await open_form(small, old=old)
                user = await self._log_in(opened, small, ask.address)
                form = await ask.reader.whole()
            else:
                form = await ask.reader.whole()
                opened = await open_form(form, old=old)
                user = await self._log_in(opened, form, ask.address)
            sent = read_submission(form, opened, user_agent=ask.headers.get("user-agent", ""))
            chart = await self._submissions.submit(user, sent)
        except Rejected as rejected:
            return Answer(f"error: {rejected.word}".encode())
        except Banned:
            return Answer(b"error: inactive")
        except NotAuthenticated:
            return Answer(b"error: pass")
        return Answer((old_panel if old else panel)(chart, self._domain).encode())

    async def _log_in(self, opened: Opened, form: Form, address: str) -> User:
        return await self._door.log_in(opened.player_name, form.text("pass") or "", address=address)

    def pages(self) -> list[Page]:
        """What this module serves. How often a player may submit is a rule of the submission, which answers 503."""
        return [
            Page(
                "POST",
                path,
                handler,
                fault=_NO,
                haste=None,
                body_max=BODY_MAX,
                part_max=PART_MAX,
                streamed=True,
            )
            for path, handler in (
                ("/web/osu-submit-modular-selector.php", self.submit),
                ("/web/osu-submit-modular.php", self.submit_old),
            )
        ]


def panel(chart: Chart, domain: str) -> str:
    """The three lines of the ranking panel. A value before that there was none of is empty.

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
    """The two lines that builds of the old endpoint read: accuracy is a fraction, and every key is there.

    See docs/spec/submission.md#ranking-panel.
    """
    overall = [
        (name, _fraction(before) if name == "accuracy" else before, _fraction(after) if name == "accuracy" else after)
        for name, before, after in _profile_pairs(chart)
    ]
    standing = chart.map_rank_before or ""
    return "\n".join(
        (
            _about(chart),
            "|".join(
                (
                    "chartId:overall",
                    "chartName:Overall Ranking",
                    "chartEndDate:",
                    f"beatmapRankingBefore:{standing}",
                    f"beatmapRankingAfter:{chart.map_rank_after or ''}",
                    *_pairs(overall),
                    f"achievements:{' '.join(BY_ID[one].file for one in chart.medals if one in BY_ID)}",
                    f"onlineScoreId:{chart.score_id}",
                    "toNextRank:0",
                    "toNextRankUser:",
                )
            ),
        )
    )


def _about(chart: Chart) -> str:
    updated = datetime.fromtimestamp(chart.updated_ms / 1000, UTC)
    return "|".join(
        (
            f"beatmapId:{chart.map_id}",
            f"beatmapSetId:{chart.set_id}",
            f"beatmapPlaycount:{chart.plays}",
            f"beatmapPasscount:{chart.passes}",
            f"approvedDate:{updated:%Y-%m-%d %H:%M:%S}",
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
    return "+".join(field(text).translate(_TROUBLE) for text in (medal.file, medal.name, medal.description))

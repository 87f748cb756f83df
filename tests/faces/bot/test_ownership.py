"""`!claim`: wrong codes are counted and limited, and never repeated anywhere."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs
from tests.builders import Run, World, a_player

from kiai.chat.bot import Bot
from kiai.faces.bot.ownership import FAILURES_PER_MINUTE, OwnershipCommands
from kiai.ids import SequenceIds
from kiai.osu.privileges import OWNER
from kiai.realtime.port import Session, Status
from kiai.staff.ownership import Ownership
from kiai.storage.port import Database

WRONG = "0000-0000-0000-{:04}"


class Claims:
    """A server without owner, and players who try to claim it."""

    def __init__(self, world: World, *, limited: bool = True) -> None:
        self.world = world
        self.ownership = Ownership(world.database, world.accounts, world.clock, world.folder, first_player_owns=False)
        self.code = world.run(self.ownership.claim_code()).code
        self.anna, self.boris = world.add_player(a_player("anna")), world.add_player(a_player("boris"))
        self._bot = Bot(world.accounts, world.realtime, world.clock, SequenceIds(), limited=False)
        self._bot.learn(OwnershipCommands(self.ownership, world.realtime, limited=limited).commands())

    def claim(self, user_id: int, code: str) -> str:
        """What the bot answers; its line and this one are the asker's alone."""
        session = Session(token="a", user_id=user_id, name="x", priv=3, login_time_ms=0, status=Status(mode=0))
        answer = self.world.run(self._bot.hear(session, "", f"!claim {code}"))
        assert answer is not None
        assert answer.hidden
        [line] = answer.lines
        return line


@pytest.fixture
def claims(database: Database, run: Run, tmp_path: Path) -> Claims:
    return Claims(World(database, run, tmp_path))


def test_wrong_codes_are_limited_as_wrong_passwords_are(claims: Claims) -> None:
    answers = [claims.claim(claims.boris, WRONG.format(number)) for number in range(FAILURES_PER_MINUTE)]

    assert all("wrong or no longer valid" in answer for answer in answers)
    assert "Too many wrong codes" in claims.claim(claims.boris, WRONG.format(99))
    assert "Too many wrong codes" in claims.claim(claims.boris, claims.code)
    assert "You are the owner" in claims.claim(claims.anna, claims.code), "nobody locks anybody else out"
    assert claims.world.user(claims.boris).priv == 3


def test_the_limit_is_over_after_a_minute(claims: Claims) -> None:
    for number in range(FAILURES_PER_MINUTE):
        claims.claim(claims.boris, WRONG.format(number))
    claims.world.clock.advance(61)

    assert "You are the owner" in claims.claim(claims.boris, claims.code)
    assert claims.world.user(claims.boris).priv == OWNER


def test_without_rate_limits_only_the_code_counts(database: Database, run: Run, tmp_path: Path) -> None:
    claims = Claims(World(database, run, tmp_path), limited=False)
    for number in range(FAILURES_PER_MINUTE + 1):
        claims.claim(claims.boris, WRONG.format(number))

    assert "You are the owner" in claims.claim(claims.boris, claims.code)


def test_the_log_tells_who_tried_and_never_what(claims: Claims) -> None:
    with capture_logs() as logged:
        answers = [claims.claim(claims.boris, WRONG.format(1)), claims.claim(claims.boris, claims.code)]

    assert [(one["event"], one["user_id"]) for one in logged] == [
        ("claim refused", claims.boris),
        ("server claimed", claims.boris),
    ]
    for text in (*map(str, logged), *answers):
        assert "0000-0000" not in text
        assert claims.code not in text


def test_an_owner_made_meanwhile_is_told(claims: Claims) -> None:
    claims.claim(claims.anna, claims.code)

    assert "wrong or no longer valid" in claims.claim(claims.boris, claims.code)


def test_a_claim_without_a_code_gets_the_usage_line(claims: Claims) -> None:
    assert "Usage: !claim <code>" in claims.claim(claims.boris, "")

"""`!claim`: wrong codes are limited, and codes are in no log and no answer."""

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
    """A server without owner, and players who claim it."""

    def __init__(self, world: World, *, limited: bool = True) -> None:
        self.world = world
        self.ownership = Ownership(world.database, world.accounts, world.clock, world.folder, first_player_owns=False)
        self.code = world.run(self.ownership.claim_code()).code
        self.anna, self.boris = world.add_player(a_player("anna")), world.add_player(a_player("boris"))
        self._bot = Bot(world.accounts, world.realtime, world.clock, SequenceIds(), limited=False)
        self._bot.register(OwnershipCommands(self.ownership, world.realtime, limited=limited).commands())

    def claim(self, user_id: int, code: str) -> str:
        """Return the answer of the bot. Command and answer must be hidden from other players."""
        session = Session(token="a", user_id=user_id, name="x", priv=3, login_time_ms=0, status=Status(mode=0))
        answer = self.world.run(self._bot.on_message(session, "", f"!claim {code}"))
        assert answer is not None
        assert answer.hidden
        [line] = answer.lines
        return line


@pytest.fixture
def claims(database: Database, run: Run, tmp_path: Path) -> Claims:
    return Claims(World(database, run, tmp_path))


def test_wrong_codes_are_limited_per_player(claims: Claims) -> None:
    answers = [claims.claim(claims.boris, WRONG.format(number)) for number in range(FAILURES_PER_MINUTE)]

    assert all("code is not valid" in answer for answer in answers)
    assert "Too many wrong codes" in claims.claim(claims.boris, WRONG.format(99))
    assert "Too many wrong codes" in claims.claim(claims.boris, claims.code)
    assert "You are now the owner" in claims.claim(claims.anna, claims.code), "the limit does not affect other players"
    assert claims.world.user(claims.boris).priv == 3


def test_limit_of_wrong_codes_ends_after_a_minute(claims: Claims) -> None:
    for number in range(FAILURES_PER_MINUTE):
        claims.claim(claims.boris, WRONG.format(number))
    claims.world.clock.advance(61)

    assert "You are now the owner" in claims.claim(claims.boris, claims.code)
    assert claims.world.user(claims.boris).priv == OWNER


def test_wrong_codes_are_not_limited_without_rate_limits(database: Database, run: Run, tmp_path: Path) -> None:
    claims = Claims(World(database, run, tmp_path), limited=False)
    for number in range(FAILURES_PER_MINUTE + 1):
        claims.claim(claims.boris, WRONG.format(number))

    assert "You are now the owner" in claims.claim(claims.boris, claims.code)


def test_log_has_user_id_and_no_code(claims: Claims) -> None:
    with capture_logs() as logged:
        answers = [claims.claim(claims.boris, WRONG.format(1)), claims.claim(claims.boris, claims.code)]

    assert [(entry["event"], entry["user_id"]) for entry in logged] == [
        ("claim refused", claims.boris),
        ("server claimed", claims.boris),
    ]
    for text in (*map(str, logged), *answers):
        assert "0000-0000" not in text
        assert claims.code not in text


def test_code_is_not_valid_after_another_player_claimed(claims: Claims) -> None:
    claims.claim(claims.anna, claims.code)

    assert "code is not valid" in claims.claim(claims.boris, claims.code)


def test_claim_without_code_gets_usage_line(claims: Claims) -> None:
    assert "Usage: !claim <code>" in claims.claim(claims.boris, "")

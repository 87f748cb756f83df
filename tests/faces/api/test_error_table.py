"""The status codes of refusals: a limit of time answers 429, a state that is full or so already 409."""

import pytest

from kiai.errors import Conflict, KiaiError, NotATarget, OutRanked, Refused, TooOften, WrongState
from kiai.faces.api.errors import error_response_of


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (TooOften("you can send 5 reports per hour", 60.0), 429, "You can send 5 reports per hour."),
        (WrongState("there are 1000 notes about alice already"), 409, "There are 1000 notes about alice already."),
        (Conflict("report"), 409, "report is already taken."),
        (OutRanked(), 403, "only a higher role can act on this user."),
        (NotATarget("you can't do that to yourself"), 403, "you can't do that to yourself."),
        (Refused("the rules say no"), 400, "the rules say no."),
    ],
)
def test_refusals_have_the_code_of_their_kind(error: KiaiError, code: int, text: str) -> None:
    answer = error_response_of(error, version=2)

    assert (answer.code, answer.status) == (code, text)


@pytest.mark.parametrize(("after_s", "header"), [(0.0, "1"), (0.2, "1"), (720.1, "721")])
def test_a_limit_of_time_says_when_it_ends(after_s: float, header: str) -> None:
    answer = error_response_of(TooOften("you can send 5 reports per hour", after_s), version=2)

    assert dict(answer.headers) == {"Retry-After": header}

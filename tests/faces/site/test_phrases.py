"""Phrases of the domain on pages: each has a message for the catalogues."""

import ast
import re
from collections.abc import Iterator
from importlib import resources
from typing import Final

import pytest

from kiai.faces.site.locale import LANGUAGES, locale_of
from kiai.faces.site.phrases import ALLOWED, CLANS, MEDALS, REASONS, known
from kiai.osu.names import clan_name_fault, clan_tag_fault, email_fault, name_fault, password_fault
from kiai.scores.medals import MEDALS as ALL_MEDALS

SOURCES: Final = (
    *("own_account/exports.py", "own_account/names.py", "own_account/deletion.py", "own_account/profile.py"),
    *("entry/passkeys.py", "entry/second_factors.py", "entry/security.py", "entry/registration.py"),
    *("accounts/api_keys.py", "accounts/relationships.py", "scores/pins.py", "scores/what_if.py"),
    *("beatmaps/set_comments.py", "beatmaps/favourites.py", "beatmaps/set_search.py", "staff/reports.py"),
    *("clans/acts.py", "clans/act_limits.py", "clans/icons.py", "clans/model.py", "clans/naming.py"),
    *("staff/map_requests.py", "staff/nominations.py", "staff/pool_acts.py", "multiplayer/pools.py"),
)
"""The modules whose errors pages show."""
OF_STAFF: Final = (
    *("1 to 7 characters", "the outcome, in 1 to 7 characters", "the report is already closed"),
    "only players nominate; set the status instead",
)


KINDS: Final = {"Refused": 0, "NotATarget": 0, "WrongState": 0, "LacksRole": 0, "WrongClanCode": 0, "Invalid": 1}
"""The errors, each with the place of its text among the arguments."""


def samples(node: ast.expr) -> Iterator[str]:
    """Yield the texts of an expression of the source, with 7 in place of each value."""
    if isinstance(node, ast.IfExp):
        yield from samples(node.body)
        yield from samples(node.orelse)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "7" for part in node.values)


def errors() -> Iterator[str]:
    for name in SOURCES:
        source = resources.files("kiai").joinpath(*name.split("/")).read_text("utf-8")
        for node in ast.walk(ast.parse(source)):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
                continue
            if (at := KINDS.get(node.func.id)) is not None:
                yield from (text for text in samples(node.args[at]) if text not in OF_STAFF)


CLAN_NAMES: Final = ("a", "a.b", " ab", "a_ b", "BanchoBot")
NAMES: Final = ("a", "a" * 16, "a.b", "a\tb", " ab", "a_ b", "123", "BanchoBot")
PASSWORDS: Final = ("short", "x\0" + "abcdefgh", "aabbccaabb", "password", "player name")


@pytest.mark.parametrize("text", sorted(set(errors())))
def test_error_has_a_message(text: str) -> None:
    assert known(text) is not None


def test_faults_of_names_have_messages() -> None:
    faults = [name_fault(name) for name in NAMES]
    faults += [password_fault(password, name="Player Name", email="a@b.cd") for password in PASSWORDS]
    faults += [*(clan_name_fault(name) for name in CLAN_NAMES), clan_tag_fault("a b")]
    faults += [email_fault("x"), email_fault("a" * 300)]

    assert all(faults)
    assert [fault for fault in faults if known(fault or "") is None] == []


@pytest.mark.parametrize("language", [language for language in LANGUAGES if language != "en"])
def test_condition_of_every_medal_is_translated(language: str) -> None:
    locale = locale_of(language)
    for medal in ALL_MEDALS:
        shown = locale.phrase(medal.description)

        assert shown != medal.description
        assert "%(" not in shown
        numbers = re.findall(r"\d[\d ]*\d|\d", medal.description)
        assert all(number in shown for number in numbers), (medal.description, shown)


def test_conditions_stay_in_english() -> None:
    assert locale_of("en").phrase("Pass a map of 5 stars without No Fail.") == "Pass a map of 5 stars without No Fail."


def test_unknown_phrase_stays_as_it_is() -> None:
    assert locale_of("de").phrase("somebody broke it") == "somebody broke it"


def test_the_most_exact_phrase_is_chosen() -> None:
    assert known("a whole number from 0 to 905, the map's maximum") == (
        "a whole number from 0 to %(a)s, the map's maximum",
        {"a": "905"},
    )
    assert known("at most 100 favourites are allowed") == ("at most %(a)s favourites are allowed", {"a": "100"})


def test_each_phrase_is_listed_once() -> None:
    phrases = (*MEDALS, *ALLOWED, *CLANS, *REASONS)

    assert len(phrases) == len(set(phrases))

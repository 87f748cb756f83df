import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiai.osu.names import NAME_PATTERN, email_fault, name_fault, password_fault, password_md5, safe_name


@pytest.mark.parametrize("name", ["ab", "A b", "a_b", "[Toy]-box", "x" * 15, "1a", "Olds", "my_older"])
def test_ordinary_name_is_valid(name: str) -> None:
    assert name_fault(name) is None


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a",
        "x" * 16,
        "jörg",
        "a.b",
        "a\nb",
        "ab\n",
        "٣٤٥",
        " ab",
        "ab ",
        "a  b",
        "a b_c",
        "12345",
        "BanchoBot",
        "System",
        "everyone",
        "DeletedUser",
        "deleteduser_7",
        "me_old",
        "Me Old",
    ],
)
def test_invalid_name_has_a_fault(name: str) -> None:
    assert name_fault(name)


def test_names_reserved_by_the_caller_are_invalid() -> None:
    assert name_fault("Help Desk") is None
    assert name_fault("Help Desk", reserved={"help_desk"})


@given(st.text())
def test_name_without_fault_matches_the_pattern(name: str) -> None:
    matches = re.fullmatch(NAME_PATTERN, name) is not None

    assert matches or name_fault(name) is not None


@given(st.from_regex(NAME_PATTERN))
def test_case_and_spaces_do_not_change_the_safe_name(name: str) -> None:
    assert safe_name(name.upper()) == safe_name(name.replace(" ", "_")) == safe_name(safe_name(name))


@pytest.mark.parametrize("email", ["a@b.c", "first.last+tag@mail.example.com", "jörg@exämple.de"])
def test_ordinary_address_is_valid(email: str) -> None:
    assert email_fault(email) is None


@pytest.mark.parametrize(
    "email",
    ["", "a", "a@b", "@b.c", "a@.c", "a@b.", "a@b..c", "a@b@c.d", "a b@c.d", "a@b.c\n", "a\0@b.c", "a" * 250 + "@b.cd"],
)
def test_invalid_address_has_a_fault(email: str) -> None:
    assert email_fault(email)


@pytest.mark.parametrize("password", ["correct horse 7", "pässwörter", "x1y2z3w4", "a" * 29 + "bcd"])
def test_ordinary_password_is_valid(password: str) -> None:
    assert password_fault(password, name="alice", email="alice@example.com") is None


@pytest.mark.parametrize(
    "password",
    [
        "short7!",
        "x1y2z3w4" * 4 + "!",
        "abcabcabcabc",
        "tab\tinside",
        "Some Player",
        "some_player",
        "Some@Example.com",
        "password123",
        "QWERTYUIOP",
    ],
)
def test_weak_password_has_a_fault(password: str) -> None:
    assert password_fault(password, name="Some Player", email="some@example.com")


def test_password_md5_is_lower_case_hex() -> None:
    assert password_md5("password") == "5f4dcc3b5aa765d61d8327deb882cf99"

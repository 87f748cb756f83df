import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiai.osu.names import NAME_PATTERN, email_fault, name_fault, password_fault, password_md5, safe_name


@pytest.mark.parametrize("name", ["ab", "A b", "a_b", "[Toy]-box", "x" * 15, "1a", "Olds", "my_older"])
def test_an_ordinary_name_is_fine(name: str) -> None:
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
def test_a_name_against_the_rules_is_refused_with_a_reason(name: str) -> None:
    assert name_fault(name)


def test_the_house_may_reserve_more_names() -> None:
    assert name_fault("Help Desk") is None
    assert name_fault("Help Desk", reserved={"help_desk"})


@given(st.text())
def test_a_name_without_fault_fits_the_pattern(name: str) -> None:
    fitting = re.fullmatch(NAME_PATTERN, name) is not None

    assert fitting or name_fault(name) is not None


@given(st.from_regex(NAME_PATTERN))
def test_names_that_look_alike_share_their_safe_name(name: str) -> None:
    assert safe_name(name.upper()) == safe_name(name.replace(" ", "_")) == safe_name(safe_name(name))


@pytest.mark.parametrize("email", ["a@b.c", "first.last+tag@mail.example.com", "jörg@exämple.de"])
def test_an_ordinary_address_is_fine(email: str) -> None:
    assert email_fault(email) is None


@pytest.mark.parametrize(
    "email",
    ["", "a", "a@b", "@b.c", "a@.c", "a@b.", "a@b..c", "a@b@c.d", "a b@c.d", "a@b.c\n", "a\0@b.c", "a" * 250 + "@b.cd"],
)
def test_what_is_no_address_is_refused_with_a_reason(email: str) -> None:
    assert email_fault(email)


@pytest.mark.parametrize("password", ["correct horse 7", "pässwörter", "x1y2z3w4", "a" * 29 + "bcd"])
def test_an_ordinary_password_is_fine(password: str) -> None:
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
def test_a_weak_password_is_refused_with_a_reason(password: str) -> None:
    assert password_fault(password, name="Some Player", email="some@example.com")


def test_the_client_sends_the_md5_in_lower_case_hex() -> None:
    assert password_md5("password") == "5f4dcc3b5aa765d61d8327deb882cf99"

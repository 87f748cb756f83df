import pytest

from kiai.osu.countries import COUNTRIES, is_country


@pytest.mark.parametrize(("code", "number"), [("xx", 0), ("oc", 1), ("de", 56), ("jp", 111), ("us", 225), ("mf", 252)])
def test_countries_have_the_ids_of_the_client(code: str, number: int) -> None:
    assert COUNTRIES[code][0] == number


def test_ids_fit_a_byte_and_codes_have_two_characters() -> None:
    assert len({number for number, _ in COUNTRIES.values()}) == len(COUNTRIES) == 253
    for code, (number, name) in COUNTRIES.items():
        assert code == code.lower()
        assert len(code) == 2
        assert 0 <= number <= 255
        assert name.strip() == name != ""


def test_only_known_lower_case_codes_are_countries() -> None:
    assert is_country("de")
    assert is_country("xx")
    assert not is_country("DE")
    assert not is_country("zz")
    assert not is_country("a1")
    assert not is_country("")

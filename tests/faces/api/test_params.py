"""The parser of query strings."""

from typing import Annotated, Literal

import msgspec
import pytest
from msgspec import Meta

from kiai.errors import Invalid
from kiai.faces.api.params import QueryReader


class Query(msgspec.Struct, frozen=True):
    """One optional parameter of each type."""

    name: Annotated[str, Meta(max_length=15)] | None = None
    key: Literal["id", "username"] | None = None
    number: Annotated[int, Meta(ge=0, le=9)] | None = None
    real: Annotated[float, Meta(ge=0, le=9)] | None = None
    flag: bool | None = None
    reals: list[Annotated[float, Meta(ge=0, le=9)]] = []


READER = QueryReader(Query)


@pytest.mark.parametrize("text", ["null", "Null", "NULL"])
def test_null_is_an_ordinary_text(text: str) -> None:
    assert READER.read(f"name={text}") == Query(name=text)


@pytest.mark.parametrize("name", ["key", "number", "real", "flag", "reals"])
@pytest.mark.parametrize("text", ["null", "Null", "None", "", "[]", "{}", '"id"'])
def test_invalid_value_is_rejected_with_the_parameters_name(name: str, text: str) -> None:
    with pytest.raises(Invalid, match=f"^{name} must be") as raised:
        READER.read(f"{name}={text}")

    assert raised.value.field == name


def test_value_of_each_type_is_parsed() -> None:
    parsed = READER.read("name=a&key=id&number=7&real=1.5&flag=TRUE&reals=1&reals=2.5")

    assert parsed == Query(name="a", key="id", number=7, real=1.5, flag=True, reals=[1.0, 2.5])

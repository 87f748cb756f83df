"""The list of accounts when the database takes too long."""

import asyncio
from typing import Any, Final, cast

import pytest

from kiai.accounts import User
from kiai.errors import TooSlow
from kiai.faces.forms import Form
from kiai.faces.site.admin.user_lists import TOO_MANY, TOO_SLOW, UserListPages
from kiai.faces.site.locale import locale_of
from kiai.faces.site.page import QueryString, SiteRequest, View, Visitor
from kiai.osu.privileges import ADMINISTRATOR
from kiai.staff.user_search import UserSearch


class SlowSearch:
    """A search whose lists exceed their time limit."""

    async def listed(self, *_: object, **__: object) -> None:
        raise TooSlow("database")

    private = export = listed


# Only the id and the privileges matter here.
INSPECTS: Final = User(**{**dict.fromkeys(User.__struct_fields__, 0), "id": 3, "priv": 3 | ADMINISTRATOR})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("path", "query", "sentence"),
    [
        ("/admin/users", {"seen_until": "2020-01-01"}, TOO_SLOW),
        ("/admin/users", {"q": "203.0.113.7"}, TOO_MANY),
        ("/admin/users.csv", {"seen_until": "2020-01-01"}, TOO_SLOW),
    ],
    ids=["filters", "address", "file"],
)
def test_list_that_takes_too_long_says_why(path: str, query: dict[str, str], sentence: str) -> None:
    pages = {page.path: page for page in UserListPages(cast(UserSearch, SlowSearch())).pages()}
    request = SiteRequest(
        method="GET",
        url=path,
        path={},
        query=QueryString(query),
        form=Form(),
        headers={},
        cookies={},
        address="192.0.2.1",
        now_ms=0,
        visitor=Visitor(user=INSPECTS),
        locale=locale_of("en"),
    )

    answer: Any = asyncio.run(cast(Any, pages[path].handler(request)))

    assert isinstance(answer, View)
    assert answer.status == 422
    assert answer.values["sentence"] == sentence

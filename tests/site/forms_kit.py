"""A server with rows of a test's own, and forms that are sent at once or without a page. For tests of forms.

A module overrides the fixture `rows` of `conftest.py` with `migrated_rows`; the fixture `server` then serves its data.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from tests.patience import join
from tests.site.kit import Browser, FormOnPage
from tests.wire.kit import cli
from tests.wire.rows import Rows


@contextmanager
def migrated_rows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rows]:
    """Make a data folder with an empty database, and close it at the end."""
    data = tmp_path_factory.mktemp("site") / "data"
    cli(data, "migrate")
    rows = Rows(data)
    yield rows
    rows.close()


def at_once(forms: Sequence[FormOnPage], button: str | None = None) -> list[int]:
    """Press a button of forms at the same time. Return the sorted statuses."""
    statuses: list[int] = []

    def press(form: FormOnPage) -> None:
        statuses.append(form.press(button, follow=False).status)

    threads = [threading.Thread(target=press, args=(form,)) for form in forms]
    for thread in threads:
        thread.start()
    for thread in threads:
        join(thread)
    return sorted(statuses)


def token_field(browser: Browser) -> dict[str, str]:
    """Return the field with the token of a player, for forms that are sent without their page."""
    return {"csrf_token": str(browser.get("/medals").one('input[name="csrf_token"]').attributes["value"])}

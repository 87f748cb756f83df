"""The details of audit rows in words: `kiai.faces.site.admin.audit_details`."""

import json

import pytest

from kiai.faces.site.admin.audit_details import SHOWN_MAX, VALUE_MAX, ChangedValue, details_of


def test_values_that_an_act_has_changed_are_shown_with_those_before_it() -> None:
    details = details_of(
        json.dumps({"before": {"priv": 3, "name": "alice"}, "after": {"priv": 2, "name": "alice"}, "wipe": True})
    )

    assert details.changes == (ChangedValue("priv", "3", "2"),)
    assert details.facts == (("wipe", "yes"),)
    assert not details.more


@pytest.mark.parametrize(
    ("before", "after", "change"),
    [
        ({}, {"tier": "supporter"}, ChangedValue("tier", "nothing", "supporter")),
        (None, {"tier": "supporter"}, ChangedValue("tier", "nothing", "supporter")),
        ({"tier": "supporter"}, None, ChangedValue("tier", "supporter", "nothing")),
        ("open", "closed", ChangedValue("value", "open", "closed")),
        ({"roles": ["a", "b"]}, {"roles": []}, ChangedValue("roles", "a, b", "nothing")),
        ({"on": False}, {"on": {"since": 5}}, ChangedValue("on", "no", '{"since":5}')),
    ],
)
def test_value_before_and_after_can_be_of_any_kind(before: object, after: object, change: ChangedValue) -> None:
    assert details_of(json.dumps({"before": before, "after": after})).changes == (change,)


def test_row_is_bounded() -> None:
    facts = {f"name {number}": "x" * 10_000 for number in range(1_000)}
    details = details_of(json.dumps({**facts, "before": {}, "after": facts}))

    assert details.more
    assert (len(details.facts), len(details.changes)) == (SHOWN_MAX, SHOWN_MAX)
    assert {len(value) for _, value in details.facts} == {VALUE_MAX}


@pytest.mark.parametrize("text", ["", "[]", "{", "5"])
def test_text_that_is_no_object_is_shown_as_it_is(text: str) -> None:
    assert details_of(text).changes == ()

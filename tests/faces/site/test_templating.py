"""Templates: compiled once for all languages, and before the first request."""

import asyncio

import jinja2
import pytest

from kiai.faces.site import templating
from kiai.faces.site.assets import Assets
from kiai.faces.site.locale import locale_of
from kiai.faces.site.templating import Templates


def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """Return a list that gets the names of the templates that are compiled from now on."""
    names: list[str | None] = []
    compile_ = jinja2.Environment.compile

    def count(self: jinja2.Environment, source: str, name: str | None = None, *args: object) -> object:
        names.append(name)
        return compile_(self, source, name, *args)  # type: ignore[call-overload]

    monkeypatch.setattr(jinja2.Environment, "compile", count)
    return names


def test_no_template_is_compiled_by_a_request_after_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    templates = Templates(Assets(), {})
    names = compiled(monkeypatch)
    monkeypatch.setattr(templating, "COMPILE_AFTER_S", 0.0)
    asyncio.run(templates.compile_all())
    assert {"layout.html", "profile.html", "settings/profile.html", "components/people.html"} <= set(names)
    assert len(names) == len(set(names))
    names.clear()

    for language in ("en", "de", "ja"):
        templates._environment(language).get_template("settings/profile.html")

    assert names == []


def test_shared_code_has_no_text_of_one_language(monkeypatch: pytest.MonkeyPatch) -> None:
    templates = Templates(Assets(), {})
    source = '{{ "fi"|country_name }} {{ 1234|number }} {% set name = "de"|country_name %}{{ name }}'
    monkeypatch.setattr(templates, "_loader", jinja2.DictLoader({"x.html": source}))

    shown = {language: templates.render("x.html", locale_of(language), {}) for language in ("en", "de")}

    assert shown == {"en": "Finland 1,234 Germany", "de": "Finnland 1.234 Deutschland"}

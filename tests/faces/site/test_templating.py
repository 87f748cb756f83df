"""Templates: compiled once for all languages, and before the first request."""

import asyncio

import jinja2
import pytest
from structlog.testing import capture_logs
from tests.faces.site.test_failure import SITE, scope_of

from kiai.faces.site import templating
from kiai.faces.site.assets import Assets
from kiai.faces.site.failure import FailurePages
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


def page(templates: Templates) -> bytes:
    """Return a page of these templates."""
    found = FailurePages(templates).page(scope_of(accept="text/html"), 503)
    assert found is not None
    return found[1]


@pytest.fixture(scope="module")
def prepared() -> Templates:
    """Templates whose code was compiled by the other process."""
    templates = Templates(Assets(), SITE)
    page(templates)  # the first one, which begins the compilation
    asyncio.run(templates.compile_all())
    return templates


def test_no_template_is_compiled_by_a_page_after_the_start(
    prepared: Templates, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = compiled(monkeypatch)

    for language in ("en", "de", "ja"):
        for name in prepared.names():
            prepared._environment(language).get_template(name)

    assert {"layout.html", "profile.html", "settings/profile.html", "components/people.html"} <= set(prepared.names())
    assert names == []


def test_code_from_the_process_is_the_code_that_a_page_compiles(prepared: Templates) -> None:
    alone = Templates(Assets(), {})
    for name in prepared.names():
        environment = alone._environment("en")
        here = environment.compile(environment.loader.get_source(environment, name)[0], name)  # type: ignore[union-attr]
        prepared._environment("en").get_template(name)
        assert prepared._code._codes[name] == here


def test_the_server_does_not_compile_in_its_own_process(monkeypatch: pytest.MonkeyPatch) -> None:
    templates = Templates(Assets(), {})
    names = compiled(monkeypatch)
    monkeypatch.setattr(templating, "COMPILE_AFTER_S", 0.0)
    asyncio.run(templates.compile_all())
    assert names == []


def test_pages_compile_their_templates_when_the_process_cannot_start() -> None:
    templates = Templates(Assets(), SITE)
    page(templates)
    with capture_logs() as lines:
        asyncio.run(templates.compile_all(["/nowhere/python"]))
    assert [line["event"] for line in lines] == ["templates are not compiled in advance"]
    assert b"Maintenance" in page(templates)


def test_shared_code_has_no_text_of_one_language(monkeypatch: pytest.MonkeyPatch) -> None:
    templates = Templates(Assets(), {})
    source = '{{ "fi"|country_name }} {{ 1234|number }} {% set name = "de"|country_name %}{{ name }}'
    monkeypatch.setattr(templates, "_loader", jinja2.DictLoader({"x.html": source}))

    shown = {language: templates.render("x.html", locale_of(language), {}) for language in ("en", "de")}

    assert shown == {"en": "Finland 1,234 Germany", "de": "Finnland 1.234 Deutschland"}

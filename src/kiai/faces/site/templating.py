"""The templates: the Jinja2 environment with the functions that every template has.

Functions that format depend on the language, so each language has an environment of its own. All share the loader and
the compiled code, in which nothing depends on the language.
"""

import asyncio
import contextlib
import functools
import itertools
import re
import sys
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any, Final
from urllib.parse import quote_plus

import jinja2
from markupsafe import Markup, escape

from kiai.errors import Unavailable
from kiai.faces.site.assets import FLAGS, Assets
from kiai.faces.site.chart_drawing import chart_rows, columns, polyline, strain_area
from kiai.faces.site.formats import iso
from kiai.faces.site.locale import DEFAULT, LANGUAGES, Locale, locale_of
from kiai.faces.site.rows import Drawings, Rows
from kiai.faces.site.signs import attribute, avatar_path, masked, mod_drawings, sign_functions
from kiai.faces.site.template_code import SharedCode, TemplateGenerator, packed
from kiai.logs import get_logger
from kiai.osu.countries import COUNTRIES
from kiai.process_pool import JobTimedOut, WorkerCrashed, WorkerPool
from kiai.version import VERSION

NO_VALUE: Final = "-"
NO_COUNTRY: Final = "xx"
DRAWINGS_MAX: Final = 1_024
"""Icons and flags in the cache of a language."""
COMPILE_AFTER_S: Final = 20.0
COMPILE_CPU_S: Final = 10.0
COMPILE_COMMAND: Final = (sys.executable, "-P", "-m", "kiai.faces.site.template_compiler")


class _Environment(jinja2.Environment):
    """An environment whose templates have no globals of their own."""

    def make_globals(self, d: MutableMapping[str, Any] | None) -> MutableMapping[str, Any]:
        # PERF: with a ChainMap, as Jinja2 has it, each import of a page's dozen compares all names one by one.
        if d:
            raise ValueError("templates have no globals of their own")
        return self.globals


class Templates:
    """Renders templates in the languages of the website."""

    def __init__(self, assets: Assets, site: Mapping[str, object]) -> None:
        self._assets = assets
        self._site = {**site, "version": VERSION, "languages": LANGUAGES}
        folder = resources.files("kiai.faces.site").joinpath("templates")
        self._loader = jinja2.FunctionLoader(lambda name: _without_indent(folder.joinpath(name).read_text("utf-8")))
        self._folder = folder
        self._code = SharedCode()
        self._environments: dict[str, jinja2.Environment] = {}
        self._asked = asyncio.Event()  # set by the first page

    async def compile_all(self, command: Sequence[str] = COMPILE_COMMAND) -> None:
        """Compile all templates in another process, so that no later request compiles one.

        It begins at the first page, or `COMPILE_AFTER_S` seconds after the start, when players and the other workers
        have returned. If it fails, pages compile their templates themselves.
        """
        # PERF: all templates take a second. A thread delayed polls by up to 25 ms: it holds the interpreter's lock.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(COMPILE_AFTER_S):
                await self._asked.wait()
        worker = WorkerPool(
            "templates", command, size=1, waiting_max=1, per_caller_max=1, wait_s=COMPILE_CPU_S, idle_s=None
        )
        try:
            for name in self.names():
                if name not in self._code:
                    self._code.add(name, await worker.run_job("site", name.encode(), bytes, cpu_s=COMPILE_CPU_S))
        except (Unavailable, WorkerCrashed, JobTimedOut) as error:
            get_logger("site").warning("templates are not compiled in advance", reason=str(error))
        finally:
            await worker.close()

    def compile(self, name: str) -> bytes:
        """Return the compiled code of a template in the form that `SharedCode.add` takes."""
        environment = self._environment(DEFAULT)
        source, _, _ = self._loader.get_source(environment, name)
        return packed(environment.compile(source, name))

    def names(self) -> Iterator[str]:
        """Return the names of all templates."""
        return _names(self._folder)

    def render(self, template: str, locale: Locale, values: Mapping[str, Any]) -> str:
        """Return a rendered template. Its text is escaped except where it says otherwise."""
        self._asked.set()
        # Ids of form controls are unique on a page, whatever forms it has.
        ids = itertools.count(1)
        values = {**values, "next_id": lambda: f"f{next(ids)}"}
        return self._environment(locale.language).get_template(template).render(values)

    def _environment(self, language: str) -> jinja2.Environment:
        if language not in self._environments:
            self._environments[language] = self._build(locale_of(language))
        return self._environments[language]

    def _build(self, locale: Locale) -> jinja2.Environment:
        environment = _Environment(
            loader=self._loader,
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=jinja2.StrictUndefined,
            extensions=["jinja2.ext.i18n"],
            auto_reload=False,
            bytecode_cache=self._code,
            optimized=False,
        )
        environment.code_generator_class = TemplateGenerator
        catalogue, formats = locale.catalogue, locale.formats
        environment.install_gettext_callables(catalogue.gettext, catalogue.ngettext, newstyle=True)  # type: ignore[attr-defined]
        environment.globals["_"] = _translator(catalogue.gettext)
        environment.globals["pgettext"] = _translator_in(catalogue.pgettext)
        flag = functools.lru_cache(DRAWINGS_MAX)(functools.partial(self._flag, locale))
        flag_in_row = functools.lru_cache(DRAWINGS_MAX)(functools.partial(self._flag, locale, titled=False))
        signs = sign_functions(self._assets.path)
        # PERF: a page repeats few icons and flags; building one takes 30 us.
        icon = functools.lru_cache(DRAWINGS_MAX)(self._icon)
        grade_sign = functools.lru_cache(DRAWINGS_MAX)(functools.partial(_grade_sign, catalogue.gettext, signs["sign"]))
        # PERF: the call of a filter costs a tenth of the call of a function, which Jinja2 examines first.
        environment.filters.update(
            number=formats.number,
            pp=formats.pp,
            accuracy=formats.accuracy,
            compact=formats.compact,
            flag=flag,
            country_name=functools.partial(_country_name, locale),
            ago=_ago,
            stat=_stat_of,
            avatar_path=avatar_path,
            mod_icons=signs["mod_icons"],
            grade_sign=grade_sign,
            phrase=locale.phrase,
        )
        environment.globals.update(
            site=self._site,
            locale=locale,
            number=formats.number,
            pp=formats.pp,
            accuracy=formats.accuracy,
            stars=formats.stars,
            compact=formats.compact,
            length=formats.length,
            play_time=formats.play_time,
            day=formats.day,
            moment=formats.moment,
            asset=self._assets.path,
            has_asset=self._assets.has,
            icon=icon,
            flag=flag,
            country_name=functools.partial(_country_name, locale),
            stat=stat,
            table_rows=Rows(locale, Drawings(flag_in_row, icon, grade_sign, mod_drawings)),
            polyline=polyline,
            strain_area=strain_area,
            chart_rows=chart_rows,
            chart_columns=columns,
            figure_tile=figure_tile,
            url=url,
            link=_link,
            strong=_strong,
            ago=_ago,
            csrf=_csrf,
            **signs,
        )
        return environment

    def _icon(self, name: str, label: str = "") -> Markup:
        """Return an icon of the sprite. Without a label it is decoration, which screen readers skip."""
        spoken = Markup('role="img" aria-label="{}"').format(label) if label else Markup('aria-hidden="true"')
        path = self._assets.path("icons.svg") if self._assets.has("icons.svg") else ""
        return Markup('<svg class="icon" {}><use href="{}#{}"/></svg>').format(spoken, path, name)

    def _flag(self, locale: Locale, country: str, *, labelled: bool = True, titled: bool = True) -> Markup:
        """Return the flag of a country. `labelled` is False where the country's name is next to it.

        `titled` is False in long tables, where the script of the page adds the tooltip.
        """
        code = country.upper()
        name = f"{FLAGS}{code}.svg"
        if country.lower() == NO_COUNTRY or not self._assets.has(name):
            return Markup("")
        title = _country_name(locale, country)
        label = attribute("alt", title if labelled else "")
        if labelled and titled:
            label += f" {attribute('title', title)}"
        return Markup(f"<img class=flag src={self._assets.path(name)} {label}>")  # noqa: S704  # escaped


def _without_indent(source: str) -> str:
    """Return a template without the white space at the start of its lines, which is a tenth of a page."""
    return re.sub(r"^[ \t]+", "", source, flags=re.MULTILINE)


def _names(folder: Traversable, path: str = "") -> Iterator[str]:
    """Return the names of all HTML templates below a folder."""
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            yield from _names(entry, f"{path}{entry.name}/")
        elif entry.name.endswith(".html"):
            yield f"{path}{entry.name}"


def _translator(gettext: Callable[[str], str]) -> Callable[..., Markup]:
    """Return the function `_` of templates: a message in the visitor's language, with its values escaped."""

    # PERF: a page has a hundred messages, most of them without values. Templates have a fixed number of messages.
    @functools.cache
    def plain(message: str) -> Markup:
        return Markup(gettext(message)) % {}  # noqa: S704  # messages come from templates and catalogues

    def translate(message: str, **values: object) -> Markup:
        return Markup(gettext(message)) % values if values else plain(message)  # noqa: S704

    return translate


def _translator_in(pgettext: Callable[[str, str], str]) -> Callable[[str, str], Markup]:
    """Return the function `pgettext` of templates: a message that has several meanings, and its context."""

    @functools.cache
    def translate(context: str, message: str) -> Markup:
        return Markup(pgettext(context, message))  # noqa: S704  # messages come from templates and catalogues

    return translate


def stat(name: str, raw: object, shown: object = None) -> Markup:
    """Return a figure with its raw value for programs. A missing value is None; it is shown as a dash."""
    value = "" if raw is None else raw
    text = shown if shown is not None else NO_VALUE if raw is None else raw
    # PERF: an f-string is ten times as fast as `Markup.format`, and a page has hundreds of figures and times.
    return Markup(f'<data value="{escape(value)}" data-stat="{escape(name)}">{escape(text)}</data>')  # noqa: S704


def figure_tile(
    label: object, name: str, raw: object, shown: object = None, note: str = "", key: bool = False, title: str = ""
) -> Markup:
    """Return a figure with its label, for a list of figures. `key` emphasises it; `title` is its tooltip."""
    # PERF: a profile has fifteen figures; a macro takes four times as long for each.
    tooltip = f' title="{escape(title)}"' if title else ""
    small = f' <span class="small">{escape(note)}</span>' if note else ""
    return Markup(  # noqa: S704  # texts are escaped
        f'<div class="figure{" key" if key else ""}"{tooltip}><dt>{escape(label)}</dt>'
        f"<dd>{stat(name, raw, shown)}{small}</dd></div>"
    )


def _stat_of(raw: object, name: str, shown: object = None) -> Markup:
    """Return the same as `stat`, as a filter of the raw value."""
    return stat(name, raw, shown)


def url(path: str, **parameters: object) -> str:
    """Return a path with a query. Parameters that are None or empty are left out; `page` also when it is 1."""
    given = {
        name: value
        for name, value in parameters.items()
        if value is not None and value != "" and not (name == "page" and value == 1)
    }
    if not given:
        return path
    # PERF: most values are numbers and words, for which `quote_plus` has nothing to do.
    pairs = [
        f"{name}={text if text.isascii() and text.isalnum() else quote_plus(text)}"
        for name, text in ((name, str(value)) for name, value in given.items())
    ]
    return f"{path}?{'&'.join(pairs)}"


def _grade_sign(text: Callable[[str], str], sign: Callable[..., Markup], letter: str, big: bool = False) -> Markup:
    """Return the drawing of a grade, with its name for screen readers."""
    names = {
        "XH": text("SS with Hidden or Flashlight"),
        "X": "SS",
        "SH": text("S with Hidden or Flashlight"),
        "F": text("Failed"),
        "N": text("No grade"),
    }
    label = names.get(letter, letter)
    return sign(f"grade-{letter}", f"grade g-{letter}", label) if big else masked(f"g-{letter}", label)


def _country_name(locale: Locale, country: str) -> str:
    """Return the name of a country in the visitor's language."""
    found = locale.formats.babel.territories.get(country.upper())
    return str(found) if found else COUNTRIES.get(country.lower(), (0, country))[1]


def _link(path: str, text: object) -> Markup:
    """Return a link, for a place in a message."""
    return Markup(f'<a href="{escape(path)}">{escape(text)}</a>')  # noqa: S704  # both are escaped


def _strong(text: object) -> Markup:
    """Return a text in bold, for a place in a message."""
    return Markup(f"<strong>{escape(text)}</strong>")  # noqa: S704  # escaped


@jinja2.pass_context
def _ago(context: jinja2.runtime.Context, at_ms: int) -> Markup:
    """Return a `<time>` element: the distance in words, with the absolute time as its title."""
    formats = context["locale"].formats
    at, words = iso(at_ms), escape(formats.relative(at_ms, context["now_ms"]))
    # PERF: a date in words costs 0.1 ms. The script replaces this title by one in the visitor's language and zone.
    title = f"{at[:10]} {at[11:19]} UTC"
    return Markup(f'<time datetime="{at}" title="{title}">{words}</time>')  # noqa: S704  # `words` is escaped


@jinja2.pass_context
def _csrf(context: jinja2.runtime.Context) -> Markup:
    """Return the hidden field that every writing form contains."""
    token = context["visitor"].csrf_token
    return Markup('<input type="hidden" name="csrf_token" value="{}">').format(token)

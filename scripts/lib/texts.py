"""Collects the texts of the website and updates, compiles or checks the catalogues. See `scripts/texts`."""

import argparse
import ast
import io
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from babel.messages.catalog import Catalog, Message
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po
from jinja2.ext import babel_extract

ROOT: Final = Path(__file__).resolve().parents[2]
SITE: Final = ROOT / "src/kiai/faces/site"
LANGUAGES: Final = ("de", "es", "pl", "ja")
OPTIONS: Final = {"trimmed": "false", "trim_blocks": "true", "lstrip_blocks": "true", "newstyle_gettext": "true"}
COMPILED_AT: Final = datetime(2026, 1, 1, tzinfo=UTC)
PLACEHOLDER: Final = re.compile(r"%\((\w+)\)[sd]|%%")

Found = tuple[str, str | tuple[str, str], str | None]
"""A file, a message, which has two forms if it has a plural, and its context if it has several meanings."""


def in_templates() -> Iterator[Found]:
    """Yield the messages of the templates."""
    for file in sorted((SITE / "templates").rglob("*.*")):
        extracted = babel_extract(io.BytesIO(file.read_bytes()), ("_", "gettext", "ngettext", "pgettext"), (), OPTIONS)
        for _, function, message, _ in extracted:
            name, parts = file.relative_to(ROOT).as_posix(), _as_list(message)
            if function == "pgettext":
                yield name, parts[1], parts[0]
            else:
                yield name, (parts[0], parts[1]) if function == "ngettext" else parts[0], None


def in_modules() -> Iterator[Found]:
    """Yield the messages of the modules: calls of a locale's `text`, `text_in` and `plural`, and marked constants."""
    for file in sorted(SITE.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            words = []
            for argument in node.args:
                if not (isinstance(argument, ast.Constant) and isinstance(argument.value, str)):
                    break
                words.append(argument.value)
            name = file.relative_to(ROOT).as_posix()
            if words and _is_call(node.func, "text", "message"):
                yield name, words[0], None
            elif len(words) >= 2 and _is_call(node.func, "text_in", "message_in"):
                yield name, words[1], words[0]
            elif len(words) >= 2 and _is_call(node.func, "plural", "plural_message"):
                yield name, (words[0], words[1]), None


def _is_call(function: ast.expr, method: str, marker: str) -> bool:
    """Return whether `function` is a method of a locale, an alias of it, or the marker of constants."""
    if isinstance(function, ast.Name):
        return function.id in (method, marker)
    if not isinstance(function, ast.Attribute) or function.attr != method:
        return False
    owner = function.value
    return (owner.id if isinstance(owner, ast.Name) else owner.attr if isinstance(owner, ast.Attribute) else "") in (
        "locale",
        "_locale",
    )


def template() -> Catalog:
    """Return the catalogue of all English messages."""
    catalogue = Catalog(project="kiai", fuzzy=False)
    for file, message, context in [*in_templates(), *in_modules()]:
        catalogue.add(message, locations=[(file, 1)], context=context)
    return catalogue


def path_of(language: str, suffix: str) -> Path:
    """Return the path of the catalogue of a language: `po` is the source, `mo` the compiled form."""
    return SITE / "translations" / language / "LC_MESSAGES" / f"site.{suffix}"


def updated(language: str, source: Catalog) -> Catalog:
    """Return the catalogue of a language with exactly the messages of `source`; new ones have no translation."""
    file = path_of(language, "po")
    if file.is_file():
        with file.open("rb") as stream:
            catalogue = read_po(stream, locale=language)
    else:
        catalogue = Catalog(locale=language, project="kiai", fuzzy=False)
    catalogue.update(source, no_fuzzy_matching=True)
    catalogue.obsolete.clear()
    return catalogue


def po_text(catalogue: Catalog) -> bytes:
    """Return the source form, without dates and line numbers, so that it changes only with the messages."""
    out = io.BytesIO()
    write_po(out, catalogue, omit_header=True, sort_output=True, include_lineno=False, width=110)
    header = (
        f'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=utf-8\\n"\n"Language: {catalogue.locale}\\n"\n'
        f'"Plural-Forms: {catalogue.plural_forms}\\n"\n\n'
    )
    return header.encode() + out.getvalue()


def mo_bytes(catalogue: Catalog) -> bytes:
    """Return the compiled form."""
    out = io.BytesIO()
    complete = read_po(io.BytesIO(po_text(catalogue)), locale=str(catalogue.locale))
    # Babel writes the time of the compilation by default, and the file would change with each run.
    complete.creation_date = complete.revision_date = COMPILED_AT
    write_mo(out, complete)
    return out.getvalue()


def forms(message: Message) -> tuple[list[str], list[str]]:
    """Return the English forms and the translated forms of a message."""
    return _as_list(message.id), _as_list(message.string)


def _as_list(forms: object) -> list[str]:
    parts = forms.values() if isinstance(forms, dict) else forms if isinstance(forms, tuple | list) else [forms]
    return ["" if part is None else str(part) for part in parts]


def faults(language: str, source: Catalog) -> Iterator[str]:
    """Yield what is wrong with the catalogue of a language."""
    for suffix in ("po", "mo"):
        if not path_of(language, suffix).is_file():
            yield f"{language}: no {path_of(language, suffix).relative_to(ROOT)}"
            return
    catalogue = updated(language, source)
    if po_text(catalogue) != path_of(language, "po").read_bytes():
        yield f"{language}: the messages have changed; run scripts/texts"
    elif mo_bytes(catalogue) != path_of(language, "mo").read_bytes():
        yield f"{language}: site.mo is not compiled from site.po; run scripts/texts"
    for message in catalogue:
        if not message.id:
            continue
        english, translated = forms(message)
        if not all(translated) or len(translated) < (catalogue.num_plurals if len(english) > 1 else 1):
            yield f"{language}: no translation of {english[0]!r}"
            continue
        allowed = {name for form in english for name in PLACEHOLDER.findall(form)}
        wanted = set(PLACEHOLDER.findall(english[-1]))
        for form in translated:
            used = set(PLACEHOLDER.findall(form))
            if not used <= allowed or (len(english) == 1 and used != wanted):
                yield f"{language}: other placeholders than {english[-1]!r}: {form!r}"


def main() -> int:
    """Update the catalogues, or check them. Return the exit code."""
    parser = argparse.ArgumentParser(description="Update, compile or check the catalogues of the website.")
    parser.add_argument("--check", action="store_true", help="change nothing; fail if a catalogue is not complete")
    check = parser.parse_args().check
    source = template()
    found = []
    for language in LANGUAGES:
        if check:
            found += list(faults(language, source))
            continue
        catalogue = updated(language, source)
        path_of(language, "po").parent.mkdir(parents=True, exist_ok=True)
        path_of(language, "po").write_bytes(po_text(catalogue))
        path_of(language, "mo").write_bytes(mo_bytes(catalogue))
        missing = sum(not all(forms(message)[1]) for message in catalogue if message.id)
        print(f"{language}: {len(catalogue)} messages, {missing} without a translation")
    for line in found[:50]:
        print(line)
    if found:
        print(f"texts: {len(found)} findings")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

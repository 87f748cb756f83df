"""Parse and validate query strings.

A query Struct declares each parameter once: type, bounds, default, description. The same declaration validates the
value, produces the error text (parameter, allowed values, given value) and becomes the OpenAPI schema. Version 1
ignores unknown parameters; version 2 rejects them by name. A repeated parameter is an error unless its type is a list.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, TypeVar

import msgspec
from falcon import uri
from msgspec import inspect

from kiai.errors import Invalid
from kiai.faces.api.errors import MissingParameter, UnknownParameter

Q = TypeVar("Q", bound=msgspec.Struct)

# `float` and `int` also accept spaces, underscores, "nan", "1e999" and digits of other scripts.
_FLOAT: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,12})?", re.ASCII)
_DIGITS_MAX: Final = 19  # the digits of 2^63 - 1; int() takes quadratic time for long texts


class NoParameters(msgspec.Struct, frozen=True):
    """The query of an endpoint without query parameters."""


class QueryReader(Generic[Q]):
    """Parses query strings (or forms) into one Struct type. A strict reader rejects undeclared parameters."""

    def __init__(self, struct: type[Q], *, strict: bool = False) -> None:
        self._struct = struct
        self._strict = strict
        info = inspect.type_info(struct)
        assert isinstance(info, inspect.StructType)
        self._fields = {field.encode_name: _Field(field) for field in info.fields}
        self._numbers = tuple((name, f.read) for name, f in self._fields.items() if f.read is not None)
        self._lists = tuple(name for name, f in self._fields.items() if f.is_list)
        # PERF: Structs are frozen, so all requests without parameters share one.
        self._defaults = None if any(f.required for f in info.fields) else struct()

    def read(self, query: str) -> Q:
        """Parse a query string. Raises Invalid, MissingParameter, UnknownParameter."""
        if not query and self._defaults is not None:
            return self._defaults
        params: dict[str, Any] = uri.parse_query_string(query, keep_blank=True, csv=False)
        self._refuse_unknown(params)
        for name in self._lists:
            if isinstance(params.get(name), str):
                params[name] = [params[name]]
        for name, read in self._numbers:
            if name in params:
                params[name] = self._number(name, read, params[name])
        return self._converted(params)

    def convert(self, fields: dict[str, Any]) -> Q:
        """Return the fields of a JSON object as a Struct. Raises Invalid, MissingParameter, UnknownParameter."""
        self._refuse_unknown(fields)
        return self._converted(fields)

    def _refuse_unknown(self, params: dict[str, Any]) -> None:
        if self._strict:
            for name in params:
                if name not in self._fields:
                    raise UnknownParameter(name, self._fields)

    def _converted(self, params: dict[str, Any]) -> Q:
        try:
            return msgspec.convert(params, self._struct)  # with strict=False the text "null" would become None
        except msgspec.ValidationError as error:
            raise self._fault(params, str(error)) from None

    def _number(self, name: str, read: Any, text: Any) -> Any:
        if isinstance(text, list):
            if name not in self._lists:
                raise Invalid(name, "given once", f"{len(text)} values")
            return [self._number(name, read, item) for item in text]
        value = read(text)
        if value is None:
            raise Invalid(name, self._fields[name].allowed, text)
        return value

    def _fault(self, params: dict[str, Any], message: str) -> Invalid:
        """Return the error for a message of msgspec, which names the field. The declaration has the allowed values."""
        # msgspec's exceptions carry only text: "Object missing required field `id`", "Expected ... - at `$.id`".
        missing = re.search(r"missing required field `(\w+)`", message)
        if missing:
            return MissingParameter(missing[1], self._fields[missing[1]].allowed)
        where = re.search(r"`\$\.(\w+)", message)
        name = where[1] if where else next(iter(self._fields))
        value = params.get(name)
        if isinstance(value, list) and name not in self._lists:
            return Invalid(name, "given once", f"{len(value)} values")
        return Invalid(name, self._fields[name].allowed, value)


class _Field:
    """One parameter. `read` converts its text, or is None for texts; `allowed` describes the allowed values."""

    def __init__(self, field: inspect.Field) -> None:
        kind, extra = _without_annotations(field.type)
        self.is_list = isinstance(kind, inspect.ListType)
        if isinstance(kind, inspect.ListType):
            kind, extra = _without_annotations(kind.item_type)
        self.read: Callable[[str], object] | None = _READERS.get(type(kind))
        self.allowed: str = extra.get("allowed") or _allowed(kind)


def query_schema(struct: type[msgspec.Struct]) -> dict[str, dict[str, Any]]:
    """Return the OpenAPI keywords that parameters declare in addition to their type (`extra={"schema": ...}`)."""
    info = inspect.type_info(struct)
    assert isinstance(info, inspect.StructType)
    return {
        field.encode_name: extra["schema"]
        for field in info.fields
        if "schema" in (extra := _without_annotations(field.type)[1])
    }


def allowed_words(struct: type[msgspec.Struct]) -> dict[str, str]:
    """Return the allowed values of each parameter, with the text that its errors use."""
    info = inspect.type_info(struct)
    assert isinstance(info, inspect.StructType)
    return {field.encode_name: _Field(field).allowed for field in info.fields}


def _without_annotations(kind: inspect.Type) -> tuple[inspect.Type, dict[str, Any]]:
    """Return a type without annotations and `| None`, and the merged `extra` of its annotations; outer ones win."""
    extra: dict[str, Any] = {}
    while isinstance(kind, inspect.UnionType | inspect.Metadata):
        if isinstance(kind, inspect.Metadata):
            extra = {**(kind.extra or {}), **extra}
            kind = kind.type
        else:
            [kind] = [option for option in kind.types if not isinstance(option, inspect.NoneType)]
    return kind, extra


def _allowed(kind: inspect.Type) -> str:
    if isinstance(kind, inspect.LiteralType):
        return "one of " + ", ".join(str(value) for value in kind.values)
    if isinstance(kind, inspect.BoolType):
        return "true, false, 1 or 0"
    if isinstance(kind, inspect.IntType):
        return f"a whole number from {kind.ge} to {kind.le}"
    if isinstance(kind, inspect.FloatType):
        return f"a number from {kind.ge:g} to {kind.le:g}"
    if isinstance(kind, inspect.StrType):
        return f"a text of {kind.min_length or 1} to {kind.max_length} characters"
    raise TypeError(f"a parameter cannot be {kind}")


def _integer(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX else None


def _boolean(text: str) -> bool | None:
    return {"true": True, "1": True, "false": False, "0": False}.get(text.lower())


def _decimal(text: str) -> float | None:
    return float(text) if _FLOAT.fullmatch(text) else None


_READERS: Final[Mapping[type, Callable[[str], object]]] = {
    inspect.IntType: _integer,
    inspect.FloatType: _decimal,
    inspect.BoolType: _boolean,
}

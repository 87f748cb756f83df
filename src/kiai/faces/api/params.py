"""Query strings into Structs, and wrong ones into sentences.

A query Struct declares each parameter once: type, bounds, default, description. The same declaration validates, words
the error (which parameter, what is allowed, what came) and becomes the OpenAPI schema. Version 1 ignores parameters
that nobody declared, version 2 refuses them by name; a repeated one is an error unless its type is a list.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, TypeVar

import msgspec
from falcon import uri
from msgspec import inspect

from kiai.errors import Invalid
from kiai.faces.api.errors import Missing, Unknown

Q = TypeVar("Q", bound=msgspec.Struct)

_FLOAT: Final = re.compile(r"[0-9]{1,9}(\.[0-9]{1,12})?", re.ASCII)
_DIGITS_MAX: Final = 19


class QueryReader(Generic[Q]):
    """Reads query strings (or forms) as one Struct type. A strict one refuses parameters that nobody declared."""

    def __init__(self, struct: type[Q], *, strict: bool = False) -> None:
        self._struct = struct
        self._strict = strict
        info = inspect.type_info(struct)
        assert isinstance(info, inspect.StructType)
        self._fields = {field.encode_name: _Field(field) for field in info.fields}
        self._numbers = tuple((name, f.read) for name, f in self._fields.items() if f.read is not None)
        self._lists = tuple(name for name, f in self._fields.items() if f.is_list)
        self._nothing = None if any(f.required for f in info.fields) else struct()

    def read(self, query: str) -> Q:
        """The parameters of a query string. Raises Invalid, Missing or Unknown, naming the parameter."""
        if not query and self._nothing is not None:
            return self._nothing
        params: dict[str, Any] = uri.parse_query_string(query, keep_blank=True, csv=False)
        if self._strict:
            for name in params:
                if name not in self._fields:
                    raise Unknown(name, self._fields)
        for name in self._lists:
            if isinstance(params.get(name), str):
                params[name] = [params[name]]
        for name, read in self._numbers:
            if name in params:
                params[name] = self._number(name, read, params[name])
        try:
            return msgspec.convert(params, self._struct)  # strict: loosely, the text "null" would be None
        except msgspec.ValidationError as error:
            raise self._fault(params, str(error)) from None

    def _number(self, name: str, read: Any, text: Any) -> Any:
        if isinstance(text, list):
            if name not in self._lists:
                raise Invalid(name, "given once", f"{len(text)} values")
            return [self._number(name, read, one) for one in text]
        value = read(text)
        if value is None:
            raise Invalid(name, self._fields[name].allowed, text)
        return value

    def _fault(self, params: dict[str, Any], message: str) -> Invalid:
        """msgspec says where; the declaration says what is allowed."""
        missing = re.search(r"missing required field `(\w+)`", message)
        if missing:
            return Missing(missing[1], self._fields[missing[1]].allowed)
        where = re.search(r"`\$\.(\w+)", message)
        name = where[1] if where else next(iter(self._fields))
        value = params.get(name)
        if isinstance(value, list) and name not in self._lists:
            return Invalid(name, "given once", f"{len(value)} values")
        return Invalid(name, self._fields[name].allowed, value)


class _Field:
    """One parameter: how its text becomes a value (None: it stays a text) and what is allowed, in words."""

    def __init__(self, field: inspect.Field) -> None:
        kind, extra = _plain(field.type)
        self.is_list = isinstance(kind, inspect.ListType)
        if isinstance(kind, inspect.ListType):
            kind, extra = _plain(kind.item_type)
        self.read: Callable[[str], object] | None = _READERS.get(type(kind))
        self.allowed: str = extra.get("allowed") or _words(kind)


def shown_schema(struct: type[msgspec.Struct]) -> dict[str, dict[str, Any]]:
    """What the OpenAPI document says of a parameter where the type alone says too little (`extra={"schema": ...}`)."""
    info = inspect.type_info(struct)
    assert isinstance(info, inspect.StructType)
    return {field.encode_name: extra["schema"] for field in info.fields if "schema" in (extra := _plain(field.type)[1])}


def allowed_words(struct: type[msgspec.Struct]) -> dict[str, str]:
    """What each parameter may be, in the words of its errors."""
    info = inspect.type_info(struct)
    assert isinstance(info, inspect.StructType)
    return {field.encode_name: _Field(field).allowed for field in info.fields}


def _plain(kind: inspect.Type) -> tuple[inspect.Type, dict[str, Any]]:
    """A type without its annotations and `| None`, and what was declared beside it, the outer annotation first."""
    extra: dict[str, Any] = {}
    while isinstance(kind, inspect.UnionType | inspect.Metadata):
        if isinstance(kind, inspect.Metadata):
            extra = {**(kind.extra or {}), **extra}
            kind = kind.type
        else:
            [kind] = [one for one in kind.types if not isinstance(one, inspect.NoneType)]
    return kind, extra


def _words(kind: inspect.Type) -> str:
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


def _whole(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _DIGITS_MAX else None


def _truth(text: str) -> bool | None:
    return {"true": True, "1": True, "false": False, "0": False}.get(text.lower())


def _real(text: str) -> float | None:
    return float(text) if _FLOAT.fullmatch(text) else None


_READERS: Final[Mapping[type, Callable[[str], object]]] = {
    inspect.IntType: _whole,
    inspect.FloatType: _real,
    inspect.BoolType: _truth,
}

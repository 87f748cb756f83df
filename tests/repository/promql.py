"""A parser of the part of PromQL that alert rules and dashboards use, which checks metrics, labels and types.

    expression   unary (operator modifiers unary)*       modifiers: bool, on (...), ignoring (...), group_left (...)
    unary        -unary | primary
    primary      number | string | (expression) | selector | function(arguments) | aggregation by (...) (arguments)
    selector     name{label="value", ...}[range]

Precedence of operators is not needed to find what an expression names, and is ignored.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

TARGET_LABELS: Final = frozenset({"job", "instance"})
"""The labels that Prometheus adds to each series of a target."""
OWN: Final = {"up": "gauge"}
"""The metrics that Prometheus makes about a target."""

_TOKEN: Final = re.compile(
    r"""\s*(?:
        (?P<string>"(?:[^"\\]|\\.)*")
      | (?P<duration>\d+(?:ms|[smhdwy])|\$__rate_interval)
      | (?P<number>\d+(?:\.\d+)?(?:e\d+)?)
      | (?P<name>[a-zA-Z_:][\w:]*)
      | (?P<sign>=~|!~|!=|==|>=|<=|[-+*/%^<>=(){}\[\],])
    )""",
    re.VERBOSE,
)
_OPERATORS: Final = frozenset({*"+-*/%^<>", "==", "!=", ">=", "<=", "and", "or", "unless"})
_AGGREGATIONS: Final = frozenset({"sum", "max", "min", "avg", "count", "topk"})
# The arguments of each function: r a range of a counter, g a range of a gauge, v a vector, s a number.
_FUNCTIONS: Final = {
    "rate": "r",
    "increase": "r",
    "changes": "g",
    "max_over_time": "g",
    "predict_linear": "gs",
    "histogram_quantile": "sv",
    "time": "",
}


class Selector(NamedTuple):
    """A use of a metric, and whether it has a range of time."""

    metric: str
    is_range: bool


class Problem(Exception):
    """The expression is invalid, or does not fit the metrics."""


class Metrics:
    """The metrics that exist: the types and the labels by name, both as `/metrics` shows them."""

    def __init__(self, types: Mapping[str, str], labels: Mapping[str, Sequence[str]]) -> None:
        self._types: dict[str, str] = {**OWN}
        self._labels: dict[str, set[str]] = {name: set(TARGET_LABELS) for name in OWN}
        for name, kind in types.items():
            # kiai's label `job` gets another name, because Prometheus has one of that name.
            own = {"exported_job" if label == "job" else label for label in labels[name]} | TARGET_LABELS
            names = [name] if kind != "histogram" else [f"{name}_sum", f"{name}_count", f"{name}_bucket"]
            for each in names:
                self._types[each] = "gauge" if kind == "gauge" else "counter"
                self._labels[each] = own | ({"le"} if each.endswith("_bucket") else set())

    def type_of(self, metric: str) -> str:
        """Return `counter` or `gauge`. Raises Problem if the metric does not exist."""
        if metric not in self._types:
            raise Problem(f"{metric} is no metric")
        return self._types[metric]

    def labels_of(self, metric: str) -> set[str]:
        """Return the labels of a metric that exists."""
        return self._labels[metric]


def check(expression: str, metrics: Metrics) -> set[str]:
    """Return the metrics that an expression names. Raises Problem if it is wrong."""
    return _Parser(expression, metrics).parse()


class _Parser:
    def __init__(self, expression: str, metrics: Metrics) -> None:
        self._metrics = metrics
        self._tokens: list[tuple[str, str]] = []
        at, text = 0, expression.strip()
        while at < len(text):
            token = _TOKEN.match(text, at)
            if token is None or token.lastgroup is None:
                raise Problem(f"unknown characters at {text[at : at + 20]!r}")
            self._tokens.append((token.lastgroup, token[token.lastgroup]))
            at = token.end()
        self._at = 0
        self._named: list[str] = []

    def parse(self) -> set[str]:
        found = self._expression()
        if self._at != len(self._tokens):
            raise Problem(f"unexpected {self._next()!r}")
        for selector in found:
            self._check_instant(selector)
        return set(self._named)

    def _check_instant(self, selector: Selector) -> None:
        if selector.is_range:
            raise Problem(f"{selector.metric} has a range outside of a function")
        if self._metrics.type_of(selector.metric) == "counter":
            raise Problem(f"{selector.metric} is a counter, which says nothing without a function")

    # --- tokens

    def _peek(self) -> str:
        return self._tokens[self._at][1] if self._at < len(self._tokens) else ""

    def _next(self, kind: str | None = None, wanted: str | None = None) -> str:
        if self._at == len(self._tokens):
            raise Problem("the end is missing")
        found = self._tokens[self._at]
        if (kind is not None and found[0] != kind) or (wanted is not None and found[1] != wanted):
            raise Problem(f"{wanted or kind} expected, not {found[1]!r}")
        self._at += 1
        return found[1]

    def _skip(self, wanted: str) -> bool:
        if self._peek() != wanted:
            return False
        self._at += 1
        return True

    # --- grammar: each method returns the metrics that no function has checked yet

    def _expression(self) -> set[Selector]:
        found = self._unary()
        while self._peek() in _OPERATORS:
            self._next()
            self._skip("bool")
            matched = self._label_list() if self._skip("on") or self._skip("ignoring") else set()
            if self._skip("group_left") and self._peek() == "(":
                self._label_list()
            found = found | self._unary()
            if matched - self._labels_of(self._named):
                raise Problem(f"no series has the labels {sorted(matched)}")
        return found

    def _unary(self) -> set[Selector]:
        while self._skip("-"):
            pass
        if self._skip("("):
            found = self._expression()
            self._next("sign", ")")
            return found
        kind = self._tokens[self._at][0] if self._at < len(self._tokens) else "end"
        if kind in ("number", "string"):
            self._next()
            return set()
        name = self._next("name")
        if name in _AGGREGATIONS:
            return self._aggregation()
        if self._peek() == "(":
            return self._call(name)
        return {self._selector(name)}

    def _label_list(self) -> set[str]:
        self._next("sign", "(")
        found = set()
        while not self._skip(")"):
            found.add(self._next("name"))
            self._skip(",")
        return found

    def _aggregation(self) -> set[Selector]:
        kept = self._label_list() if self._skip("by") else set()
        before = len(self._named)
        found = {selector for argument in self._arguments() for selector in argument}
        existing = self._labels_of(self._named[before:])
        if kept - existing:
            raise Problem(f"no series has the labels {sorted(kept - existing)}")
        return found

    def _labels_of(self, metrics: Sequence[str]) -> set[str]:
        return {label for metric in metrics for label in self._metrics.labels_of(metric)}

    def _arguments(self) -> list[set[Selector]]:
        self._next("sign", "(")
        found: list[set[Selector]] = []
        while not self._skip(")"):
            found.append(self._expression())
            if self._peek() != ")":
                self._next("sign", ",")
        return found

    def _call(self, name: str) -> set[Selector]:
        if name not in _FUNCTIONS:
            raise Problem(f"{name} is no function that this parser knows")
        arguments, wanted = self._arguments(), _FUNCTIONS[name]
        if len(arguments) != len(wanted):
            raise Problem(f"{name} takes {len(wanted)} arguments")
        left: set[Selector] = set()
        for kind, argument in zip(wanted, arguments, strict=True):
            if kind in "vs":
                left |= argument
                continue
            if len(argument) != 1 or not all(selector.is_range for selector in argument):
                raise Problem(f"{name} needs a range of one metric")
            [selector] = argument
            if (self._metrics.type_of(selector.metric) == "counter") != (kind == "r"):
                raise Problem(f"{name} does not suit {selector.metric}, a {self._metrics.type_of(selector.metric)}")
        return left

    def _selector(self, metric: str) -> Selector:
        self._metrics.type_of(metric)
        self._named.append(metric)
        if self._skip("{"):
            while not self._skip("}"):
                label = self._next("name")
                if label not in self._metrics.labels_of(metric):
                    raise Problem(f"{metric} has no label {label}")
                if self._next("sign") not in ("=", "!=", "=~", "!~"):
                    raise Problem(f"a comparison expected after {label}")
                self._next("string")
                self._skip(",")
        is_range = self._skip("[")
        if is_range:
            self._next("duration")
            self._next("sign", "]")
        return Selector(metric, is_range)

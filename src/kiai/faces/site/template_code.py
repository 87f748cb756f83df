"""The compiled code of templates: how it is generated, stored and shared by all languages."""

import marshal
import zlib
from keyword import iskeyword
from types import CodeType
from typing import Any, Final

import jinja2
from jinja2 import nodes
from jinja2.bccache import Bucket
from jinja2.compiler import CodeGenerator, Frame

WITH_CONTEXT: Final = ("ago", "csrf", "gettext", "ngettext")
"""Functions of templates that read the values of the page."""


def packed(code: CodeType) -> bytes:
    """Return code as bytes that `SharedCode` unpacks, in the same version of Python."""
    return zlib.compress(marshal.dumps(code))


class SharedCode(jinja2.BytecodeCache):
    """The compiled code of templates, for all languages of this process."""

    def __init__(self) -> None:
        self._codes: dict[str, CodeType] = {}
        # Most pages are never opened on a small server: packed, their code takes a fifth of the memory.
        self._packed: dict[str, bytes] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._codes or name in self._packed

    def add(self, name: str, code: bytes) -> None:
        """Add the packed code of a template. The bytes must come from this program: they are executed."""
        self._packed[name] = code

    def get_cache_key(self, name: str, filename: str | None = None) -> str:
        """Return the name: each template has one source."""
        return name

    def load_bytecode(self, bucket: Bucket) -> None:
        """Implement `BytecodeCache`."""
        waiting = self._packed.pop(bucket.key, None)
        if waiting is not None:
            self._codes.setdefault(bucket.key, marshal.loads(zlib.decompress(waiting)))  # noqa: S302  # our own
        bucket.code = self._codes.get(bucket.key)

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Implement `BytecodeCache`."""
        assert bucket.code is not None
        self._codes[bucket.key] = bucket.code


class TemplateGenerator(CodeGenerator):
    """Compiles a template. It computes no constant expressions: a filter of a constant may give a text in one language.

    PERF: a page calls a hundred functions and writes five hundred values. The generated code calls functions directly:
    Jinja2 looks for a wish for its context in each call, which only `WITH_CONTEXT` have. It writes HTML as it is: to
    escape it would only copy it. Both together were a third of the time of a page.
    """

    def visit_Call(self, node: nodes.Call, frame: Frame, forward_caller: bool = False) -> None:  # noqa: N802
        """Write a call (the visitor of Jinja2 for this node)."""
        function = node.node
        if (isinstance(function, nodes.Name) and function.name in WITH_CONTEXT) or any(
            iskeyword(argument.key) for argument in node.kwargs
        ):
            super().visit_Call(node, frame, forward_caller=forward_caller)
            return
        self.visit(function, frame)
        self.write("(")
        for value in node.args:
            self.visit(value, frame)
            self.write(", ")
        for argument in node.kwargs:
            self.write(f"{argument.key}=")
            self.visit(argument.value, frame)
            self.write(", ")
        if forward_caller:
            self.write("caller=caller, ")
        for stars, more in (("*", node.dyn_args), ("**", node.dyn_kwargs)):
            if more is not None:
                self.write(stars)
                self.visit(more, frame)
                self.write(", ")
        self.write(")")

    def _output_child_pre(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:
        if frame.eval_ctx.volatile or not frame.eval_ctx.autoescape:
            super()._output_child_pre(node, frame, finalize)
        else:
            self.write("(shown if (shown := ")

    def _output_child_post(self, node: nodes.Expr, frame: Frame, finalize: Any) -> None:
        if frame.eval_ctx.volatile or not frame.eval_ctx.autoescape:
            super()._output_child_post(node, frame, finalize)
        else:
            self.write(").__class__ is Markup else escape(shown))")

    def _output_child_to_const(self, node: nodes.Expr, frame: Frame, finalize: Any) -> str:
        if not isinstance(node, nodes.TemplateData | nodes.Const):
            raise nodes.Impossible
        return super()._output_child_to_const(node, frame, finalize)

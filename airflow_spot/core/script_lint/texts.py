"""Paths that a script puts together of parts whose text it has: ``os.path.join("/opt/ml", "checkpoints")``."""

from __future__ import annotations

import ast
import posixpath
from collections.abc import Mapping, Sequence

from airflow_spot.core.script_lint.program import Key, Module, Program

_JOINS = ("os.path.join", "pathlib.Path", "pathlib.PurePath", "pathlib.PosixPath", "Path", "posixpath.join")
_DEFAULTS = ("os.environ.get", "os.getenv", "environ.get", "getenv")
#: Of a chain of names.
_DEPTH = 6


class Texts:
    """
    What expressions are, where they are text.

    :param definitions: all that a value may be, as expressions.
    """

    def __init__(self, program: Program, definitions: Mapping[Key, Sequence[tuple[Module, ast.expr]]]) -> None:
        self._program = program
        self._definitions = definitions
        self._known: dict[ast.AST, str] = {}

    def joined(self, module: Module, node: ast.AST) -> str:
        """Return the path that an expression puts together; empty where it does not, or a part is not known."""
        if not isinstance(node, (ast.BinOp, ast.JoinedStr, ast.Call)):
            return ""
        if node not in self._known:
            self._known[node] = self._text(module, node, _DEPTH) or ""
        return self._known[node]

    def _text(self, module: Module, node: ast.AST, depth: int) -> str | None:
        """Return an expression's text, as far as it is known from the left; None where nothing is."""
        if isinstance(node, ast.Constant):
            return node.value if isinstance(node.value, str) else None
        if not depth:
            return None
        if isinstance(node, (ast.Name, ast.Attribute)):
            key = self._program.key(module, node) if isinstance(node, ast.Name) else ("attribute", node.attr)
            values = self._definitions.get(key, ())
            return self._text(*values[0], depth - 1) if len(values) == 1 else None
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            left = self._text(module, node.left, depth - 1)
            return None if left is None else left + (self._text(module, node.right, depth - 1) or "")
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            return self._path(module, [node.left, node.right], depth)
        if isinstance(node, ast.JoinedStr) and node.values:
            return "".join(self._text(module, each, depth - 1) or "\0" for each in node.values)
        if isinstance(node, ast.FormattedValue):
            return self._text(module, node.value, depth - 1)
        if isinstance(node, ast.Call):
            return self._call(module, node, depth)
        return None

    def _call(self, module: Module, node: ast.Call, depth: int) -> str | None:
        name = module.dotted(node.func)
        if name in _JOINS:
            return self._path(module, node.args, depth)
        if isinstance(node.func, ast.Attribute) and node.func.attr == "joinpath":
            return self._path(module, [node.func.value, *node.args], depth)
        if name == "str" and node.args:
            return self._text(module, node.args[0], depth - 1)
        return self._text(module, node.args[1], depth - 1) if name in _DEFAULTS and len(node.args) > 1 else None

    def _path(self, module: Module, parts: Sequence[ast.expr], depth: int) -> str | None:
        texts = [self._text(module, each, depth - 1) for each in parts]
        if not texts or texts[0] is None:
            return None
        return posixpath.normpath(posixpath.join(*(each if each is not None else "\0" for each in texts)))

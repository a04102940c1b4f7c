"""A script and the modules beside it, parsed: what a name stands for, and which function a call enters."""

from __future__ import annotations

import ast
import io
import posixpath
import re
import tokenize
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
#: What a value is kept under: a name in a scope, an attribute (or a mapping's key) of whatever, a function's result.
Key = tuple[str, ...]

#: Bytes of modules that are followed: what is beyond it is mostly not the user's.
_LIMIT = 500_000

#: Methods of one name that a call may enter: looking at each of hundreds of ``forward`` takes minutes.
_ANY = 12

_IGNORE = re.compile(r"#\s*airflow-spot:\s*ignore\[([^\]]*)\]")


class TooLarge(SyntaxError):
    """A file of a size that takes more than seconds to look at, and that nobody writes by hand."""


@dataclass(eq=False)
class Function:
    """A function of the program; ``owner`` is its class, if any."""

    module: Module
    node: FunctionNode
    name: str
    owner: ast.ClassDef | None

    @cached_property
    def parameters(self) -> list[str]:
        """The names that positional arguments are bound to; without ``self``."""
        names = [each.arg for each in (*self.node.args.posonlyargs, *self.node.args.args)]
        static = any(
            isinstance(each, ast.Name) and each.id == "staticmethod"
            for each in getattr(self.node, "decorator_list", ())
        )
        return names[1:] if self.owner is not None and not static else names

    @property
    def key(self) -> Key:
        """What its result is kept under."""
        return ("result", self.module.path, f"{self.name}:{self.node.lineno}")


@dataclass(eq=False)
class Module:
    """One file."""

    path: str
    tree: ast.Module
    ignored: Mapping[int, frozenset[str]]
    #: The local name of what was imported -> its dotted name.
    imports: dict[str, str] = field(default_factory=dict)

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """All of its nodes, in the order of the text."""
        return list(_walk(self.tree))

    @cached_property
    def parents(self) -> dict[ast.AST, ast.AST]:
        """Of each node, the one around it."""
        return {child: node for node in self.nodes for child in ast.iter_child_nodes(node)}

    def around(self, node: ast.AST) -> Iterator[ast.AST]:
        """Yield what a node is in, from the inside out."""
        while (parent := self.parents.get(node)) is not None:
            yield parent
            node = parent

    @cached_property
    def _scopes(self) -> dict[ast.AST, FunctionNode | None]:
        found: dict[ast.AST, FunctionNode | None] = {self.tree: None}
        for node in self.nodes:  # what is around a node comes before it
            inside = node if isinstance(node, FunctionNode) else found[node]
            for child in ast.iter_child_nodes(node):
                found[child] = inside
        return found

    def scope(self, node: ast.AST) -> FunctionNode | None:
        """Return the function that a node is in; None at the top."""
        return self._scopes.get(node)

    @cached_property
    def locals(self) -> dict[FunctionNode | None, set[str]]:
        """The names that each scope binds."""
        found: dict[FunctionNode | None, set[str]] = defaultdict(set)
        shared: dict[FunctionNode | None, set[str]] = defaultdict(set)
        for node in self.nodes:
            if isinstance(node, FunctionNode):
                given = node.args
                every = (*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg)
                found[node].update(each.arg for each in every if each is not None)
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found[self.scope(node)].add(node.id)
            elif isinstance(node, ast.Global):
                shared[self.scope(node)].update(node.names)
        for scope, names in shared.items():
            found[scope] -= names
            found[None] |= names
        return found

    def dotted(self, node: ast.AST) -> str:
        """Return the full name of what an expression names: ``torch.save``, ``self.model.save``, ``?.save``."""
        if isinstance(node, ast.Name):
            return self.imports.get(node.id, node.id)
        if isinstance(node, ast.Attribute):
            return f"{self.dotted(node.value)}.{node.attr}"
        if isinstance(node, ast.Call):
            return f"{self.dotted(node.func)}()"
        return "?"


class Program:
    """
    A script and what it imports from beside it.

    :param sources: the files below the source folder, by their relative path.
    :param entry_point: the script among them.
    :raises SyntaxError: the script itself cannot be parsed.
    """

    def __init__(self, sources: Mapping[str, bytes], entry_point: str) -> None:
        self.modules: dict[str, Module] = {}
        self.unreadable: dict[str, str] = {}
        self._sources = sources
        self._sizes: dict[str, int] = {}
        self._roots = list(dict.fromkeys((posixpath.dirname(entry_point), "")))
        self.entry = self._add(entry_point)
        waiting = [self.entry]
        while waiting:
            for path in self._imported(waiting.pop()):
                if path in self.modules or path in self.unreadable:
                    continue
                if sum(self._sizes.values()) > _LIMIT:
                    self.unreadable[path] = f"not looked at: it imports more than {_LIMIT // 1000} kB of modules"
                    continue
                try:
                    waiting.append(self._add(path))
                except SyntaxError as error:
                    self.unreadable[path] = why_not(error)
        self.functions: list[Function] = []
        self.classes: dict[str, list[tuple[Module, ast.ClassDef]]] = defaultdict(list)
        self._collect()

    def _add(self, path: str) -> Module:
        text = self._sources[path]
        self._sizes[path] = len(text)
        if len(text) > _LIMIT:
            raise TooLarge(f"it has more than {_LIMIT // 1000} kB")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(text, filename=path)
        except (ValueError, RecursionError, MemoryError) as error:
            raise SyntaxError(str(error)) from None
        self.modules[path] = module = Module(path, tree, _ignored(text))
        return module

    def _imported(self, module: Module) -> Iterator[str]:
        """Note what a module imports; yield the files of it that lie beside the script."""
        here = posixpath.dirname(module.path)
        for node in module.nodes:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    module.imports[alias.asname or alias.name.partition(".")[0]] = (
                        alias.name if alias.asname else alias.name.partition(".")[0]
                    )
                    yield from self._files(alias.name, self._roots)
            elif isinstance(node, ast.ImportFrom):
                roots, base = self._roots, node.module or ""
                if node.level:
                    up = here
                    for _ in range(node.level - 1):
                        up = posixpath.dirname(up)
                    roots = [up]
                yield from self._files(base, roots)
                for alias in node.names:
                    whole = f"{base}.{alias.name}" if base else alias.name
                    module.imports[alias.asname or alias.name] = whole
                    yield from self._files(whole, roots)

    def _files(self, name: str, roots: list[str]) -> Iterator[str]:
        if not name:
            return
        below = name.replace(".", "/")
        for root in roots:
            for end in (f"{below}.py", f"{below}/__init__.py"):
                if (path := posixpath.join(root, end)) in self._sources:
                    yield path
                    return

    def module_named(self, name: str) -> Module | None:
        """Return the program's own module of a dotted name."""
        for path in self._files(name, self._roots):
            return self.modules.get(path)
        last = [each for each in self.modules if each.endswith(f"/{name.rpartition('.')[2]}.py")]
        return self.modules[last[0]] if len(last) == 1 else None

    def _collect(self) -> None:
        for module in self.modules.values():
            for node in module.nodes:
                if isinstance(node, ast.ClassDef):
                    self.classes[node.name].append((module, node))
                if isinstance(node, FunctionNode):
                    owner = module.parents.get(node)
                    name = getattr(node, "name", "<lambda>")
                    self.functions.append(
                        Function(module, node, name, owner if isinstance(owner, ast.ClassDef) else None)
                    )

    @cached_property
    def _by_node(self) -> dict[FunctionNode, Function]:
        return {each.node: each for each in self.functions}

    @cached_property
    def _plain(self) -> dict[str, list[Function]]:
        return _grouped((each.name, each) for each in self.functions if each.owner is None)

    @cached_property
    def _methods(self) -> dict[str, list[Function]]:
        return _grouped((each.name, each) for each in self.functions if each.owner is not None)

    @cached_property
    def _constructors(self) -> dict[str, list[Function]]:
        """By the class's name."""
        return _grouped((each.owner.name, each) for each in self._methods.get("__init__", ()) if each.owner)

    def function_of(self, module: Module, node: ast.AST) -> Function | None:
        """Return the function that a node is in."""
        scope = module.scope(node)
        return self._by_node.get(scope) if scope is not None else None

    def called(self, module: Module, call: ast.Call) -> list[Function]:
        """Return the program's functions that a call may enter; the constructor's for a class."""
        return self.named(module, call.func)

    def named(self, module: Module, node: ast.expr) -> list[Function]:
        """Return the program's functions that an expression may name."""
        if isinstance(node, ast.Name):
            name = module.imports.get(node.id, node.id)
            before, _, last = name.rpartition(".")
            if before and self.module_named(before) is None:
                return []
            if last in self.classes:
                return self._constructors.get(last, [])
            return self._plain.get(last, [])
        if isinstance(node, ast.Attribute):
            if isinstance(node.value, ast.Name) and node.value.id in module.imports:
                own = self.module_named(module.imports[node.value.id])
                if own is not None:
                    return [each for each in self._plain.get(node.attr, ()) if each.module is own]
                if not self.classes.get(module.imports[node.value.id].rpartition(".")[2]):
                    return []
            found = self._methods.get(node.attr, [])
            return found if len(found) <= _ANY else self._likely(module, node, found)
        return []

    def _likely(self, module: Module, node: ast.Attribute, found: list[Function]) -> list[Function]:
        """Return some of many methods of one name: that of the class itself, where it is ``self`` that has it."""
        own = next((each for each in module.around(node) if isinstance(each, ast.ClassDef)), None)
        if own is not None and isinstance(node.value, ast.Name) and node.value.id == "self":
            found = [each for each in found if each.owner is own] or found
        return found[:_ANY]

    def key(self, module: Module, node: ast.Name) -> Key:
        """Return what the value of a name is kept under."""
        scope = module.scope(node)
        while scope is not None:
            if node.id in module.locals[scope]:
                return self.local_key(module, scope, node.id)
            scope = module.scope(scope)
        if node.id in module.imports and node.id not in module.locals[None]:
            before, _, last = module.imports[node.id].rpartition(".")
            if before and (own := self.module_named(before)) is not None:
                return ("name", own.path, "", last)
        return ("name", module.path, "", node.id)

    @staticmethod
    def local_key(module: Module, scope: FunctionNode, name: str) -> Key:
        """Return what the value of a function's own name is kept under."""
        return ("name", module.path, f"{scope.lineno}:{scope.col_offset}", name)

    @cached_property
    def calls(self) -> list[tuple[Module, ast.Call]]:
        """All calls."""
        return [
            (module, node) for module in self.modules.values() for node in module.nodes if isinstance(node, ast.Call)
        ]

    def imports(self, *names: str) -> bool:
        """Return whether it imports one of these packages, or something in them."""
        tops = {whole.partition(".")[0] for module in self.modules.values() for whole in module.imports.values()}
        return not tops.isdisjoint(names)


def why_not(error: SyntaxError) -> str:
    """Return why a file could not be parsed, without its text."""
    if isinstance(error, TooLarge):
        return str(error.msg)
    return f"not Python {'.'.join(map(str, _version()))}: {error.msg}" + (
        f", line {error.lineno}" if error.lineno else ""
    )


def _version() -> tuple[int, int]:
    import sys

    return sys.version_info[:2]


def _grouped(pairs: Iterable[tuple[str, Function]]) -> dict[str, list[Function]]:
    found: dict[str, list[Function]] = defaultdict(list)
    for name, function in pairs:
        found[name].append(function)
    return dict(found)


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for child in ast.iter_child_nodes(node):
        yield from _walk(child)


def _ignored(text: bytes) -> dict[int, frozenset[str]]:
    """Return the rules that comments silence, by line."""
    found: dict[int, frozenset[str]] = {}
    try:
        for token in tokenize.tokenize(io.BytesIO(text).readline):
            if token.type == tokenize.COMMENT and (match := _IGNORE.search(token.string)):
                found[token.start[0]] = frozenset(name.strip() for name in match[1].split(","))
    except (tokenize.TokenError, SyntaxError):
        pass
    return found

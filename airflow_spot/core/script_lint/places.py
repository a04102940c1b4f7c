"""Which expressions of a script name the checkpoint folder, the model's folder or the data's, or something below."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator

from airflow_spot.core.script_lint.program import Function, FunctionNode, Key, Module, Program
from airflow_spot.core.script_lint.rules import CHECKPOINTS
from airflow_spot.core.script_lint.texts import Texts

#: OPTION is a folder that the script is told, by an argument or a configuration: it may be any of the others.
CHECKPOINT, MODEL, DATA, OUTPUT, OPTION = "checkpoint", "model", "data", "output", "option"
Flags = frozenset[str]
_NONE: Flags = frozenset()

_WORD = re.compile(r"check_?points?|ckpts?|chkpts?|snapshots?", re.IGNORECASE)
_PLACE = re.compile(
    r"(dir|dirs|path|paths|folder|file|filename|files|root|prefix|location|loc|local|name|fn|uri|base|out|home)$",
    re.IGNORECASE,
)
_MODEL = re.compile(r"^(sm_)?(model_?(dir|path|folder|output)|output_model.*)$", re.IGNORECASE)
_DATA = re.compile(
    r"^(sm_channel.*|(train|training|data|dataset|test|validation|val)(_?(dir|path|folder|file))?)$", re.I
)

#: Functions whose result names a place if an argument does.
_PASSES = {
    "os.path.join", "os.path.abspath", "os.path.realpath", "os.path.normpath", "os.path.expanduser", "os.path.basename",
    "os.path.dirname", "os.path.splitext", "os.fspath", "os.listdir", "os.scandir", "os.walk", "pathlib.Path", "Path",
    "pathlib.PurePath", "pathlib.PosixPath", "str", "glob.glob", "glob.iglob", "sorted", "list", "tuple", "set", "max",
    "min", "next", "iter", "reversed", "filter", "map", "enumerate", "zip", "fnmatch.filter", "natsort.natsorted",
    "os.path.expandvars", "repr", "transformers.trainer_utils.get_last_checkpoint", "tf.train.latest_checkpoint",
    "tensorflow.train.latest_checkpoint",
}  # fmt: skip
#: Methods whose result names a place if what they are called on does.
_METHODS = {
    "joinpath", "glob", "rglob", "iterdir", "with_suffix", "with_name", "with_stem", "resolve", "absolute",
    "expanduser", "rstrip", "lstrip", "strip", "replace", "split", "rsplit", "partition", "rpartition", "removesuffix",
    "removeprefix", "as_posix", "lower", "upper", "copy", "pop", "relative_to", "group", "__truediv__",
}  # fmt: skip
_PARTS = {"name", "stem", "parent", "suffix", "parents", "parts", "path"}
#: They make an argument of each field of the classes that they are given, such as output_dir.
_PARSERS = ("HfArgumentParser", "TrlParser", "LightningCLI", "add_argparse_args", "simple_parsing.parse")
_ENVIRONMENT = {"os.environ.get", "os.getenv", "environ.get", "os.environ.setdefault", "os.environ.pop"}


def looks_like_checkpoints(name: str) -> bool:
    """Return whether a name is one of a checkpoint folder or file, rather than of a number or of what is in it."""
    found = _WORD.search(name)
    if found is None:
        return False
    # "checkpoints", but not "checkpoint", which mostly is what was loaded.
    return bool(_PLACE.search(name)) or (found[0].lower().endswith("s") and name.strip("_-").endswith(found[0]))


def _option_place(name: str) -> Flags:
    if looks_like_checkpoints(name) or _WORD.fullmatch(name.strip("_-")):
        return frozenset({CHECKPOINT})
    return _named_place(name)


def _named_place(name: str) -> Flags:
    for pattern, place in ((_MODEL, MODEL), (_DATA, DATA), (_PLACE, OPTION)):
        if pattern.search(name):
            return frozenset({place})
    return _NONE


class Places:
    """
    What the program's values name, by following assignments, calls and results, whatever their order.

    :param folder: where SageMaker keeps checkpoints in the container.
    :param options: arguments that are known to name it, such as by the job's hyperparameters.
    """

    def __init__(self, program: Program, folder: str = CHECKPOINTS, options: Iterable[str] = ()) -> None:
        self._program = program
        self._folder = folder.rstrip("/") or CHECKPOINTS
        self._options = {name.strip("-").replace("-", "_") for name in options}
        self._values: dict[Key, Flags] = {}
        #: All that a value may be, as expressions.
        self.definitions: dict[Key, list[tuple[Module, ast.expr]]] = defaultdict(list)
        #: Whether something names the folder that is kept, or may be told to.
        self.kept = False
        #: A checkpoint folder somewhere else, as the script has it.
        self.elsewhere: list[tuple[Module, ast.expr]] = []
        self._assigned: set[Key] = set()
        self._bindings = list(self._all_bindings())
        self._assigned.update(key for key, _, value in self._bindings if value is not None)
        for key, module, value in self._bindings:
            if value is not None:
                self.definitions[key].append((module, value))
        self._texts = Texts(program, self.definitions)
        self._read_options()
        self._read_literals()
        self._spread()
        self._find_kept()
        self._find_elsewhere()

    def of(self, module: Module, node: ast.AST | None) -> Flags:
        """Return which places an expression names, or is made of."""
        if node is None:
            return _NONE
        if text := self._texts.joined(module, node):
            return self._of_text(text) or self._of_parts(module, node)
        return self._of_parts(module, node)

    def _of_parts(self, module: Module, node: ast.AST) -> Flags:
        if isinstance(node, ast.Constant):
            return self._of_text(node.value) if isinstance(node.value, str) else _NONE
        if isinstance(node, ast.Name):
            return self._of_name(module, node)
        if isinstance(node, ast.Attribute):
            return self._of_attribute(module, node)
        if isinstance(node, ast.Call):
            return self._of_call(module, node)
        if isinstance(node, ast.Subscript):
            return self._of_item(module, node)
        if isinstance(node, ast.IfExp):
            return self.of(module, node.body) | self.of(module, node.orelse)
        if isinstance(node, (ast.ListComp, ast.SetComp, ast.GeneratorExp)):
            return self.of(module, node.elt)
        if isinstance(node, (ast.Starred, ast.NamedExpr, ast.Await, ast.FormattedValue)):
            return self.of(module, node.value)
        if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Add, ast.Div, ast.Mod)):
            return self.of(module, node.left) | self.of(module, node.right)
        if isinstance(node, (ast.BoolOp, ast.JoinedStr)):
            return self._any(module, node.values)
        if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
            return self._any(module, node.elts)
        return _NONE

    def names_checkpoints(self, module: Module, node: ast.AST | None) -> bool:
        """Return whether an expression names the checkpoint folder or something below."""
        return CHECKPOINT in self.of(module, node)

    def arguments(self, module: Module, call: ast.Call) -> Flags:
        """Return which places a call is given."""
        return self._any(module, [*call.args, *(each.value for each in call.keywords)])

    def _known(self, key: Key) -> Flags:
        return self._values.get(key, _NONE)

    # ---- one kind of expression each

    def _any(self, module: Module, nodes: Iterable[ast.AST]) -> Flags:
        return _NONE.union(*(self.of(module, node) for node in nodes))

    def _of_text(self, text: str) -> Flags:
        if self._folder in text:
            self.kept = True
            return frozenset({CHECKPOINT})
        if text.startswith("/opt/ml/model"):
            return frozenset({MODEL})
        if text.startswith("/opt/ml/input"):
            return frozenset({DATA})
        return frozenset({OUTPUT}) if text.startswith("/opt/ml/output") else _NONE

    def _of_name(self, module: Module, node: ast.Name) -> Flags:
        key = self._program.key(module, node)
        found = self._known(key)
        if key not in self._assigned and looks_like_checkpoints(node.id):
            self.kept = True
            found |= {CHECKPOINT}
        return found

    def _of_attribute(self, module: Module, node: ast.Attribute) -> Flags:
        if isinstance(node.value, ast.Name) and node.value.id in module.imports:
            own = self._program.module_named(module.imports[node.value.id])
            if own is not None:
                return self._known(("name", own.path, "", node.attr))
        if node.attr in _PARTS:
            return self.of(module, node.value)
        return self._of_entry(node.attr)

    def _of_entry(self, name: str) -> Flags:
        """Return what an attribute or a mapping's key of a name holds: what it is assigned, else what its name says."""
        key = ("attribute", name)
        if key in self._assigned or key in self._values:
            return self._known(key)
        if looks_like_checkpoints(name):
            self.kept = True
            return frozenset({CHECKPOINT})
        return _named_place(name)

    def _of_item(self, module: Module, node: ast.Subscript) -> Flags:
        if isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str):
            if module.dotted(node.value) in ("os.environ", "environ"):
                return self._of_variable(node.slice.value)
            return self._of_entry(node.slice.value)
        return self.of(module, node.value)

    def _of_variable(self, name: str) -> Flags:
        if _WORD.search(name):
            self.kept = True
            return frozenset({CHECKPOINT})
        return frozenset({OUTPUT}) if name.startswith("SM_OUTPUT") else _named_place(name)

    def _of_call(self, module: Module, node: ast.Call) -> Flags:
        name = module.dotted(node.func)
        first = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else None
        if name in _ENVIRONMENT and isinstance(first, str):
            return self._of_variable(first) | self._any(module, node.args[1:])
        if name in _PASSES:
            return self.arguments(module, node)
        own = self._program.called(module, node)
        if own:
            return _NONE.union(*(self._known(each.key) for each in own))
        if isinstance(node.func, ast.Attribute):
            if node.func.attr == "get" and isinstance(first, str):
                return self._of_entry(first) | self._any(module, node.args[1:])
            if node.func.attr in ("format", "join"):
                return self.of(module, node.func.value) | self.arguments(module, node)
            if node.func.attr in _METHODS:
                return self.of(module, node.func.value) | (
                    self.arguments(module, node) if node.func.attr in ("joinpath", "with_name") else _NONE
                )
        last = name.rpartition(".")[2]
        if re.search(r"(last|latest|newest).*(checkpoint|ckpt)", last):
            return frozenset({CHECKPOINT})
        if looks_like_checkpoints(last):
            return frozenset({CHECKPOINT})
        return _NONE

    # ---- how values spread

    def _spread(self) -> None:
        for _ in range(20):
            changed = False
            for key, module, value in self._bindings:
                flags = self.of(module, value) | _by_name(key)
                if not flags <= self._known(key):
                    self._values[key] = self._known(key) | flags
                    changed = True
            if not changed:
                return

    def _all_bindings(self) -> Iterator[tuple[Key, Module, ast.expr | None]]:
        for module in self._program.modules.values():
            for node in module.nodes:
                yield from self._bound(module, node)
        for function in self._program.functions:
            yield from self._defaults(function)
        for module, call in self._program.calls:
            yield from self._passed(module, call)

    def _bound(self, module: Module, node: ast.AST) -> Iterator[tuple[Key, Module, ast.expr | None]]:
        if isinstance(node, ast.Assign):
            for target in node.targets:
                yield from self._targets(module, target, node.value)
        elif isinstance(node, (ast.AnnAssign, ast.AugAssign, ast.NamedExpr)):
            yield from self._targets(module, node.target, node.value)
        elif isinstance(node, (ast.For, ast.AsyncFor, ast.comprehension)):
            yield from self._targets(module, node.target, node.iter)
        elif isinstance(node, ast.withitem) and node.optional_vars is not None:
            yield from self._targets(module, node.optional_vars, node.context_expr)
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and isinstance(key.value, str):
                    yield ("attribute", key.value), module, value
        elif isinstance(node, (ast.Return, ast.Yield)) and node.value is not None:
            function = self._program.function_of(module, node)
            if function is not None:
                yield function.key, module, node.value

    def _targets(
        self, module: Module, target: ast.expr, value: ast.expr | None
    ) -> Iterator[tuple[Key, Module, ast.expr | None]]:
        if isinstance(target, (ast.Tuple, ast.List)):
            values: list[ast.expr | None] = [value] * len(target.elts)
            if isinstance(value, (ast.Tuple, ast.List)) and len(value.elts) == len(target.elts):
                values = list(value.elts)
            for each, part in zip(target.elts, values, strict=True):
                yield from self._targets(module, each, part)
        elif isinstance(target, ast.Starred):
            yield from self._targets(module, target.value, value)
        elif isinstance(target, ast.Name):
            if isinstance(module.parents.get(module.parents.get(target, target), target), ast.ClassDef):
                yield ("attribute", target.id), module, value
            yield self._program.key(module, target), module, value
        elif isinstance(target, ast.Attribute):
            yield ("attribute", target.attr), module, value
        elif isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant):
            yield ("attribute", str(target.slice.value)), module, value
        elif isinstance(target, ast.Subscript):
            yield from self._targets(module, target.value, value)

    def _defaults(self, function: Function) -> Iterator[tuple[Key, Module, ast.expr | None]]:
        given = function.node.args
        positional = [*given.posonlyargs, *given.args]
        pairs: list[tuple[ast.arg, ast.expr | None]] = list(
            zip(positional[len(positional) - len(given.defaults) :], given.defaults, strict=True)
        )
        pairs += zip(given.kwonlyargs, given.kw_defaults, strict=True)
        for argument, default in pairs:
            if default is not None:
                yield self._program.local_key(function.module, function.node, argument.arg), function.module, default
        for argument in (*positional, *given.kwonlyargs):
            yield self._program.local_key(function.module, function.node, argument.arg), function.module, None

    def _passed(self, module: Module, call: ast.Call) -> Iterator[tuple[Key, Module, ast.expr | None]]:
        for function in self._program.called(module, call):
            for name, value in zip(function.parameters, call.args, strict=False):
                yield self._program.local_key(function.module, function.node, name), module, value
            for keyword in call.keywords:
                if keyword.arg is not None:
                    yield self._program.local_key(function.module, function.node, keyword.arg), module, keyword.value
        name = call.func.id if isinstance(call.func, ast.Name) else ""
        if name in self._program.classes or name in ("dict", "SimpleNamespace", "Namespace"):
            for keyword in call.keywords:
                if keyword.arg is not None:
                    yield ("attribute", keyword.arg), module, keyword.value

    # ---- what comes from outside

    def _read_options(self) -> None:
        """Collect the arguments of the command line: of argparse, click and typer, fire."""
        for module, call in self._program.calls:
            last = module.dotted(call.func).rpartition(".")[2]
            if last not in ("add_argument", "option", "Option", "argument", "DEFINE_string"):
                continue
            name = _option_name(call)
            if name is None:
                continue
            given = {each.arg: each.value for each in call.keywords if each.arg}
            default = given.get("default") or (call.args[1] if last == "DEFINE_string" and len(call.args) > 1 else None)
            if _is_number(given):
                self._assigned.add(("attribute", name))
                continue
            flags = self.of(module, default) or _option_place(name)
            if name in self._options or (flags & {CHECKPOINT}) or CHECKPOINT in _option_place(name):
                self.kept = True
                flags |= {CHECKPOINT}
            for key in (("attribute", name), ("name", module.path, "", name)):
                self._values[key] = self._known(key) | flags
            self._assigned.add(("attribute", name))
        if self._program.imports("typer", "click", "fire", "jsonargparse", "hydra"):
            # The arguments of a function that nobody here calls are the command line's.
            called = {id(f) for module, call in self._program.calls for f in self._program.called(module, call)}
            for function in self._program.functions:
                if id(function) not in called:
                    self.kept |= any(looks_like_checkpoints(name) for name in function.parameters)
        if self._options:
            self.kept = True
            for name in self._options:
                self._values[("attribute", name)] = self._known(("attribute", name)) | {CHECKPOINT}

    def _read_literals(self) -> None:
        """Collect folders that are named anywhere, and parsers that make arguments of a framework's own."""
        for module in self._program.modules.values():
            for node in module.nodes:
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    if not isinstance(module.parents.get(node), ast.Expr):
                        self._of_text(node.value)
                elif isinstance(node, ast.Call) and module.dotted(node.func).endswith(_PARSERS):
                    self.kept = True

    def _find_kept(self) -> None:
        """Note whether anything names the folder, also where its value goes nowhere that is followed."""
        for module in self._program.modules.values():
            for node in module.nodes:
                parent = module.parents.get(node)
                if isinstance(node, (ast.Call, ast.Subscript)) or (
                    isinstance(node, ast.Attribute)
                    and isinstance(node.ctx, ast.Load)
                    and not (isinstance(parent, ast.Call) and parent.func is node)
                ):
                    self.of(module, node)

    def _find_elsewhere(self) -> None:
        for key, module, value in self._bindings:
            if value is None or not _by_name(key) or self.of(module, value) & {CHECKPOINT}:
                continue
            if isinstance(value, (ast.Constant, ast.JoinedStr, ast.Call, ast.BinOp)) and not (
                isinstance(value, ast.Constant) and not isinstance(value.value, str)
            ):
                self.elsewhere.append((module, value))


def _by_name(key: Key) -> Flags:
    return frozenset({CHECKPOINT}) if key[0] != "result" and looks_like_checkpoints(key[-1]) else _NONE


def _option_name(call: ast.Call) -> str | None:
    for keyword in call.keywords:
        if keyword.arg == "dest" and isinstance(keyword.value, ast.Constant):
            return str(keyword.value.value)
    names = [each.value for each in call.args if isinstance(each, ast.Constant) and isinstance(each.value, str)]
    long = [name for name in names if name.startswith("--")] or names
    return long[0].lstrip("-").replace("-", "_") if long else None


def _is_number(given: dict[str, ast.expr]) -> bool:
    kind, action = given.get("type"), given.get("action")
    if isinstance(kind, ast.Name) and kind.id in ("int", "float", "bool"):
        return True
    if isinstance(action, ast.Constant) and action.value in ("store_true", "store_false", "count"):
        return True
    default = given.get("default")
    return kind is None and isinstance(default, ast.Constant) and isinstance(default.value, (int, float))


__all__ = [
    "CHECKPOINT",
    "DATA",
    "MODEL",
    "OPTION",
    "OUTPUT",
    "Flags",
    "FunctionNode",
    "Places",
    "looks_like_checkpoints",
]

"""How a script chooses the newest checkpoint."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from airflow_spot.core.script_lint.absence import Found
from airflow_spot.core.script_lint.actions import Actions
from airflow_spot.core.script_lint.digits import reads_one_digit
from airflow_spot.core.script_lint.program import Module

_LISTS = {"os.listdir", "glob.glob", "glob.iglob", "os.scandir"}
_LIST_METHODS = {"glob", "rglob", "iterdir", "iglob"}
_TIMES = re.compile(r"get[mca]time|st_[mca]time|creation_time|modified")
_NUMBERS = re.compile(r"\bint\(|\bfloat\(|natsort|natural|numeric|version|humansorted")
_TEXT_KEYS = re.compile(r"^(os\.path\.basename|str|len|lambda (\w+): \2(\.name|\.stem)?|lambda (\w+): str\(\4\))$")
_PADDED = re.compile(r"%0\d+d|\{[^{}]*:0>?\d+d?\}|:0>?\d+d?$|zfill|rjust|strftime|isoformat|time_ns|%Y|%m%d")
_FILTERS = re.compile(
    r"endswith|startswith|\bre\.|fnmatch|\.suffix|\.match\(|\.search\(|fullmatch|is_dir|isdir|is_file|isfile"
    r"| in \w+(\.name)?\b"
)


def find_wrong_newest(actions: Actions) -> Iterator[Found]:
    """Yield the choices of a newest checkpoint that are wrong, or will be."""
    looking = _Looking(actions)
    for module in actions.program.modules.values():
        for node in module.nodes:
            if isinstance(node, ast.Call):
                yield from looking.chosen(module, node)
            elif isinstance(node, ast.Subscript):
                yield from looking.picked(module, node)


def find_one_digit(actions: Actions) -> Iterator[Found]:
    """Yield where one digit of a checkpoint's step is read."""
    looking = _Looking(actions)
    for module in actions.program.modules.values():
        for node in module.nodes:
            if isinstance(node, ast.Subscript) and looking.is_one_character(module, node):
                yield "one-digit", module, node, f"{ast.unparse(node)}"
            elif isinstance(node, ast.Call) and looking.matches_one_digit(module, node):
                yield "one-digit", module, node, f"the pattern {ast.unparse(node.args[0])}"


class _Looking:
    def __init__(self, actions: Actions) -> None:
        self._actions = actions
        self._places = actions.places
        self._padded = any(
            _PADDED.search(ast.unparse(node))
            for module in actions.program.modules.values()
            for node in module.nodes
            if isinstance(node, (ast.JoinedStr, ast.Constant, ast.Call))
            and (not isinstance(node, ast.Constant) or (isinstance(node.value, str) and len(node.value) < 200))
        )

    # ---- choosing

    def chosen(self, module: Module, call: ast.Call) -> Iterator[Found]:
        """Yield what is wrong with ``max``, ``sorted`` or ``.sort`` of a listing, or its first by chance."""
        name = module.dotted(call.func)
        last = name.rpartition(".")[2]
        if name in ("max", "sorted") and len(call.args) == 1:
            items: ast.expr = call.args[0]
        elif last == "sort" and isinstance(call.func, ast.Attribute) and not call.args:
            items = call.func.value
        elif name == "next" and call.args and self.is_listing(module, call.args[0]) and self._is_ours(module, call):
            yield "newest-by-listing", module, call, ast.unparse(call)
            return
        else:
            return
        text = self._is_text_of_numbers(module, items)
        if not text and not (self.is_listing(module, items) and self._is_ours(module, items)):
            return
        key = next((each.value for each in call.keywords if each.arg == "key"), None)
        if key is not None and (how := self._key(module, key)):
            if how == "time":
                yield "newest-by-time", module, call, ast.unparse(call)
            return
        if name != "max" and not self._is_picked_from(module, call):
            return
        if self._is_unfiltered(module, items, 3):
            yield "unfiltered-listing", module, call, ast.unparse(call)
        if not self._padded and not self._has_numbers(module, items, 3):
            yield "newest-by-listing", module, call, ast.unparse(call)

    def picked(self, module: Module, node: ast.Subscript) -> Iterator[Found]:
        """Yield where the first or the last of a listing without order is taken."""
        index = _index(node)
        if index not in (0, -1) or not isinstance(node.ctx, ast.Load) or not self._is_ours(module, node.value):
            return
        if self.is_listing(module, node.value, ordered=False):
            yield "newest-by-listing", module, node, ast.unparse(node)

    def _key(self, module: Module, key: ast.expr) -> str:
        """Return what a key compares: ``time``, ``number`` or, for text and what is the same, nothing."""
        text = ast.unparse(key)
        texts = [text]
        functions = self._actions.program.named(module, key) if isinstance(key, (ast.Name, ast.Attribute)) else []
        called = [each for each in ast.walk(key) if isinstance(each, ast.Call)]
        functions += [each for call in called for each in self._actions.program.called(module, call)]
        texts += [ast.unparse(each.node) for each in functions]
        texts += [ast.unparse(value) for _, value in self._actions.values_of(module, key)]
        if any(_TIMES.search(each) for each in texts):
            return "time"
        if any(_NUMBERS.search(each) for each in texts):
            return "number"
        return "" if _TEXT_KEYS.match(text) else "number"

    def _is_picked_from(self, module: Module, call: ast.Call) -> bool:
        """Return whether one is chosen of what was sorted."""
        parent = module.parents.get(call)
        if isinstance(parent, ast.Subscript):
            return True
        if isinstance(parent, ast.Call) and module.dotted(parent.func) in ("reversed", "next", "list"):
            return True
        names: set[str] = set()
        if isinstance(parent, ast.Assign):
            names = {each.id for each in parent.targets if isinstance(each, ast.Name)}
        elif isinstance(call.func, ast.Attribute) and call.func.attr == "sort":
            names = {ast.unparse(call.func.value)}
        elif isinstance(parent, ast.Return):
            return any(each.arg == "reverse" for each in call.keywords)
        scope = module.scope(call) or module.tree
        for node in ast.walk(scope):
            if isinstance(node, ast.Subscript) and ast.unparse(node.value) in names and isinstance(node.ctx, ast.Load):
                return True
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "pop"
                and ast.unparse(node.func.value) in names
            ):
                return True
        return False

    # ---- what a value is

    def _is_ours(self, module: Module, node: ast.AST) -> bool:
        return self._places.names_checkpoints(module, node)

    def is_listing(self, module: Module, node: ast.AST, depth: int = 4, *, ordered: bool = True) -> bool:
        """
        Return whether a value is what is in a folder, by name.

        :param ordered: whether one that was sorted counts too.
        """
        if isinstance(node, ast.Call):
            name = module.dotted(node.func)
            if name in _LISTS:
                return True
            if isinstance(node.func, ast.Attribute) and node.func.attr in _LIST_METHODS:
                return True
            if name in ("list", "tuple", "set", "filter", "iter", "map") or (
                ordered and name in ("sorted", "reversed")
            ):
                return bool(node.args) and self.is_listing(module, node.args[-1], depth, ordered=ordered)
            return depth > 0 and any(
                self.is_listing(each.module, back.value, depth - 1, ordered=ordered)
                for each in self._actions.program.called(module, node)
                for back in ast.walk(each.node)
                if isinstance(back, ast.Return) and back.value is not None
            )
        if isinstance(node, (ast.ListComp, ast.GeneratorExp, ast.SetComp)):
            if re.search(r"\bint\(|\bfloat\(", ast.unparse(node.elt)):
                return False
            if self._element(node.elt) not in ("item", "text"):
                return False
            return self.is_listing(module, node.generators[0].iter, depth, ordered=ordered)
        if isinstance(node, ast.Name) and depth:
            values = self._actions.values_of(module, node)
            if not ordered and self._is_sorted_in_place(module, node.id):
                return False
            found = [
                self.is_listing(owner, value, depth - 1, ordered=ordered)
                for owner, value in values
                if not _is_loop(owner, value)
            ]
            return bool(found) and (any(found) if ordered else all(found))
        return False

    @staticmethod
    def _element(node: ast.expr) -> str:
        """Return what a comprehension makes: the listed item, text that is cut of it, or something else."""
        if isinstance(node, (ast.Name, ast.Attribute, ast.BinOp, ast.JoinedStr)):
            return "item"
        if isinstance(node, ast.Call):
            text = ast.unparse(node.func)
            return "item" if re.search(r"join$|Path$|^str$|joinpath$|basename$|format$", text) else "other"
        return "other"

    @staticmethod
    def _is_sorted_in_place(module: Module, name: str) -> bool:
        return any(
            isinstance(each, ast.Call)
            and isinstance(each.func, ast.Attribute)
            and each.func.attr == "sort"
            and ast.unparse(each.func.value) == name
            for each in module.nodes
        )

    def _is_text_of_numbers(self, module: Module, node: ast.expr, depth: int = 3) -> bool:
        """Return whether a value is the steps of checkpoints, as text."""
        if isinstance(node, (ast.ListComp, ast.GeneratorExp, ast.SetComp)):
            text = ast.unparse(node.elt)
            if _NUMBERS.search(text) or isinstance(node.elt, (ast.Tuple, ast.Dict)):
                return False
            cut = re.search(
                r"\.group\(\d?\)|\.groups\(\)\[|split\([^)]*\)\[-?\d\]|\[-?\d*:-?\d*\]$|findall\([^)]*\)\[", text
            )
            listed = node.generators[0].iter
            return bool(cut) and self._is_ours(module, listed) and self.is_listing(module, listed)
        if isinstance(node, ast.Name) and depth:
            return any(
                self._is_text_of_numbers(owner, value, depth - 1)
                for owner, value in self._actions.values_of(module, node)
            )
        if isinstance(node, ast.Call) and module.dotted(node.func) in ("list", "set", "sorted") and node.args:
            return self._is_text_of_numbers(module, node.args[0], depth)
        return False

    def _has_numbers(self, module: Module, node: ast.expr, depth: int) -> bool:
        if isinstance(node, ast.Name) and depth:
            return any(
                self._has_numbers(owner, value, depth - 1) for owner, value in self._actions.values_of(module, node)
            )
        return bool(_NUMBERS.search(ast.unparse(node)))

    def _is_unfiltered(self, module: Module, node: ast.expr, depth: int) -> bool:
        """Return whether a listing has whatever is in the folder."""
        function = module.scope(node)
        if _FILTERS.search(ast.unparse(function if function is not None else node)):
            return False
        if isinstance(node, ast.Name) and depth:
            values = self._actions.values_of(module, node)
            return bool(values) and all(self._is_unfiltered(owner, value, depth - 1) for owner, value in values)
        if isinstance(node, ast.Call):
            name = module.dotted(node.func)
            if name in ("os.listdir", "os.scandir") or name.endswith(".iterdir"):
                return True
            if name.rpartition(".")[2] in ("glob", "rglob", "iglob") and node.args:
                return bool(re.search(r"^['\"]\*['\"]$|[/'\"]\*['\"]\)?$", ast.unparse(node.args[0])))
            return (
                name in ("list", "sorted", "tuple")
                and bool(node.args)
                and self._is_unfiltered(module, node.args[0], depth)
            )
        if isinstance(node, (ast.ListComp, ast.GeneratorExp)):
            first = node.generators[0]
            return not first.ifs and self._is_unfiltered(module, first.iter, depth)
        return False

    # ---- digits

    def is_one_character(self, module: Module, node: ast.Subscript) -> bool:
        """Return whether one character of a checkpoint's name is taken."""
        if not isinstance(node.ctx, ast.Load) or not self._is_text(module, node.value, 3):
            return False
        if not self._is_ours(module, node.value) and not self._is_cut_from_ours(module, node.value):
            return False
        if isinstance(node.slice, ast.Slice):
            low, high = _number(node.slice.lower), _number(node.slice.upper)
            return low is not None and low < 0 and (high - low == 1 if high is not None else low == -1)
        index = _index(node)
        return index is not None and index < 0 and self._is_number(module, node)

    def _is_number(self, module: Module, node: ast.AST) -> bool:
        parent = module.parents.get(node)
        return isinstance(parent, ast.Call) and module.dotted(parent.func) in ("int", "float")

    def _is_cut_from_ours(self, module: Module, node: ast.expr) -> bool:
        """Return whether text is a part of a checkpoint's name."""
        inner = node
        while True:
            if isinstance(inner, (ast.Attribute, ast.Subscript)):
                inner = inner.value
            elif isinstance(inner, ast.Call) and isinstance(inner.func, ast.Attribute):
                inner = inner.func.value
            else:
                return self._is_ours(module, inner)

    def _is_text(self, module: Module, node: ast.expr, depth: int) -> bool:
        """Return whether a value is one name, rather than several."""
        if isinstance(node, ast.Attribute):
            return node.attr in ("stem", "name")
        if isinstance(node, ast.Subscript):
            inner = node.value
            if isinstance(inner, ast.Call):
                last = module.dotted(inner.func).rpartition(".")[2]
                if last in ("split", "rsplit", "splitext", "partition", "rpartition") and _index(node) is not None:
                    return True
            return _index(node) is not None and self.is_listing(module, inner)
        if isinstance(node, ast.Call):
            name = module.dotted(node.func)
            last = name.rpartition(".")[2]
            if (
                last in ("basename", "removesuffix", "removeprefix", "replace", "strip", "rstrip", "as_posix")
                or name == "str"
            ):
                return True
            return name in ("max", "min", "next") and bool(node.args) and self.is_listing(module, node.args[0])
        if isinstance(node, ast.Name) and depth:
            values = self._actions.values_of(module, node)
            return bool(values) and any(
                self.is_listing(owner, value) if _is_loop(owner, value) else self._is_text(owner, value, depth - 1)
                for owner, value in values
            )
        return False

    def matches_one_digit(self, module: Module, call: ast.Call) -> bool:
        """Return whether a regular expression over checkpoint names finds one digit only."""
        if not module.dotted(call.func).startswith("re.") or not call.args:
            return False
        pattern = call.args[0]
        if not isinstance(pattern, ast.Constant) or not isinstance(pattern.value, str):
            return False
        if not reads_one_digit(pattern.value):
            return False
        about = any(self._is_ours(module, each) for each in call.args[1:])
        return about or bool(re.search(r"epoch|step|check_?point|ckpt|iter|round", pattern.value, re.IGNORECASE))


def _is_loop(module: Module, value: ast.expr) -> bool:
    """Return whether a value is what is gone through, item by item."""
    parent = module.parents.get(value)
    return isinstance(parent, (ast.For, ast.AsyncFor, ast.comprehension)) and parent.iter is value


def _index(node: ast.Subscript) -> int | None:
    return _number(node.slice)


def _number(node: ast.AST | None) -> int | None:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
        value = node.operand.value
        return -value if isinstance(value, int) else None
    if isinstance(node, ast.Constant) and isinstance(node.value, int) and not isinstance(node.value, bool):
        return node.value
    return None

"""What becomes of what a script loads."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from airflow_spot.core.script_lint.absence import Found
from airflow_spot.core.script_lint.actions import Actions
from airflow_spot.core.script_lint.places import CHECKPOINT, DATA, MODEL, OUTPUT
from airflow_spot.core.script_lint.program import Function, Module

#: Functions whose only use is what they return.
_PURE = {"load_model", "load_from_checkpoint", "imports"}
_WEIGHTS = re.compile(r"param|weight|model|^net|state|optim|booster", re.IGNORECASE)
_BLOCKS = ("body", "orelse", "finalbody", "handlers")


def find_unused_loads(actions: Actions) -> Iterator[Found]:
    """Yield the loads whose result is never read."""
    for load in actions.checkpoint_loads:
        if _is_pure(load.module, load.call):
            yield from _unused(actions, load.module, load.call, None)
    for function in actions.program.functions:
        loaded = _loaded_positions(actions, function)
        if loaded is not None:
            for module, call in actions.callers(function):
                yield from _unused(actions, module, call, loaded)


def _is_pure(module: Module, call: ast.Call) -> bool:
    name = module.dotted(call.func)
    last = name.rpartition(".")[2]
    if name in ("torch.load", "paddle.load", "joblib.load", "numpy.load", "pickle.load") or last in _PURE:
        return True
    return last == "load_checkpoint" and name.startswith(("mxnet.", "mx."))


def _loaded_positions(actions: Actions, function: Function) -> set[int] | None:
    """
    Return which items of a function's result were loaded: none of a tuple for the whole; None if nothing was.

    A function that puts what it loads into something else has done its work, whatever it returns.
    """
    inside = [each for each in ast.walk(function.node) if isinstance(each, ast.Call)]
    if any(
        isinstance(each.func, ast.Attribute) and re.search(r"load_state_dict|set_|update|load_weights", each.func.attr)
        for each in inside
    ):
        return None

    def is_loaded(node: ast.expr) -> bool:
        if isinstance(node, ast.Call):
            return _is_pure(function.module, node)
        return isinstance(node, ast.Name) and any(
            isinstance(value, ast.Call) and _is_pure(owner, value)
            for owner, value in actions.values_of(function.module, node)
        )

    found: set[int] | None = None
    for node in ast.walk(function.node):
        if not isinstance(node, ast.Return) or node.value is None:
            continue
        if isinstance(node.value, ast.Tuple):
            positions = {number for number, each in enumerate(node.value.elts) if is_loaded(each)}
            if positions:
                found = (found or set()) | positions
        elif is_loaded(node.value):
            found = found or set()
    return found


def _unused(actions: Actions, module: Module, call: ast.Call, loaded: set[int] | None) -> Iterator[Found]:
    statement = module.parents.get(call)
    if isinstance(statement, ast.Expr):
        yield "load-unused", module, call, "its result is dropped"
        return
    if not isinstance(statement, ast.Assign) or statement.value is not call or len(statement.targets) != 1:
        return
    target = statement.targets[0]
    if isinstance(target, ast.Name):
        why = _why_unused(actions, module, statement, target.id)
        if why:
            yield "load-unused", module, call, why
    elif isinstance(target, (ast.Tuple, ast.List)):
        reasons = [
            why
            for number, each in enumerate(target.elts)
            if isinstance(each, ast.Name)
            and (number in loaded if loaded else _WEIGHTS.search(each.id))
            and (why := _why_unused(actions, module, statement, each.id))
        ]
        if reasons:
            yield "load-unused", module, call, ", ".join(reasons)


def _why_unused(actions: Actions, module: Module, statement: ast.Assign, name: str) -> str:
    scope = module.scope(statement)
    if name in _shared(module, scope) or (scope is None and module is not actions.program.entry):
        return ""  # somebody else may read it
    where = scope if scope is not None else module.tree
    names = [each for each in ast.walk(where) if isinstance(each, ast.Name) and each.id == name]
    # A function may have a name of its own that is the same.
    assigned = {id(each) for target in statement.targets for each in ast.walk(target)}
    same = {actions.program.key(module, each) for each in names if id(each) in assigned}
    if not any(isinstance(each.ctx, ast.Load) and actions.program.key(module, each) in same for each in names):
        return f"{name} is not read"
    return f"{name} is assigned again before it is read" if _overwritten(module, statement, name) else ""


def _shared(module: Module, scope: ast.AST | None) -> set[str]:
    if scope is None:
        return set()
    return {name for each in ast.walk(scope) if isinstance(each, (ast.Global, ast.Nonlocal)) for name in each.names}


def _overwritten(module: Module, statement: ast.stmt, name: str) -> bool:
    """Return whether the next statement that mentions a name assigns it, whichever way is taken."""
    node: ast.AST = statement
    while True:
        parent = module.parents.get(node)
        if parent is None:
            return False
        block = next(
            (found for field in _BLOCKS if isinstance(found := getattr(parent, field, None), list) and node in found),
            None,
        )
        if block is not None:
            for following in block[block.index(node) + 1 :]:
                mentioned = [each for each in ast.walk(following) if isinstance(each, ast.Name) and each.id == name]
                if not mentioned:
                    continue
                return (
                    isinstance(following, ast.Assign)
                    and all(isinstance(each.ctx, ast.Store) for each in mentioned)
                    and any(isinstance(each, ast.Name) and each.id == name for each in following.targets)
                )
        if not isinstance(parent, (ast.If, ast.With, ast.AsyncWith)):
            return False  # a loop comes back to it; a try may have left it
        node = parent


def find_whole_objects(actions: Actions) -> Iterator[Found]:
    """Yield each ``torch.load`` that refuses what the script saves."""
    whole = _saved_whole(actions)
    loads = [each for each in actions.program.calls if each[0].dotted(each[1].func) == "torch.load"]
    ours = [each for each in loads if CHECKPOINT in actions.places.arguments(*each)]
    for module, call in ours or loads:
        given = {each.arg: each.value for each in call.keywords}
        safe = given.get("weights_only")
        if None in given or (safe is not None and not (isinstance(safe, ast.Constant) and safe.value is True)):
            continue
        if whole:
            yield "whole-objects", module, call, f"it saves {whole}"


def _saved_whole(actions: Actions) -> str:
    """Return what ``torch.save`` is given that is neither tensors, numbers nor text; empty where nothing is."""
    for module, call in actions.program.calls:
        if module.dotted(call.func) != "torch.save" or not call.args:
            continue
        if actions.places.arguments(module, call) & {MODEL, OUTPUT, DATA}:
            continue  # it is no checkpoint
        for value in _parts(actions, module, call.args[0], 3):
            if found := _is_whole(actions, *value):
                return found
    return ""


def _parts(actions: Actions, module: Module, node: ast.expr, depth: int) -> Iterator[tuple[Module, ast.expr]]:
    if isinstance(node, ast.Dict):
        for value in node.values:
            yield from _parts(actions, module, value, depth)
    elif isinstance(node, (ast.Tuple, ast.List)):
        for value in node.elts:
            yield from _parts(actions, module, value, depth)
    elif isinstance(node, ast.Call) and module.dotted(node.func) == "dict":
        for keyword in node.keywords:
            yield from _parts(actions, module, keyword.value, depth)
    else:
        yield module, node
        if isinstance(node, ast.Name) and depth:
            for owner, value in actions.values_of(module, node):
                yield from _parts(actions, owner, value, depth - 1)


def _is_whole(actions: Actions, module: Module, node: ast.expr) -> str:
    if isinstance(node, ast.Call):
        name = module.dotted(node.func)
        if name in ("numpy.random.get_state", "np.random.get_state"):
            return "numpy's random state"
        if name.endswith(".parse_args") or name in ("argparse.Namespace", "parse_args"):
            return "the arguments' Namespace"
        return ""
    if not isinstance(node, (ast.Name, ast.Attribute)):
        return ""
    text = ast.unparse(node)
    for owner, value in actions.values_of(module, node):
        if isinstance(value, ast.Call) and owner.dotted(value.func).endswith(".parse_args"):
            return "the arguments' Namespace"
    if _is_module(actions, module, node):
        return f"{text} itself"
    return ""


def _is_module(actions: Actions, module: Module, node: ast.expr) -> bool:
    """Return whether an expression is a model or an optimizer, by the methods that are called on it."""
    text = ast.unparse(node)
    own = {"state_dict", "parameters", "eval", "train", "zero_grad", "load_state_dict"}
    return any(
        isinstance(call.func, ast.Attribute)
        and call.func.attr in own
        and ast.unparse(call.func.value) == text
        and where is module
        for where, call in actions.program.calls
    )

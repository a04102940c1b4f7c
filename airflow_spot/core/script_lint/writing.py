"""Checkpoints that are written straight to their final name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from airflow_spot.core.script_lint.absence import Found
from airflow_spot.core.script_lint.actions import Action, Actions
from airflow_spot.core.script_lint.places import CHECKPOINT
from airflow_spot.core.script_lint.program import Function, Module

_ASIDE = re.compile(
    r"te?mp|\.part|partial|incomplete|staging|sagemaker-ignore|\.new|atomic|unfinished|in_progress", re.I
)
_RENAMES = {"os.replace", "os.rename", "os.renames", "shutil.move", "os.link"}


def find_writes_in_place(actions: Actions) -> Iterator[Found]:
    """Yield the saves that leave a torn file under the name that a start looks for."""
    if actions.passes_over_torn_files:
        return
    for save in actions.saves:
        if not save.own or CHECKPOINT not in save.places or save.path is None:
            continue
        if _is_state(actions, save) and not _is_aside(actions, save):
            yield "writes-in-place", save.module, save.call, ""


def _is_state(actions: Actions, save: Action) -> bool:
    """Return whether a start may need what is written: notes in text that nothing reads are none of it."""
    name = save.module.dotted(save.call.func)
    last = name.rpartition(".")[2]
    if last in ("to_csv", "to_parquet"):
        return False
    is_text = last == "write_text" or (last == "open" and "b" not in _mode(save.call))
    return not is_text or any(each.path is not None for each in actions.checkpoint_loads)


def _mode(call: ast.Call) -> str:
    given = [*call.args, *(each.value for each in call.keywords if each.arg == "mode")]
    return "".join(str(each.value) for each in given if isinstance(each, ast.Constant) and len(str(each.value)) <= 3)


def _is_aside(actions: Actions, save: Action) -> bool:
    if save.path is None or _says_aside(actions, save.module, save.path, 4):
        return True
    if _renames_around(actions, save.module, save.call, 3):
        return True
    return _is_pointed_to(actions, save.module, save.call, save.path)


def _is_pointed_to(actions: Actions, module: Module, save: ast.Call, path: ast.expr) -> bool:
    """Return whether the file's name is then given to a function that writes and renames: a start reads that one."""
    scope = module.scope(save)
    names = [each for each in ast.walk(path) if isinstance(each, ast.Name) and not actions.places.of(module, each)]
    made = {each.id for each in names if any(_is_text(value) for _, value in actions.values_of(module, each))}
    return any(
        made & {each.id for each in ast.walk(call) if isinstance(each, ast.Name)}
        and any(_renames(actions, each.module, each) for each in actions.program.called(module, call))
        for where, call in actions.program.calls
        if where is module and module.scope(call) is scope and call.lineno > save.lineno
    )


def _is_text(value: ast.expr) -> bool:
    """Return whether a value is a file's name, put together here."""
    return isinstance(value, (ast.BinOp, ast.JoinedStr)) or (
        isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and value.func.attr == "format"
    )


def _says_aside(actions: Actions, module: Module, path: ast.expr, depth: int) -> bool:
    """Return whether a path, or what it is made of, has the name of a file that is being written."""
    if _ASIDE.search(ast.unparse(path)):
        return True
    if not depth:
        return False
    names = [each for each in ast.walk(path) if isinstance(each, (ast.Name, ast.Attribute))]
    return any(
        _says_aside(actions, owner, value, depth - 1)
        for name in names
        for owner, value in actions.values_of(module, name)
        if isinstance(value, (ast.BinOp, ast.JoinedStr, ast.Call, ast.Constant, ast.Name))
    )


def _renames_around(actions: Actions, module: Module, node: ast.AST, depth: int) -> bool:
    """Return whether the function of a save renames something, or one that calls it does."""
    function = actions.program.function_of(module, node)
    if _renames(actions, module, function):
        return True
    if function is None or not depth:
        return False
    return any(_renames_around(actions, where, call, depth - 1) for where, call in actions.callers(function))


def _renames(actions: Actions, module: Module, function: Function | None) -> bool:
    scope = function.node if function is not None else None
    # A function that writes and renames sees to its own file, not to those of its callers.
    writers = {id(actions.program.function_of(each.module, each.call)) for each in actions.saves}
    for where, call in actions.program.calls:
        if where is not module or module.scope(call) is not scope:
            continue
        if _is_rename(module, call) or any(
            _is_rename(each.module, inner)
            for each in actions.program.called(module, call)
            if id(each) not in writers
            for inner in ast.walk(each.node)
            if isinstance(inner, ast.Call)
        ):
            return True
    return False


def _is_rename(module: Module, call: ast.Call) -> bool:
    if module.dotted(call.func) in _RENAMES:
        return True
    # str.replace takes two, Path.replace takes one.
    given = len(call.args) + len(call.keywords)
    return isinstance(call.func, ast.Attribute) and call.func.attr in ("replace", "rename") and given == 1

"""
Faults of a training script that only an interruption would show, by its syntax tree.

It reads, and runs nothing. What it cannot tell it passes over: a script without a finding may have faults even so.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator, Mapping

from airflow_spot.core.script_lint.absence import Found, find_absences
from airflow_spot.core.script_lint.actions import Actions
from airflow_spot.core.script_lint.loading import find_unused_loads, find_whole_objects
from airflow_spot.core.script_lint.newest import find_one_digit, find_wrong_newest
from airflow_spot.core.script_lint.places import Places
from airflow_spot.core.script_lint.program import Module, Program, why_not
from airflow_spot.core.script_lint.rules import CHECKPOINTS, RULES, Finding, Report, Rule, Unreadable
from airflow_spot.core.script_lint.writing import find_writes_in_place

__all__ = ["CHECKPOINTS", "RULES", "Finding", "Report", "Rule", "Unreadable", "lint"]

_SEARCHES: tuple[Callable[[Actions], Iterator[Found]], ...] = (
    find_absences,
    find_writes_in_place,
    find_wrong_newest,
    find_one_digit,
    find_unused_loads,
    find_whole_objects,
)


def lint(
    sources: Mapping[str, bytes], entry_point: str, *, folder: str = CHECKPOINTS, options: Iterable[str] = ()
) -> Report:
    """
    Look for faults in a script and in the modules beside it that it imports.

    :param sources: the files below its source folder, by relative path.
    :param entry_point: the script among them.
    :param folder: ``checkpoint_local_path``.
    :param options: arguments of the script that are known to name that folder.
    """
    try:
        program = Program(sources, entry_point)
        actions = Actions(program, Places(program, folder, options))
        found = {
            Finding(rule, module.path, getattr(node, "lineno", 1), detail)
            for search in _SEARCHES
            for rule, module, node, detail in search(actions)
            if not _is_ignored(module, node, rule)
        }
    except SyntaxError as error:
        return Report(unreadable=(Unreadable(entry_point, why_not(error)),))
    except RecursionError:
        return Report(unreadable=(Unreadable(entry_point, "it is nested too deeply"),))
    return Report(
        tuple(sorted(found, key=lambda each: (each.path, each.line, each.rule, each.detail))),
        tuple(Unreadable(path, why) for path, why in program.unreadable.items()),
        tuple(program.modules),
    )


def _is_ignored(module: Module, node: ast.AST, rule: str) -> bool:
    first = getattr(node, "lineno", 1)
    last = first if isinstance(node, ast.stmt) else getattr(node, "end_lineno", first)
    return any(rule in module.ignored.get(line, ()) for line in range(first, last + 1))

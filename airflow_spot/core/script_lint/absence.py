"""What is not in a script: a checkpoint folder, a load, a save in the loop."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from airflow_spot.core.script_lint.actions import Action, Actions
from airflow_spot.core.script_lint.places import MODEL, OPTION, OUTPUT
from airflow_spot.core.script_lint.program import Module

#: A rule's name, where, and what of the script it is about.
Found = tuple[str, Module, ast.AST, str]


def find_absences(actions: Actions) -> Iterator[Found]:
    """Yield what a script that trains does not do."""
    if actions.training is None or (actions.keeps_its_own and not actions.places.kept):
        return
    if not _is_told_where(actions):
        module, node = actions.training
        detail = ""
        if actions.places.elsewhere:
            module, node = actions.places.elsewhere[0]
            detail = f"its checkpoints are in {ast.unparse(node)}"
        yield "no-checkpoint-path", module, node, detail
        return
    saves = actions.checkpoint_saves
    if not any(_saves_while_it_trains(actions, each) for each in actions.saves):
        module, node = (saves[0].module, saves[0].call) if saves else actions.training
        yield "never-saves", module, node, "it is saved once, outside of any loop" if saves else ""
        return
    if not actions.checkpoint_loads:
        module, node = (saves[0].module, saves[0].call) if saves else actions.training
        yield "never-loads", module, node, ""


def _is_told_where(actions: Actions) -> bool:
    """Return whether the checkpoint folder is named, or may be given by an argument."""
    if actions.places.kept or any(actions.is_elsewhere(each) for each in actions.saves):
        return True
    given = [places for each in actions.saves if (places := each.places)]
    given += [actions.places.of(module, value) for module, value in actions.places.elsewhere]
    return any(OPTION in places for places in given)


def _saves_while_it_trains(actions: Actions, save: Action) -> bool:
    if save.places & {MODEL, OUTPUT} and save.own and len(save.places) == 1:
        return False
    if not save.own:
        return True  # when, is the framework's matter
    return actions.in_loop(save.module, save.call)

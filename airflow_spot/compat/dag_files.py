"""The DAGs that a module makes while it is imported, on each Airflow."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import DAG

    DagContext: Any
else:
    try:
        from airflow.sdk import DAG
        from airflow.sdk.definitions._internal.contextmanager import DagContext
    except ImportError:  # Airflow 2: goes with 2.11
        from airflow import DAG
        from airflow.models.dag import DagContext


def dags_of(module: ModuleType, execute: Callable[[], None]) -> list[DAG]:
    """
    Return the DAGs of a module that ``execute`` fills: those with a name in it, and those that have none.

    The module has to be in ``sys.modules``.
    """
    DagContext.current_autoregister_module_name = module.__name__
    try:
        execute()
        found = [value for value in vars(module).values() if isinstance(value, DAG)]
        found += [dag for dag, made_by in DagContext.autoregistered_dags if made_by is module]
    finally:
        DagContext.current_autoregister_module_name = None
        DagContext.autoregistered_dags = {pair for pair in DagContext.autoregistered_dags if pair[1] is not module}
    return list({dag.dag_id: dag for dag in found}.values())

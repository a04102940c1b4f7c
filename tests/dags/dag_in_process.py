"""A DAG in this process, without Airflow's database: rendered, expanded and run task by task."""

from __future__ import annotations

import json
import re
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from airflow.providers.common.compat.sdk import TaskDeferred

from tests.support.task import TaskInstance, fire

STOCK = re.compile(
    r"^from airflow\.providers\.amazon\.aws\.operators\.sagemaker import (\(.*?\)|[^\n]*)\n", re.M | re.S
)
OURS = "from airflow_spot.operators.training import SageMakerSpotTrainingOperator as SageMakerTrainingOperator\n"
DATE = datetime(2026, 1, 2, tzinfo=timezone.utc)


def load(path: Path, **edits: str) -> Any:
    """Return the DAG of a file, with its import changed and nothing else, but what a test edits."""
    source = path.read_text()
    stock = STOCK.search(source)
    assert stock is not None and "SageMakerTrainingOperator" in stock[1]
    others = [name for name in re.findall(r"\w+", stock[1]) if name != "SageMakerTrainingOperator"]
    kept = f"{stock[0].partition(' import ')[0]} import {', '.join(others)}\n" if others else ""
    source = source.replace(stock[0], kept + OURS)
    for before, after in edits.items():
        assert before in source
        source = source.replace(before, after)
    namespace: dict[str, Any] = {"__name__": path.stem, "__file__": str(path)}
    exec(compile(source, str(path), "exec"), namespace)
    return namespace["dag"]


class _Task(TaskInstance):
    """A task instance that sees what the others returned."""

    others: dict[tuple[str, str], list[Any]]

    def xcom_push(self, key: str, value: Any, **_: Any) -> None:
        super().xcom_push(key, value)
        self.others.setdefault((self.task_id, key), []).append(self.xcoms[key])

    def xcom_pull(
        self, task_ids: Any = None, key: str = "return_value", default: Any = None, map_indexes: Any = None, **_: Any
    ) -> Any:
        name = task_ids if isinstance(task_ids, str) else task_ids[0]
        found = self.others.get((name, key))
        if found is None:
            return default
        return found[map_indexes] if isinstance(map_indexes, int) else found[0] if len(found) == 1 else found


def run_dag(dag: Any, run_id: str) -> dict[str, list[Any]]:
    """Run each task to its end, in order; what each returned, mapped ones once for each member."""
    xcoms: dict[tuple[str, str], list[Any]] = {}
    for task in dag.topological_sort():
        members = [(-1, task)]
        if hasattr(task, "expand_input"):
            (name, values) = next(iter(task.expand_input.value.items()))
            members = [(index, task.unmap({name: value})) for index, value in enumerate(values)]
        for index, operator in members:
            ti = _Task(task.task_id, dag.dag_id, run_id, index)
            ti.others = xcoms
            result = _run(operator, _context(dag, ti, operator))
            if result is not None:
                ti.xcom_push("return_value", result)
            if getattr(operator, "multiple_outputs", False):
                for key, value in result.items():
                    ti.xcom_push(key, value)
    return {task: values for (task, key), values in xcoms.items() if key == "return_value"}


def _context(dag: Any, ti: TaskInstance, task: Any) -> dict[str, Any]:
    return {
        "ti": ti,
        "task_instance": ti,
        "task": task,
        "dag": dag,
        "params": dag.params.dump(),
        "run_id": ti.run_id,
        "logical_date": DATE,
        "ds": DATE.date().isoformat(),
        "ds_nodash": DATE.strftime("%Y%m%d"),
        "ts_nodash": DATE.strftime("%Y%m%dT%H%M%S"),
        "dag_run": SimpleNamespace(run_after=DATE, start_date=None, conf={}, clear_number=0),
    }


def _run(operator: Any, context: Any) -> Any:
    operator.render_template_fields(context)
    call, event = operator.execute, {}
    while True:
        try:
            return json.loads(json.dumps(call(context, **event)))
        except TaskDeferred as deferred:
            call, event = getattr(operator, deferred.method_name), {"event": fire(deferred.trigger)}

"""
A worker and a triggerer in one, for stock operators and sensors: runs tasks to their end, over all their deferrals.

    python -m tests.support.stock_worker

Runs in the environment of ``bench/stock.py`` and imports no package of ours. A task comes as a line of JSON, ``class``,
``arguments`` and ``release``, and goes as one: ``result`` or ``error``, and ``deferred``, the triggers that fired. The
file ``release`` is made once the task waits: an operator is deferred, a sensor has looked for the first time.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from airflow.providers.amazon.aws.operators import sagemaker as operators
from airflow.providers.amazon.aws.sensors import sagemaker as sensors
from airflow.providers.common.compat.sdk import TaskDeferred

from tests.support.task import TaskInstance, fire


def run(task: dict[str, Any]) -> dict[str, Any]:
    """Run one task."""
    kind = getattr(operators, task["class"], None) or getattr(sensors, task["class"])
    operator = kind(task_id="task", **task["arguments"])
    release = Path(task["release"])
    if looks := getattr(operator, "poke", None):

        def poke(context: Any) -> Any:
            found = looks(context)
            release.touch()
            return found

        operator.poke = poke
    ti = TaskInstance("task")
    context: Any = {"ti": ti, "task_instance": ti}
    step, arguments, deferred = "execute", {}, []
    try:
        while True:
            try:
                result = getattr(operator, step)(context, **arguments)
                return {"result": json.loads(json.dumps(result, default=str)), "deferred": deferred}
            except TaskDeferred as pause:
                deferred.append(pause.trigger.serialize()[0].rpartition(".")[2])
                release.touch()
                step, arguments = pause.method_name, {"event": fire(pause.trigger)}
    except Exception as error:
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}", "deferred": deferred}


def main() -> None:
    """Run tasks until standard input ends."""
    # What Airflow logs must not come between the lines.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()

"""
One task instance, and the part of Airflow that runs it.

The real Airflow is in tests/airflow; this is for the many cases that must not take ten seconds each. Triggers run
for real, in an event loop, and are rebuilt from what they serialize to, as in a triggerer.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass, field
from typing import Any

from airflow.providers.common.compat.sdk import TaskDeferred
from airflow.triggers.base import BaseTrigger

from airflow_spot.compat import xcoms


@dataclass
class TaskInstance:
    """What an operator sees of its task instance."""

    task_id: str
    dag_id: str = "a_dag"
    run_id: str = "manual__2026-01-01T00:00:00+00:00"
    map_index: int = -1
    try_number: int = 1
    max_tries: int = 0
    xcoms: dict[str, Any] = field(default_factory=dict)

    def xcom_push(self, key: str, value: Any) -> None:
        """Keep a value as JSON, as the database would."""
        self.xcoms[key] = json.loads(json.dumps(value))

    def retried(self) -> TaskInstance:
        """The same task instance at its next automatic retry."""
        return TaskInstance(self.task_id, self.dag_id, self.run_id, self.map_index, self.try_number + 1, self.max_tries)

    def cleared(self) -> TaskInstance:
        """The same task instance after a person has cleared it."""
        again = self.retried()
        again.max_tries += 1
        return again


def _push(ti: TaskInstance, key: str, value: Any) -> None:
    ti.xcom_push(key, value)


def fire(trigger: BaseTrigger, ti: TaskInstance | None = None) -> dict[str, Any]:
    """
    Run a trigger until it fires, as a triggerer does: rebuilt from its serialized form.

    :param ti: its task instance, whose XComs it may write.
    """
    path, kwargs = trigger.serialize()
    # There is no scheduler here that could hear of anything late.
    sys.modules[type(trigger).__module__].SETTLING_SECONDS = 0.0  # type: ignore[attr-defined]
    rebuilt = type(trigger)(**json.loads(json.dumps(kwargs)))
    assert rebuilt.serialize() == (path, kwargs)
    rebuilt.task_instance = ti  # type: ignore[assignment]

    async def first() -> dict[str, Any]:
        async for event in rebuilt.run():
            return dict(json.loads(json.dumps(event.payload)))
        raise AssertionError("the trigger ended without an event")

    airflows, xcoms.set_xcom = xcoms.set_xcom, _push
    try:
        return asyncio.run(first())
    finally:
        xcoms.set_xcom = airflows


def run_task(operator: Any, ti: TaskInstance, **more: Any) -> Any:
    """Run a task to its end, over all its deferrals; its context may have more."""
    context: Any = {"ti": ti, "task_instance": ti, **more}
    try:
        result = operator.execute(context)
    except TaskDeferred as deferred:
        result = _resume(operator, context, deferred)
    return json.loads(json.dumps(result))


def _resume(operator: Any, context: Any, deferred: TaskDeferred) -> Any:
    while True:
        event = fire(deferred.trigger, context["ti"])
        try:
            return getattr(operator, deferred.method_name)(context, event=event)
        except TaskDeferred as again:
            deferred = again

"""
Tasks that are deferred in a real metadata database, with no scheduler and no worker: what a triggerer finds.

    python deferred.py defer <json: [[task_id, trigger arguments], ...]>
    python deferred.py states

The second prints what became of them: ``{task_id: {"state": ..., "event": ...}}``.
"""

from __future__ import annotations

import json
import sys
from typing import Any

DAG_ID = "deferred"
RUN_ID = "manual__1"


def defer(tasks: list[tuple[str, dict[str, Any]]]) -> None:
    """Make a DAG run whose tasks have deferred to our trigger."""
    from airflow.dag_processing.collection import update_dag_parsing_results_in_db
    from airflow.models.dag_version import DagVersion
    from airflow.models.dagbundle import DagBundleModel
    from airflow.models.serialized_dag import SerializedDagModel
    from airflow.models.trigger import Trigger
    from airflow.providers.standard.operators.empty import EmptyOperator
    from airflow.sdk import DAG, timezone
    from airflow.serialization.serialized_objects import LazyDeserializedDAG
    from airflow.utils.session import create_session
    from airflow.utils.state import DagRunState, TaskInstanceState
    from airflow.utils.types import DagRunTriggeredByType, DagRunType

    from airflow_spot.triggers.training import SageMakerSpotTrainingTrigger

    now = timezone.utcnow()
    with DAG(DAG_ID, schedule=None, start_date=now) as dag:
        for task_id, _ in tasks:
            EmptyOperator(task_id=task_id)
    with create_session() as session:
        session.merge(DagBundleModel(name="tests"))
    with create_session() as session:
        serialized = LazyDeserializedDAG.from_dag(dag)
        update_dag_parsing_results_in_db("tests", None, [serialized], {}, None, set(), session)
        session.flush()
        made = SerializedDagModel.get_dag(DAG_ID, session=session)
        assert made is not None
        run = made.create_dagrun(
            run_id=RUN_ID,
            logical_date=now,
            data_interval=(now, now),
            run_after=now,
            run_type=DagRunType.MANUAL,
            triggered_by=DagRunTriggeredByType.TEST,
            state=DagRunState.RUNNING,
            session=session,
        )
        assert DagVersion.get_latest_version(DAG_ID, session=session)
        for task_id, arguments in tasks:
            trigger = Trigger.from_object(SageMakerSpotTrainingTrigger(**arguments))
            session.add(trigger)
            session.flush()
            instance = run.get_task_instance(task_id, session=session)
            instance.state = TaskInstanceState.DEFERRED
            instance.trigger_id = trigger.id
            instance.try_number = 1
            instance.next_method = "execute_complete"
            instance.next_kwargs = {}


def states() -> dict[str, Any]:
    """Tell the tasks' states, and the events that they are to continue with."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session

    with create_session() as session:
        found = session.query(TaskInstance).filter(TaskInstance.dag_id == DAG_ID).all()
        return {
            each.task_id: {
                "state": str(getattr(each.state, "value", each.state)),
                "event": (each.next_kwargs or {}).get("event"),
            }
            for each in found
        }


if __name__ == "__main__":
    if sys.argv[1] == "defer":
        defer(json.load(sys.stdin))
    else:
        print("\n" + json.dumps(states(), default=str))

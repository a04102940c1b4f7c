"""DAGs in which a worker dies, a user kills, and the market takes: run by a real scheduler, triggerer and worker."""

from __future__ import annotations

import os
import signal
import time
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

from airflow import __version__ as airflow_version

from airflow_spot.operators.reaper import SageMakerSpotReaperOperator
from airflow_spot.operators.training import SageMakerSpotTrainingOperator
from airflow_spot.sensors.training import SageMakerSpotTrainingSensor

try:
    from airflow.sdk import DAG, task
except ImportError:  # Airflow 2: the matrix runs these too
    from airflow import DAG
    from airflow.decorators import task

SCRIPTS = Path(__file__).parent.parent.parent / "scripts"


def die() -> None:
    """
    Be killed, as a worker is.

    Airflow 3.0 fails a task whose process alone was killed and gives it no retry, so that there the worker has to go
    whole, as with its machine.
    """
    if airflow_version.startswith("3.0."):
        os.kill(os.getppid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


class DiesBeforeDeferring(SageMakerSpotTrainingOperator):
    """Its first worker is killed after the job was created, and before Airflow knows of it."""

    def defer(self, **how: Any) -> NoReturn:
        if self._run.this_try.number == 1:
            die()
        super().defer(**how)


class DiesBeforeDelivering(SageMakerSpotTrainingOperator):
    """Its first worker is killed after the job has completed, and before the result is handed over."""

    def execute_complete(self, context: Any, event: Any = None) -> Any:
        result = super().execute_complete(context, event)
        if context["ti"].try_number == 1:
            die()
        return result


class TellsItsProcess(SageMakerSpotTrainingOperator):
    """Writes down who runs its first try, so that a test can kill the worker whole: the task and its supervisor."""

    def execute(self, context: Any) -> Any:
        if context["ti"].try_number == 1:
            told = Path(os.environ["AIRFLOW_HOME"], f"{self.dag_id}.pids")
            told.write_text(f"{os.getppid()} {os.getpid()}")
        return super().execute(context)


class WaitsForAMark(SageMakerSpotTrainingOperator):
    """Says that it is about to defer, and does so once a test has marked its task."""

    def defer(self, **how: Any) -> NoReturn:
        place = Path(os.environ["AIRFLOW_HOME"], self._run.plan.run.key)
        place.with_suffix(".defers").touch()
        until = time.monotonic() + 600
        while not place.with_suffix(".marked").exists() and time.monotonic() < until:
            time.sleep(0.05)
        super().defer(**how)


def config(steps: int, seconds: float, **hyperparameters: str) -> dict[str, Any]:
    """A stock request that trains ``steps.py``."""
    return {
        "TrainingJobName": "{{ dag.dag_id }}",
        "AlgorithmSpecification": {"TrainingImage": "image", "TrainingInputMode": "File"},
        "RoleArn": "arn:aws:iam::123456789012:role/airflow-spot",
        "OutputDataConfig": {"S3OutputPath": "s3://airflow-tests/output"},
        "ResourceConfig": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1, "VolumeSizeInGB": 10},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        "HyperParameters": {"steps": str(steps), "seconds": str(seconds), **hyperparameters},
    }


#: A test makes the file; then the DAG says fewer retries than its run has begun with.
RETRIES_LOWERED = Path(os.environ.get("AIRFLOW_HOME", ""), "retries_lowered").exists()
#: A script that fails in its first start, once its task's deferral is old news.
FAILS_ONCE = config(160, 0.1, **{"fail-once-at": "60"})
#: A script that waits for its interruption, and goes on after it.
INTERRUPTED = config(150, 0.1, **{"hold-at": "60"})
#: Waits for capacity for seconds only: then the task continues in a worker while its job is live.
LADDER = [{"instance_type": "ml.m5.xlarge", "wait": 8}, "ml.m5.2xlarge"]
VARIABLE = "{{ var.value.airflow_spot_folder }}"

COMMON: dict[str, Any] = {
    "task_id": "train",
    "entry_point": "steps.py",
    "source_dir": str(SCRIPTS),
    "check_interval": 1,
    "retry_delay": 1,
}

for dag_id, kind, parameters in (
    ("interrupted", SageMakerSpotTrainingOperator, {"config": INTERRUPTED, "deferrable": True}),
    ("interrupted_sync", SageMakerSpotTrainingOperator, {"config": INTERRUPTED, "deferrable": False}),
    ("triggerer_restarted", SageMakerSpotTrainingOperator, {"config": config(300, 0.1), "deferrable": True}),
    ("triggerer_killed", SageMakerSpotTrainingOperator, {"config": config(300, 0.1), "deferrable": True}),
    ("scheduler_killed", SageMakerSpotTrainingOperator, {"config": config(400, 0.1), "deferrable": True, "retries": 3}),
    (
        "scheduler_killed_sync",
        SageMakerSpotTrainingOperator,
        {"config": config(400, 0.1), "deferrable": False, "retries": 3},
    ),
    # A minute without API server, and the time to find out.
    ("api_server_away", SageMakerSpotTrainingOperator, {"config": config(900, 0.1), "deferrable": True, "retries": 3}),
    (
        "api_server_away_sync",
        SageMakerSpotTrainingOperator,
        # While nobody answers, each try ends at once: with no delay all of them would.
        {"config": config(900, 0.1), "deferrable": False, "retries": 3, "retry_delay": 45},
    ),
    # From here on, jobs outlast the news of their deferral: on a busy machine the scheduler hears that its worker has
    # ended after the trigger has fired, and Airflow 3 takes that for the end of the resumed task, and fails it.
    ("worker_killed_sync", TellsItsProcess, {"config": config(300, 0.1), "deferrable": False, "retries": 1}),
    ("cleared", SageMakerSpotTrainingOperator, {"config": config(100, 0.1), "deferrable": True}),
    ("cleared_sync", SageMakerSpotTrainingOperator, {"config": config(100, 0.1), "deferrable": False}),
    ("cleared_failure", SageMakerSpotTrainingOperator, {"config": config(100, 0.1), "deferrable": True}),
    ("cleared_failure_sync", SageMakerSpotTrainingOperator, {"config": config(100, 0.1), "deferrable": False}),
    ("worker_killed", DiesBeforeDeferring, {"config": config(150, 0.1), "deferrable": True, "retries": 1}),
    ("result_lost", DiesBeforeDelivering, {"config": config(100, 0.1), "deferrable": True, "retries": 1}),
    ("marked_failed", SageMakerSpotTrainingOperator, {"config": config(3000, 0.1), "deferrable": True}),
    ("marked_failed_sync", SageMakerSpotTrainingOperator, {"config": config(3000, 0.1), "deferrable": False}),
    ("marked_while_starting", SageMakerSpotTrainingOperator, {"config": config(900, 0.1), "deferrable": True}),
    ("marked_while_starting_sync", SageMakerSpotTrainingOperator, {"config": config(900, 0.1), "deferrable": False}),
    ("marked_before_deferring", WaitsForAMark, {"config": config(900, 0.1), "deferrable": True}),
    (
        "marked_while_resuming",
        SageMakerSpotTrainingOperator,
        {"config": config(900, 0.1, **{"fail-once-at": "20"}), "deferrable": True, "script_error_retries": 1},
    ),
    ("script_failed", SageMakerSpotTrainingOperator, {"config": FAILS_ONCE, "deferrable": True, "retries": 1}),
    (
        "script_failed_sync",
        SageMakerSpotTrainingOperator,
        {"config": FAILS_ONCE, "deferrable": False, "retries": 1},
    ),
    (
        "retries_lowered",
        SageMakerSpotTrainingOperator,
        {"config": config(100, 0.1), "deferrable": True, "retries": 0 if RETRIES_LOWERED else 1},
    ),
    (
        "retries_lowered_sync",
        SageMakerSpotTrainingOperator,
        {"config": config(100, 0.1), "deferrable": False, "retries": 0 if RETRIES_LOWERED else 1},
    ),
    (
        "variable_deleted",
        SageMakerSpotTrainingOperator,
        {"config": config(900, 0.1), "deferrable": True, "ladder": LADDER, "checkpoint_s3_uri": VARIABLE},
    ),
    (
        "timed_out",
        SageMakerSpotTrainingOperator,
        {"config": config(600, 0.1), "deferrable": True, "execution_timeout": timedelta(seconds=40)},
    ),
    (
        "timed_out_sync",
        SageMakerSpotTrainingOperator,
        {"config": config(600, 0.1), "deferrable": False, "execution_timeout": timedelta(seconds=40)},
    ),
    ("dagrun_timed_out", SageMakerSpotTrainingOperator, {"config": config(900, 0.1), "deferrable": True}),
    ("dagrun_timed_out_sync", SageMakerSpotTrainingOperator, {"config": config(900, 0.1), "deferrable": False}),
    (
        "reaped",
        SageMakerSpotTrainingOperator,
        {"config": config(900, 0.1), "deferrable": True, "stop_on_kill": False},
    ),
    (
        "reaped_sync",
        SageMakerSpotTrainingOperator,
        {"config": config(900, 0.1), "deferrable": False, "stop_on_kill": False},
    ),
):
    limit = timedelta(seconds=60) if dag_id.startswith("dagrun_timed_out") else None
    with DAG(dag_id, schedule=None, catchup=False, dagrun_timeout=limit) as dag:
        kind(**{**COMMON, **parameters})
    globals()[dag_id] = dag

with DAG("variable_deleted_mapped", schedule=None, catchup=False) as variable_deleted_mapped:
    SageMakerSpotTrainingOperator.partial(**COMMON, deferrable=True, ladder=LADDER, checkpoint_s3_uri=VARIABLE).expand(
        config=[config(900, 0.1)]
    )


@task.sagemaker_spot(
    config={key: value for key, value in config(60, 0.1).items() if key != "HyperParameters"},
    task_id="train",
    check_interval=1,
    deferrable=True,
)
def count(steps: int, seconds: float, checkpoint: Any) -> dict[str, Any]:
    """Count, and say where each start began; the first one does not come to the end."""
    import json
    import time
    from pathlib import Path

    found = checkpoint.load(lambda path: json.loads(Path(path).read_text()))
    state = found.state if found else {"sum": 0, "starts": []}
    state["starts"].append(found.step if found else 0)
    for step in range(state["starts"][-1] + 1, steps + 1):
        time.sleep(seconds)
        state["sum"] += step
        checkpoint.save(step, lambda path: Path(path).write_text(json.dumps(state)))
        while step == 30 and len(state["starts"]) == 1:
            time.sleep(1)  # for its interruption
    return state


@task
def steps_to_do() -> dict[str, int]:
    """What the function is called with: a result of another task."""
    return {"steps": 60}


@task
def check(total: int, starts: list[int], job: str, members: list[dict[str, Any]]) -> None:
    """Fail where the function's result is not that of a training that continued after one interruption."""
    if total != sum(range(61)) or len(starts) != 2 or starts[0] != 0 or not starts[1] > 0 or "-afspot-" not in job:
        raise ValueError(f"{total}, {starts}, {job}")
    if [member["sum"] for member in members] != [1, 3]:
        raise ValueError(str(list(members)))


with DAG("taskflow", schedule=None, catchup=False) as taskflow:
    counted = count(steps_to_do()["steps"], seconds=0.1)
    check(
        counted["sum"],
        counted["starts"],
        "{{ ti.xcom_pull('train', key='sagemaker_spot')['Training']['TrainingJobName'] }}",
        # They, too, outlast the news of their deferral.
        count.override(task_id="members").partial(seconds=4.0).expand(steps=[1, 2]),
    )

with DAG("reaper", schedule=None, catchup=False) as reaper:
    SageMakerSpotReaperOperator(task_id="reap", grace="1s")

with DAG("sensed", schedule=None, catchup=False, params={"job_name": ""}) as sensed:
    SageMakerSpotTrainingSensor(task_id="wait", job_name="{{ params.job_name }}", poke_interval=1, deferrable=True)

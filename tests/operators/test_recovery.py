"""The ladder, quotas, budgets and failing calls, on a Local SageMaker that is short of everything."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from airflow_spot.aws import retrying as patience
from airflow_spot.core.backoff import Backoff
from airflow_spot.core.ladder import Rung
from airflow_spot.errors import QuotaError, RequestError, ScriptError, SpotCapacityError
from airflow_spot.local import LocalSageMaker
from tests.support.sagemaker import error
from tests.support.service import Task
from tests.support.task import TaskInstance, run_task

MARKET = "ml.c5.xlarge=script:fail=600;ml.c5.2xlarge=script:down=600;*=always"
pytestmark = pytest.mark.local_sagemaker(market=MARKET)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_spot.operators._run_maker.Backoff", lambda key: Backoff(key, base=1.0, cap=5.0))
    monkeypatch.setattr(patience, "PAUSES", (0.2, 1.0))


def places(result: dict[str, Any]) -> list[tuple[str, bool, str]]:
    """Where each attempt ran, and how it ended."""
    return [(each["instance_type"], each["spot"], each["outcome"]) for each in result["Spot"]["attempts"]]


def test_down_the_ladder_to_on_demand_with_one_checkpoint(task: Task, ti: TaskInstance) -> None:
    ladder = [
        Rung("ml.p3.2xlarge"),
        Rung("ml.c5.xlarge", attempts=2),
        Rung("ml.c5.2xlarge", wait="3s"),
        Rung.on_demand(["ml.m5.large", "ml.m5.xlarge"], hyperparameters={"steps": 7}),
    ]
    result = run_task(task.operator(ladder=ladder, steps=500), ti)
    assert places(result) == [
        ("ml.c5.xlarge", True, "no_capacity"),
        ("ml.c5.xlarge", True, "no_capacity"),
        ("ml.c5.2xlarge", True, "rung_timeout"),
        ("ml.m5.large", False, "completed"),
    ]
    assert result["Training"]["CheckpointConfig"]["S3Uri"] == result["Spot"]["checkpoint_s3_uri"]


def test_no_rung_has_capacity_within_the_time(task: Task, ti: TaskInstance) -> None:
    # Without that limit the second type would keep it for 600 s: longer than a test may last.
    with pytest.raises(SpotCapacityError, match="max_total_wait"):
        run_task(task.operator(ladder=["ml.c5.xlarge", Rung("ml.c5.2xlarge")], max_total_wait=6), ti)


def test_as_many_jobs_as_the_user_allows(sync_task: Task, ti: TaskInstance) -> None:
    with pytest.raises(SpotCapacityError, match=r"max_attempts \(2\)"):
        run_task(sync_task.operator(ladder=["ml.c5.xlarge"], max_attempts=2), ti)


def test_a_quota_alone_ends_in_an_error_that_names_it(sync_task: Task, ti: TaskInstance) -> None:
    with pytest.raises(QuotaError, match=r"ml.p3.2xlarge for spot training job usage.*Service Quotas console"):
        run_task(sync_task.operator(ladder=["ml.p3.2xlarge"], max_total_wait=3), ti)


def test_a_script_error_is_tried_again_as_often_as_asked(sync_task: Task, ti: TaskInstance, tmp_path: Any) -> None:
    (tmp_path / "fails.py").write_text(
        "import os, sys\n"
        "folder = '/opt/ml/checkpoints' if os.path.isdir('/opt/ml/checkpoints') else os.environ['SM_CHECKPOINT_DIR']\n"
        "count = len(os.listdir(folder))\n"
        "open(os.path.join(folder, str(count)), 'w').write('x')\n"
        "sys.exit(0 if count == 2 else 7 if count == 1 else 1)\n"
    )
    parameters = {"entry_point": "fails.py", "source_dir": str(tmp_path)}
    once = TaskInstance("train", run_id="once")
    with pytest.raises(ScriptError, match="failed 2 times"):
        run_task(sync_task.operator(script_error_retries=1, **parameters), ti)
    result = run_task(sync_task.operator(script_error_retries=1, retry_exit_codes=[7], **parameters), once)
    assert [outcome for _, _, outcome in places(result)] == ["script_error", "script_error", "completed"]


@pytest.mark.parametrize(
    "plan",
    [
        "*TrainingJob=throttle:count=25",
        "*TrainingJob*=expired:count=3;ListTags=expired:count=1",
        "DescribeTrainingJob=unavailable:count=20",
        "CreateTrainingJob=cut-after:count=1",
        "AddTags=error:count=9;CreateTrainingJob=cut-before:count=2",
    ],
)
def test_calls_that_fail_in_passing_are_one_job_and_no_failed_task(
    local: LocalSageMaker, sync_task: Task, ti: TaskInstance, plan: str
) -> None:
    local.set_faults(plan)
    try:
        result = run_task(sync_task.operator(botocore_config={"retries": {"max_attempts": 1}}), ti)
    finally:
        local.set_faults("")
    assert [outcome for _, _, outcome in places(result)] == ["completed"]
    operation, _, kind = plan.split(":", maxsplit=1)[0].partition("=")
    assert [line for line in local.audit if line.get("fault") == kind], operation


def test_a_permission_that_is_missing_is_named(
    sync_task: Task, ti: TaskInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator = sync_task.operator(steps=50)
    client = operator.hook.conn

    def denied(**_: Any) -> None:
        raise error("AccessDeniedException", "not authorized", "DescribeTrainingJob")

    monkeypatch.setattr(client, "describe_training_job", denied)
    with pytest.raises(RequestError, match="sagemaker:DescribeTrainingJob"):
        run_task(operator, ti)


@pytest.mark.parametrize(("choice", "generation"), [("resume", 1), ("restart", 2), ("fail", None)])
def test_a_clear_after_a_change(sync_task: Task, ti: TaskInstance, choice: str, generation: int | None) -> None:
    with pytest.raises(ScriptError):
        run_task(sync_task.operator(steps=20, hyperparameters={"fail-at": 12}), ti)
    changed = sync_task.operator(steps=21, on_config_change=choice)
    if generation is None:
        with pytest.raises(RequestError, match="hyperparameters changed"):
            run_task(changed, ti.cleared())
        return
    result = run_task(changed, ti.cleared())
    assert result["Spot"]["generation"] == generation
    # An automatic retry is no person's change of mind.
    again = TaskInstance(ti.task_id, run_id=f"{ti.run_id}-retried")
    with pytest.raises(ScriptError):
        run_task(sync_task.operator(steps=20, hyperparameters={"fail-at": 12}), again)
    assert run_task(changed, again.retried())["Spot"]["generation"] == 1


def test_a_run_is_seeded_with_anothers_checkpoints(local: LocalSageMaker, sync_task: Task, ti: TaskInstance) -> None:
    first = run_task(sync_task.operator(steps=12), ti)
    source = {"dag_id": ti.dag_id, "run_id": ti.run_id, "task_id": ti.task_id}
    for number, given in enumerate((source, first["Training"]["TrainingJobName"], first["Spot"]["checkpoint_s3_uri"])):
        other = TaskInstance("train", run_id=f"{ti.run_id}-other-{number}")
        result = run_task(sync_task.operator(steps=15, resume_from=given), other)
        assert result["Spot"]["checkpoint_s3_uri"] != first["Spot"]["checkpoint_s3_uri"]
        client = local.client("logs")
        group = "/aws/sagemaker/TrainingJobs"
        name = result["Training"]["TrainingJobName"]
        (stream,) = client.describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{name}/")["logStreams"]
        page = client.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"], startFromHead=True)
        assert "starting after step 12" in [event["message"] for event in page["events"]]
    with pytest.raises(RequestError, match="nothing in"):
        nowhere = f"s3://{sync_task.bucket}/nowhere"
        run_task(sync_task.operator(resume_from=nowhere), TaskInstance("train", run_id=f"{ti.run_id}-none"))


def test_old_checkpoints_of_other_runs_go_after_a_success(
    local: LocalSageMaker, sync_task: Task, ti: TaskInstance
) -> None:
    old = run_task(sync_task.operator(steps=2), ti)["Spot"]["checkpoint_s3_uri"]
    time.sleep(2)
    other = TaskInstance("train", run_id=f"{ti.run_id}-other")
    new = run_task(sync_task.operator(steps=2, checkpoint_retention="1s"), other)["Spot"]["checkpoint_s3_uri"]
    kept = []
    for uri in (old, new):
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        found = local.client("s3").list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/")
        kept.append(found["KeyCount"] > 0)
    assert kept == [False, True]


def test_twelve_mapped_tasks_share_a_quota_of_two(local: LocalSageMaker, sync_task: Task, ti: TaskInstance) -> None:
    def member(index: int) -> dict[str, Any]:
        mapped = TaskInstance("train", run_id=ti.run_id, map_index=index)
        result: dict[str, Any] = run_task(sync_task.operator(instance_type="ml.g5.xlarge", steps=3), mapped)
        return result

    with ThreadPoolExecutor(12) as executor:
        results = list(executor.map(member, range(12)))
    assert len({result["Training"]["TrainingJobName"] for result in results}) == 12
    assert len({result["Spot"]["checkpoint_s3_uri"] for result in results}) == 12
    assert all([outcome for _, _, outcome in places(result)] == ["completed"] for result in results)

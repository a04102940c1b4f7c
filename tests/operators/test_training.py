"""The operator against Local SageMaker: real processes train, are interrupted, and resume from their checkpoints."""

from __future__ import annotations

import copy
import json
import re
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from airflow_spot.config import deployment_namespace
from airflow_spot.core.backoff import Backoff
from airflow_spot.core.identity import JobName, RunIdentity
from airflow_spot.core.marks import TAG_DELIVERED, TAG_OWNER, TAG_STOP, tag_map
from airflow_spot.errors import (
    MaxRuntimeExceededError,
    RequestError,
    RunTimeoutError,
    ScriptError,
    StoppedExternallyError,
)
from airflow_spot.local import LocalSageMaker
from airflow_spot.operators.training import SageMakerSpotTrainingOperator
from tests.support.requests import stock_config
from tests.support.service import Task
from tests.support.task import TaskInstance, run_task


def output(local: LocalSageMaker, job_name: str) -> list[str]:
    """What a job printed, over all its restarts."""
    logs = local.client("logs")
    group = "/aws/sagemaker/TrainingJobs"
    streams = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{job_name}/")["logStreams"]
    lines = []
    for stream in sorted(streams, key=lambda s: (s["creationTime"], s["logStreamName"])):
        page = logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"], startFromHead=True)
        lines += [event["message"] for event in page["events"]]
    return lines


def tags(local: LocalSageMaker, arn: str) -> dict[str, str]:
    return tag_map(local.client("sagemaker").list_tags(ResourceArn=arn)["Tags"])


#: Seconds after which what is waited for is not going to happen, however busy the machine is.
LIMIT = 240.0
#: A job that trains five steps and then waits for whoever ends it. What resumes from its checkpoint does not.
HELD: dict[str, Any] = {"steps": 10, "hyperparameters": {"hold-at": 5}, "max_run": "1h"}


def wait_for(local: LocalSageMaker, condition: Any, what: str) -> Any:
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError(f"not within {LIMIT:.0f} s: {what}")


def run_key(ti: TaskInstance) -> str:
    return RunIdentity(str(deployment_namespace()), ti.dag_id, ti.run_id, ti.task_id).key


def job_names(local: LocalSageMaker, ti: TaskInstance) -> list[str]:
    """All jobs of a run, by SageMaker."""
    jobs = local.client("sagemaker").list_training_jobs(NameContains=run_key(ti), MaxResults=100)
    return sorted(job["TrainingJobName"] for job in jobs["TrainingJobSummaries"])


def running_job(local: LocalSageMaker, ti: TaskInstance) -> str:
    """Wait until a job of the task instance's run trains, and give its name."""
    client = local.client("sagemaker")

    def training() -> str | None:
        jobs = client.list_training_jobs(StatusEquals="InProgress", NameContains=run_key(ti))["TrainingJobSummaries"]
        return next((job["TrainingJobName"] for job in jobs if job["SecondaryStatus"] == "Training"), None)

    return str(wait_for(local, training, "a job that trains"))


def in_background(call: Any) -> tuple[threading.Thread, list[Any]]:
    """Run a task beside the test; what it returned or raised is in the list."""
    results: list[Any] = []

    def target() -> None:
        try:
            results.append(call())
        except BaseException as error:
            results.append(error)

    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    return thread, results


def outcome_of(background: tuple[threading.Thread, list[Any]]) -> Any:
    """Wait for a task that runs beside the test: its result, or its error."""
    thread, results = background
    thread.join(LIMIT)
    assert results, f"not within {LIMIT:.0f} s: the end of the task"
    return results[0]


def outcomes_of(result: Any) -> list[str]:
    """The outcome of each attempt of a task's result; none of an error."""
    return [each["outcome"] for each in result["Spot"]["attempts"]] if isinstance(result, dict) else []


def test_a_stock_task_runs_with_its_import_changed(local: LocalSageMaker, task: Task, ti: TaskInstance) -> None:
    operator = task.operator(steps=20, seconds=0.15)
    before = copy.deepcopy(operator.config)
    result = run_task(operator, ti)

    training, spot = result["Training"], result["Spot"]
    assert operator.config == before
    assert training["TrainingJobStatus"] == "Completed"
    assert training["EnableManagedSpotTraining"] is True
    name = JobName.parse(training["TrainingJobName"])
    assert name is not None
    assert (name.prefix, name.generation, name.number) == ("digits", 1, 1)
    assert "HyperParameters" not in training
    assert "Environment" not in training
    assert training["StoppingCondition"] == {"MaxRuntimeInSeconds": 120, "MaxWaitTimeInSeconds": 120 + 86_400}
    assert spot["checkpoint_s3_uri"].startswith(f"s3://{task.bucket}/output/checkpoints/tests-")
    assert spot["model_artifacts"] == training["ModelArtifacts"]["S3ModelArtifacts"]
    (attempt,) = spot["attempts"]
    assert attempt["outcome"] == "completed"
    assert attempt["spot"] is True
    assert attempt["savings_percent"] > 0
    assert spot["savings_percent"] == attempt["savings_percent"]
    assert tags(local, training["TrainingJobArn"])[TAG_DELIVERED] == "1 0 0 -"


def test_an_interruption_is_counted_and_the_script_goes_on(local: LocalSageMaker, task: Task, ti: TaskInstance) -> None:
    background = in_background(lambda: run_task(task.operator(**copy.deepcopy(HELD)), ti))
    name = running_job(local, ti)
    wait_for(local, lambda: "step 5" in output(local, name), "five steps")
    local.interrupt(name)
    result = outcome_of(background)
    assert isinstance(result, dict), result
    assert result["Spot"]["interruptions"] == 1
    assert len(result["Spot"]["attempts"]) == 1
    starts = [int(line.split()[-1]) for line in output(local, name) if line.startswith("starting after step")]
    assert starts[0] == 0
    assert len(starts) == 2
    assert starts[1] >= 5


def test_no_capacity_in_time_is_a_new_attempt_from_the_same_checkpoint(
    local: LocalSageMaker, either_task: Task, ti: TaskInstance
) -> None:
    results: list[Any] = []

    def printed(ti: TaskInstance) -> list[str]:
        with suppress(local.client("logs").exceptions.ResourceNotFoundException):  # no job has printed anything yet
            return [line for name in job_names(local, ti) for line in output(local, name)]
        return []

    def waits(ti: TaskInstance, seconds: int) -> bool:
        """Run a task whose job is taken back after five steps, and waits for as long as is left of its time."""
        parameters = {**copy.deepcopy(HELD), "max_run": seconds, "max_wait": seconds}
        background = in_background(lambda: run_task(either_task.operator(**parameters), ti))
        wait_for(local, lambda: background[1] or "step 5" in printed(ti), "five steps")
        with suppress(RuntimeError):  # its time was over
            for name in job_names(local, ti)[:1]:
                local.interrupt(name, capacity_gap=3600)
        result = outcome_of(background)
        outcomes = outcomes_of(result)
        results.append(result)
        timely = {"capacity_timeout", "max_wait_exceeded", "completed"}
        assert isinstance(result, MaxRuntimeExceededError) or (outcomes and timely.issuperset(outcomes)), result
        return outcomes == ["capacity_timeout", "completed"]

    # On a busy machine eight seconds may be over before the five steps, or after them in the second attempt.
    assert waits(ti, 8) or waits(TaskInstance("train", run_id=f"{ti.run_id}-again"), 60), results
    attempts = results[-1]["Spot"]["attempts"]
    assert [JobName.parse(attempt["job_name"]).number for attempt in attempts] == [1, 2]  # type: ignore[union-attr]
    starts = [
        int(line.split()[-1])
        for attempt in attempts
        for line in output(local, attempt["job_name"])
        if line.startswith("starting after step")
    ]
    assert starts[0] == 0
    assert starts[1] >= 5, "the second attempt resumed from the first one's checkpoint"


def test_a_capacity_error_is_a_new_attempt_after_a_pause(
    local: LocalSageMaker, sync_task: Task, ti: TaskInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_spot.operators._run_maker.Backoff", lambda key: Backoff(key, base=2.0))
    operator = sync_task.operator(instance_type="ml.c5.4xlarge")
    result = run_task(operator, ti)
    outcomes = [attempt["outcome"] for attempt in result["Spot"]["attempts"]]
    assert outcomes[0] == "no_capacity"
    assert outcomes[-1] == "completed"


def test_a_second_worker_attaches(local: LocalSageMaker, task: Task, ti: TaskInstance, tmp_path: Path) -> None:
    waits: dict[str, Any] = {"hyperparameters": {"release": str(tmp_path / "release")}, "max_run": "1h"}
    first = run_task(task.operator(**copy.deepcopy(waits), wait_for_completion=False), ti)
    background = in_background(lambda: run_task(task.operator(**waits), ti.retried()))
    wait_for(local, lambda: tags(local, first["Training"]["TrainingJobArn"])[TAG_OWNER] == "2", "it to attach")
    (tmp_path / "release").touch()
    result = outcome_of(background)
    assert result["Training"]["TrainingJobName"] == first["Training"]["TrainingJobName"]
    assert job_names(local, ti) == [result["Training"]["TrainingJobName"]]
    assert tags(local, result["Training"]["TrainingJobArn"])[TAG_OWNER] == "2"


def test_a_lost_result_is_adopted_and_a_clear_trains_anew(local: LocalSageMaker, task: Task, ti: TaskInstance) -> None:
    first = run_task(task.operator(), ti)
    retried = run_task(task.operator(), ti.retried())
    assert retried["Training"]["TrainingJobName"] == first["Training"]["TrainingJobName"]
    cleared = run_task(task.operator(), ti.cleared())
    assert cleared["Spot"]["generation"] == 2
    assert cleared["Spot"]["checkpoint_s3_uri"] != first["Spot"]["checkpoint_s3_uri"]
    starts = [line for line in output(local, cleared["Training"]["TrainingJobName"]) if line.startswith("starting")]
    assert starts == ["starting after step 0"]


def test_a_script_error_fails_with_its_reason(local: LocalSageMaker, either_task: Task, ti: TaskInstance) -> None:
    with pytest.raises(ScriptError) as error:
        run_task(either_task.operator(hyperparameters={"fail-at": 3, "exit-code": 7}), ti)
    assert "AlgorithmError: ExecuteUserScriptError:\nExitCode 7\n" in str(error.value)
    assert "something is about to go wrong" in str(error.value)
    # The next try resumes from the checkpoint, in a new job of the same run.
    result = run_task(either_task.operator(), ti.retried())
    assert [attempt["outcome"] for attempt in result["Spot"]["attempts"]] == ["script_error", "completed"]
    assert "starting after step 2" in output(local, result["Training"]["TrainingJobName"])


def test_a_persons_stop_fails_at_once_and_a_clear_goes_on(local: LocalSageMaker, task: Task, ti: TaskInstance) -> None:
    background = in_background(lambda: run_task(task.operator(**copy.deepcopy(HELD)), ti))
    name = running_job(local, ti)
    wait_for(local, lambda: "step 5" in output(local, name), "five steps")
    local.client("sagemaker").stop_training_job(TrainingJobName=name)
    assert isinstance(outcome_of(background), StoppedExternallyError)
    result = run_task(task.operator(steps=10), ti.cleared())
    assert result["Spot"]["generation"] == 1
    assert [attempt["outcome"] for attempt in result["Spot"]["attempts"]] == ["stopped_externally", "completed"]


def test_out_of_run_time(local: LocalSageMaker, either_task: Task, ti: TaskInstance) -> None:
    with pytest.raises(MaxRuntimeExceededError, match="Raise max_run"):
        run_task(either_task.operator(steps=10_000, seconds=0.1, max_run=2), ti)


def test_time_is_up_stops_the_job(local: LocalSageMaker, task: Task, ti: TaskInstance) -> None:
    run_task(task.operator(**copy.deepcopy(HELD), wait_for_completion=False), ti)
    with pytest.raises(RunTimeoutError):
        run_task(task.operator(**copy.deepcopy(HELD), max_ingestion_time=4), ti.retried())
    (job,) = local.client("sagemaker").list_training_jobs(NameContains=run_key(ti))["TrainingJobSummaries"]
    assert job["TrainingJobStatus"] == "Stopped"
    assert tags(local, job["TrainingJobArn"])[TAG_STOP] == "timeout 2"


def test_time_is_up_and_the_job_may_run_on(local: LocalSageMaker, sync_task: Task, ti: TaskInstance) -> None:
    run_task(sync_task.operator(**copy.deepcopy(HELD), wait_for_completion=False), ti)
    with pytest.raises(RunTimeoutError, match="keeps running \\(stop_on_kill=False\\)"):
        run_task(sync_task.operator(**copy.deepcopy(HELD), max_ingestion_time=4, stop_on_kill=False), ti.retried())
    (job,) = local.client("sagemaker").list_training_jobs(NameContains=run_key(ti))["TrainingJobSummaries"]
    assert job["TrainingJobStatus"] == "InProgress"


def test_on_kill_stops_the_job_and_a_retry_goes_on(local: LocalSageMaker, sync_task: Task, ti: TaskInstance) -> None:
    operator = sync_task.operator(**copy.deepcopy(HELD))
    background = in_background(lambda: run_task(operator, ti))
    name = running_job(local, ti)
    wait_for(local, lambda: "step 5" in output(local, name), "five steps")
    operator.on_kill()
    assert "killed" in str(outcome_of(background))
    result = run_task(sync_task.operator(steps=10), ti.retried())
    assert [attempt["outcome"] for attempt in result["Spot"]["attempts"]] == ["stopped_by_operator", "completed"]


def test_on_kill_of_a_superseded_try_leaves_the_job(local: LocalSageMaker, sync_task: Task, ti: TaskInstance) -> None:
    zombie = sync_task.operator(**copy.deepcopy(HELD))
    first = in_background(lambda: run_task(zombie, ti))
    client, name = local.client("sagemaker"), running_job(local, ti)
    arn = client.describe_training_job(TrainingJobName=name)["TrainingJobArn"]
    second = in_background(lambda: run_task(sync_task.operator(**copy.deepcopy(HELD)), ti.retried()))
    wait_for(local, lambda: tags(local, arn)[TAG_OWNER] == "2", "the second try to attach")
    zombie.on_kill()
    assert "killed" in str(outcome_of(first))
    calls = [line["operation"] for line in local.audit if line["event"] == "call" and line["resource"] == name]
    assert "StopTrainingJob" not in calls
    assert second[0].is_alive(), "the second try waits for the job"
    client.stop_training_job(TrainingJobName=name)
    assert isinstance(outcome_of(second), StoppedExternallyError)


@pytest.mark.parametrize(("max_tries", "status"), [(0, "Stopped"), (1, "InProgress")])
def test_an_unexpected_error_leaves_a_job_only_to_the_next_try(
    local: LocalSageMaker,
    sync_task: Task,
    ti: TaskInstance,
    monkeypatch: pytest.MonkeyPatch,
    max_tries: int,
    status: str,
) -> None:
    ti.max_tries = max_tries
    operator = sync_task.operator(steps=10_000, seconds=0.1, max_run="1h")
    background = in_background(lambda: run_task(operator, ti))
    name = running_job(local, ti)

    def broken(job_name: str) -> None:
        raise RuntimeError("nobody expected this")

    monkeypatch.setattr(operator.hook, "find", broken)
    assert isinstance(outcome_of(background), RuntimeError)
    client = local.client("sagemaker")

    def is_settled() -> bool:
        found: str = client.describe_training_job(TrainingJobName=name)["TrainingJobStatus"]
        return found == status

    wait_for(local, is_settled, f"the job to be {status}")


def test_a_dag_run_made_again_owns_the_job_that_it_finds(
    local: LocalSageMaker, sync_task: Task, ti: TaskInstance
) -> None:
    first = run_task(sync_task.operator(steps=10_000, seconds=0.1, wait_for_completion=False), ti.retried())
    arn = first["Training"]["TrainingJobArn"]
    assert tags(local, arn)[TAG_OWNER] == "2"
    # Its numbers start over: the lower one is the newer try.
    run_task(sync_task.operator(steps=10_000, seconds=0.1, wait_for_completion=False), ti)
    assert tags(local, arn)[TAG_OWNER] == "1"


def test_text_from_templates_gets_the_types_of_the_api(
    local: LocalSageMaker, either_task: Task, ti: TaskInstance
) -> None:
    config = stock_config(either_task.bucket, steps=3, seconds=0.05)
    config["ResourceConfig"] |= {"InstanceCount": "1", "VolumeSizeInGB": "20"}
    config["EnableNetworkIsolation"] = "False"
    config["StoppingCondition"] = {"MaxRuntimeInSeconds": "60"}
    result = run_task(either_task.operator(config, use_spot_instances="True", max_wait="90"), ti)
    assert result["Training"]["ResourceConfig"]["VolumeSizeInGB"] == 20
    assert result["Training"]["StoppingCondition"] == {"MaxRuntimeInSeconds": 60, "MaxWaitTimeInSeconds": 90}


def test_a_wrong_field_is_met_before_any_call(local: LocalSageMaker, task: Task, ti: TaskInstance) -> None:
    config = stock_config(task.bucket)
    config["ResourceConfig"]["InstanceCount"] = "{{ params.count }}"
    operator = task.operator(config)
    operator.config = {**config, "ResourceConfig": {**config["ResourceConfig"], "InstanceCount": "two"}}
    before = len(local.audit)
    with pytest.raises(RequestError, match=re.escape("ResourceConfig.InstanceCount is 'two': must be a whole number")):
        run_task(operator, ti)
    assert not [e for e in local.audit[before:] if e.get("operation", "").startswith(("Create", "Put"))]


def test_on_demand(local: LocalSageMaker, either_task: Task, ti: TaskInstance) -> None:
    result = run_task(either_task.operator(use_spot_instances=False), ti)
    assert result["Training"]["EnableManagedSpotTraining"] is False
    assert "MaxWaitTimeInSeconds" not in result["Training"]["StoppingCondition"]
    assert result["Spot"]["savings_percent"] == 0


def test_a_role_name_is_expanded(local: LocalSageMaker, either_task: Task, ti: TaskInstance) -> None:
    bucket = either_task.bucket
    role = local.client("iam").create_role(RoleName=f"role-{bucket}", AssumeRolePolicyDocument="{}")["Role"]
    config = stock_config(bucket, steps=2)
    config["RoleArn"] = role["RoleName"]
    assert run_task(either_task.operator(config), ti)["Training"]["RoleArn"] == role["Arn"]


def test_s3_operations_survive_a_retry(local: LocalSageMaker, sync_task: Task, ti: TaskInstance, tmp_path: Any) -> None:
    data = tmp_path / "data.csv"
    data.write_text("1,2\n")
    config = stock_config(sync_task.bucket, steps=2, **{"fail-at": 1})
    config["S3Operations"] = {
        "S3CreateBucket": [{"Bucket": f"{sync_task.bucket}-made"}],
        "S3Upload": [{"Path": str(data), "Bucket": f"{sync_task.bucket}-made", "Key": "in/data.csv", "Tar": False}],
    }
    config["InputDataConfig"] = [
        {
            "ChannelName": "train",
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{sync_task.bucket}-made/in"}},
        }
    ]
    with pytest.raises(ScriptError):
        run_task(sync_task.operator(config), ti)
    config["HyperParameters"].pop("fail-at")
    assert run_task(sync_task.operator(config), ti.retried())["Training"]["TrainingJobStatus"] == "Completed"


def test_two_tasks_may_not_write_to_one_exact_folder(local: LocalSageMaker, sync_task: Task, ti: TaskInstance) -> None:
    place = {"checkpoint_s3_uri": f"s3://{sync_task.bucket}/mine", "checkpoint_scope": "exact"}
    run_task(sync_task.operator(steps=3000, seconds=0.1, wait_for_completion=False, **place), ti)
    other = TaskInstance("train", run_id="another")
    with pytest.raises(RequestError, match="of another run writes there"):
        run_task(sync_task.operator(**place), other)


def test_the_log_tells_the_story_and_no_secret(
    local: LocalSageMaker, task: Task, ti: TaskInstance, capfd: pytest.CaptureFixture[str]
) -> None:
    config = stock_config(task.bucket, steps=20, seconds=0.1, password="hunter2-secret")
    config["Environment"] = {"TOKEN": "token-secret"}
    result = run_task(task.operator(config), ti)
    told = capfd.readouterr().out
    for text in ("secret", "hunter2"):
        assert text not in told
        assert text not in json.dumps(result)
        assert text not in json.dumps(ti.xcoms)
    for text in ("attempt 1 on ml.m5.xlarge spot", "Training", "Completed", "% saved against on-demand", "trained"):
        assert text in told


def test_links_lead_to_local_sagemakers_page(local: LocalSageMaker, either_task: Task, ti: TaskInstance) -> None:
    name = run_task(either_task.operator(), ti)["Training"]["TrainingJobName"]
    page = ti.xcoms["sagemaker_spot_training_job"]
    assert page.startswith(local.endpoint_url)
    assert name in page
    browser = Request(page, headers={"Accept": "text/html"})
    with urlopen(browser) as answer:
        assert name in answer.read().decode()
    for kind in ("training_logs", "checkpoints", "model"):
        assert ti.xcoms[f"sagemaker_spot_{kind}"].partition("#")[0] == page


def test_resume_false_trains_anew_after_a_clear_but_not_after_a_retry(
    local: LocalSageMaker, sync_task: Task, ti: TaskInstance
) -> None:
    with pytest.raises(ScriptError):
        run_task(sync_task.operator(resume=False, hyperparameters={"fail-at": 3}), ti)
    with pytest.raises(ScriptError):
        run_task(sync_task.operator(resume=False, hyperparameters={"fail-at": 5}), ti.retried())
    result = run_task(sync_task.operator(resume=False), ti.retried().cleared())
    assert result["Spot"]["generation"] == 2
    assert "starting after step 0" in output(local, result["Training"]["TrainingJobName"])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"max_run": "2h", "max_wait": "1h"}, "MaxWaitTimeInSeconds is 3600"),
        ({"max_run": "29d"}, "at most 28 days"),
        ({"max_run": "soon"}, "max_run is 'soon'"),
        ({"checkpoint_s3_uri": "/tmp/here"}, "CheckpointConfig.S3Uri is '/tmp/here': must be an S3 URI"),
        ({"checkpoint_scope": "global"}, "checkpoint_scope is 'global'"),
        ({"source_dir": "x", "entry_point": None}, "name the script"),
        ({"action_if_job_exists": "ignore"}, "action_if_job_exists is 'ignore'"),
    ],
)
def test_refused_when_the_dag_is_parsed(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        SageMakerSpotTrainingOperator(task_id="train", config=stock_config("bucket"), **parameters)

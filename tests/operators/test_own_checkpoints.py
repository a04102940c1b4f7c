"""``use_checkpoints=False``: a script keeps its own checkpoints, SageMaker keeps none, and everything copes."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_spot.core.parameter_errors import InvalidParameterError
from airflow_spot.errors import RequestError, ScriptError, StoppedExternallyError
from airflow_spot.operators._run_maker import make_run
from airflow_spot.runs import conflicts, staging
from airflow_spot.runs.startup import StartupGuard
from tests.operators.scene import CLIENT, cleared, deferred, operator, resume, ti
from tests.support.sagemaker import DictionarySageMaker

OWN: dict[str, Any] = {"use_checkpoints": False}
NOTHING = "it starts from nothing as far as Airflow knows: the script manages its own checkpoints"


@pytest.fixture(autouse=True)
def untouched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders that were looked at or marked."""
    touched: list[str] = []
    for name in ("_check_alone", "_mark", "_seed", "_tell_what_is_there"):

        def touch(self: Any, folder: str) -> bool:
            touched.append(folder)
            return True

        monkeypatch.setattr(staging.InputStager, name, touch)
    return touched


def folders(service: DictionarySageMaker) -> list[str | None]:
    return [(job.get("CheckpointConfig") or {}).get("S3Uri") for job in service.jobs.values()]


def reasons(service: DictionarySageMaker) -> list[str]:
    return [job["Environment"]["AIRFLOW_SPOT_WHY"] for job in service.jobs.values()]


def test_a_run_without_checkpoints_to_its_result(
    service: DictionarySageMaker, said: list[str], untouched: list[str]
) -> None:
    this = ti()
    trigger = deferred(service, this, **OWN)
    service.passes(trigger.job_name, "Training", "Interrupted")
    service.put(trigger.job_name, "Stopped", "MaxWaitTimeExceeded")
    with pytest.raises(TaskDeferred) as wait:
        resume(operator(service, **OWN), this, trigger, "terminal")
    again = wait.value.trigger
    service.put(again.job_name, "Completed", "Completed")
    result = resume(operator(service, **OWN), this, again, "terminal")
    assert result["Spot"]["checkpoint_s3_uri"] is None
    assert [one["outcome"] for one in result["Spot"]["attempts"]] == ["capacity_timeout", "completed"]
    assert folders(service) == [None, None]
    assert untouched == []
    assert service.calls.count("CreateTrainingJob") == 2
    first, second = reasons(service)
    assert first == "first attempt"
    assert NOTHING in second
    assert any(NOTHING in line and line.startswith("attempt 2 on") for line in said)
    assert not any("newest checkpoint" in line or "same checkpoint" in line for line in said)
    assert "sagemaker_spot_checkpoints" not in this.xcoms
    assert "sagemaker_spot_training_job" in this.xcoms


def test_the_trigger_knows_what_an_interruption_restarts_from(service: DictionarySageMaker) -> None:
    for more, keeps in ((OWN, False), ({}, True)):
        (job,) = deferred(DictionarySageMaker(), ti(), **more).jobs
        assert job.get("keeps_checkpoints", True) is keeps


def test_the_events_name_no_folder(
    service: DictionarySageMaker, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "events.jsonl"
    monkeypatch.setenv("AIRFLOW__AIRFLOW_SPOT__EVENTS_FILE", str(file))
    deferred(service, ti(), **OWN)
    told = [json.loads(line) for line in file.read_text().splitlines()]
    assert {event["event"] for event in told} >= {"generation_began", "attempt_created"}
    assert {event["checkpoint_s3_uri"] for event in told if "checkpoint_s3_uri" in event} == {None}


@pytest.mark.parametrize("scope", ["run", "exact"])
def test_two_runs_in_no_folder_are_in_none_of_each_others_way(
    service: DictionarySageMaker, scope: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that is exact is looked around; no folder is not, neither before nor after the create."""
    monkeypatch.setattr(conflicts, "LIST_LAG_PAUSES", (0.01,))
    deferred(service, ti(), **OWN)
    other = ti()
    other.run_id = "another"
    kept = {"checkpoint_scope": scope, "checkpoint_s3_uri": "s3://bucket/c"}
    deferred(service, other, **(kept if scope == "exact" else OWN))
    assert len(service.live()) == 2
    lists = service.calls.count("ListTrainingJobs")
    third = ti()
    third.run_id = "a third"
    deferred(service, third, **OWN)
    assert service.calls.count("ListTrainingJobs") - lists == 1


def test_a_second_job_is_never_beside_the_first(service: DictionarySageMaker) -> None:
    trigger = deferred(service, ti(1, 2), **OWN)
    again = deferred(service, ti(2, 2), **OWN)  # the worker was lost: the retry attaches
    assert again.job_name == trigger.job_name
    assert service.live() == [trigger.job_name]


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"status": "Failed", "secondary": "Failed", "FailureReason": "AlgorithmError: no"}, ScriptError),
        ({"status": "Stopped", "secondary": "Stopped"}, StoppedExternallyError),
    ],
)
def test_an_error_says_whose_the_checkpoints_are(
    service: DictionarySageMaker, fields: dict[str, Any], error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    trigger = deferred(service, ti(), **OWN)
    service.put(trigger.job_name, **fields)
    made = operator(service, **OWN)
    monkeypatch.setattr(made.hook, "job_log", lambda name: type("Log", (), {"tail": lambda self, limit: []})())
    with pytest.raises(error, match=r"script manages its own checkpoints \(use_checkpoints=False\)") as raised:
        resume(made, ti(), trigger, "terminal")
    assert "from the checkpoint" not in str(raised.value)
    again = deferred(service, cleared(), **OWN)
    assert again.job_name.endswith("-1-2")
    assert reasons(service)[-1].startswith("attempt 1 ended before this try")
    assert NOTHING in reasons(service)[-1]


def test_a_job_that_somebody_deleted_is_told_of_without_a_folder(
    service: DictionarySageMaker, short_pauses: None
) -> None:
    trigger = deferred(service, ti(), **OWN)
    del service.jobs[trigger.job_name]
    with pytest.raises(StoppedExternallyError, match=r"clear the task to resume$"):
        resume(operator(service, **OWN), ti(), trigger, "not_found")


def test_a_kill_names_no_folder(service: DictionarySageMaker, said: list[str]) -> None:
    made = operator(service, **OWN, deferrable=False)
    name = deferred(service, ti(), **OWN).job_name
    service_stops = service.stop_training_job

    def stop(TrainingJobName: str) -> None:
        service_stops(TrainingJobName)
        service.put(TrainingJobName, "Stopped", "Stopped")

    service.stop_training_job = stop  # type: ignore[method-assign]
    made._run = _begun(made)
    made.on_kill()
    (line,) = [line for line in said if line.startswith(f"Stopped training job {name}")]
    assert "checkpoints" not in line


def _begun(made: Any) -> Any:
    context: Any = {"ti": ti()}
    run = make_run(made, context, StartupGuard.of(made, context).run, None).run
    run.begin()
    return run


# ---- a value that changes between tries, or while the task is deferred


def ended(service: DictionarySageMaker, name: str) -> None:
    service.put(name, "Stopped", "MaxWaitTimeExceeded")


def goes_on(service: DictionarySageMaker, trigger: Any, **parameters: Any) -> Any:
    """End the job, and have the same try, with other parameters, create the next one."""
    ended(service, trigger.job_name)
    with pytest.raises(TaskDeferred) as wait:
        resume(operator(service, **parameters), ti(), trigger, "terminal")
    return wait.value.trigger


def test_to_keep_them_from_now_on_begins_with_a_folder_marked_and_seeded_once(
    service: DictionarySageMaker, said: list[str], untouched: list[str]
) -> None:
    kept = {"resume_from": "s3://bucket/seed"}
    second = goes_on(service, deferred(service, ti(), **OWN), **kept)
    third = goes_on(service, second, **kept)
    none, first, again = folders(service)
    assert none is None
    assert first == again and first is not None and first.endswith("/g0001")
    assert untouched == [first, first]  # its marker and its seed, before the second job; nothing before the third
    assert third.job_name.endswith("-1-3")
    assert "SageMaker kept no checkpoints of the run so far" in reasons(service)[1]
    assert reasons(service)[2].endswith("; same checkpoint")


def test_to_keep_none_from_now_on_leaves_the_folder_and_says_so(service: DictionarySageMaker, said: list[str]) -> None:
    second = goes_on(service, deferred(service, ti()), **OWN)
    first, none = folders(service)
    assert first is not None and none is None
    assert NOTHING in reasons(service)[1]
    (line,) = [line for line in said if "is not restored" in line]
    assert first in line
    service.put(second.job_name, "Completed", "Completed")
    result = resume(operator(service, **OWN), ti(), second, "terminal")
    assert result["Spot"]["checkpoint_s3_uri"] == first  # what is there is there


def test_back_again_the_folder_of_before_is_found_whatever_it_renders_to(service: DictionarySageMaker) -> None:
    """A deferral carries no folders: those of before the job that kept none are read again."""
    second = goes_on(service, deferred(service, ti()), **OWN)
    elsewhere = {"config": {"OutputDataConfig": {"S3OutputPath": "s3://bucket/elsewhere"}}}
    third = goes_on(service, second, **OWN)
    goes_on(service, third, **elsewhere)
    first, *own, back = folders(service)
    assert own == [None, None]
    assert back == first
    assert reasons(service)[-1].endswith("; same checkpoint")


def test_a_job_that_trains_keeps_what_it_has(service: DictionarySageMaker) -> None:
    trigger = deferred(service, ti(1, 2))
    again = deferred(service, ti(2, 2), **OWN)
    assert again.job_name == trigger.job_name
    assert folders(service) != [None]
    service.put(again.job_name, "Completed", "Completed")
    assert resume(operator(service, **OWN), ti(2, 2), again, "terminal")["Spot"]["checkpoint_s3_uri"] is not None


def test_a_clear_after_success_begins_a_generation_as_it_is_configured_now(service: DictionarySageMaker) -> None:
    trigger = deferred(service, ti(), **OWN)
    service.put(trigger.job_name, "Completed", "Completed")
    resume(operator(service, **OWN), ti(), trigger, "terminal")
    again = deferred(service, cleared())
    assert again.job_name.endswith("-2-1")
    assert str(folders(service)[-1]).endswith("/g0002")
    assert reasons(service)[-1] == "first attempt"


def test_another_run_cannot_resume_from_one_without_checkpoints(
    service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    name = deferred(service, ti(), **OWN).job_name
    ended(service, name)
    other: Any = {"ti": ti()}
    other["ti"].run_id = "another"
    with pytest.raises(RequestError, match=f"resume_from is '{name}'.*keeps no checkpoints"):
        operator(service, resume_from=name).execute(other)


# ---- what excludes it


@pytest.mark.parametrize(
    "parameters",
    [
        {"checkpoint_s3_uri": "s3://bucket/c"},
        {"checkpoint_local_path": "/opt/ml/checkpoints"},
        {"checkpoint_scope": "exact"},
        {"resume_from": "s3://bucket/c"},
        {"checkpoint_retention": "30d"},
        {"checkpoint_warning_after": "1h"},
        {"max_starts_without_progress": 5},
        {"config": {"CheckpointConfig": {"S3Uri": "s3://bucket/c"}}},
    ],
)
def test_what_says_where_checkpoints_are_is_refused_when_the_dag_is_parsed_and_when_the_task_runs(
    service: DictionarySageMaker, parameters: dict[str, Any]
) -> None:
    (name,) = parameters.get("config", parameters)
    says = rf"{name} is .*: has no effect with use_checkpoints=False.*remove one of the two"
    with pytest.raises(InvalidParameterError, match=says):
        operator(service, **OWN, **parameters)
    late = operator(service, use_checkpoints="{{ params.own }}", **parameters)
    late.use_checkpoints = "False"  # as it is rendered
    context: Any = {"ti": ti()}
    with pytest.raises(RequestError, match=rf"{says}\. Nothing was sent to SageMaker"):
        late.execute(context)
    assert service.jobs == {}


def test_the_request_fits_the_models_own_rules(service: DictionarySageMaker) -> None:
    """CreateTrainingJob's model asks for no checkpoints, with spot neither."""
    deferred(service, ti(), **OWN)
    (job,) = service.jobs.values()
    required = CLIENT.meta.service_model.operation_model("CreateTrainingJob").input_shape.required_members
    assert "CheckpointConfig" not in job
    assert "CheckpointConfig" not in required
    assert job["EnableManagedSpotTraining"] is True
    assert re.fullmatch(r"[a-z-]+-1-1", job["TrainingJobName"].replace(job["Environment"]["AIRFLOW_SPOT_RUN"], "key"))

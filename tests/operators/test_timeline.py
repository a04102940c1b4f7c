"""The copy of a run's ledger, as XComs: right for a run that is interrupted, fails, is killed, retried or cleared."""

from __future__ import annotations

import copy
import json
from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_spot.compat import xcoms
from airflow_spot.compat.sdk import AirflowTaskTimeout
from airflow_spot.core.timeline.carried import unpack
from airflow_spot.errors import RunKilledError, ScriptError, StoppedExternallyError
from airflow_spot.local import LocalSageMaker
from airflow_spot.render.ledger_format import SUMMARY_KEY, TIMELINE_KEY
from airflow_spot.runs import ledger_copy
from tests.operators.scene import cleared, deferred, operator, resume, ti
from tests.operators.test_training import HELD, in_background, outcome_of, output, running_job, wait_for
from tests.support.sagemaker import DictionarySageMaker, error
from tests.support.service import Task
from tests.support.task import TaskInstance, fire, run_task

pytestmark = pytest.mark.usefixtures("short_pauses")
FAILED = {"FailureReason": "AlgorithmError: , exit code: 1", "TrainingTimeInSeconds": 60}
ENDED = {"TrainingTimeInSeconds": 60, "BillableTimeInSeconds": 20}


def summary(this: TaskInstance) -> dict[str, Any]:
    return dict(this.xcoms[SUMMARY_KEY])


def timeline(this: TaskInstance) -> dict[str, Any]:
    return dict(this.xcoms[TIMELINE_KEY])


def whats(this: TaskInstance) -> list[str]:
    return [what for _, what, _ in timeline(this)["decisions"]]


# ---- before the task waits, and while it does


def test_a_task_that_defers_has_both_and_hands_on_what_it_knows(service: DictionarySageMaker) -> None:
    this = ti()
    trigger = deferred(service, this)
    assert (summary(this)["state"], summary(this)["job"]) == ("waiting", trigger.job_name)
    (line,) = timeline(this)["attempts"]
    assert (line["job"], line["why"], line["tried_by"], line["type"]) == (
        trigger.job_name,
        "first attempt",
        1,
        "ml.m5.xlarge",
    )
    assert (timeline(this)["region"], timeline(this)["partition"]) == ("us-east-1", "aws")
    assert whats(this) == ["attempt 1"]
    state = unpack(trigger.run_state["timeline"])
    assert state is not None
    assert list(state.jobs) == [trigger.job_name]
    assert len(json.dumps(trigger.run_state)) < 3_000


def test_a_run_that_pauses_says_until_when_and_why(
    service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(**_: Any) -> Any:
        message = "The account-level service limit 'ml.m5.large for spot training job usage' is 2 Instances, with "
        raise error("ResourceLimitExceeded", f"{message}current utilization of 2 Instances", "CreateTrainingJob")

    monkeypatch.setattr(service, "create_training_job", refused)
    monkeypatch.setattr("airflow_spot.runs.controller.SHORT_PAUSE_SECONDS", 0.0)
    this = ti()
    trigger = deferred(service, this, max_total_wait="1d")
    assert trigger.job_name is None
    assert summary(this)["state"] == "pausing"
    assert whats(this) == ["attempt 1 refused", "pause"]
    assert timeline(this)["attempts"] == []


# ---- how it ends


def test_a_run_that_succeeds_is_completed_with_its_sums(service: DictionarySageMaker) -> None:
    this = ti()
    trigger = deferred(service, this)
    service.put(trigger.job_name, "Completed", "Completed", **ENDED, ModelArtifacts={"S3ModelArtifacts": "s3://b/m"})
    result = resume(operator(service), this, trigger, "terminal")
    figures = {key: result["Spot"][key] for key in timeline(this)["totals"] if key != "attempts"}
    assert timeline(this)["totals"] == {"attempts": 1, **figures}
    assert (timeline(this)["state"], timeline(this)["model"]) == ("completed", "s3://b/m")
    assert (summary(this)["trained"], summary(this)["billed"]) == (60, 20)
    assert summary(this)["ended"] is not None


def test_a_run_that_fails_says_why_and_what_it_cost(service: DictionarySageMaker) -> None:
    this = ti()
    trigger = deferred(service, this)
    service.put(trigger.job_name, "Failed", "Failed", **{**FAILED, **ENDED})
    with pytest.raises(ScriptError):
        resume(operator(service), this, trigger, "terminal")
    assert (summary(this)["state"], summary(this)["billed"]) == ("failed", 20)
    assert "AlgorithmError" in timeline(this)["reason"]
    (line,) = timeline(this)["attempts"]
    assert (line["outcome"], line["exit_code"]) == ("script_error", 1)
    assert whats(this) == ["attempt 1", "failed"]


def test_a_persons_stop_and_a_deleted_job(service: DictionarySageMaker) -> None:
    this = ti()
    trigger = deferred(service, this)
    service.put(trigger.job_name, "Stopped", "Stopped")
    with pytest.raises(StoppedExternallyError):
        resume(operator(service), this, trigger, "terminal")
    assert summary(this)["state"] == "stopped"

    this = ti(2, 2)
    trigger = deferred(service, this)
    del service.jobs[trigger.job_name]
    with pytest.raises(StoppedExternallyError):
        resume(operator(service), this, trigger, "not_found")
    assert summary(this)["state"] == "failed"
    assert "deleted" in timeline(this)["reason"]
    assert timeline(this)["attempts"][-1]["ended"] is not None


def test_a_killed_task_is_stopped_and_nothing_is_written_in_the_signal_handler(
    service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, this = operator(service, deferrable=False), ti()

    def signal(*_: Any) -> None:
        before = json.dumps(this.xcoms)
        made.on_kill()
        assert json.dumps(this.xcoms) == before  # Airflow's handler may have come in the middle of a write
        raise RunKilledError("killed")

    monkeypatch.setattr("airflow_spot.runs.controller.interruptible_sleep", signal)
    context: Any = {"ti": this}
    with pytest.raises(RunKilledError):
        made.execute(context)
    assert summary(this)["state"] == "stopped"
    assert whats(this) == ["attempt 1", "attempt 1 stopped", "stopped"]


@pytest.mark.parametrize(("stops", "state"), [(True, "failed"), (False, "left")])
def test_airflows_timeout(
    service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch, stops: bool, state: str
) -> None:
    sleeps: list[int] = []

    def timeout(*_: Any) -> None:
        sleeps.append(1)
        if len(sleeps) == 1:
            raise AirflowTaskTimeout("Timeout")

    monkeypatch.setattr("airflow_spot.runs.controller.interruptible_sleep", timeout)
    this = ti()
    context: Any = {"ti": this}
    with pytest.raises(AirflowTaskTimeout):
        operator(service, deferrable=False, stop_on_kill=stops, execution_timeout=timedelta(hours=1)).execute(context)
    assert summary(this)["state"] == state


def test_a_job_that_is_not_waited_for_is_left(service: DictionarySageMaker) -> None:
    this = ti(1, 1)
    context: Any = {"ti": this}
    operator(service, wait_for_completion=False).execute(context)
    assert (summary(this)["state"], timeline(this)["reason"]) == ("left", "wait_for_completion=False")
    service.put(summary(this)["job"], "Completed", "Completed", **ENDED)
    again = ti(2, 1)
    operator(service, wait_for_completion=False).execute({"ti": again})  # type: ignore[typeddict-item]
    assert (summary(again)["state"], summary(again)["billed"]) == ("completed", 20)


# ---- over tries


def test_a_retry_and_a_clear_have_the_story_from_sagemaker(service: DictionarySageMaker) -> None:
    first = ti(1, 1)
    trigger = deferred(service, first)
    service.put(trigger.job_name, "Failed", "Failed", **{**FAILED, **ENDED})
    with pytest.raises(ScriptError):
        resume(operator(service), first, trigger, "terminal")

    second = ti(2, 1)  # Airflow has emptied its XComs
    trigger = deferred(service, second)
    lines = timeline(second)["attempts"]
    assert [(line["number"], line["outcome"]) for line in lines] == [(1, "script_error"), (2, None)]
    assert whats(second) == ["attempt 1", "attempt 2"]
    service.put(trigger.job_name, "Completed", "Completed", **ENDED)
    resume(operator(service), second, trigger, "terminal")
    assert (summary(second)["state"], summary(second)["billed"]) == ("completed", 40)

    again = cleared(3)
    deferred(service, again)
    lines = timeline(again)["attempts"]
    assert [(line["generation"], line["number"], line["label"]) for line in lines] == [
        (1, 1, "script error"),
        (1, 2, "completed"),
        (2, 1, "in progress"),
    ]
    assert (summary(again)["generation"], summary(again)["attempts"]) == (2, 1)


def test_a_state_of_another_try_is_not_gone_on_from(service: DictionarySageMaker) -> None:
    trigger = deferred(service, ti(1, 1))
    made = ledger_copy.LedgerCopy(
        operator(service).hook and _run_of(trigger),
        operator(service).hook,
        ti(2, 1),
        operator(service).log,
        carried=trigger.run_state["timeline"],
    )
    assert made.state.jobs == {}


def _run_of(trigger: Any) -> Any:
    state = unpack(trigger.run_state["timeline"])
    assert state is not None

    class Run:
        key, dag_id, run_id, task_id, map_index = (
            state.key,
            state.dag_id,
            state.run_id,
            state.task_id,
            state.map_index,
        )

    return Run()


# ---- in the trigger


def test_a_trigger_writes_what_it_hears_and_hands_it_on(service: DictionarySageMaker, bare_trigger: Any) -> None:
    this = ti()
    trigger = deferred(service, this)
    before = timeline(this)
    service.passes(trigger.job_name, "Downloading", "Training", "Interrupted", "Starting", "Downloading", "Training")
    service.put(trigger.job_name, "Completed", "Completed", **ENDED)
    service.passes(trigger.job_name, "Completed")
    event = bare_trigger(trigger, service, this)
    heard = timeline(this)
    assert before["attempts"][0]["interruptions"] == 0
    assert heard["attempts"][0]["interruptions"] == 1
    assert summary(this)["state"] == "uploading"  # how it ended, the worker reads
    context: Any = {"ti": this}
    operator(service).execute_complete(context, event)
    assert summary(this)["state"] == "completed"
    assert (summary(this)["interruptions"], len(summary(this)["interrupted"])) == (1, 1)
    assert len(timeline(this)["attempts"][0]["starts"]) == 2


def test_a_row_of_an_older_version_is_borne(service: DictionarySageMaker, bare_trigger: Any) -> None:
    this = ti()
    trigger = deferred(service, this)
    del trigger.run_state["timeline"]
    this.xcoms.clear()
    service.put(trigger.job_name, "Completed", "Completed", **ENDED)
    event = bare_trigger(trigger, service, this)
    assert this.xcoms == {}
    assert "timeline" not in event["run_state"]
    context: Any = {"ti": this}
    operator(service).execute_complete(context, event)
    assert summary(this)["state"] == "completed"


@pytest.fixture
def bare_trigger(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a trigger against a dictionary until it fires."""
    from airflow_spot.triggers import training
    from airflow_spot.triggers.sources import SageMakerSource
    from tests.support.sagemaker import DictionaryHook

    def run(trigger: Any, service: DictionarySageMaker, this: TaskInstance) -> dict[str, Any]:
        source = SageMakerSource()
        source._hook = DictionaryHook(service)
        monkeypatch.setattr(training.SageMakerSpotTrainingTrigger, "_service", lambda _: source)
        return fire(trigger, this)

    return run


def test_a_worker_that_polls_writes_what_it_sees_before_it_waits_again(
    service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    this, states = ti(), list[tuple[str, int]]()
    steps = [("Downloading",), ("Training",), ("Interrupted", "Starting"), ("Downloading", "Training")]

    def sleep(*_: Any) -> None:
        (name,) = service.jobs
        states.append((summary(this)["state"], summary(this)["interruptions"]))
        if steps:
            service.passes(name, *steps.pop(0))
        else:
            service.put(name, "Completed", "Completed", **ENDED)

    monkeypatch.setattr("airflow_spot.runs.controller.interruptible_sleep", sleep)
    context: Any = {"ti": this}
    operator(service, deferrable=False).execute(context)
    assert states == [("waiting", 0), ("starting", 0), ("training", 0), ("waiting", 1), ("training", 1)]
    assert summary(this)["state"] == "completed"


def test_a_user_who_ends_a_deferred_task_sees_it_stopped(
    service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.support.sagemaker import DictionaryHook

    this = ti()
    trigger = deferred(service, this)
    trigger.task_instance = this
    trigger._connect = lambda: DictionaryHook(service)
    monkeypatch.setattr(xcoms, "set_xcom", lambda of, key, value: of.xcom_push(key, value))
    trigger._stop()
    assert service.jobs[trigger.job_name]["TrainingJobStatus"] == "Stopping"
    assert summary(this)["state"] == "stopped"
    assert whats(this)[-1] == "attempt 1 stopped"


# ---- for real


def test_a_run_that_is_interrupted_for_real(local: LocalSageMaker, task: Task, ti: TaskInstance) -> None:
    background = in_background(lambda: run_task(task.operator(**copy.deepcopy(HELD)), ti))
    name = running_job(local, ti)
    wait_for(local, lambda: "step 5" in output(local, name), "five steps")
    local.interrupt(name)
    result = outcome_of(background)
    assert isinstance(result, dict), result
    lines = timeline(ti)["attempts"]
    assert timeline(ti)["totals"]["interruptions"] == result["Spot"]["interruptions"] == 1
    assert summary(ti)["interruptions"] == len(summary(ti)["interrupted"])
    (line,) = lines
    assert len(line["starts"]) == line["interruptions"] + 1
    assert all(start[2] is not None for start in line["starts"])
    assert line["ticks"], "what was in the folder after an interruption"
    assert (line["outcome"], line["billable_seconds"]) == ("completed", result["Spot"]["billable_seconds"])
    assert line["uploading"] is not None
    assert summary(ti)["twice"] == result["Spot"]["trained_twice_seconds"]
    assert timeline(ti)["state"] == "completed"


def test_a_deferred_run_has_no_more_than_kilobytes_in_its_row(service: DictionarySageMaker) -> None:
    with pytest.raises(TaskDeferred) as wait:
        context: Any = {"ti": ti()}
        operator(service).execute(context)
    state: Any = wait.value.trigger
    assert len(state.run_state["timeline"]) < 1_500


def test_the_log_of_a_killed_run_has_its_sums(
    service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    made = operator(service, deferrable=False)

    def signal(*_: Any) -> None:
        made.on_kill()
        raise RunKilledError("killed")

    monkeypatch.setattr("airflow_spot.runs.controller.interruptible_sleep", signal)
    context: Any = {"ti": ti()}
    with pytest.raises(RunKilledError):
        made.execute(context)
    assert said[-3] == "The run ends here: killed by Airflow"
    assert said[-2].startswith("attempt 1 ")
    assert said[-1].startswith("1 attempt, 0 interruptions; waited")

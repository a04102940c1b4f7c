"""Nothing is abandoned where a try cannot begin, cannot stop or cannot see its job: what is live is ended, or named."""

from __future__ import annotations

import time
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import TaskDeferred

from airflow_spot.aws.marks import Marks
from airflow_spot.compat.sdk import AirflowTaskTimeout
from airflow_spot.errors import (
    RequestError,
    RunKilledError,
    RunTimeoutError,
    ScriptError,
    SpotTrainingError,
)
from airflow_spot.hooks import training as hooks
from tests.operators.scene import Hook, Shy, deferred, edited, mark, operator, resume, ti
from tests.support.sagemaker import DictionarySageMaker, error

pytestmark = pytest.mark.usefixtures("short_pauses")

# ---- a try that cannot be prepared


def test_a_config_that_broke_while_a_job_trains_stops_it_and_says_so(service: DictionarySageMaker) -> None:
    trigger = deferred(service, ti(retries=3))
    with pytest.raises(RequestError, match=f"no-uri.*{trigger.job_name} was stopped") as failed:
        resume(edited(service), ti(retries=3), trigger)
    assert "Nothing was sent" not in str(failed.value)
    assert service.jobs[trigger.job_name]["TrainingJobStatus"] == "Stopping"
    assert str(mark(service, trigger.job_name)) == "failure 1"


def test_a_retry_whose_config_is_wrong_stops_the_job_of_the_try_before(service: DictionarySageMaker) -> None:
    name = deferred(service, ti(1, 3)).job_name
    context: Any = {"ti": ti(2, 3)}
    made = operator(service, resume="{{ params.resume }}")
    made.resume = "maybe"  # as Jinja rendered it
    with pytest.raises(RequestError, match=f"resume is 'maybe'.*{name} was stopped"):
        made.execute(context)
    assert service.jobs[name]["TrainingJobStatus"] == "Stopping"
    assert service.tags_of(name)["airflow-spot:owner"] == "2"


def test_a_wrong_time_limit_of_a_retry_stops_the_job_as_well(service: DictionarySageMaker) -> None:
    name = deferred(service, ti(1, 3)).job_name
    made = operator(service)
    made.max_ingestion_time = 0
    context: Any = {"ti": ti(2, 3)}
    with pytest.raises(RequestError, match=f"max_ingestion_time.*{name} was stopped"):
        made.execute(context)
    assert service.jobs[name]["TrainingJobStatus"] == "Stopping"


def test_the_job_is_found_where_it_may_not_be_listed(service: DictionarySageMaker) -> None:
    service.denied = {"ListTrainingJobs"}
    name = deferred(service, ti(1, 3)).job_name
    context: Any = {"ti": ti(2, 3)}
    with pytest.raises(RequestError, match=f"{name} was stopped"):
        edited(service).execute(context)


def test_a_broken_config_leaves_a_job_that_may_run_on_and_names_it(
    service: DictionarySageMaker, said: list[str]
) -> None:
    trigger = deferred(service, ti(retries=3), stop_on_kill=False)
    with pytest.raises(RequestError, match=f"{trigger.job_name} keeps running \\(stop_on_kill=False\\)"):
        resume(edited(service, stop_on_kill=False), ti(retries=3), trigger)
    assert service.jobs[trigger.job_name]["TrainingJobStatus"] == "InProgress"
    assert any(f"Leaving training job {trigger.job_name} running (stop_on_kill=False" in line for line in said)


def test_a_broken_config_leaves_a_later_trys_job_alone(service: DictionarySageMaker) -> None:
    trigger = deferred(service, ti(1, 3))
    with pytest.raises(TaskDeferred):
        context: Any = {"ti": ti(2, 3)}
        operator(service).execute(context)
    with pytest.raises(RequestError, match="not stopped: it is owned by try 2"):
        resume(edited(service), ti(1, 3), trigger)
    assert service.jobs[trigger.job_name]["TrainingJobStatus"] == "InProgress"


@pytest.mark.parametrize(("begun", "status"), [(-60, "InProgress"), (60, "Stopping")])
def test_a_lower_try_takes_a_job_over_only_where_its_dag_run_was_made_again(
    service: DictionarySageMaker, begun: int, status: str
) -> None:
    """Else it was superseded while it prepared."""
    name = deferred(service, ti(2, 3)).job_name
    started = service.jobs[name]["CreationTime"] + timedelta(seconds=begun)
    context: Any = {"ti": ti(1, 3), "dag_run": SimpleNamespace(start_date=started)}
    with pytest.raises(RequestError, match=name):
        edited(service).execute(context)
    assert service.jobs[name]["TrainingJobStatus"] == status


def test_a_broken_config_says_what_came_of_a_job_that_ended(service: DictionarySageMaker) -> None:
    trigger = deferred(service, ti())
    service.put(trigger.job_name, "Completed", "Completed")
    with pytest.raises(RequestError, match=f"{trigger.job_name} has ended: completed"):
        resume(edited(service), ti(), trigger, "terminal")


def test_a_broken_config_of_a_run_without_a_job_sent_nothing(service: DictionarySageMaker) -> None:
    context: Any = {"ti": ti()}
    with pytest.raises(RequestError, match=r"no-uri.*Nothing was sent to SageMaker"):
        edited(service).execute(context)
    assert not service.jobs


@pytest.mark.parametrize("retries", [0, 1])
def test_a_role_that_cannot_be_looked_up_ends_the_job_or_leaves_it_to_the_next_try(
    service: DictionarySageMaker, said: list[str], monkeypatch: pytest.MonkeyPatch, retries: int
) -> None:
    trigger = deferred(service, ti(retries=retries))

    def refused(*_: Any, **__: Any) -> str:
        raise error("NoSuchEntity", "The role with name trainer cannot be found.", "GetRole")

    monkeypatch.setattr(Hook, "expand_role", refused)
    with pytest.raises(type(error(""))):
        resume(operator(service), ti(retries=retries), trigger)
    stopped = service.jobs[trigger.job_name]["TrainingJobStatus"] == "Stopping"
    assert stopped is (retries == 0)
    assert any(f"{trigger.job_name} keeps running; the next try attaches" in line for line in said) is (retries == 1)


def test_a_role_is_looked_up_until_iam_answers(service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    refusals = [error("Throttling", "Rate exceeded", "GetRole")] * 3

    def get(*_: Any) -> str:
        if refusals:
            raise refusals.pop()
        return "arn:aws:iam::123456789012:role/trainer"

    monkeypatch.setattr(hooks.SageMakerHook, "expand_role", get)
    assert deferred(service, ti(), config={"RoleArn": "trainer"}).job_name in service.live()


def test_a_task_that_is_killed_while_it_prepares_stops_its_job(
    service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    """A retry does not know its job yet, and a task that continues does: both stop it, and neither defers."""
    trigger = deferred(service, ti(1, 3))
    made = operator(service)
    monkeypatch.setattr(Hook, "expand_role", lambda self, role: (made.on_kill(), role)[1])
    with pytest.raises(RunKilledError):
        resume(made, ti(1, 3), trigger)
    assert str(mark(service, trigger.job_name)) == "killed 1"
    assert service.jobs[trigger.job_name]["TrainingJobStatus"] == "Stopping"
    # Where its checkpoints are is not known yet, and is not said.
    assert f"Stopped training job {trigger.job_name} (killed by Airflow)" in said
    service.put(trigger.job_name, "InProgress")
    context: Any = {"ti": ti(2, 3)}
    with pytest.raises(RunKilledError):
        made.execute(context)
    assert service.jobs[trigger.job_name]["TrainingJobStatus"] == "Stopping"


# ---- a stop that fails


def test_a_stop_at_the_deadline_is_repeated_until_sagemaker_answers(
    service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    trigger = deferred(service, ti(), max_ingestion_time=1)
    time.sleep(max(0.0, trigger.run_state["give_up_at"] - time.time()))
    stop, refusals = service.stop_training_job, [error("ThrottlingException", "Rate exceeded", "StopTrainingJob")] * 3

    def throttled(TrainingJobName: str) -> None:
        if refusals:
            raise refusals.pop()
        stop(TrainingJobName)

    monkeypatch.setattr(service, "stop_training_job", throttled)
    with pytest.raises(TaskDeferred):  # to wait for its end
        resume(operator(service), ti(), trigger)
    assert service.jobs[trigger.job_name]["TrainingJobStatus"] == "Stopping"
    service.put(trigger.job_name, "Stopped", "Stopped")
    with pytest.raises(RunTimeoutError):
        resume(operator(service), ti(), trigger, "terminal")


def test_a_stop_that_is_not_permitted_is_told_and_leaves_no_mark(service: DictionarySageMaker, said: list[str]) -> None:
    trigger = deferred(service, ti(), max_ingestion_time=1)
    time.sleep(max(0.0, trigger.run_state["give_up_at"] - time.time()))
    service.denied = {"StopTrainingJob"}
    with pytest.raises(RequestError, match=f"sagemaker:StopTrainingJob.*{trigger.job_name} could not be stopped"):
        resume(operator(service), ti(), trigger)
    left = mark(service, trigger.job_name)
    assert left is not None
    assert left.withdrawn
    assert any(f"{trigger.job_name} could not be stopped" in line for line in said)


@pytest.mark.parametrize("denied", [{"StopTrainingJob"}, {"StopTrainingJob", "AddTags", "DescribeTrainingJob"}])
def test_a_timeout_stays_one_where_the_stop_fails(
    service: DictionarySageMaker, said: list[str], monkeypatch: pytest.MonkeyPatch, denied: set[str]
) -> None:
    made = operator(service, deferrable=False, check_interval=1)

    def sleep(*_: Any) -> None:
        service.denied = denied
        raise AirflowTaskTimeout("Timeout")

    monkeypatch.setattr("airflow_spot.runs.controller.interruptible_sleep", sleep)
    context: Any = {"ti": ti()}
    with pytest.raises(AirflowTaskTimeout):
        made.execute(context)
    (name,) = service.live()
    assert any(f"{name} could not be stopped" in line for line in said)


def test_a_kill_whose_stop_failed_is_made_up_for_by_the_task_itself(
    service: DictionarySageMaker, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = operator(service, deferrable=False, check_interval=1)

    def killed(amount: float, check_alive: Any) -> None:
        service.denied = {"StopTrainingJob"}
        made.on_kill()
        service.denied = set()
        check_alive()

    monkeypatch.setattr("airflow_spot.runs.controller.interruptible_sleep", killed)
    context: Any = {"ti": ti(1, 3)}
    with pytest.raises(RunKilledError):
        made.execute(context)
    (name,) = service.live()
    assert service.jobs[name]["TrainingJobStatus"] == "Stopping"


# ---- a job that does not show


def test_a_job_that_shows_late_is_waited_for() -> None:
    service = Shy()
    service.looks = 3
    assert deferred(service, ti()).job_name in service.live()
    assert service.calls.count("CreateTrainingJob") == 1


@pytest.mark.parametrize("retries", [0, 1])
def test_a_job_that_does_not_show_in_time_is_stopped_or_left_to_the_next_try(said: list[str], retries: int) -> None:
    service = Shy()
    service.looks = 6
    context: Any = {"ti": ti(retries=retries)}
    with pytest.raises(SpotTrainingError, match="does not find it"):
        operator(service).execute(context)
    (name,) = service.live()
    assert (service.jobs[name]["TrainingJobStatus"] == "Stopping") is (retries == 0)
    assert any(f"{name} keeps running; the next try attaches" in line for line in said) is (retries == 1)


def test_a_strangers_job_of_our_name_is_not_stopped() -> None:
    service = Shy()
    name = deferred(service, ti()).job_name
    service.put(name, Environment={})
    service.unlisted = service.looks = 1  # seen only once the create is refused
    context: Any = {"ti": ti()}
    with pytest.raises(RequestError, match="already used outside this run"):
        operator(service).execute(context)
    assert service.jobs[name]["TrainingJobStatus"] == "InProgress"


def test_a_task_that_does_not_wait_leaves_no_job_where_it_fails(
    service: DictionarySageMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise error("ValidationException", "no more tags", "AddTags")

    monkeypatch.setattr(Marks, "set_delivered", refused)
    context: Any = {"ti": ti()}
    with pytest.raises(type(error(""))):
        operator(service, wait_for_completion=False).execute(context)
    (name,) = service.live()
    assert service.jobs[name]["TrainingJobStatus"] == "Stopping"


def test_a_signal_after_a_task_that_does_not_wait_has_returned_stops_nothing(service: DictionarySageMaker) -> None:
    made = operator(service, wait_for_completion=False)
    context: Any = {"ti": ti()}
    made.execute(context)
    made.on_kill()  # Airflow ends the process while it keeps the result
    (name,) = service.live()
    assert service.jobs[name]["TrainingJobStatus"] == "InProgress"


def test_what_another_try_was_to_go_on_with_is_no_business_of_a_retry(service: DictionarySageMaker) -> None:
    """Airflow 3.0 keeps where a deferred task was to continue when it retries it, and hands it the old event."""
    trigger = deferred(service, ti(1, 5))
    reason = "AlgorithmError: ExecuteUserScriptError:\nExitCode 1"
    service.put(trigger.job_name, "Failed", FailureReason=reason)
    with pytest.raises(ScriptError):
        resume(operator(service), ti(1, 5), trigger, "terminal")
    with pytest.raises(TaskDeferred) as wait:
        resume(operator(service), ti(2, 5), trigger, "terminal")
    assert wait.value.trigger.job_name != trigger.job_name
    assert service.live() == [wait.value.trigger.job_name]


def test_a_try_says_once_that_no_reaper_runs(service: DictionarySageMaker, said: list[str]) -> None:
    trigger = deferred(service, ti())
    with pytest.raises(TaskDeferred):
        resume(operator(service), ti(), trigger)
    assert sum(line.startswith("No reaper has run") for line in said) == 1
